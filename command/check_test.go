package command

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"mesoscope/checks"
)

// TestCheck: the rules for Nagios plugins hold, mistakes included.
func TestCheck(t *testing.T) {
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	for _, c := range []struct {
		code int
		out  string
		args string
	}{
		{0, "Kinds:\n", ""}, {0, "Kinds:\n", "--help"}, {0, "--match REGEXP", "http --help"}, {0, "-- PROGRAM", "exec -h"},
		{2, "HTTP CRITICAL: 404 Not Found: \"404 page not found\" | time=", "http " + web.URL},
		{2, "HTTP CRITICAL: 404", "http --timeout 5s " + web.URL + " --method=POST"},
		{0, "TCP OK: connected to ", "tcp " + strings.TrimPrefix(web.URL, "http://")},
		{3, `CHECK UNKNOWN: KIND: there is no "htp"`, "htp x --bla"},
		{3, "HTTP UNKNOWN: flag provided but not defined: --bla", "http " + web.URL + " --bla"},
		{3, "HTTP UNKNOWN: --timeout: ", "http " + web.URL + " --timeout 5"},
		{3, "HTTP UNKNOWN: --output: ", "http " + web.URL + " --output xml"},
		{3, "HTTP UNKNOWN: TARGET: wanted one", "http"},
		{3, "HTTP UNKNOWN: TARGET: wanted one", "http a b"},
		{3, "EXEC UNKNOWN: TARGET: ", "exec /bin/true"},
		{0, "EXEC OK: x --help | time=", "exec -- /bin/echo x --help"},
	} {
		var out, errs bytes.Buffer
		code := Main(append([]string{"check"}, strings.Fields(c.args)...), IO{Out: &out, Err: &errs, Context: context.Background()})
		if code != c.code || !strings.Contains(out.String(), c.out) || errs.Len() > 0 {
			t.Errorf("check %s: code %d, %q, %q; want code %d and %q", c.args, code, &out, &errs, c.code, c.out)
		}
	}
	var out bytes.Buffer
	code := Main([]string{"check", "http", web.URL, "--output", "json"}, IO{Out: &out, Err: &out, Context: context.Background()})
	var got struct {
		Kind, State string
		Code        int
		Evidence    struct{ Status int }
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil || code != 2 || got.Code != 2 || got.State != "CRITICAL" || got.Evidence.Status != 404 {
		t.Errorf("code %d: %v: %s", code, err, &out)
	}
	for _, name := range checks.Names() { // each kind teaches itself
		out.Reset()
		if code := Main([]string{"check", name, "--help"}, IO{Out: &out, Err: &out, Context: context.Background()}); code != 0 || !strings.Contains(out.String(), "Example:\n  mesoscope check "+name) {
			t.Errorf("check %s --help: %d, %s", name, code, &out)
		}
	}
}

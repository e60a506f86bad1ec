package command

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mesoscope/collector/check"
	"mesoscope/collector/nagios"
	"mesoscope/collector/state"
)

// TestCheckCollector: it keeps to the rules for Nagios plugins, whatever the
// collector does.
func TestCheckCollector(t *testing.T) {
	var events []check.Event
	for _, s := range []state.Status{state.OK, state.Warning, state.Critical, state.Unknown} {
		events = append(events, check.Event{Definition: check.Definition{ID: s.String(), App: "/prod/a$b", Name: strings.ToLower(s.String()), Host: "n1"}, State: state.Check{Status: s}})
	}
	n, err := nagios.New(nagios.Options{Cluster: "c1", Events: slices.Values(events)})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer T1" {
			http.Error(w, "token", http.StatusUnauthorized)
			return
		}
		n.ServeHTTP(w, r)
	}))
	defer web.Close()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("T1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>a|b") }))
	defer other.Close()
	dead := httptest.NewServer(nil)
	dead.Close()
	host := strings.TrimPrefix(web.URL, "http://")
	for _, c := range []struct {
		code int
		out  string
		args []string
	}{
		{0, "OK: 1 of 1 can be reached | time=0.000000s reachable=1;;;0 expected=1;;;0 bad=0;;;0\n", []string{"-H", host, "-s", "/prod/a$b ok", "--token-file", token}},
		{0, "OK: 1 of 1", []string{"-H", web.URL + "/", "-s", "/prod/a_b ok", "--token-file", token, "-t", "5"}},
		{1, "WARNING: 1 of 1", []string{"-H", host, "-s", "/prod/a$b warning", "--token-file", token}},
		{2, "CRITICAL: 0 of 1", []string{"-H", host, "-s", "/prod/a$b critical", "--token-file", token}},
		{3, "UNKNOWN: 0 of 1", []string{"-H", host, "-s", "/prod/a$b unknown", "--token-file", token}},
		{3, `UNKNOWN: the collector has no check "/prod/web x"`, []string{"-H", host, "-s", "/prod/web x", "--token-file", token}},
		{3, "UNKNOWN: collector " + web.URL + ": wants a token; give --token-file", []string{"-H", host, "-s", "x"}},
		{3, "UNKNOWN: --token-file: open ", []string{"-H", host, "-s", "x", "--token-file", token + "x"}},
		{3, "UNKNOWN: collector " + dead.URL + ": connection refused", []string{"-H", dead.URL, "-s", "x"}},
		{3, "UNKNOWN: collector " + other.URL + ": answered something", []string{"-H", other.URL, "-s", "x"}},
		{3, "UNKNOWN: -H and -s are needed", []string{"-H", host}},
		{3, "UNKNOWN: flag provided but not defined: -x", []string{"-x"}},
		{3, `UNKNOWN: "health" is no option; a name with a space needs quotes`, []string{"-H", host, "-s", "/prod/web", "health"}},
		{3, `UNKNOWN: -t: "soon" is no time`, []string{"-H", host, "-s", "x", "-t", "soon"}},
		{3, "Usage: check_mesoscope", nil},
		{0, "Usage: check_mesoscope", []string{"--help"}},
	} {
		var out, errs bytes.Buffer
		code := Main(Called(append([]string{"/usr/lib/nagios/plugins/check_mesoscope"}, c.args...)), IO{Out: &out, Err: &errs, Context: context.Background()})
		if code != c.code || !strings.Contains(out.String(), c.out) || errs.Len() > 0 {
			t.Errorf("%q: code %d, %q, %q; want code %d and %q", c.args, code, &out, &errs, c.code, c.out)
		}
	}
	if got := Called([]string{"/usr/bin/mesoscope", "logs"}); !slices.Equal(got, []string{"logs"}) || len(Called(nil)) != 0 {
		t.Errorf("mesoscope logs is called as %q", got)
	}
}

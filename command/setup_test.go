package command

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"

	"mesoscope/test/fakees"
)

func TestSetup(t *testing.T) {
	fake := httptest.NewServer(&fakees.Server{Lacks: map[string]bool{"match_only_text": true}})
	defer fake.Close()
	gone := httptest.NewServer(nil)
	gone.Close()
	denied := httptest.NewServer(&fakees.Server{Authorized: func(string) bool { return false }})
	defer denied.Close()
	for _, c := range []struct {
		name string
		cmd  Setup
		code int
		out  []string
	}{
		{"first time", Setup{Host: []string{fake.URL}, Output: "text"}, Done, []string{"Elasticsearch 9.4.3, cluster fake", "  created   lifecycle policy", "  left out  field type"}},
		{"again", Setup{Host: []string{fake.URL}, Output: "text"}, Done, []string{"unchanged  index template"}},
		{"json", Setup{Host: []string{fake.URL}, Output: "json"}, Done, []string{`"action":"unchanged"`}},
		{"unreachable", Setup{Host: []string{gone.URL}, Output: "text"}, Unknown, nil},
		{"denied", Setup{Host: []string{denied.URL}, Output: "text"}, Bad, nil},
		{"nothing named", Setup{Output: "text"}, Usage, nil},
		{"no URL", Setup{Host: []string{"somewhere"}, Output: "text"}, Bad, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			err := c.cmd.Run(&IO{Out: &out, Err: &out, Context: t.Context()})
			var exit Exit
			if errors.As(err, &exit); exit.Code != c.code || (err == nil) != (c.code == Done) {
				t.Errorf("code %d, want %d: %v", exit.Code, c.code, err)
			}
			for _, w := range c.out {
				if !strings.Contains(out.String(), w) {
					t.Errorf("no %q in:\n%s", w, out.String())
				}
			}
			if c.cmd.Output == "json" {
				for _, line := range strings.Split(strings.TrimSpace(out.String()), "\n") {
					if !json.Valid([]byte(line)) {
						t.Errorf("not JSON: %s", line)
					}
				}
			}
		})
	}
}

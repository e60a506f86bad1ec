package command

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mesoscope/test/fakees"
	testkibana "mesoscope/test/kibana"
)

func TestSetup(t *testing.T) {
	fake := httptest.NewServer(&fakees.Server{Lacks: map[string]bool{"match_only_text": true}})
	defer fake.Close()
	empty := httptest.NewServer(&fakees.Server{})
	defer empty.Close()
	gone := httptest.NewServer(nil)
	gone.Close()
	denied := httptest.NewServer(&fakees.Server{Authorized: func(string) bool { return false }})
	defer denied.Close()
	looks := httptest.NewServer(&testkibana.Server{Spaces: []string{"ops"}, Login: "Basic bWU6c2VjcmV0"})
	defer looks.Close()
	starting := httptest.NewServer(&testkibana.Server{NotReady: "plain"})
	defer starting.Close()
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	me := Setup{Kibana: looks.URL, Username: "me", PasswordFile: password, Output: "text"}
	ops, dry, both := me, me, me
	ops.Kibana, ops.Output = looks.URL+"/s/ops", "json"
	dry.DryRun, dry.Host = true, []string{empty.URL}
	both.Host = []string{fake.URL}
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
		{"dry run", dry, Done, []string{"  would create  index template      logs-mesos\n", "  would import  saved search  Mesoscope: gaps\n"}},
		{"still nothing there", Setup{Host: []string{empty.URL}, DryRun: true, Output: "text"}, Done, []string{"  would create  index template"}},
		{"kibana", me, Done, []string{"Kibana 9.4.3, space default\n", "  created  data view     Mesoscope: lines\n", "  created  saved search  Mesoscope: errors of an app\n"}},
		{"kibana again", both, Done, []string{"unchanged  index template", "  updated  saved search  Mesoscope: gaps\n"}},
		{"a space, json", ops, Done, []string{`{"space":"ops","version":"9.4.3","kind":"saved search","name":"Mesoscope: gaps","action":"created"}`}},
		{"kibana starts", Setup{Kibana: starting.URL, Output: "text"}, Unknown, nil},
		{"kibana wants a login", Setup{Kibana: looks.URL, Output: "text"}, Bad, nil},
		{"a password without a name", Setup{Kibana: looks.URL, PasswordFile: password, Output: "text"}, Usage, nil},
		{"the file", Setup{PrintKibana: true, Output: "json"}, Done, []string{`"title":"logs-mesos.*-*"`}},
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

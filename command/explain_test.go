package command

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"mesoscope/agent/status"
)

func TestExplainContainer(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		list := []status.Explained{}
		if r.URL.Path == status.ExplainPath && r.FormValue("container") == "mesos-1 a" {
			list = append(list, status.Explained{ID: strings.Repeat("4f", 32), Name: "mesos-1 a", State: "followed", Notes: []string{"A note\x1b."},
				Fields: []status.Field{{Field: "mesos.task.id", Value: "web.1", From: "mesos agent"}, {Field: "service.name", Value: "/w\x1b[2J", From: "env MARATHON_APP_ID"}}})
		}
		json.NewEncoder(w).Encode(list)
	}))
	t.Cleanup(server.Close)
	code, out, errOut := run(t, "explain", "container", "mesos-1 a", "--url", server.URL+"/")
	want := `mesos-1 a (4f4f4f4f4f4f), followed
A note\x1b.
mesos.task.id  web.1      mesos agent
service.name   /w\x1b[2J  env MARATHON_APP_ID
`
	if code != Done || out != want || errOut != "" {
		t.Errorf("%d\n%s\nwant\n%s%s", code, out, want, errOut)
	}
	code, out, _ = run(t, "explain", "container", "mesos-1 a", "--url", server.URL, "--output", "json")
	var x status.Explained
	if err := json.Unmarshal([]byte(out), &x); code != Done || err != nil || len(x.Fields) != 2 {
		t.Errorf("%d %s %v", code, out, err)
	}
	code, _, errOut = run(t, "explain", "container", "other", "--url", server.URL)
	if code != Bad {
		t.Error(code)
	}
	contains(t, errOut, `no container here is called "other"`)
	server.Close()
	if code, _, errOut = run(t, "explain", "container", "x", "--url", server.URL); code != Unknown {
		t.Errorf("%d %s", code, errOut)
	}
}

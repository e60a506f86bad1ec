package discover

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"mesoscope/config"
	"mesoscope/test/marathon"
)

// TestMarathonLabels: labels of the app's version come from Marathon, switches
// from the app as it is now; events make the agent ask again.
func TestMarathonLabels(t *testing.T) {
	m := marathon.Start(t)
	m.Set("/prod/web", "v1", map[string]string{"owner": "zeus"})
	r := newFakeRoot(t)
	id := fullID("a1")
	r.mkdir(id)
	r.write(id, "config.v2.json", strings.Replace(runningConfig, `"Env":[`, `"Env":["MARATHON_APP_ID=/prod/web","MARATHON_APP_VERSION=v1","MARATHON_APP_LABEL_OWNER=env",`, 1))
	r.write(id, "hostconfig.json", jsonFileHost)
	d, err := New(Options{Docker: config.Docker{Root: r.root}, Mesos: config.Mesos{Marathon: []string{"http://127.0.0.1:1", m.URL}}})
	if err != nil {
		t.Fatal(err)
	}
	d.apps.spread = time.Millisecond
	s := follow(t, d)
	ask := func() { s.d.apps.heard("event_stream_attached", "") }
	c := s.container(id, func(c Container) bool { return c.From[keyAppLabels] == fromMarathon })
	if fmt.Sprint(c.Marathon.Labels) != "map[owner:zeus]" {
		t.Errorf("%+v", c.Marathon)
	}
	until(t, "a listener", 10*time.Second, func() bool { return m.Listeners() == 1 })

	// A newer version has labels that are not this container's; a switch is.
	m.Set("/prod/web", "v2", map[string]string{"owner": "hera", switchDataset: "mesos.apart"})
	c = s.container(id, func(c Container) bool { return c.Dataset == "mesos.apart" })
	if fmt.Sprint(c.Marathon.Labels) != "map[owner:zeus]" || c.From["data_stream.dataset"] != "marathon label "+switchDataset {
		t.Errorf("%+v %s", c.Marathon, c.From["data_stream.dataset"])
	}
	m.Set("/prod/web", "v2", map[string]string{switchEnabled: "false"})
	until(t, "its exclusion", 10*time.Second, func() bool { return s.d.Excludes(id) })
	// An outage changes nothing.
	m.Down(true)
	ask()
	before := m.Asked("/prod/web")
	m.Down(false)
	until(t, "another look", 15*time.Second, func() bool { ask(); return m.Asked("/prod/web") > before })
	if !s.d.Excludes(id) {
		t.Error("an outage switched it on")
	}
	m.Set("/prod/web", "v2", nil)
	ask()
	s.container(id, func(c Container) bool { return c.Dataset == "" })
}

// TestMarathonPod: pods have an address of their own.
func TestMarathonPod(t *testing.T) {
	m := marathon.Start(t)
	m.SetPod("/pods/p", "v1", map[string]string{"a": "b"})
	a, err := newApps(config.Mesos{Marathon: []string{m.URL}}, mesosAccessOf(t, config.Mesos{}), nil, mustMetrics(t))
	if err != nil {
		t.Fatal(err)
	}
	app, err := a.client.App(t.Context(), "/pods/p")
	if err != nil || app.Version != "v1" || fmt.Sprint(app.Labels) != "map[a:b]" {
		t.Errorf("%+v, %v", app, err)
	}
	if _, err := a.client.App(t.Context(), "/none"); err == nil || !strings.Contains(err.Error(), "no such app") {
		t.Errorf("%v", err)
	}
}

// TestOneBadApp: an app that Marathon cannot tell of keeps no other from being
// known, and what cannot be an app is not asked for.
func TestOneBadApp(t *testing.T) {
	var asked []string
	var log lockedBuffer
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path)
		switch r.URL.Path {
		case "/v2/apps/a":
			w.WriteHeader(http.StatusBadRequest)
		case "/v2/apps/b":
			fmt.Fprint(w, "no JSON")
		case "/v2/apps/c":
			fmt.Fprint(w, `{"app":{"id":"/other"}}`)
		default:
			fmt.Fprintf(w, `{"app":{"id":%q}}`, strings.TrimPrefix(r.URL.Path, "/v2/apps"))
		}
	}))
	defer server.Close()
	a, err := newApps(config.Mesos{Marathon: []string{server.URL}}, mesosAccessOf(t, config.Mesos{}), textLog(&log), mustMetrics(t))
	if err != nil {
		t.Fatal(err)
	}
	ids := []string{"/a", "/b", "/c", "/web", "/", "", "web"}
	for _, id := range ids {
		a.join(&Container{Marathon: &App{ID: id}})
	}
	err = a.look(t.Context(), func() {})
	if err != nil || log.count("400") != 1 || log.count("/other") != 1 || !a.knows("/web") || a.knows("/a") || len(asked) != 4 {
		t.Errorf("%v; asked for %v", err, asked)
	}
	for _, id := range ids[4:] {
		if !a.knows(id) {
			t.Errorf("%q is waited for", id)
		}
	}
	// What has gone is not asked for.
	a.only(map[string]bool{"/web": true})
	a.heard("pod_updated_event", "{}")
	if a.look(t.Context(), func() {}) != nil || len(asked) != 5 {
		t.Errorf("asked for %v", asked)
	}
	// Nor is one of which an event tells nothing.
	for event, want := range map[string]int{`{"appDefinition":{"id":"/web2"}}`: 0, `{"id":"/x/web"}`: 0, `{"plan":{"steps":[{"actions":[{"app":"/web"}]}]}}`: 1} {
		before := len(asked)
		a.heard("deployment_success", event)
		if a.look(t.Context(), func() {}) != nil || len(asked)-before != want {
			t.Errorf("%s: asked for %v", event, asked[before:])
		}
	}
}

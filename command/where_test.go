package command

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mesoscope/agent/status"
	"mesoscope/embedded"
	"mesoscope/record"
)

// whereStore is a file with lines of three instances of /shop/web, two of them
// on n2, and of another app. It returns its path.
func whereStore(t *testing.T) string {
	t.Helper()
	t.Setenv("MESOSCOPE_AGENTS", "http://127.0.0.1:1") // whatever runs on this machine is not asked
	file, err := embedded.Open(filepath.Join(t.TempDir(), "store.db"), embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	l := newLedger(t)
	now := time.Now().UTC()
	n := 0
	add := func(app, host, task, container string, age time.Duration, level, message string) {
		fields := fmt.Sprintf(`"stream":"stdout","container":{"id":%q,"name":"mesos-%s","image":{"name":"reg/web","tag":["3"]}},"service":{"name":%q,"version":"v7"},"host":{"name":%q},`+
			`"mesos":{"task":{"id":%q},"framework":{"name":"marathon"}},"data_stream":{"type":"logs","dataset":"mesos.container","namespace":"default"}`,
			strings.Repeat(container, 64), container, app, host, task)
		text, _ := json.Marshal(message)
		own := fmt.Sprintf(`"@timestamp":%q,"message":%s`, now.Add(-age).Format(time.RFC3339Nano), text)
		if level != "" {
			own += fmt.Sprintf(`,"log":{"level":%q}`, level)
		}
		n++
		l.add(&record.Stream{Name: container, Index: "logs-mesos.container-default", Dataset: "mesos.container", Fields: []byte(fields)}, fmt.Sprint("id", n), []byte(own))
	}
	add("/shop/web", "n1", "web.1", "a", 30*time.Minute, "", "began")
	add("/shop/web", "n1", "web.1", "a", 20*time.Minute, "error", "old trouble")
	add("/shop/web", "n1", "web.1", "a", 10*time.Minute, "fatal", "no \x1b[31mmemory")
	add("/shop/web", "n1", "web.1", "a", 5*time.Second, "info", "goes on")
	add("/shop/web", "n2", "web.2", "b", 40*time.Minute, "", "x")
	add("/shop/web", "n2", "web.0", "c", 50*time.Minute, "", "y")
	add("/shop/webhook", "n3", "hook.1", "d", 26*time.Hour, "", "z")
	if err := file.Append(t.Context(), l.batches); err != nil {
		t.Fatal(err)
	}
	return file.Path()
}

// TestWhereStore: the store alone is enough to say on which machine an app is.
func TestWhereStore(t *testing.T) {
	store := whereStore(t)
	for _, app := range []string{"/shop/web", "web", "/shop/we*b", "/shop/web*"} {
		code, out, errOut := run(t, "where", app, "--store", store)
		if code != Done {
			t.Fatalf("%s: %d %s", app, code, errOut)
		}
		contains(t, errOut, "http://127.0.0.1:1: connection refused")
		contains(t, out, "/shop/web is on n1, n2 (2)\n\nHOST", "web.1", "v7", `: no \x1b[31mmemory`)
		if strings.Contains(out, "old trouble") || strings.Contains(out, "webhook") || strings.Contains(out, "\x1b") {
			t.Errorf("%s:\n%s", app, out)
		}
		rows := strings.Split(out, "\n")
		if f := strings.Fields(rows[3]); f[0] != "n1" || f[1] != "web.1" || f[2] != "mesos-a" || f[3] != "-" || !strings.Contains(rows[4], "error 10m") {
			t.Errorf("%s: the one that printed last comes first:\n%s", app, out)
		}
	}
	// What has not printed in the last hour is found in the last day.
	code, out, _ := run(t, "where", "webhook", "--store", store)
	if code != Done || !strings.Contains(out, "/shop/webhook is on n3\n") {
		t.Errorf("%d\n%s", code, out)
	}
	code, _, errOut := run(t, "where", "webhook", "--store", store, "--since", "2h")
	if code != Bad || !strings.Contains(errOut, `no instance of "webhook"`) {
		t.Errorf("%d %s", code, errOut)
	}
	code, _, errOut = run(t, "where", "WEB.", "--store", store)
	if code != Bad || strings.Contains(errOut, "did you mean") {
		t.Errorf("%d %s", code, errOut)
	}
	code, _, errOut = run(t, "where", "/prod/Hook", "--store", store)
	if code != Bad || strings.Contains(errOut, "did you mean") {
		t.Errorf("%d %s", code, errOut)
	}
	code, _, errOut = run(t, "where", "Hook", "--store", store)
	if code != Bad || !strings.Contains(errOut, "did you mean /shop/webhook?") {
		t.Errorf("%d %s", code, errOut)
	}
	code, _, errOut = run(t, "where", "web", "--store", store+"x")
	if code != Unknown || !strings.Contains(errOut, "nobody could be asked") {
		t.Errorf("%d %s", code, errOut)
	}
	if code, _, _ := run(t, "where", "web", "--since", "never"); code != Usage {
		t.Errorf("--since never: %d", code)
	}
}

// TestWhereAll: agents and Marathon add what the store does not know, and say
// which of those that have printed do not run any more.
func TestWhereAll(t *testing.T) {
	store := whereStore(t)
	started := time.Date(2026, 11, 25, 3, 0, 0, 0, time.UTC)
	serve := func(path string, v any) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != path {
				http.NotFound(w, r)
				return
			}
			_ = json.NewEncoder(w).Encode(v)
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	agent := serve(status.InstancesPath, []status.Instance{
		{App: "/shop/web", Node: "n2", Task: "web.2", Container: "mesos-b", ID: strings.Repeat("b", 64), Running: true, State: "Up 2 hours (healthy)", Since: started, Ports: []string{"31000->80/tcp"}, Lines: 12},
		{App: "db", Node: "n2", ID: "other", Running: true, State: "Up 2 hours"},
	})
	marathon := serve("/v2/tasks", map[string]any{"tasks": []map[string]any{
		{"id": "web.2", "appId": "/shop/web", "host": "10.0.0.2", "ports": []int{31000}, "state": "TASK_RUNNING", "version": "v8", "startedAt": started},
		{"id": "web.3", "appId": "/shop/web", "host": "10.0.0.3", "state": "TASK_STAGING"},
		{"id": "db.3", "appId": "/db", "host": "10.0.0.3", "state": "TASK_RUNNING"},
	}})
	file := filepath.Join(t.TempDir(), "m.yml")
	if err := os.WriteFile(file, fmt.Appendf(nil, "mesos: {marathon: [%q]}\n", marathon), 0o600); err != nil {
		t.Fatal(err)
	}
	instances := func(args ...string) map[string]found {
		t.Helper()
		code, out, errOut := run(t, append([]string{"where", "web", "--output", "json", "--all"}, args...)...)
		if code != Done || errOut != "" {
			t.Fatalf("%d %s", code, errOut)
		}
		all := map[string]found{}
		for line := range strings.Lines(out) {
			var f found
			if err := json.Unmarshal([]byte(line), &f); err != nil {
				t.Fatal(err)
			}
			all[f.Task] = f
		}
		return all
	}
	// The store and the agent of n2: what else was there is gone, of n1 nobody knows.
	all := instances("--store", store, "--url", agent)
	if f := all["web.2"]; f.State != "Up 2 hours (healthy)" || f.Ports[0] != "31000->80/tcp" || f.Lines != 12 || f.Version != "v7" || f.LastLine.IsZero() || fmt.Sprint(f.From) != "[agent store]" {
		t.Errorf("web.2: %+v", f)
	}
	if all["web.0"].State != gone || all["web.1"].State != "" || len(all) != 3 {
		t.Errorf("%+v", all)
	}
	// With Marathon, too, it is known of all.
	all = instances("--store", store, "--url", agent, "--config", file)
	if all["web.0"].State != gone || all["web.1"].State != gone || all["web.3"].State != "TASK_STAGING" || all["web.3"].Node != "10.0.0.3" || len(all) != 4 {
		t.Errorf("%+v", all)
	}
	if f := all["web.2"]; fmt.Sprint(f.From) != "[agent marathon store]" || f.Node != "n2" || f.Version != "v8" {
		t.Errorf("web.2: %+v", f)
	}
	code, out, errOut := run(t, "where", "/shop/web", "--store", store, "--url", agent, "--config", file)
	if code != Done {
		t.Fatal(code, errOut)
	}
	contains(t, out, "/shop/web is on 10.0.0.3, n2\n", "31000->80/tcp", "… and 2 instances that ended; --all shows them")
	if strings.Contains(out, "web.1") {
		t.Errorf("one that has gone:\n%s", out)
	}
}

// TestWhereMaster: the masters of Mesos are enough, too, and know the tasks of
// frameworks that are no Marathon.
func TestWhereMaster(t *testing.T) {
	t.Setenv("MESOSCOPE_AGENTS", "http://127.0.0.1:1")
	t.Setenv("MESOSCOPE_STORE", filepath.Join(t.TempDir(), "no.db")) // whatever is on this machine is not asked
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/tasks":
			_, _ = w.Write([]byte(`{"tasks":[
{"id":"shop_web.instance-c7c311a4-b669-11e6-a48f-0ea4f4b1778c._app.1","name":"web.shop","framework_id":"F1","slave_id":"S1","state":"TASK_RUNNING","resources":{"ports":"[31000-31000]"},
 "container":{"type":"DOCKER","docker":{"network":"BRIDGE","port_mappings":[{"host_port":31000,"container_port":80,"protocol":"tcp"}]}},
 "statuses":[{"state":"TASK_RUNNING","timestamp":1795413204.4,"healthy":false,"container_status":{"container_id":{"value":"c-1"}}}]},
{"id":"shop_web.instance-d7c311a4-b669-11e6-a48f-0ea4f4b1778c._app.1","framework_id":"F1","slave_id":"S2","state":"TASK_FAILED","statuses":[]},
{"id":"shop_web.instance-e7c311a4-b669-11e6-a48f-0ea4f4b1778c._app.1","framework_id":"F1","slave_id":"S2","state":"TASK_UNREACHABLE","statuses":[]},
{"id":"node-1","name":"web","framework_id":"F2","slave_id":"S2","state":"TASK_FAILED"},
{"id":"node-1","name":"web","framework_id":"F2","slave_id":"S1","state":"TASK_RUNNING"},
{"id":"node-2","name":"cassandra-node","framework_id":"F2","slave_id":"S1","state":"TASK_RUNNING","labels":[{"key":"mesoscope.service","value":"db"}]}]}`))
		case "/state-summary", "/slaves":
			_, _ = w.Write([]byte(`{"slaves":[{"id":"S1","hostname":"n1"},{"id":"S2","hostname":"n2"}],"frameworks":[{"id":"F1","name":"marathon"},{"id":"F2","name":"cassandra"}]}`))
		default:
			http.NotFound(w, r)
		}
	}))
	defer s.Close()
	file := filepath.Join(t.TempDir(), "m.yml")
	if err := os.WriteFile(file, fmt.Appendf(nil, "data_dir: %s\nmesos: {master: [%q]}\n", t.TempDir(), s.URL), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, from := range [][]string{{"--master", s.URL}, {"--master", "http://127.0.0.1:1," + s.URL}, {"--config", file}} {
		code, out, errOut := run(t, append([]string{"where", "web"}, from...)...)
		if code != Done {
			t.Fatalf("%v: %d %s", from, code, errOut)
		}
		contains(t, out, "/shop/web is on n1, n2\nweb is on n1\n", "mesos-c-1", "TASK_RUNNING, unhealthy", "31000->80/tcp", "TASK_UNREACHABLE", "… and 1 instance that ended")
	}
	code, out, errOut := run(t, "where", "db", "--master", s.URL, "--output", "json")
	if code != Done || !strings.Contains(out, `"framework":"cassandra"`) || !strings.Contains(out, `"from":["mesos"]`) {
		t.Errorf("%d %s\n%s", code, errOut, out)
	}
	if code, _, errOut := run(t, "where", "web", "--master", "http://127.0.0.1:1"); code != Unknown || !strings.Contains(errOut, "mesos master: ") {
		t.Errorf("%d %s", code, errOut)
	}
	if code, _, _ := run(t, "where", "web", "--master", "m1:5050"); code != Usage {
		t.Errorf("%d", code)
	}
}

// TestWhereGone: where an app was is told, too.
func TestWhereGone(t *testing.T) {
	store := whereStore(t)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode([]status.Instance{{App: "db", Node: "n3", ID: "x", Running: true, State: "Up"}})
	}))
	defer s.Close()
	code, out, _ := run(t, "where", "webhook", "--store", store, "--url", s.URL)
	if code != Done || !strings.HasPrefix(out, "/shop/webhook does not run; it was on n3\n") {
		t.Errorf("%d\n%s", code, out)
	}
}

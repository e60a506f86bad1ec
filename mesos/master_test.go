package mesos

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
)

// masterServer answers with files: path -> file below testdata.
func masterServer(t *testing.T, files map[string]string) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		file, ok := files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		if r.URL.Path == "/tasks" && r.URL.Query().Get("limit") == "" {
			t.Error("a master tells 100 tasks unless it is asked for more")
		}
		text, err := os.ReadFile("testdata/" + file)
		if err != nil {
			t.Error(err)
		}
		_, _ = w.Write(text)
	}))
	t.Cleanup(s.Close)
	return s
}

func masterTasks(t *testing.T, urls ...string) (map[string]MasterTask, error) {
	t.Helper()
	m, err := NewMaster(urls, Access{})
	if err != nil {
		t.Fatal(err)
	}
	list, err := m.Tasks(t.Context())
	tasks := map[string]MasterTask{}
	for _, task := range list {
		tasks[task.ID] = task
	}
	return tasks, err
}

func TestMasterTasks(t *testing.T) {
	s := masterServer(t, map[string]string{"/tasks": "master/tasks.json", "/state-summary": "master/state-summary.json"})
	tasks, err := masterTasks(t, "http://127.0.0.1:1", s.URL+"/")
	if err != nil || len(tasks) != 9 {
		t.Fatalf("%d, %v", len(tasks), err)
	}
	web := tasks["web_frontend.instance-c7c311a4-b669-11e6-a48f-0ea4f4b1778c._app.1"]
	since := time.Date(2026, 11, 23, 5, 53, 24, 386604000, time.UTC)
	if web.Host != "localhost" || web.Framework.Name != "marathon" || web.State != "TASK_RUNNING" || !web.Docker || web.ContainerID != "651a3b45-1603-4b34-b5cd-0626c5f793fe" ||
		fmt.Sprint(web.Ports) != "[31000->8080/tcp]" || web.Labels["team"] != "payments" || web.Since.Sub(since).Abs() > time.Millisecond {
		t.Errorf("%+v", web)
	}
	if sick := tasks["web_sick.44444444-37e6-11e4-b05e-56847afe9799"]; sick.Docker || sick.Ports != nil {
		t.Errorf("%+v", sick)
	}
	if worker := tasks["batch_worker.3f80d17a-37e6-11e4-b05e-56847afe9799"]; worker.Healthy == nil || !*worker.Healthy {
		t.Errorf("%+v", worker)
	}
	if failed := tasks["batch_failer.22222222-37e6-11e4-b05e-56847afe9799"]; failed.State != "TASK_FAILED" || failed.Since.IsZero() {
		t.Errorf("%+v", failed)
	}
}

// TestMasterOld: before 1.0 there is one answer for everything.
func TestMasterOld(t *testing.T) {
	s := masterServer(t, map[string]string{"/state.json": "other/master-0.19.json"})
	tasks, err := masterTasks(t, s.URL)
	if err != nil || len(tasks) == 0 {
		t.Fatalf("%v, %v", tasks, err)
	}
	for _, task := range tasks {
		if task.Host == "" || task.Framework.Name == "" || !strings.HasPrefix(task.State, "TASK_") {
			t.Errorf("%+v", task)
		}
	}
}

func TestMasterErrors(t *testing.T) {
	denied := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }))
	defer denied.Close()
	if _, err := masterTasks(t, denied.URL); !Denied(err) {
		t.Errorf("%v", err)
	}
	if _, err := masterTasks(t, masterServer(t, nil).URL); err == nil || !strings.Contains(err.Error(), "no Mesos master") {
		t.Errorf("%v", err)
	}
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"apps":[]}`)) }))
	defer other.Close()
	if _, err := masterTasks(t, other.URL); !errors.Is(err, errNoMaster) {
		t.Errorf("%v", err)
	}
	if _, err := NewMaster([]string{"m1:5050"}, Access{}); err == nil {
		t.Error("m1:5050 is no URL")
	}
}

func TestPorts(t *testing.T) {
	for text, want := range map[string]string{"[31000-31000]": "[31000]", "[31000-31002, 31005-31005]": "[31000 31001 31002 31005]", "[1-40000]": "[1-40000]", "": "[]", "[]": "[]", "[7-3]": "[]", "x": "[]"} {
		if got := fmt.Sprint(portList(text)); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
	s := masterState{}
	err := s.add(strings.NewReader(`{"tasks":[
{"id":"bridge","resources":{"ports":"[31000-31001]"},"container":{"type":"DOCKER","docker":{"port_mappings":[{"host_port":31000,"container_port":80},{"host_port":31001,"container_port":53,"protocol":"udp"}]}}},
{"id":"host","resources":{"cpus":1,"ports":"[31005-31005]"},"discovery":{"ports":{"ports":[{"number":31005}]}}},
{"id":"own","discovery":{"ports":{"ports":[{"number":8080,"name":"http"}]}},"statuses":[7,{"state":"TASK_RUNNING","timestamp":"x"},{"state":"TASK_RUNNING","timestamp":0.0}]}]}`))
	want := map[string]string{"bridge": "[31000->80/tcp 31001->53/udp]", "host": "[31005]", "own": "[8080]"}
	for _, task := range s.named() {
		if got := fmt.Sprint(task.Ports); got != want[task.ID] {
			t.Errorf("%s: %s, want %s", task.ID, got, want[task.ID])
		}
		if !task.Since.IsZero() {
			t.Errorf("%s runs since %v", task.ID, task.Since)
		}
	}
	if err != nil || len(s.tasks) != 3 {
		t.Errorf("%d %v", len(s.tasks), err)
	}
}

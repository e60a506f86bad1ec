package mesos

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
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

func masterNames(t *testing.T, url string) (hosts, frameworks map[string]string) {
	t.Helper()
	m, err := NewMaster([]string{url}, Access{})
	if err != nil {
		t.Fatal(err)
	}
	agents, err := m.Agents(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	hosts = map[string]string{}
	for _, a := range agents {
		hosts[a.ID] = a.Hostname
	}
	if frameworks, err = m.Frameworks(t.Context()); err != nil {
		t.Fatal(err)
	}
	return hosts, frameworks
}

func TestMasterTasks(t *testing.T) {
	s := masterServer(t, map[string]string{"/tasks": "master/tasks.json", "/slaves": "master/state-summary.json", "/state-summary": "master/state-summary.json"})
	tasks, err := masterTasks(t, "http://127.0.0.1:1", s.URL+"/")
	if err != nil || len(tasks) != 9 {
		t.Fatalf("%d, %v", len(tasks), err)
	}
	web := tasks["web_frontend.instance-c7c311a4-b669-11e6-a48f-0ea4f4b1778c._app.1"]
	since := time.Date(2026, 11, 23, 5, 53, 24, 386604000, time.UTC)
	hosts, frameworks := masterNames(t, s.URL)
	if hosts[web.Agent] != "localhost" || frameworks[web.Framework] != "marathon" || web.State != "TASK_RUNNING" || web.DockerName() != "mesos-651a3b45-1603-4b34-b5cd-0626c5f793fe" ||
		fmt.Sprint(web.HostPorts()) != "[31000->8080/tcp]" || len(web.Labels) == 0 || web.Since().Sub(since).Abs() > time.Millisecond || web.Sick() {
		t.Errorf("%+v", web)
	}
	if sick := tasks["web_sick.44444444-37e6-11e4-b05e-56847afe9799"]; sick.DockerName() != "" || sick.HostPorts() != nil {
		t.Errorf("%+v", sick)
	}
	if failed := tasks["batch_failer.22222222-37e6-11e4-b05e-56847afe9799"]; failed.State != "TASK_FAILED" || failed.Since().IsZero() {
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
	hosts, frameworks := masterNames(t, s.URL)
	for _, task := range tasks {
		if hosts[task.Agent] == "" || frameworks[task.Framework] == "" || !strings.HasPrefix(task.State, "TASK_") {
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
	if _, err := masterTasks(t, masterServer(t, nil).URL); err == nil || !strings.Contains(err.Error(), "so it is none") {
		t.Errorf("%v", err)
	}
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"apps":[]}`)) }))
	defer other.Close()
	if _, err := masterTasks(t, other.URL); err == nil {
		t.Errorf("%v", err)
	}
}

// TestMaster: pages that move, a master that does not lead, one that is away.
func TestMaster(t *testing.T) {
	tasks := []string{"a", "b", "c", "c", "d"} // c is there twice, as pages have moved
	leader := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/master/slaves":
			fmt.Fprint(w, `{"slaves":[{"id":"S0","hostname":"n1","active":true,"resources":{}}],"recovered_slaves":[]}`)
		case "/master/tasks":
			limit, _ := strconv.Atoi(r.FormValue("limit"))
			offset, _ := strconv.Atoi(r.FormValue("offset"))
			var some []string
			for _, id := range tasks[min(offset, len(tasks)):min(offset+limit, len(tasks))] {
				some = append(some, fmt.Sprintf(`{"id":%q,"framework_id":"F"}`, id))
			}
			fmt.Fprintf(w, `{"tasks":[%s]}`, strings.Join(some, ","))
		default:
			http.NotFound(w, r)
		}
	}))
	defer leader.Close()
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, leader.URL+r.URL.String(), http.StatusTemporaryRedirect)
	}))
	defer other.Close()
	m, err := NewMaster([]string{"http://127.0.0.1:1", other.URL + "/master/"}, Access{})
	if err != nil {
		t.Fatal(err)
	}
	agents, err := m.Agents(t.Context())
	if err != nil || len(agents) != 1 || agents[0].Hostname != "n1" {
		t.Errorf("%+v %v", agents, err)
	}
	list, err := m.tasks(t.Context(), 2)
	ids := ""
	for _, task := range list {
		ids += task.ID
	}
	if err != nil || ids != "abcd" {
		t.Errorf("%s %v", ids, err)
	}
	wrong := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(`{}`)) }))
	defer wrong.Close()
	m, _ = NewMaster([]string{wrong.URL}, Access{})
	if _, err := m.Tasks(t.Context()); err == nil {
		t.Error("an answer without tasks would remove everything")
	}
	if _, err := m.Agents(t.Context()); err == nil {
		t.Error("an answer without agents would remove everything")
	}
	if _, err := NewMaster([]string{"m1:5050"}, Access{}); err == nil {
		t.Error("no URL")
	}
}

func TestMasterPorts(t *testing.T) {
	for text, want := range map[string]string{"[31000-31000]": "[31000]", "[31000-31002, 31005-31005]": "[31000 31001 31002 31005]", "[1-40000]": "[1-40000]", "": "[]", "[]": "[]", "[7-3]": "[]", "x": "[]"} {
		if got := fmt.Sprint(portList(text)); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"tasks":[
{"id":"bridge","resources":{"ports":"[31000-31001]"},"container":{"type":"DOCKER","docker":{"port_mappings":[{"host_port":31000,"container_port":80},{"host_port":31001,"container_port":53,"protocol":"udp"}]}}},
{"id":"host","resources":{"cpus":1,"ports":"[31005-31005]"},"discovery":{"ports":{"ports":[{"number":31005}]}}},
{"id":"own","discovery":{"ports":{"ports":[{"number":8080,"name":"http"}]}},"statuses":[{"state":"TASK_RUNNING","timestamp":0.0}]}]}`)
	}))
	defer s.Close()
	tasks, err := masterTasks(t, s.URL)
	for id, want := range map[string]string{"bridge": "[31000->80/tcp 31001->53/udp]", "host": "[31005]", "own": "[8080]"} {
		task := tasks[id]
		if got := fmt.Sprint(task.HostPorts()); err != nil || got != want || !task.Since().IsZero() {
			t.Errorf("%s: %s, want %s; since %v; %v", id, got, want, task.Since(), err)
		}
	}
}

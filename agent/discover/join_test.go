package discover

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"

	"mesoscope/mesos"
)

// recordedState is a state that a real agent has told.
func recordedState(t *testing.T, name string) *mesos.State {
	t.Helper()
	f, err := os.Open("../../mesos/testdata/state/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s, err := mesos.ReadState(f)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func recordedInspect(t *testing.T, name string) Container {
	t.Helper()
	text, err := os.ReadFile("testdata/inspect/docker-inspect-" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var list []container.InspectResponse
	if err := json.Unmarshal(text, &list); err != nil || len(list) != 1 {
		var one container.InspectResponse
		if err := json.Unmarshal(text, &one); err != nil {
			t.Fatal(err)
		}
		list = []container.InspectResponse{one}
	}
	return fromInspect(list[0])
}

// TestEachExecutorByEachKey joins a container with each executor of each
// recorded state, by one key at a time: each finds its own task, or none.
func TestEachExecutorByEachKey(t *testing.T) {
	paths, _ := filepath.Glob("../../mesos/testdata/state/*.json")
	if len(paths) < 10 {
		t.Fatalf("%d states", len(paths))
	}
	joined := 0
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".json")
		s := recordedState(t, name)
		dir := newDirectoryOfTasks(s)
		for _, e := range s.Executors {
			for key, c := range map[string]Container{
				"sandbox":         {Sandbox: e.Directory},
				"name":            {Name: "mesos-" + e.ContainerID},
				"name of 0.23":    {Name: "mesos-" + s.AgentID + "." + e.ContainerID},
				"executor's name": {Name: "mesos-" + e.ContainerID + ".executor"},
				"env":             {Env: map[string]string{"MESOS_FRAMEWORK_ID": e.Framework.ID, "MESOS_EXECUTOR_ID": e.ID}},
				"task":            {Env: map[string]string{"MESOS_TASK_ID": firstTask(e)}},
				"label":           {Labels: map[string]string{"MESOS_TASK_ID": firstTask(e)}},
			} {
				c.identify()
				if c.Mesos == nil {
					continue // the state lacks this key
				}
				dir.join(&c)
				m := c.Mesos
				wrong := m.FrameworkName != "" && m.FrameworkName != e.Framework.Name || m.ExecutorID != "" && m.ExecutorID != e.ID ||
					m.ContainerID != "" && m.ContainerID != e.ContainerID
				if len(e.Tasks) == 1 && c.joined() {
					joined++
					wrong = wrong || m.TaskID != e.Tasks[0].ID || m.TaskName != e.Tasks[0].Name || !reflect.DeepEqual(m.TaskLabels, e.Tasks[0].Labels)
				}
				// In a pod, only a task id says which of the tasks it is.
				if len(e.Tasks) > 1 && m.TaskID != "" && key != "task" && key != "label" {
					wrong = true
				}
				if wrong || !c.joined() && (key == "sandbox" || key == "name" || len(e.Tasks) == 1) {
					t.Errorf("%s: executor %s by %s: %+v (joined %v)", name, e.ID, key, m, c.joined())
				}
			}
		}
	}
	if joined < 100 {
		t.Errorf("only %d were joined", joined)
	}
}

func firstTask(e mesos.Executor) string {
	if len(e.Tasks) == 0 {
		return ""
	}
	return e.Tasks[0].ID
}

// TestRecordedContainers: containers as a real agent made them, with and
// without its state.
func TestRecordedContainers(t *testing.T) {
	host := Host{Name: "n1", Hostname: "n1"}
	for _, name := range []string{"mesos-bridge", "5cdc8d21d9fe", "f9428927fba9"} {
		c := recordedInspect(t, name)
		c.identify()
		golden(t, "join/"+name+"-alone.json", indented(t, Fields(c, host, "mesos.container", "default", "stdout")))
		newDirectoryOfTasks(recordedState(t, "1.11-running")).join(&c)
		golden(t, "join/"+name+"-joined.json", indented(t, Fields(c, host, "mesos.container", "default", "stdout")))
	}
}

func indented(t *testing.T, members []byte) []byte {
	t.Helper()
	var doc any
	if err := json.Unmarshal([]byte("{"+string(members)+"}"), &doc); err != nil {
		t.Fatal(err)
	}
	text, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(text, '\n')
}

// TestNeverTheWrongTask: what does not fit is left out.
func TestNeverTheWrongTask(t *testing.T) {
	s := &mesos.State{AgentID: "S0", Executors: []mesos.Executor{
		{ID: "e", ContainerID: "11111111-1111-1111-1111-111111111111", Framework: mesos.Framework{ID: "F", Name: "marathon"}, Tasks: []mesos.Task{{ID: "old", Name: "n"}}},
		{ID: "e", ContainerID: "22222222-2222-2222-2222-222222222222", Framework: mesos.Framework{ID: "F", Name: "marathon"}, Tasks: []mesos.Task{{ID: "new", Name: "n"}}},
		{ID: "same", ContainerID: "33333333-3333-3333-3333-333333333333", Framework: mesos.Framework{ID: "G", Name: "other"}, Tasks: []mesos.Task{{ID: "new", Name: "x"}}},
	}}
	dir := newDirectoryOfTasks(s)
	f := func(what, task string, c Container) {
		t.Helper()
		c.identify()
		dir.join(&c)
		got := ""
		if c.Mesos != nil && c.joined() {
			got = c.Mesos.TaskID
		}
		if got != task {
			t.Errorf("%s: task %q, want %q: %+v", what, got, task, c.Mesos)
		}
	}
	f("an unknown run of a known executor", "", Container{Name: "mesos-44444444-4444-4444-4444-444444444444",
		Env: map[string]string{"MESOS_FRAMEWORK_ID": "F", "MESOS_EXECUTOR_ID": "e", "MESOS_TASK_ID": "old"}})
	f("two runs of one executor", "", Container{Env: map[string]string{"MESOS_FRAMEWORK_ID": "F", "MESOS_EXECUTOR_ID": "e"}})
	f("a task id of two frameworks", "", Container{Env: map[string]string{"MESOS_TASK_ID": "new"}})
	f("a task id of another framework", "", Container{Env: map[string]string{"MESOS_TASK_ID": "old", "MESOS_FRAMEWORK_ID": "G"}})
	f("a container with an inherited task id", "", Container{Name: "mesos-22222222-2222-2222-2222-222222222222", Env: map[string]string{"MESOS_TASK_ID": "old"}})
	f("a helper of a task, started by hand", "old", Container{Name: "helper", Env: map[string]string{"MESOS_TASK_ID": "old"}})
	f("nothing of Mesos", "", Container{Name: "web"})
	// A helper that was started by hand and inherited everything but its name.
	helper := Container{Name: "helper", Env: map[string]string{"MESOS_CONTAINER_NAME": "mesos-22222222-2222-2222-2222-222222222222"}}
	if helper.identify(); helper.Mesos != nil {
		t.Errorf("an inherited name counts: %+v", helper.Mesos)
	}
}

// TestExecutorOfManyTasks: lines of an executor that runs one task after
// another are of none of them, also if the first one was the only one once.
func TestExecutorOfManyTasks(t *testing.T) {
	const id = "11111111-1111-1111-1111-111111111111"
	labels := map[string]string{"team": "a"}
	e := mesos.Executor{ID: "e", ContainerID: id, Framework: mesos.Framework{ID: "F", Name: "f"}}
	join := func(c *Container, ids ...string) {
		t.Helper()
		e.Tasks = nil
		for _, id := range ids {
			e.Tasks = append(e.Tasks, mesos.Task{ID: id, Name: "n " + id, Labels: labels})
		}
		c.identify()
		newDirectoryOfTasks(&mesos.State{AgentID: "S0", Executors: []mesos.Executor{e}}).join(c)
	}
	for _, before := range []*Mesos{nil, {TaskID: "t1", TaskName: "n t1", TaskLabels: labels}} { // as an earlier version wrote it down
		c := Container{Name: "mesos-" + id, Mesos: before}
		for _, ids := range [][]string{{"t1"}, {"t1", "t2"}} {
			join(&c, ids...)
			if m := c.Mesos; m.TaskID != "" || m.TaskName != "" || m.TaskLabels != nil || m.ExecutorID != "e" || m.FrameworkName != "f" || !c.joined() {
				t.Errorf("%v: %+v", ids, m)
			}
		}
	}
	// What the container says itself, or the executor's id, is certain.
	c := Container{Name: "mesos-" + id, Env: map[string]string{"MESOS_TASK_ID": "t2"}}
	if join(&c, "t1", "t2"); c.Mesos.TaskName != "n t2" {
		t.Errorf("%+v", c.Mesos)
	}
	for _, e.ID = range []string{"t1", "thermos-t1", "marathon-t1"} {
		c := Container{Name: "mesos-" + id, Env: map[string]string{"MESOS_TASK_ID": "inherited"}}
		if join(&c, "t1"); c.Mesos.TaskID != "t1" || c.Mesos.TaskName != "n t1" || c.Mesos.TaskLabels["team"] != "a" {
			t.Errorf("%s: %+v", e.ID, c.Mesos)
		}
	}
}

// TestSchedulers: what the forms of ids say, where nothing else says it.
func TestSchedulers(t *testing.T) {
	const u = "c7c311a4-b669-11e6-a48f-0ea4f4b1778c"
	f := func(service, app, job string, c Container) {
		t.Helper()
		c.ID = fullID("a")
		c.identify()
		gotApp, gotJob := c.app().value, c.job().value
		if ServiceName(c) != service || gotApp != app || gotJob != job {
			t.Errorf("%+v: service %q app %q job %q", c.Mesos, ServiceName(c), gotApp, gotJob)
		}
	}
	sandbox := func(executor string) Container {
		return Container{Sandbox: "/m/slaves/S0/frameworks/F/executors/" + executor + "/runs/" + u}
	}
	f("/prod/web", "/prod/web", "", sandbox("prod_web.instance-"+u+"._app.1"))
	f("/pods/p", "/pods/p", "", sandbox("instance-pods_p."+u))
	f("nightly", "", "nightly", sandbox("nightly_20171024130149pqrTW."+u))
	f("www/prod/hello", "", "www/prod/hello", sandbox("thermos-www-prod-hello-1-"+u))
	f("j", "", "j", Container{Env: map[string]string{"MESOS_TASK_ID": "ct:1:0:j:"}})
	// The old form of Marathon is that of others too.
	old := sandbox("prod_web." + u)
	f("aaaaaaaaaaaa"[:1]+strings.Repeat("0", 11), "", "", old)
	old.Mesos = &Mesos{FrameworkName: "marathon-user"}
	f("/prod/web", "/prod/web", "", old)
	f("shown", "/prod/web", "", Container{Env: map[string]string{"MARATHON_APP_ID": "/prod/web", "MARATHON_APP_LABEL_MESOSCOPE_SERVICE": "shown"}})
}

func TestSwitches(t *testing.T) {
	u := func(labels map[string]string) *App { return &App{ID: "/a", Labels: labels} }
	f := func(disabled bool, dataset, namespace string, c Container) {
		t.Helper()
		c.choose()
		if c.disabled() != disabled || c.Dataset != dataset || c.Namespace != namespace {
			t.Errorf("%+v: %v %q %q", c, c.disabled(), c.Dataset, c.Namespace)
		}
	}
	on := map[string]string{switchEnabled: "true", switchDataset: "mesos.web", switchNamespace: "prod"}
	off := map[string]string{switchEnabled: " FALSE ", switchDataset: "web", switchNamespace: "a-b"}
	f(false, "", "", Container{})
	f(false, "mesos.web", "prod", Container{Labels: on})
	f(true, "", "", Container{Labels: off})
	f(true, "", "", Container{Labels: on, Marathon: u(off)})
	f(false, "mesos.web", "prod", Container{Labels: off, Marathon: u(on)})
	f(true, "mesos.web", "prod", Container{Marathon: &App{Labels: on, Switches: map[string]string{switchEnabled: "false"}}})
	f(true, "", "", Container{Mesos: &Mesos{TaskLabels: off}})
	f(true, "mesos.env", "", Container{Env: map[string]string{"MESOSCOPE_LOGS_ENABLED": "0", "MESOSCOPE_LOGS_DATASET": "mesos.env"}})
	f(true, "", "", Container{Env: map[string]string{"MARATHON_APP_LABEL_MESOSCOPE_LOGS_ENABLED": "no"}})
	f(false, "", "", Container{Labels: map[string]string{switchEnabled: "maybe"}})
}

// TestExplain: each field of the lines is explained, and none more.
func TestExplain(t *testing.T) {
	host := Host{Name: "n1", Hostname: "n1", Agent: Agent{Version: "1", ID: "a"}}
	c := recordedInspect(t, "mesos-bridge")
	c.identify()
	newDirectoryOfTasks(recordedState(t, "1.11-running")).join(&c)
	c.Labels[switchDataset], c.Labels[switchNamespace] = "mesos.web", "not-good"
	c.choose()
	var b strings.Builder
	for _, f := range Explain(c, host, "mesos.container", "default") {
		fmt.Fprintf(&b, "%-25s %-75s %s\n", f.Field, f.Value, f.From)
	}
	for _, n := range Notes(c) {
		fmt.Fprintln(&b, n)
	}
	if strings.Contains(b.String(), "unknown") {
		t.Error("a field is from nowhere")
	}
	golden(t, "join/explain.txt", []byte(b.String()))
	if notes := Notes(Container{Mesos: &Mesos{TaskID: "t"}}); len(notes) != 1 || !strings.Contains(notes[0], "has not said") {
		t.Error(notes)
	}
}

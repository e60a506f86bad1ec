//go:build e2e && linux

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"mesoscope/test/elasticsearch"
	"mesoscope/test/mesos"
)

// A line of a task says itself whose it is: by what the agent of Mesos gave to
// the process that prints it.
const truth = `echo "$MARATHON_APP_ID $MESOS_TASK_ID $MESOS_FRAMEWORK_ID $MESOS_EXECUTOR_ID $MESOS_SLAVE_ID $i"`

// prints is a command that prints n lines, so many seconds apart.
func prints(n int, pause string) string {
	return fmt.Sprintf(`i=0; while [ $i -lt %d ]; do %s; i=$((i+1)); [ %s = 0 ] || sleep %s; done`, n, truth, pause, pause)
}

// taskLine is a document of the store, as far as the tests compare it.
type taskLine struct {
	Message string
	Log     struct{ Offset int64 }
	Service struct {
		Name, Version string
		Node          struct{ Name string }
	}
	Container struct{ ID string }
	Mesos     struct {
		Agent     struct{ ID string }
		Framework struct{ ID, Name string }
		Executor  struct{ ID string }
		Task      struct {
			ID, Name string
			Labels   map[string]string
		}
	}
	Marathon struct {
		App struct {
			ID     string
			Labels map[string]string
		}
	}
	DataStream struct{ Dataset, Namespace string } `json:"data_stream"`
}

// TestMesos runs tasks of several apps and frameworks under a real Mesos, which
// is killed and comes back meanwhile, as is the agent: every line is there
// once, with the task, app, framework and agent that it belongs to.
func TestMesos(t *testing.T) {
	root := dockerRoot(t)
	es := elasticsearch.Start(t, elasticsearch.Options{})
	m := mesos.Start(t)
	agent := newAgent(t, "mesos", root, m.Agent, es.URL)
	agent.start()

	const uuid = "c7c311a4-b669-11e6-a48f-0ea4f4b1778c"
	apps := map[string]*struct {
		n, lines  int // tasks, and lines of each; 0: as many as it prints until it ends
		again     int // of those that fail are started again
		bridge    []int
		framework string
		labels    map[string]string
		command   string
		dataset   string
		ran       *mesos.Framework
	}{
		"/shop/web":    {n: 6, lines: 60, framework: "marathon", labels: map[string]string{"team": "search", "app": "x", "app.kubernetes.io/name": "y"}, command: prints(60, "0.4")},
		"/shop/brief":  {n: 8, lines: 2, framework: "marathon-user", command: prints(2, "0")},
		"/shop/crash":  {n: 6, lines: 20, again: 3, framework: "marathon", labels: map[string]string{"team": "pay"}, command: prints(20, "0.05") + "; exit 3"},
		"/shop/hidden": {n: 2, framework: "marathon", labels: map[string]string{"mesoscope.logs.enabled": "false"}, command: prints(30, "0.1")},
		"/shop/apart":  {n: 2, lines: 5, framework: "marathon", labels: map[string]string{"mesoscope.logs.dataset": "mesos.apart"}, command: prints(5, "0.1"), dataset: "mesos.apart"},
		"/shop/bridge": {n: 3, lines: 40, bridge: []int{80, 8443}, framework: "marathon", labels: map[string]string{"net": "bridge"}, command: prints(40, "0.4")},
		"/shop/killed": {n: 3, framework: "marathon", command: prints(1<<30, "0.1")},
		"/shop/after":  {n: 6, lines: 10, framework: "marathon", labels: map[string]string{"team": "late"}, command: prints(10, "0.05")},
	}
	run := func(app string) {
		a := apps[app]
		a.ran = m.Run(mesos.Tasks{Framework: a.framework, Name: strings.ReplaceAll(app[1:], "/", "_") + ".instance-" + uuid + "._app", N: a.n,
			Labels: a.labels, Env: map[string]string{"MARATHON_APP_ID": app}, Command: a.command, Bridge: a.bridge, Again: a.again})
		a.n += a.again // all in all
	}
	ended := func(app, state string) {
		apps[app].ran.Wait(app+" "+state, func(said string) bool { return strings.Count(said, state) == apps[app].n })
	}
	for app := range apps {
		if app != "/shop/after" {
			run(app)
		}
	}
	ended("/shop/brief", "TASK_FINISHED")
	ended("/shop/crash", "TASK_FAILED")
	ended("/shop/web", "TASK_RUNNING")
	ended("/shop/bridge", "TASK_RUNNING")
	ended("/shop/killed", "TASK_RUNNING")

	// Without Marathon, agents and store the master knows where they are.
	code, out, errOut := mesoscope(t, "where", "/shop/web", "--master", m.Master, "--url", "http://127.0.0.1:1")
	if code != 0 || !strings.Contains(out, "/shop/web is on ") || strings.Count(out, "TASK_RUNNING") != apps["/shop/web"].n || strings.Contains(out, "1970") {
		t.Errorf("where, of the master: %d %s\n%s", code, errOut, out)
	}
	code, out, errOut = mesoscope(t, "where", "bridge", "--master", m.Master, "--url", agent.url)
	if code != 0 || !strings.HasPrefix(out, "/shop/bridge is on "+node+" (3)\n") || strings.Count(out, "->80/tcp ") != 3 || strings.Count(out, "->8443/tcp ") != 3 {
		t.Errorf("where, of the master and the agent: %d %s\n%s", code, errOut, out)
	}
	for i := range apps["/shop/killed"].n {
		apps["/shop/killed"].ran.Kill(fmt.Sprintf("shop_killed.instance-%s._app.%d", uuid, i))
	}
	ended("/shop/killed", "TASK_KILLED")

	// What Mesos never told while it was there cannot be known later.
	within(t, 60*time.Second, "what the labels of each task say", func() error {
		heard := map[string]map[string]bool{"/shop/web": {}, "/shop/crash": {}, "/shop/apart": {}, "/shop/hidden": {}}
		for _, l := range tasksOf(t, es) {
			if app := strings.Fields(l.Message)[0]; heard[app] != nil && len(l.Mesos.Task.Labels) > 0 {
				heard[app][l.Mesos.Task.ID] = true
			}
		}
		for _, source := range agent.sources("") {
			if source.State == "excluded" {
				heard["/shop/hidden"][source.ID] = true
			}
		}
		for app, tasks := range heard {
			if len(tasks) < apps[app].n {
				return fmt.Errorf("%d of %d tasks of %s", len(tasks), apps[app].n, app)
			}
		}
		return nil
	})
	// Mesos goes while tasks run; the agent starts anew and has only what it
	// wrote down of them; Mesos comes back, and knows nothing of them.
	m.Kill()
	agent.kill()
	agent.start()
	time.Sleep(time.Second) // lines are printed and read meanwhile
	m.Again()
	run("/shop/after")
	ended("/shop/after", "TASK_FINISHED")

	// How many lines a killed task has printed, Docker knows.
	printed := 0
	for _, id := range strings.Fields(docker(t, "ps", "-aq", "--no-trunc", "--filter", "name=mesos-")) {
		if env := docker(t, "inspect", "-f", "{{.Config.Env}} {{.HostConfig.Binds}}", id); strings.Contains(env, "MARATHON_APP_ID=/shop/killed ") && strings.Contains(env, m.WorkDir()) {
			printed += strings.Count(docker(t, "logs", id)+"\n", "\n")
		}
	}
	if killed := apps["/shop/killed"]; printed < killed.n {
		t.Errorf("%d killed tasks have printed %d lines", killed.n, printed)
	}
	want := printed
	for _, a := range apps {
		want += a.n * a.lines
	}
	var lines []taskLine
	within(t, 90*time.Second, fmt.Sprintf("%d lines", want), func() error {
		lines = tasksOf(t, es)
		wanted := 0
		for _, l := range lines {
			if !strings.HasPrefix(l.Message, "/shop/hidden ") {
				wanted++
			}
		}
		if wanted < want {
			return fmt.Errorf("%d", wanted)
		}
		return nil
	})
	wrong := 0
	seen := map[string]int{}
	for _, l := range lines {
		f := strings.Fields(l.Message)
		if len(f) != 6 {
			t.Fatalf("line %q", l.Message)
		}
		a := apps[f[0]]
		seen[f[0]+" "+f[2]]++
		bad := ""
		differs := func(what, got, want string) {
			if got != want {
				bad += fmt.Sprintf(" %s %q instead of %q", what, got, want)
			}
		}
		differs("app", l.Marathon.App.ID, f[0])
		differs("service", l.Service.Name, f[0])
		differs("task", l.Mesos.Task.ID, f[1])
		differs("node", l.Service.Node.Name, f[1])
		differs("framework", l.Mesos.Framework.ID, f[2])
		differs("framework of the app", l.Mesos.Framework.ID, a.ran.ID)
		differs("framework's name", l.Mesos.Framework.Name, a.framework)
		differs("executor", l.Mesos.Executor.ID, f[3])
		differs("agent", l.Mesos.Agent.ID, f[4])
		differs("task's name", l.Mesos.Task.Name, f[1][:strings.LastIndex(f[1], ".")])
		differs("labels", fmt.Sprint(l.Mesos.Task.Labels), fmt.Sprint(a.labels))
		differs("app's labels", fmt.Sprint(l.Marathon.App.Labels), fmt.Sprint(a.labels))
		if a.dataset != "" {
			differs("dataset", l.DataStream.Dataset, a.dataset)
		}
		if wrong++; bad == "" {
			wrong--
		} else if wrong <= 10 {
			t.Errorf("%s:%s", l.Message, bad)
		}
	}
	if wrong > 10 {
		t.Errorf("%d lines are wrong", wrong)
	}
	once := map[string]bool{}
	for _, l := range lines {
		if once[l.Message] {
			t.Errorf("twice: %s", l.Message)
		}
		once[l.Message] = true
	}
	for app, a := range apps {
		expected := a.n * a.lines
		if app == "/shop/killed" {
			expected = printed
		}
		if got := seen[app+" "+a.ran.ID]; got != expected {
			t.Errorf("%s: %d lines, want %d", app, got, expected)
		}
	}
	t.Logf("%d lines of %d apps compared", len(lines), len(apps))

	code, out, _ = mesoscope(t, "explain", "container", "shop_web.instance-"+uuid+"._app.0", "--url", agent.url)
	if code != 0 || !strings.Contains(out, "mesos.task.id") || !strings.Contains(out, "mesos agent") {
		t.Errorf("explain: %d\n%s", code, out)
	}
	// Where the tasks are is known without any agent.
	code, out, errOut = mesoscope(t, "where", "/shop/web", "--store", es.URL, "--url", "http://127.0.0.1:1")
	if code != 0 || !strings.HasPrefix(out, "/shop/web is on "+node+" (6)\n") || !strings.Contains(out, "shop_web.instance-"+uuid[:1]) {
		t.Errorf("where: %d %s\n%s", code, errOut, out)
	}
}

// tasksOf are all lines of tasks that the store has, of all data streams.
func tasksOf(t *testing.T, es *elasticsearch.Server) (lines []taskLine) {
	t.Helper()
	code, text := es.Do(http.DefaultClient, http.MethodPost, "/logs-mesos.*/_refresh", "", nil)
	if code == http.StatusOK {
		code, text = es.Do(http.DefaultClient, http.MethodPost, "/logs-mesos.*/_search", `{"size":10000,"query":{"exists":{"field":"marathon.app.id"}}}`, nil)
	}
	if code != http.StatusOK {
		t.Fatalf("search: %d %s", code, text)
	}
	var answer struct {
		Hits struct {
			Hits []struct {
				Source taskLine `json:"_source"`
			}
		}
	}
	if err := json.NewDecoder(bytes.NewReader([]byte(text))).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	for _, h := range answer.Hits.Hits {
		if strings.HasPrefix(h.Source.Message, "/shop/") {
			lines = append(lines, h.Source)
		}
	}
	return lines
}

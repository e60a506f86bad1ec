//go:build e2e && linux

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"mesoscope/test/elasticsearch"
	"mesoscope/test/mesos"
)

// boxLine is a document of a task, as far as TestSandboxes compares it.
type boxLine struct {
	taskLine
	Stream    string
	Container struct{ ID, Name, Runtime string }
}

// TestSandboxes runs tasks of a real Mesos with and without Docker, also in nested
// containers, while the agent is killed: each line is there once, with the right task
// and stream, and none from the sandbox of a Docker task.
func TestSandboxes(t *testing.T) {
	root := dockerRoot(t)
	es := elasticsearch.Start(t, elasticsearch.Options{})
	m := mesos.StartBoth(t)
	agent := newAgent(t, "sandbox", root, m.Agent, es.URL)
	agent.start()

	const uuid, lines, n = "c7c311a4-b669-11e6-a48f-0ea4f4b1778c", 40, 2
	command := fmt.Sprintf(`i=0; while [ $i -lt %d ]; do %s; %s >&2; i=$((i+1)); sleep 0.2; done`, lines, truth, strings.Replace(truth, `$i"`, `err $i"`, 1))
	ran := map[string]*mesos.Framework{}
	for app, o := range map[string]mesos.Tasks{"/box/web": {Sandbox: true}, "/box/pod": {Nested: true}, "/box/docker": {}} {
		o.Framework, o.N, o.Command, o.Env = "marathon", n, command, map[string]string{"MARATHON_APP_ID": app}
		o.Name = strings.ReplaceAll(app[1:], "/", "_") + ".instance-" + uuid + "._app"
		ran[app] = m.Run(o)
	}
	// As Aurora's executor does, which keeps the output of its processes itself.
	const thermos = "thermos-www-prod-web-0-" + uuid
	aurora := m.Run(mesos.Tasks{Framework: "aurora", Name: thermos, N: 1, Sandbox: true, Command: fmt.Sprintf(
		`d=sandbox/.logs/main/0; mkdir -p $d; i=0; while [ $i -lt %d ]; do echo out $i >>$d/stdout; echo err $i >>$d/stderr; i=$((i+1)); sleep 0.2; done`, lines)})
	for app, f := range ran {
		f.Wait(app+" to run", func(said string) bool { return strings.Count(said, "TASK_RUNNING") == n })
	}
	within(t, 120*time.Second, "lines of all apps", func() error {
		seen := map[string]bool{}
		for _, l := range boxLines(t, es, "box_") {
			seen[strings.Fields(l.Message + " -")[0]] = true
		}
		for app := range ran {
			if !seen[app] {
				return fmt.Errorf("none of %s", app)
			}
		}
		return nil
	})
	agent.kill()
	agent.start()
	for app, f := range ran {
		f.Wait(app+" to end", func(said string) bool { return strings.Count(said, "TASK_FINISHED") == n })
	}
	aurora.Wait("Aurora's task to end", func(said string) bool { return strings.Contains(said, "TASK_FINISHED") })
	within(t, 120*time.Second, "the lines of Aurora's process", func() error {
		seen := map[string]int{}
		for _, l := range boxLines(t, es, thermos) {
			if strings.HasSuffix(l.Container.Name, "/main") {
				if l.Mesos.Task.ID != thermos+".0" || l.Mesos.Framework.ID != aurora.ID || map[string]string{"out": "stdout", "err": "stderr"}[l.Message[:3]] != l.Stream {
					t.Errorf("%+v", l)
				}
				seen[l.Message]++
			}
		}
		for i := range lines {
			for _, text := range []string{fmt.Sprint("out ", i), fmt.Sprint("err ", i)} {
				if seen[text] != 1 {
					return fmt.Errorf("%q is there %d times", text, seen[text])
				}
			}
		}
		return nil
	})
	want := 2 * lines * n * len(ran)
	var all []boxLine
	within(t, 120*time.Second, fmt.Sprintf("%d lines", want), func() error {
		if all = boxLines(t, es, "box_"); len(all) < want+2*n {
			return fmt.Errorf("%d", len(all))
		}
		return nil
	})
	once, executors := map[string]bool{}, 0
	for _, l := range all {
		if l.Stream == "mesos.executor" {
			executors++
			if !strings.Contains(l.Message, "exec.cpp:164]") {
				t.Errorf("the executor said: %s", l.Message)
			}
			continue
		}
		f := strings.Fields(l.Message)
		if len(f) < 6 || ran[f[0]] == nil {
			t.Errorf("line %q", l.Message)
			continue
		}
		if once[l.Message] {
			t.Errorf("twice: %s", l.Message)
		}
		once[l.Message] = true
		runtime, stream := "mesos", "stdout"
		if f[0] == "/box/docker" {
			runtime = "docker"
		}
		if f[5] == "err" {
			stream = "stderr"
		}
		got := []string{l.Marathon.App.ID, l.Service.Name, l.Mesos.Task.ID, l.Mesos.Framework.ID, l.Mesos.Framework.Name, l.Mesos.Executor.ID, l.Mesos.Agent.ID, l.Container.Runtime, l.Stream}
		if good := []string{f[0], f[0], f[1], ran[f[0]].ID, "marathon", f[3], f[4], runtime, stream}; fmt.Sprint(got) != fmt.Sprint(good) {
			t.Errorf("%s: %q instead of %q", l.Message, got, good)
		}
	}
	if len(once) != want || executors != 2*n {
		t.Errorf("%d lines instead of %d, %d of executors instead of %d", len(once), want, executors, 2*n)
	}
}

// boxLines are all lines of tasks of TestSandboxes that the store has, by how the ids
// of their executors begin.
func boxLines(t *testing.T, es *elasticsearch.Server, executors string) (lines []boxLine) {
	t.Helper()
	code, text := es.Do(http.DefaultClient, http.MethodPost, "/logs-mesos.*/_refresh", "", nil)
	if code == http.StatusOK {
		code, text = es.Do(http.DefaultClient, http.MethodPost, "/logs-mesos.*/_search", `{"size":10000,"query":{"exists":{"field":"mesos.executor.id"}}}`, nil)
	}
	if code != http.StatusOK {
		t.Fatalf("search: %d %s", code, text)
	}
	var answer struct {
		Hits struct {
			Hits []struct {
				Source boxLine `json:"_source"`
			}
		}
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		t.Fatal(err)
	}
	for _, h := range answer.Hits.Hits {
		if strings.HasPrefix(h.Source.Mesos.Executor.ID, executors) {
			lines = append(lines, h.Source)
		}
	}
	return lines
}

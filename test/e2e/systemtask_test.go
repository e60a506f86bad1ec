//go:build e2e && linux

package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mesoscope/agent/status"
	"mesoscope/test/elasticsearch"
	"mesoscope/test/marathon"
	"mesoscope/test/mesos"
)

// A deployed is an app of deploy/marathon.
type deployed struct{ marathon.App }

func deployedApp(t *testing.T, name string) deployed {
	t.Helper()
	text, err := os.ReadFile("../../deploy/marathon/" + name)
	if err != nil {
		t.Fatal(err)
	}
	a, err := marathon.ReadApp(text, "*")
	if err != nil {
		t.Fatal(err)
	}
	return deployed{a}
}

func systemTask(t *testing.T) deployed { return deployedApp(t, "agent.json") }

// capabilities are those that docker run gives it.
func (d deployed) capabilities() (list []string) {
	for _, p := range d.Container.Docker.Parameters {
		if p.Key == "cap-add" {
			list = append(list, p.Value)
		}
	}
	return list
}

// TestSystemTask runs the agent as Marathon would: deploy/marathon/agent.json as
// a task of a real Mesos, in the image that make docker builds. It ships the
// lines of other tasks, those too that were printed between its own task's end
// and the next one's start, and nothing of what it prints itself.
func TestSystemTask(t *testing.T) {
	root := dockerRoot(t)
	image := makeDocker(t)
	es := elasticsearch.Start(t, elasticsearch.Options{})
	m := mesos.Start(t)
	address := freeAddress(t)
	_, port, _ := net.SplitHostPort(address)
	app := systemTask(t)

	// What the machine of this test has elsewhere, and what Marathon adds.
	env := map[string]string{"MARATHON_APP_ID": app.ID, "MARATHON_APP_VERSION": "2026-11-25T00:00:00.000Z", "MARATHON_APP_DOCKER_IMAGE": image,
		"HOST": node, "PORT0": port, "PORTS": port,
		"MESOSCOPE_HTTP_LISTEN": "127.0.0.1:${PORT0}", "MESOSCOPE_NODE_NAME": "${HOST}", "MESOSCOPE_MESOS_AGENT": m.Agent,
		"MESOSCOPE_DOCKER_ROOT": root, "MESOSCOPE_HOLD_DIR": holdFolder(t, root, "task"), "MESOSCOPE_HOLD_MIN_FREE": "0"}
	for name := range app.Env {
		env[name] = map[string]string{"MESOSCOPE_OUTPUT_ELASTICSEARCH_HOSTS": es.URL}[name]
		if env[name] == "" {
			t.Fatalf("agent.json sets %s, which this test does not know", name)
		}
	}
	elsewhere := map[string]string{"/var/lib/docker": root + ":" + root, "/var/run/docker.sock": "/var/run/docker.sock:/var/run/docker.sock",
		"/sys/fs/cgroup": "/sys/fs/cgroup:/sys/fs/cgroup",
		"/var/lib/mesos": m.WorkDir() + ":" + m.WorkDir(), "/var/lib/mesoscope": t.TempDir() + ":/var/lib/mesoscope", "/etc/mesoscope": t.TempDir() + ":/etc/mesoscope"}
	program := &mesos.Program{Image: image, Args: append([]string{"/mesoscope"}, app.Args...), Mem: app.Mem}
	for _, v := range app.Container.Volumes {
		if elsewhere[v.HostPath] == "" {
			t.Fatalf("agent.json mounts %s, which this test does not know", v.HostPath)
		}
		program.Volumes = append(program.Volumes, elsewhere[v.HostPath]+":"+v.Mode)
	}
	for _, p := range app.Container.Docker.Parameters {
		program.Options = append(program.Options, p.Key+"="+p.Value)
	}
	a := &process{t: t, url: "http://" + address}
	start := func(incarnation string) *mesos.Framework {
		t.Helper()
		f := m.Run(mesos.Tasks{Framework: "marathon", Name: "mesoscope_agent.instance-c7c311a4-b669-11e6-a48f-0ea4f4b1778" + incarnation + "._app", N: 1, Env: env, Program: program})
		f.Wait("the agent runs", func(said string) bool { return strings.Contains(said, "TASK_RUNNING") })
		within(t, 60*time.Second, "its health check", func() error {
			code, _, err := a.get(app.HealthChecks[0].Path)
			if err == nil && code != http.StatusOK {
				err = fmt.Errorf("status %d", code)
			}
			return err
		})
		return f
	}
	t.Cleanup(func() {
		if t.Failed() {
			_, out, _ := mesoscope(t, "status", "--all", "--url", a.url)
			t.Logf("%s", out)
		}
	})
	first := start("a")
	const tasks, lines = 3, 60
	run := func(name string, n int, pause string) *mesos.Framework {
		return m.Run(mesos.Tasks{Framework: "marathon", Name: "shop_" + name + ".instance-c7c311a4-b669-11e6-a48f-0ea4f4b1778c._app", N: tasks,
			Env: map[string]string{"MARATHON_APP_ID": "/shop/" + name}, Command: prints(n, pause)})
	}
	long := run("long", lines, "0.2")
	stored := func(app string, n int) {
		t.Helper()
		within(t, 90*time.Second, fmt.Sprintf("%d lines of %s", n, app), func() error {
			got := 0
			for _, l := range tasksOf(t, es) {
				if l.Marathon.App.ID == app {
					got++
				}
			}
			if got < n {
				return fmt.Errorf("%d", got)
			}
			return nil
		})
	}
	stored("/shop/long", tasks) // it has begun
	// From inside of its container it sees the cgroups of the others.
	within(t, 90*time.Second, "all tasks are measured", func() error {
		var u status.Usage
		_, body, err := a.get(status.UsagePath)
		if err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(body), &u); err != nil {
			return err
		}
		measured, itself := 0, false
		for _, c := range u.Containers {
			if c.App == "/shop/long" && c.Framework == "marathon" && c.Task != "" && c.Measured && c.Pids > 0 {
				measured++
			}
			itself = itself || c.App == app.ID && c.Measured
		}
		if measured != tasks || !itself {
			return fmt.Errorf("%d of %d, itself %v: %s", measured, tasks, itself, u.Problem)
		}
		return nil
	})
	first.Stop()
	within(t, 60*time.Second, "the first agent's end", func() error {
		if _, _, err := a.get("/healthz"); err == nil {
			return fmt.Errorf("it still answers")
		}
		return nil
	})
	brief := run("brief", 5, "0.05") // while no agent runs
	brief.Wait("their end", func(said string) bool { return strings.Count(said, "TASK_FINISHED") == tasks })
	second := start("b")
	long.Wait("its end", func(said string) bool { return strings.Count(said, "TASK_FINISHED") == tasks })
	stored("/shop/long", tasks*lines)
	stored("/shop/brief", tasks*5)

	seen := map[string]bool{}
	for _, l := range tasksOf(t, es) {
		f := strings.Fields(l.Message)
		if len(f) != 6 || l.Marathon.App.ID != f[0] || l.Mesos.Task.ID != f[1] || l.Mesos.Framework.ID != f[2] || l.Mesos.Framework.Name != "marathon" || l.Mesos.Agent.ID != f[4] {
			t.Errorf("%q is given to %+v %+v", l.Message, l.Mesos, l.Marathon)
		}
		if seen[l.Message] {
			t.Errorf("twice: %s", l.Message)
		}
		seen[l.Message] = true
	}
	if want := tasks * (lines + 5); len(seen) != want {
		t.Errorf("%d lines, %d were printed", len(seen), want)
	}
	// Nothing of its own, of this task or of the one before it.
	code, text := es.Do(http.DefaultClient, http.MethodGet, "/logs-mesos.*/_count?q=service.name:%22%2Fmesoscope%2Fagent%22", "", nil)
	if code != http.StatusOK || !strings.Contains(text, `"count":0,`) {
		t.Errorf("lines of its own: %d %s", code, text)
	}
	if own := docker(t, "ps", "-aq", "--filter", "ancestor="+image); len(strings.Fields(own)) != 2 {
		t.Errorf("the first agent's container has gone, so this has not tested that it is skipped: %q", own)
	}
	second.Stop()
}

// makeDocker is the image that make docker builds.
func makeDocker(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("make"); err != nil {
		lacking(t, "no make")
	}
	version := fmt.Sprintf("e2e-%d", os.Getpid())
	cmd := exec.Command("make", "-C", "../..", "docker", "VERSION="+version)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make docker: %v\n%s", err, tailOf(string(out), 20))
	}
	image := "mesoscope:" + version
	t.Cleanup(func() { _ = exec.Command("docker", "rmi", image).Run() }) // containers of it go before
	return image
}

// TestSystemTaskWithoutDocker runs the command of the app for the Mesos
// containerizer as that does: by a shell, in the sandbox, where the binary has
// been fetched to. The helpers of a real one are in no registry.
func TestSystemTaskWithoutDocker(t *testing.T) {
	root := dockerRoot(t)
	app := deployedApp(t, "agent-without-docker.json")
	sandbox, address, sink := t.TempDir(), freeAddress(t), newLossySink(t)
	if len(app.Fetch) != 1 || !app.Fetch[0].Executable || app.Fetch[0].Extract {
		t.Fatalf("%+v", app.Fetch)
	}
	if err := os.Link(binary, filepath.Join(sandbox, filepath.Base(app.Fetch[0].URI))); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", "-c", app.Cmd)
	cmd.Dir = sandbox
	cmd.Env = []string{"PATH=/usr/bin:/bin", "MESOS_SANDBOX=" + sandbox, "MESOS_DIRECTORY=" + sandbox, "MARATHON_APP_ID=" + app.ID, "HOST=" + node, "PORT0=" + strings.Split(address, ":")[1],
		"MESOSCOPE_HTTP_LISTEN=127.0.0.1:${PORT0}", "MESOSCOPE_NODE_NAME=${HOST}", "MESOSCOPE_DATA_DIR=" + t.TempDir(),
		"MESOSCOPE_DOCKER_ROOT=" + root, "MESOSCOPE_HOLD_DIR=" + holdFolder(t, root, "bare"), "MESOSCOPE_HOLD_MIN_FREE=0"}
	for name := range app.Env {
		cmd.Env = append(cmd.Env, name+"="+map[string]string{"MESOSCOPE_OUTPUT_ELASTICSEARCH_HOSTS": sink.url}[name])
	}
	said := &output{}
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // the agent itself: the shell has been replaced by it
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("it said:\n%s", tailOf(said.String(), 20))
		}
	})
	a := &process{t: t, url: "http://" + address}
	within(t, 60*time.Second, "its health check", func() error {
		_, _, err := a.get(app.HealthChecks[0].Path)
		return err
	})
	w := newWriter(t, "bare", func(w *writer) { w.flags = []string{"-n", "50"} })
	w.start()
	w.finish()
	sink.arrived(w)
	if left, err := os.ReadDir(sandbox); err != nil || len(left) != 1 {
		t.Errorf("it writes into a folder that goes with the task: %v %v", left, err)
	}
}

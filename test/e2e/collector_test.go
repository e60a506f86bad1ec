//go:build e2e && linux

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"mesoscope/collector/state"
	"mesoscope/collector/status"
	"mesoscope/test/marathon"
	"mesoscope/test/mesos"
)

// plainNginx starts one that answers /health at a port.
func plainNginx(t *testing.T, port string) *os.Process {
	t.Helper()
	dir := t.TempDir()
	conf := fmt.Sprintf(`daemon off; pid %[1]s/pid; error_log stderr; master_process off;
events {}
http {
  access_log off; client_body_temp_path %[1]s/a; proxy_temp_path %[1]s/b; fastcgi_temp_path %[1]s/c; uwsgi_temp_path %[1]s/d; scgi_temp_path %[1]s/e;
  server { listen 127.0.0.1:%[2]s; location = /health { return 200 '{"ok": true}'; } location / { return 404; } }
}
`, dir, port)
	path := filepath.Join(dir, "conf")
	if err := os.WriteFile(path, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	return service(t, "nginx", "-c", path)
}

// hostApp is an app of one task in the host's network, as Marathon tells it.
func hostApp(id, image, port string, labels map[string]string) map[string]any {
	n, err := strconv.Atoi(port)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	task := strings.ReplaceAll(strings.Trim(id, "/"), "/", "_") + ".1"
	return map[string]any{
		"id": id, "instances": 1, "labels": labels, "tasksRunning": 1,
		"container":       map[string]any{"type": "DOCKER", "docker": map[string]any{"image": image, "network": "HOST"}},
		"portDefinitions": []any{map[string]any{"port": n, "name": "main"}},
		"tasks": []any{map[string]any{"id": task, "appId": id, "host": "127.0.0.1", "ports": []int{n}, "state": "TASK_RUNNING",
			"startedAt": time.Now().Add(-time.Hour).UTC().Format("2006-01-02T15:04:05.000Z")}},
	}
}

// checksOf are the collector's checks by app and name.
func checksOf(p *process) (map[string]status.Check, error) {
	_, body, err := p.get(status.ChecksPath)
	var list []status.Check
	if err == nil {
		err = json.Unmarshal([]byte(body), &list)
	}
	out := map[string]status.Check{}
	for _, c := range list {
		out[c.App+" "+c.Name] = c
	}
	return out, err
}

// stands waits until a check has a status, in the interface and in the metrics.
func stands(t *testing.T, p *process, check string, want state.Status) (c status.Check) {
	t.Helper()
	app, name, _ := strings.Cut(check, " ")
	within(t, time.Minute, fmt.Sprintf("%s is %s", check, want), func() error {
		all, err := checksOf(p)
		if err != nil {
			return err
		}
		if c = all[check]; c.ID == "" || c.Status != want {
			return fmt.Errorf("%+v of %d checks", c, len(all))
		}
		_, metrics, err := p.get("/metrics")
		series := fmt.Sprintf(`mesoscope_check_state{check="%s",kind="%s",app="%s",host="127.0.0.1",slot="0",framework="marathon",cluster="e2e",team="shop",vantage="c1"} %d`, name, c.Kind, app, want)
		if err == nil && !strings.Contains(metrics, series+"\n") {
			err = fmt.Errorf("no %s", series)
		}
		return err
	})
	return c
}

// TestCollector breaks real servers and mends them; Marathon alone is an
// imitation.
func TestCollector(t *testing.T) {
	cache, web := freePort(t), freePort(t)
	redis := service(t, "redis-server", "--port", cache, "--save", "", "--dir", t.TempDir())
	nginx := plainNginx(t, web)
	m := marathon.Start(t)
	labels := map[string]string{"mesoscope.check.health": "http:/health", "mesoscope.check.health.expect": "[BODY].ok == true"}
	list := func() {
		m.List(hostApp("/prod/cache", "redis:7", cache, nil), hostApp("/prod/web", "example/web:1", web, labels))
	}
	list()
	dir, address := t.TempDir(), freeAddress(t)
	overlay := filepath.Join(dir, "checks.yml")
	if err := os.WriteFile(overlay, []byte(`apps: {"*": {team: shop, checks: {health: {interval: 1s, grace: 0s}, redis: {interval: 1s, timeout: 2s}}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	p := newProcess(t, "collector", address, fmt.Sprintf(`data_dir: %s
http: {listen: "%s"}
node: {name: c1}
mesos: {marathon: ["%s"]}
collector: {cluster: e2e, checks_file: %s}
`, dir, address, m.URL, overlay))
	p.start()
	stands(t, p, "/prod/cache redis", state.OK)
	stands(t, p, "/prod/web health", state.OK)
	if code, out, _ := mesoscope(t, "status", "--url", p.url); code != 0 || !strings.Contains(out, "2 checks, 2 OK") {
		t.Errorf("%d\n%s", code, out)
	}
	if _, body, err := p.get("/sd"); err != nil || !strings.Contains(body, `"targets":["127.0.0.1:`+web+`"]`) || !strings.Contains(body, `"__meta_mesoscope_port_name":"main"`) {
		t.Errorf("%v %s", err, body)
	}

	// the web server is gone, the other one hangs
	if err := nginx.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := redis.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	gone := stands(t, p, "/prod/web health", state.Critical)
	if !strings.Contains(gone.Text, "connection refused") {
		t.Error(gone.Text)
	}
	if hangs := stands(t, p, "/prod/cache redis", state.Critical); !strings.Contains(hangs.Text, "timeout") && !strings.Contains(hangs.Text, "within") {
		t.Error(hangs.Text)
	}
	if code, out, _ := mesoscope(t, "status", "--url", p.url); code != 1 || !strings.Contains(out, "CRITICAL  /prod/web") || !strings.Contains(out, "/prod/cache: 1 of 1 instances run, 0 can be reached") {
		t.Errorf("%d\n%s", code, out)
	}

	// a collector that is killed, and a Marathon that is away: all is remembered
	p.kill()
	p.start()
	if again := stands(t, p, "/prod/web health", state.Critical); !again.Since.Equal(gone.Since) {
		t.Errorf("since %s, before the restart since %s", again.Since, gone.Since)
	}
	m.Down(true)
	plainNginx(t, web)
	if err := redis.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	stands(t, p, "/prod/web health", state.OK)
	stands(t, p, "/prod/cache redis", state.OK)
	within(t, time.Minute, "it is said that Marathon is away", func() error {
		if code, out, _ := mesoscope(t, "status", "--url", p.url); code != 1 || !strings.Contains(out, "! marathon "+m.URL+" fails") {
			return fmt.Errorf("%d\n%s", code, out)
		}
		return nil
	})
	m.Down(false)

	// another label counts, and the app's task is the same
	labels["mesoscope.check.health"] = "http:/nowhere"
	list()
	changed := stands(t, p, "/prod/web health", state.Critical)
	if !strings.Contains(changed.Text, "404") || changed.Task != gone.Task {
		t.Errorf("%+v", changed)
	}
	if code, out, _ := mesoscope(t, "explain", "check", "/prod/web", "--url", p.url); code != 0 || !strings.Contains(out, "/nowhere") || !strings.Contains(out, "label mesoscope.check.health") {
		t.Errorf("%d\n%s", code, out)
	}
	// the overlay corrects it without touching the app
	if err := os.WriteFile(overlay, []byte(`apps: {"*": {team: shop, checks: {health: {interval: 1s, path: /health}, redis: {interval: 1s}}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	stands(t, p, "/prod/web health", state.OK)
	p.stop()
}

// TestCollectorTask runs deploy/marathon/collector.json as Marathon's Docker
// does it: not as root, without a capability, with nothing to write to but its
// state.
func TestCollectorTask(t *testing.T) {
	dockerRoot(t)
	image := makeDocker(t)
	app := deployedApp(t, "collector.json")
	web := freePort(t)
	plainNginx(t, web)
	m := marathon.Start(t)
	m.List(hostApp("/prod/web", "example/web:1", web, map[string]string{"mesoscope.check.health": "http:/health", "mesoscope.check.health.interval": "1s", "mesoscope.team": "shop"}))

	folders := map[string]string{}
	for _, path := range []string{"/var/lib/mesoscope-collector", "/etc/mesoscope"} {
		folders[path] = t.TempDir()
	}
	for name, text := range map[string]string{"collector-token": "sesame", "checks.yml": "apps: {}"} {
		if err := os.WriteFile(filepath.Join(folders["/etc/mesoscope"], name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(folders["/var/lib/mesoscope-collector"], 65534, 65534); err != nil {
		t.Fatal(err)
	}
	address := freeAddress(t)
	env := map[string]string{"MESOSCOPE_DATA_DIR": "", "MESOSCOPE_HTTP_LISTEN": address, "MESOSCOPE_HTTP_TOKEN_FILE": "", "MESOSCOPE_MESOS_MARATHON": m.URL, "MESOSCOPE_COLLECTOR_CLUSTER": "e2e", "MESOSCOPE_COLLECTOR_CHECKS_FILE": ""}
	name := fmt.Sprintf("mesoscope-e2e-collector-%d", os.Getpid())
	args := []string{"run", "-d", "--rm", "--name", name, "--net", "host", "--hostname", "c1"}
	for key, value := range app.Env {
		other, known := env[key]
		if !known {
			t.Fatalf("collector.json sets %s, which this test does not know", key)
		}
		if other != "" {
			value = other
		}
		args = append(args, "-e", key+"="+value)
	}
	args = append(args, "-e", "MESOSCOPE_NODE_NAME=c1") // the host's name is that of the machine
	for _, v := range app.Container.Volumes {
		if folders[v.HostPath] == "" {
			t.Fatalf("collector.json mounts %s, which this test does not know", v.HostPath)
		}
		args = append(args, "-v", folders[v.HostPath]+":"+v.ContainerPath+":"+strings.ToLower(v.Mode))
	}
	for _, p := range app.Container.Docker.Parameters {
		args = append(args, "--"+p.Key+"="+p.Value)
	}
	docker(t, append(append(args, image), app.Args...)...)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(docker(t, "logs", name))
		}
		docker(t, "rm", "-f", name)
	})
	p := &process{t: t, url: "http://" + address}
	within(t, time.Minute, "its health check", func() error {
		code, _, err := p.get(app.HealthChecks[0].Path)
		if err == nil && code != 200 {
			err = fmt.Errorf("status %d", code)
		}
		return err
	})
	if code, _, err := p.get(status.ChecksPath); err != nil || code != 401 {
		t.Errorf("without the token: %d %v", code, err)
	}
	token := filepath.Join(folders["/etc/mesoscope"], "collector-token")
	within(t, time.Minute, "the app is well", func() error {
		if code, out, errs := mesoscope(t, "status", "--url", p.url, "--token-file", token, "--all"); code != 0 || !strings.Contains(out, "OK      /prod/web  health") {
			return fmt.Errorf("%d\n%s%s", code, out, errs)
		}
		return nil
	})
	if top := strings.Fields(docker(t, "top", name, "-o", "pid,uid,comm")); len(top) != 6 || top[4] != "65534" || top[5] != "mesoscope" {
		t.Errorf("%q", top)
	}
}

// TestCollectorMesos finds the tasks of a real master, and its machine.
func TestCollectorMesos(t *testing.T) {
	m := mesos.Start(t)
	dir, address := t.TempDir(), freeAddress(t)
	if err := os.WriteFile(filepath.Join(dir, "checks.yml"), []byte(`hosts: {"*": {checks: {agent: {kind: mesos-agent, target: "`+m.Agent+`", interval: 1s}}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	p := newProcess(t, "collector", address, fmt.Sprintf(`data_dir: %s
http: {listen: "%s"}
mesos: {master: ["%s"]}
collector: {cluster: e2e, checks_file: %s/checks.yml}
`, dir, address, m.Master, dir))
	f := m.Run(mesos.Tasks{Framework: "marathon", Name: "shop_web.instance-c7c311a4-b669-11e6-a48f-0ea4f4b1778c._app", N: 2, Command: prints(1000, "1")})
	f.Wait("they run", func(said string) bool { return strings.Count(said, "TASK_RUNNING") >= 2 })
	p.start()
	within(t, time.Minute, "both tasks are found and the machine is checked", func() error {
		var st status.Status
		_, body, err := p.get(status.StatusPath)
		if err == nil {
			err = json.Unmarshal([]byte(body), &st)
		}
		if err == nil && (len(st.Sources) != 1 || st.Sources[0].Instances != 2 || st.By["OK"] != 1) {
			err = fmt.Errorf("%s", body)
		}
		return err
	})
	f.Stop()
	within(t, time.Minute, "they are gone", func() error {
		_, body, err := p.get(status.StatusPath)
		if err == nil && !strings.Contains(body, `"instances":0`) {
			err = fmt.Errorf("%s", body)
		}
		return err
	})
	p.stop()
}

package discover

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"mesoscope/config"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares got with testdata/name.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s:\n got %s\nwant %s", name, got, want)
	}
}

// Shapes of config.v2.json and hostconfig.json as dockerd 20.10 writes them,
// without members that do not matter here.
const (
	runningConfig = `{"StreamConfig":{},"State":{"Running":true,"Paused":false,"Restarting":false,"Pid":42,"StartedAt":"2026-11-23T11:55:12.309026538Z"},` +
		`"ID":"a1","Created":"2026-11-23T11:55:12.044675317Z","Path":"sh","Config":{"Hostname":"web1","Tty":false,"Env":["PATH=/bin","DB_PASSWORD=secret"],` +
		`"Image":"reg.example:5000/team/web:3.1","Labels":{"app":"web","app.kubernetes.io/name":"web"}},"Image":"sha256:f126","Name":"/web","LogPath":"/elsewhere/x.log","Driver":"overlay2"}`
	jsonFileHost = `{"LogConfig":{"Type":"json-file","Config":{"max-file":"3","max-size":"1m"}},"NetworkMode":"default"}`
)

func configShapes() map[string][2]string {
	shape := func(state, config string) string {
		return `{"State":` + state + `,"Created":"2026-11-23T11:55:12Z","Config":` + config + `,"Image":"sha256:f126","Name":"/n"}`
	}
	return map[string][2]string{
		"running":    {runningConfig, jsonFileHost},
		"exited":     {shape(`{"Running":false,"ExitCode":1}`, `{"Image":"redis"}`), jsonFileHost},
		"no memory":  {shape(`{"Running":false,"ExitCode":137,"OOMKilled":true,"FinishedAt":"2026-11-25T09:58:51.85Z"}`, `{"Image":"redis"}`), jsonFileHost},
		"restarting": {shape(`{"Running":false,"Restarting":true}`, `{"Image":"redis@sha256:0123"}`), jsonFileHost},
		"tty":        {shape(`{"Running":true}`, `{"Tty":true,"Image":"sha256:abcd"}`), `{"LogConfig":{"Type":"json-file","Config":{}},"NetworkMode":"host"}`},
		"none":       {shape(`{"Running":true}`, `{"Image":"redis"}`), `{"LogConfig":{"Type":"none","Config":{}},"NetworkMode":"bridge"}`},
		"local":      {shape(`{"Running":true}`, `{"Image":"redis"}`), `{"LogConfig":{"Type":"local","Config":{}},"NetworkMode":"bridge"}`},
		"compose": {shape(`{"Running":true}`, `{"Image":"shop-web","Labels":{"com.docker.compose.project":"shop","com.docker.compose.service":"web"}}`),
			`{"LogConfig":{"Type":"json-file","Config":{}},"NetworkMode":"shop_default"}`},
		"swarm": {shape(`{"Running":true}`, `{"Image":"nginx:1.27@sha256:0123","Labels":{"com.docker.swarm.service.name":"shop_web","com.docker.swarm.task.id":"t1"}}`), jsonFileHost},
		"marathon": {shape(`{"Running":true}`, `{"Image":"web:7","Env":["MARATHON_APP_ID=/prod/web","MARATHON_APP_VERSION=2026-11-01T00:00:00.000Z",`+
			`"MARATHON_APP_LABELS=TEAM","MARATHON_APP_LABEL_TEAM=core","MESOS_TASK_ID=prod_web.instance-1._app.1","MESOS_CONTAINER_NAME=mesos-9","AWS_SECRET_ACCESS_KEY=x","NOVALUE"]}`), jsonFileHost},
		"torn":           {runningConfig[:200], jsonFileHost},
		"torn host":      {runningConfig, `{"LogCon`},
		"empty":          {"", ""},
		"null state":     {`{"State":null,"Name":"/n"}`, `{}`},
		"unknown shapes": {`{"State":{"Running":"yes"},"Name":["n"],"Created":7,"Config":{"Image":"redis:7","Env":{"A":"B"}},"New":{}}`, `{"LogConfig":"json-file","NetworkMode":"host"}`},
		"not json":       {"\x00\x00\x00", "<xml/>"},
	}
}

func TestConfigShapes(t *testing.T) {
	for name, shape := range configShapes() {
		t.Run(name, func(t *testing.T) {
			r := newFakeRoot(t)
			id := fullID("a1")
			r.mkdir(id)
			r.write(id, "config.v2.json", shape[0])
			r.write(id, "hostconfig.json", shape[1])
			s := discoverFor(t, Options{Docker: config.Docker{Root: r.root}})
			c := s.container(id, func(Container) bool { return true })
			got, err := json.MarshalIndent(c, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden(t, "config/"+strings.ReplaceAll(name, " ", "-")+".json", []byte(strings.ReplaceAll(string(got), r.root, "ROOT")+"\n"))
			if strings.Contains(string(got), "secret") || strings.Contains(string(got), "AWS") {
				t.Error("a secret came in")
			}
		})
	}
}

// A container's directory is announced before anything in it can be read, and
// completed when it can; it leaves the set with its directory, not before.
func TestContainerComesAndGoes(t *testing.T) {
	r := newFakeRoot(t)
	s := discoverFor(t, Options{Docker: config.Docker{Root: r.root}})
	s.wait("the empty set", func(set map[string]Container) bool { return len(set) == 0 })
	id := fullID("b2")
	start := time.Now()
	r.mkdir(id)
	c := s.container(id, func(Container) bool { return true })
	if d := time.Since(start); d > 500*time.Millisecond {
		t.Errorf("announced after %v", d)
	}
	if c.LogPath != filepath.Join(r.dir(id), id+"-json.log") || !c.Running || c.Name != "" {
		t.Errorf("bare: %+v", c)
	}
	r.write(id, "config.v2.json", runningConfig[:100])
	r.write(id, "hostconfig.json", jsonFileHost)
	s.container(id, func(c Container) bool { return c.Driver == jsonFile })
	start = time.Now()
	r.write(id, "config.v2.json", runningConfig)
	s.container(id, func(c Container) bool { return c.Name == "web" && c.Running })
	if d := time.Since(start); d > 500*time.Millisecond {
		t.Errorf("completed after %v", d)
	}
	r.write(id, "config.v2.json", strings.Replace(runningConfig, `"Running":true`, `"Running":false`, 1))
	s.container(id, func(c Container) bool { return !c.Running })
	if err := os.Remove(filepath.Join(r.dir(id), "config.v2.json")); err != nil { // docker rm is under way
		t.Fatal(err)
	}
	other := fullID("c3")
	r.mkdir(other)
	s.container(other, func(Container) bool { return true })
	if c := s.container(id, func(Container) bool { return true }); c.Name != "web" {
		t.Errorf("while it is removed: %+v", c)
	}
	if err := os.RemoveAll(r.dir(id)); err != nil {
		t.Fatal(err)
	}
	s.wait("the end", func(set map[string]Container) bool { _, there := set[id]; return !there && len(set) == 1 })
}

func TestErrorTakesNothingAway(t *testing.T) {
	r := newFakeRoot(t)
	id := fullID("d4")
	r.mkdir(id)
	r.write(id, "config.v2.json", runningConfig)
	r.write(id, "hostconfig.json", jsonFileHost)
	s := discoverFor(t, Options{Docker: config.Docker{Root: r.root}})
	s.container(id, func(Container) bool { return true })
	s.stop()

	d, err := New(Options{Docker: config.Docker{Root: r.root}})
	if err != nil {
		t.Fatal(err)
	}
	d.lookAll()
	if err := os.Rename(filepath.Join(r.root, "containers"), filepath.Join(r.root, "away")); err != nil {
		t.Fatal(err)
	}
	d.dirty = false
	d.lookAll()
	d.lookAt(id) // what a late event would do
	if len(d.set) != 1 || d.dirty || d.filesOK || d.nextLook() != absentLook {
		t.Errorf("after the folder went: %d in the set, dirty %v, ok %v", len(d.set), d.dirty, d.filesOK)
	}
	if err := os.Rename(filepath.Join(r.root, "away"), filepath.Join(r.root, "containers")); err != nil {
		t.Fatal(err)
	}
	d.lookAll()
	if len(d.set) != 1 || d.dirty || !d.filesOK {
		t.Errorf("after it came back: %d in the set, dirty %v, ok %v", len(d.set), d.dirty, d.filesOK)
	}
}

func TestNothingThere(t *testing.T) {
	var log strings.Builder
	d, err := New(Options{Docker: config.Docker{Root: filepath.Join(t.TempDir(), "none")}, Log: textLog(&log)})
	if err != nil {
		t.Fatal(err)
	}
	d.lookAll()
	d.lookAll()
	if n := strings.Count(log.String(), "cannot be read"); n != 1 || d.answered {
		t.Errorf("said %d times, answered %v: %s", n, d.answered, log.String())
	}
}

// Looking at 5,000 containers again must cost no more than asking for times.
func TestManyContainers(t *testing.T) {
	const n = 5000
	r := newFakeRoot(t)
	for i := range n {
		id := fullID(fmt.Sprintf("%06x", i))
		r.mkdir(id)
		r.write(id, "config.v2.json", runningConfig)
		r.write(id, "hostconfig.json", jsonFileHost)
	}
	d, err := New(Options{Docker: config.Docker{Root: r.root}})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	d.lookAll()
	first := time.Since(start)
	if len(d.set) != n || !d.dirty {
		t.Fatalf("%d containers", len(d.set))
	}
	d.dirty = false
	start = time.Now()
	changed, err := d.files.lookAll()
	again := time.Since(start)
	if err != nil || len(changed) != 0 {
		t.Errorf("%d changed, %v", len(changed), err)
	}
	t.Logf("first look %v, second %v", first, again)
	// Only what changed is read.
	id := fullID("000007")
	r.write(id, "config.v2.json", strings.Replace(runningConfig, "/web", "/new", 1))
	if changed, _ = d.files.lookAll(); len(changed) != 1 || changed[0] != id {
		t.Errorf("changed: %v", changed)
	}
}

func TestExclude(t *testing.T) {
	r := newFakeRoot(t)
	ids := map[string]string{}
	for name, image := range map[string]string{"web": "reg:5000/team/web:3", "db": "postgres:16", "sidecar-1": "envoy", "plain": "busybox"} {
		id := fullID(fmt.Sprintf("%x", name))
		ids[name] = id
		r.mkdir(id)
		c := strings.Replace(strings.Replace(runningConfig, "/web\"", "/"+name+"\"", 1), "reg.example:5000/team/web:3.1", image, 1)
		if name == "db" {
			c = strings.Replace(c, `"app":"web"`, `"logs":"off"`, 1)
		}
		r.write(id, "config.v2.json", c)
		r.write(id, "hostconfig.json", jsonFileHost)
	}
	s := discoverFor(t, Options{Docker: config.Docker{Root: r.root, Exclude: []string{"label:logs=o?f", "sidecar-*", "image:*/team/*"}}})
	s.wait("one container", func(set map[string]Container) bool { return len(set) == 1 && set[ids["plain"]].Name == "plain" })
	var got []Excluded
	for _, e := range s.d.Excluded() {
		if e.Of.ID != e.ID || e.Of.Name != e.Name {
			t.Errorf("%s is excluded, and known as %s %s", e.Name, e.Of.ID, e.Of.Name)
		}
		got = append(got, Excluded{ID: e.ID, Name: e.Name, Rule: e.Rule})
	}
	want := []Excluded{{ID: ids["db"], Name: "db", Rule: "label:logs=o?f"}, {ID: ids["sidecar-1"], Name: "sidecar-1", Rule: "sidecar-*"}, {ID: ids["web"], Name: "web", Rule: "image:*/team/*"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("excluded %v, want %v", got, want)
	}
	// A new one is never announced before its name is known.
	late := fullID("fade")
	r.mkdir(late)
	time.Sleep(50 * time.Millisecond) // gives a wrong announcement the time to happen; the test cannot pass by it
	r.write(late, "config.v2.json", strings.Replace(runningConfig, "/web\"", "/sidecar-2\"", 1))
	until(t, "its exclusion", 10*time.Second, func() bool { return len(s.d.Excluded()) == 4 })
	if s.everSeen(late) {
		t.Error("an excluded container was announced")
	}
}

func TestBadRules(t *testing.T) {
	f := func(entry, want string) {
		t.Helper()
		_, err := New(Options{Docker: config.Docker{Exclude: []string{"ok", entry}}})
		if err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", entry, err, want)
		}
	}
	f("nmae:x", `docker.exclude[1]: "nmae:x": want name:PATTERN, image:PATTERN, label:KEY or label:KEY=PATTERN`)
	f("label:=x", `docker.exclude[1]: "label:=x": no label key`)
	f("name:", `docker.exclude[1]: "name:": empty pattern`)
}

func TestFindID(t *testing.T) {
	id := strings.Repeat("ab", 32)
	f := func(cgroup, mounts, want string) {
		t.Helper()
		if got := findID(cgroup, mounts); got != want {
			t.Errorf("findID(%q, %q) = %q, want %q", cgroup, mounts, got, want)
		}
	}
	f("12:cpu:/docker/"+id+"\n0::/\n", "", id)
	f("0::/system.slice/docker-"+id+".scope\n", "", id)
	f("4:memory:/mesos/"+id+"\n", "", id)
	f("0::/\n", "600 590 8:1 /var/lib/docker/containers/"+id+"/hostname /etc/hostname rw - ext4 /dev/sda1 rw\n", id)
	f("0::/user.slice\n", "600 590 8:1 / / rw - ext4 /dev/sda1 rw\n", "")
	// The agent that has Docker's folder mounted sees other containers' mounts.
	f("0::/\n", "600 590 8:1 /x /var/lib/docker/containers/"+id+"/mounts/shm rw - tmpfs shm rw\n", "")
}

// TestWithoutConfig: a directory whose config.v2.json is not there yet is looked
// at again soon, because the file may come before the directory is watched.
func TestWithoutConfig(t *testing.T) {
	f := files{dir: t.TempDir(), known: map[string]*directory{}}
	id := strings.Repeat("a1", 32)
	if err := os.Mkdir(filepath.Join(f.dir, id), 0o755); err != nil {
		t.Fatal(err)
	}
	if !f.look(id) || len(f.torn()) != 1 {
		t.Fatalf("torn: %v, want the new directory", f.torn())
	}
	if err := os.WriteFile(filepath.Join(f.dir, id, "config.v2.json"), []byte(runningConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	if !f.look(id) || len(f.torn()) != 0 || f.known[id].c.Name != "web" {
		t.Errorf("torn: %v, name %q, want none and web", f.torn(), f.known[id].c.Name)
	}
}

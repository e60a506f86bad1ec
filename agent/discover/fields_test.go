package discover

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestFields(t *testing.T) {
	host := Host{Name: "n1", Hostname: "n1.example", IPs: []string{"10.0.0.1", "2001:db8::1"},
		Agent: Agent{Version: "0.1.0", ID: "a-1", EphemeralID: "e-1"}}
	id := fullID("4f66")
	for name, c := range map[string]Container{
		"bare":  {ID: id},
		"plain": {ID: id, Name: "web", Image: Image{Name: "nginx", Tag: "1.27"}, Labels: map[string]string{"org.opencontainers.image.version": "1.27.3"}},
		"labels": {ID: id, Name: "web", Image: Image{Name: "nginx"}, Labels: map[string]string{"app": "a", "app.kubernetes.io/name": "b", "": "no key",
			"q\"uote": "<&>\n\xff", "nul\x00": "x", "mesoscope.service": "shop", "big": strings.Repeat("é", 5000)}},
		"marathon": {ID: id, Name: "mesos-1", Image: Image{Name: "web", Tag: "7"}, Env: map[string]string{"MARATHON_APP_ID": "/prod/web",
			"MARATHON_APP_VERSION": "v1", "MESOS_TASK_ID": "prod_web.instance-1._app.1", "MESOS_ALLOCATION_ROLE": "prod"}},
		"marathon label": {ID: id, Name: "mesos-1", Env: map[string]string{"MARATHON_APP_ID": "/prod/web", "MARATHON_APP_LABEL_MESOSCOPE_SERVICE": "web"}},
		"chronos":        {ID: id, Name: "mesos-2", Env: map[string]string{"CHRONOS_JOB_NAME": "nightly", "MESOS_TASK_ID": "ct:1:0:nightly:", "MESOS_FRAMEWORK_ID": "F", "MESOS_EXECUTOR_ID": "E"}},
		"compose":        {ID: id, Name: "shop-web-1", Labels: map[string]string{"com.docker.compose.service": "web", "com.docker.compose.project": "shop"}},
		"swarm": {ID: id, Name: "shop_web.1.t1", Labels: map[string]string{"com.docker.swarm.service.name": "shop_web", "com.docker.swarm.task.id": "t1",
			"com.docker.swarm.task.name": "shop_web.1.t1", "com.docker.stack.namespace": "shop"}},
		"kubernetes": {ID: id, Name: "k8s_web", Labels: map[string]string{"io.kubernetes.container.name": "web", "io.kubernetes.pod.name": "web-1",
			"io.kubernetes.pod.namespace": "prod", "io.kubernetes.pod.uid": "u-1"}},
	} {
		t.Run(name, func(t *testing.T) {
			c.identify()
			got := Fields(c, host, "mesos.container", "default", "stdout")
			for range 5 { // the order must not depend on maps
				if again := Fields(c, host, "mesos.container", "default", "stdout"); string(again) != string(got) {
					t.Fatalf("another order: %s", again)
				}
			}
			var doc map[string]any
			if err := json.Unmarshal([]byte("{"+string(got)+"}"), &doc); err != nil {
				t.Fatalf("%v: %s", err, got)
			}
			for _, own := range []string{"event", "log", "@timestamp", "message", "error"} {
				if _, there := doc[own]; there {
					t.Errorf("%s belongs to the line", own)
				}
			}
			var indented bytes.Buffer
			if err := json.Indent(&indented, []byte("{"+string(got)+"}\n"), "", "  "); err != nil {
				t.Fatal(err)
			}
			golden(t, "fields/"+strings.ReplaceAll(name, " ", "-")+".json", indented.Bytes())
		})
	}
}

// TestManyLabels: the labels of a line are bounded together, an app's last.
func TestManyLabels(t *testing.T) {
	c := Container{Labels: map[string]string{"a": "b"}, Mesos: &Mesos{TaskLabels: map[string]string{"big": strings.Repeat("x", 5000)}}, Marathon: &App{Labels: map[string]string{}}}
	for i := range 20 {
		c.Marathon.Labels[fmt.Sprint("key", 10+i)] = strings.Repeat("v", 1000)
	}
	l := labelsOf(&c)
	if len(l.app) != 16 || l.app["key25"] == "" || len(l.task) != 0 || l.container["a"] != "b" || fmt.Sprint(l.short) != "[big key26 key27 key28 key29]" {
		t.Errorf("%d %v %v %v", len(l.app), l.task, l.container, l.short)
	}
	if notes := fmt.Sprint(Notes(c)); !strings.Contains(notes, "big, key26") {
		t.Error(notes)
	}
}

func TestParseImage(t *testing.T) {
	f := func(ref, name, tag string) {
		t.Helper()
		if got := parseImage(ref, "sha256:1"); got != (Image{name, tag, "sha256:1"}) {
			t.Errorf("parseImage(%q) = %+v", ref, got)
		}
	}
	f("redis", "redis", "latest")
	f("redis:7", "redis", "7")
	f("reg:5000/team/web", "reg:5000/team/web", "latest")
	f("reg:5000/team/web:3", "reg:5000/team/web", "3")
	f("web@sha256:0123", "web", "")
	f("web:3@sha256:0123", "web", "3")
	f("sha256:0123", "", "")
	f("", "", "")
}

func TestWithAttrs(t *testing.T) {
	c := Container{ID: "x", Labels: map[string]string{"app": "mine"}, From: map[string]string{"labels": fromConfig}}
	before := maps.Clone(c.Labels)
	got := WithAttrs(c, map[string]string{"app": "theirs", "tag": "t", "MARATHON_APP_ID": "/a"})
	want := Container{ID: "x", Labels: map[string]string{"app": "mine", "tag": "t"}, Env: map[string]string{"MARATHON_APP_ID": "/a"},
		Marathon: &App{ID: "/a"},
		From:     map[string]string{"labels": fromConfig + ", " + fromAttrs, "env": fromAttrs, "marathon.app.id": "env MARATHON_APP_ID"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if !maps.Equal(c.Labels, before) || len(c.From) != 1 {
		t.Error("the original was changed")
	}
	if moved := WithAttrs(c, map[string]string{switchDataset: "mesos.web"}); moved.Dataset != "mesos.web" {
		t.Errorf("its lines go elsewhere than it wants: %+v", moved)
	}
	if again := WithAttrs(got, map[string]string{"tag": "t"}); !reflect.DeepEqual(again, got) {
		t.Errorf("again: %+v", again)
	}
}

func TestStoredContainer(t *testing.T) {
	dir := t.TempDir()
	if _, err := ReadContainer(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing there: %v", err)
	}
	c := Container{ID: fullID("a"), Name: "web", Created: time.Now().UTC().Round(0), Labels: map[string]string{"a": "b"}, From: map[string]string{"name": fromAPI}}
	for range 2 {
		if err := WriteContainer(dir, c); err != nil {
			t.Fatal(err)
		}
	}
	got, err := ReadContainer(dir)
	if err != nil || !reflect.DeepEqual(got, c) {
		t.Errorf("got %+v, %v", got, err)
	}
	names, _ := os.ReadDir(dir)
	info, err := os.Stat(filepath.Join(dir, storedName))
	if err != nil || len(names) != 1 || info.Mode().Perm() != 0o600 {
		t.Errorf("%v files, mode %v, %v", len(names), info.Mode(), err)
	}
	for _, bad := range []string{"", "{", "{}", "null"} {
		if err := os.WriteFile(filepath.Join(dir, storedName), []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadContainer(dir); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
	if err := WriteContainer(filepath.Join(dir, "none"), c); err == nil {
		t.Error("written into a folder that does not exist")
	}
}

func TestNewHost(t *testing.T) {
	h, err := NewHost("node-7", Agent{Version: "1"})
	if err != nil || h.Name != "node-7" || h.Hostname == "" || h.Agent.Version != "1" {
		t.Errorf("%+v, %v", h, err)
	}
	for _, ip := range h.IPs {
		if strings.HasPrefix(ip, "127.") || strings.HasPrefix(ip, "fe80") || ip == "::1" {
			t.Errorf("address %s identifies no host", ip)
		}
	}
}

//go:build e2e && linux

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mesoscope/internal/jsonfile"
	"mesoscope/test/fakees"
)

// agentImage is what `make docker` builds, from the same Dockerfile.
var agentImage = fmt.Sprintf("mesoscope-test/agent:%d", os.Getpid())

// buildAgentImage puts the binary under test where the Dockerfile wants it.
func buildAgentImage(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	for from, to := range map[string]string{binary: "mesoscope", "../../Dockerfile": "Dockerfile", "../../LICENSE": "LICENSE", "../../THIRD_PARTY.md": "THIRD_PARTY.md"} {
		if out, err := exec.Command("cp", from, filepath.Join(dir, to)).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	docker(t, "build", "-q", "-t", agentImage, dir)
	t.Cleanup(func() { _ = exec.Command("docker", "rmi", agentImage).Run() })
}

// A contained is an agent in a container.
type contained struct {
	*process
	id string
}

// contain starts one, with the given options of docker run and variables.
func contain(t *testing.T, sink string, options []string, env map[string]string) *contained {
	t.Helper()
	address := freeAddress(t)
	args := []string{"run", "-d", "--net", "host", "--read-only", "--user", "0", "--security-opt", "no-new-privileges", "--cap-drop", "ALL",
		"--label", label, "-v", t.TempDir() + ":/var/lib/mesoscope"}
	for k, v := range map[string]string{"HTTP_LISTEN": address, "NODE_NAME": node, "OUTPUT_ELASTICSEARCH_HOSTS": sink, "HOLD_MIN_FREE": "0"} {
		args = append(args, "-e", "MESOSCOPE_"+k+"="+v)
	}
	for k, v := range env {
		args = append(args, "-e", "MESOSCOPE_"+k+"="+v)
	}
	args = append(append(args, options...), agentImage, "agent")
	a := &contained{process: &process{t: t, url: "http://" + address}, id: docker(t, args...)}
	t.Cleanup(func() {
		if t.Failed() {
			out, _ := exec.Command("docker", "logs", a.id).CombinedOutput()
			t.Logf("the agent said:\n%s", tailOf(string(out), 40))
		}
		_ = exec.Command("docker", "rm", "-f", "-v", a.id).Run()
	})
	a.answers()
	return a
}

func (a *contained) answers() {
	a.t.Helper()
	within(a.t, 20*time.Second, "the agent in the container answers", func() error {
		_, _, err := a.get("/healthz")
		return err
	})
}

// messages are what a sink has of one stream of a container, sorted.
func messages(t testing.TB, sink *fakees.Server, id, stream string) (list []string) {
	t.Helper()
	for _, d := range sink.Docs("logs-mesos.container-default") {
		var doc struct {
			Message   string
			Stream    string
			Container struct{ ID string }
		}
		if err := json.Unmarshal(d.Source, &doc); err != nil {
			t.Fatal(err)
		}
		if doc.Container.ID == id && doc.Stream == stream {
			list = append(list, doc.Message)
		}
	}
	slices.Sort(list)
	return list
}

// A lossySink is a fake Elasticsearch that can be away.
type lossySink struct {
	*fakees.Server
	url  string
	away atomic.Bool
}

func newLossySink(t *testing.T) *lossySink {
	s := &lossySink{}
	s.Server = &fakees.Server{OnBulk: func(*fakees.Bulk) fakees.Fault {
		if s.away.Load() {
			return fakees.Fault{Status: 503, Type: "unavailable", Reason: "for the test"}
		}
		return fakees.Fault{}
	}}
	server := httptest.NewServer(s.Server)
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

// arrived waits until every line of w is in the sink once, and no other.
func (s *lossySink) arrived(w *writer) {
	w.t.Helper()
	for _, stream := range w.streams {
		want := slices.Sorted(slices.Values(w.expected(stream)))
		within(w.t, 60*time.Second, w.name+": every line of "+stream+" once", func() error {
			got := messages(w.t, s.Server, w.id, stream)
			if !slices.Equal(got, want) {
				return fmt.Errorf("%d lines, %d are expected", len(got), len(want))
			}
			return nil
		})
	}
}

// holdsAll is an agent whose sink is away while a container writes and rotates
// and is removed and the agent is killed. All its lines arrive when the sink is
// back. kill ends with an agent that answers again.
func holdsAll(t *testing.T, sink *lossySink, a *process, root, hold string, kill func()) {
	t.Helper()
	first := newWriter(t, t.Name()+"-first", func(w *writer) { w.flags = []string{"-n", "50"} })
	first.start()
	first.finish()
	sink.arrived(first)

	sink.away.Store(true)
	w := newWriter(t, t.Name()+"-away", func(w *writer) {
		w.options = rotation("64k")["unlink"]
		w.kinds, w.flags = []string{"plain", "json", "multibyte"}, []string{"-n", "1500", "-pace", "2ms"}
	})
	w.start()
	w.finish()
	log := jsonfile.LogPath(root, w.id)
	links := func() []string {
		names, _ := filepath.Glob(filepath.Join(hold, w.id, "*_*"))
		return names
	}
	within(t, 20*time.Second, "the last file is held", func() error {
		live, err := os.Stat(log)
		if err != nil {
			return err
		}
		for _, name := range links() {
			if fi, err := os.Stat(name); err == nil && os.SameFile(fi, live) {
				_, err := os.Stat(filepath.Join(hold, w.id, "container.json"))
				return err
			}
		}
		return fmt.Errorf("%d links", len(links()))
	})
	if n := len(links()); n < 4 {
		t.Errorf("only %d files are held: this has not tested much", n)
	}
	if h := a.status().Hold; h.State != "ok" || h.Problem != "" || h.Bytes == 0 {
		t.Errorf("hold: %+v", h)
	}
	docker(t, "rm", "-f", w.id)
	kill()
	if n := len(messages(t, sink.Server, w.id, "stdout")); n > 0 {
		t.Fatalf("%d lines came through a sink that was away", n)
	}
	sink.away.Store(false)
	sink.arrived(w)
	within(t, 20*time.Second, "nothing is left of the container", func() error {
		if _, err := os.Stat(filepath.Join(hold, w.id)); !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%s: %v", filepath.Join(hold, w.id), err)
		}
		return nil
	})
}

// holdFolder is one of the test's own in Docker's folder.
func holdFolder(t *testing.T, root, name string) string {
	hold := filepath.Join(root, fmt.Sprintf("mesoscope-e2e-%d-%s", os.Getpid(), name))
	t.Cleanup(func() { _ = os.RemoveAll(hold) })
	return hold
}

// TestImageHolds: the agent runs in the image, which has nothing but the
// binary, and without any capability.
func TestImageHolds(t *testing.T) {
	root := dockerRoot(t)
	buildAgentImage(t)
	sink, hold := newLossySink(t), holdFolder(t, root, "image")
	a := contain(t, sink.url, []string{"-v", root + ":" + root, "-v", "/var/run/docker.sock:/var/run/docker.sock:ro"},
		map[string]string{"DOCKER_ROOT": root, "HOLD_DIR": hold})
	holdsAll(t, sink, a.process, root, hold, func() {
		docker(t, "kill", a.id)
		docker(t, "start", a.id)
		a.answers()
	})
	docker(t, "stop", a.id)
	if code := docker(t, "inspect", "-f", "{{.State.ExitCode}}", a.id); code != "0" {
		t.Errorf("exit code %s after docker stop", code)
	}
}

// TestImageCapabilities: what the agent can do when the log files belong to
// somebody else, as with userns-remap or in a sandbox, and what it says when it
// cannot: those of deploy/marathon are enough, and none is too few.
func TestImageCapabilities(t *testing.T) {
	dockerRoot(t)
	buildAgentImage(t)
	const somebody = 100_000
	for _, c := range []struct {
		name    string
		caps    []string
		ownHold bool // the hold folder is there, and root's
		read    bool
		problem string // "": held
	}{
		{"none", nil, false, false, "CAP_DAC_OVERRIDE"},
		{"to read", []string{"DAC_READ_SEARCH"}, false, true, "CAP_DAC_OVERRIDE"},
		{"to read, with a hold folder", []string{"DAC_READ_SEARCH"}, true, true, "CAP_FOWNER"},
		{"to read and to link, with a hold folder", []string{"DAC_READ_SEARCH", "FOWNER"}, true, true, ""},
		{"as a system task", systemTask(t).capabilities(), false, true, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			id := strings.Repeat("ab", 32)
			if err := jsonfile.WriteConfig(root, jsonfile.Container{ID: id, Name: "foreign", Image: "x:1", Created: time.Now(), Running: true}); err != nil {
				t.Fatal(err)
			}
			w, err := jsonfile.Open(jsonfile.LogPath(root, id), jsonfile.Options{})
			if err == nil {
				err = errors.Join(w.WriteLine("stdout", []byte("hello"), time.Now()), w.Close())
			}
			if err != nil {
				t.Fatal(err)
			}
			err = filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
				mode := os.FileMode(0o600)
				if d.IsDir() {
					mode = 0o700
				}
				return errors.Join(err, os.Chown(path, somebody, somebody), os.Chmod(path, mode))
			})
			if c.ownHold {
				err = errors.Join(err, os.Mkdir(filepath.Join(root, "mesoscope-hold"), 0o700))
			}
			if err != nil {
				t.Fatal(err)
			}
			sink := &fakees.Server{}
			server := httptest.NewServer(sink)
			defer server.Close()
			options := []string{"-v", root + ":" + root}
			for _, name := range c.caps {
				options = append(options, "--cap-add", name)
			}
			a := contain(t, server.URL, options, map[string]string{"DOCKER_ROOT": root, "DOCKER_SOCKET": ""})
			within(t, 20*time.Second, "the agent says whether it holds", func() error {
				h := a.status().Hold
				if c.problem == "" && h.Problem == "" && h.State == "ok" || c.problem != "" && strings.Contains(h.Problem, c.problem) {
					return nil
				}
				return fmt.Errorf("%+v, want a problem with %q", h, c.problem)
			})
			if !c.read {
				return
			}
			within(t, 20*time.Second, "the line arrives", func() error {
				if got := messages(t, sink, id, "stdout"); !slices.Equal(got, []string{"hello"}) {
					return fmt.Errorf("%q", got)
				}
				return nil
			})
			if links, _ := filepath.Glob(filepath.Join(root, "mesoscope-hold", id, "*_*")); (len(links) == 1) != (c.problem == "") {
				t.Errorf("links: %v", links)
			}
		})
	}
}

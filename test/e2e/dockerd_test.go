//go:build e2e && linux

package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"mesoscope/test/fakees"
)

// An engine is a Docker daemon of the test's own, beside the one of the machine.
type engine struct {
	t    testing.TB
	dir  string
	args []string
	cmd  *exec.Cmd
	said *output
	// runs is the containerd, which lives on when dockerd ends, as on every host
	// where the two are services of their own.
	runs *exec.Cmd
}

// newEngine makes the docker command of this test talk to it.
func newEngine(t *testing.T, live bool) *engine {
	t.Helper()
	if os.Geteuid() != 0 {
		lacking(t, "needs root, for a Docker engine of its own")
	}
	if _, err := exec.LookPath("dockerd"); err != nil {
		lacking(t, "no dockerd: run test/docker/start.sh")
	}
	dir, err := os.MkdirTemp(scratch, "d") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	d := &engine{t: t, dir: dir, said: &output{}}
	config := filepath.Join(dir, "daemon.json")
	if err := os.WriteFile(config, fmt.Appendf(nil, `{"live-restore":%t}`, live), 0o644); err != nil {
		t.Fatal(err)
	}
	d.args = []string{"--config-file", config, "--data-root", d.root(), "--exec-root", filepath.Join(dir, "exec"), "--pidfile", filepath.Join(dir, "pid"),
		"--host", d.socket(), "--containerd", filepath.Join(dir, "c"), "--bridge", "none", "--iptables=false", "--ip-forward=false"}
	t.Setenv("DOCKER_HOST", d.socket())
	none := filepath.Join(dir, "containerd.toml")
	if err := os.WriteFile(none, []byte("version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	d.runs = exec.Command("containerd", "--config", none, "--root", filepath.Join(dir, "images"), "--state", filepath.Join(dir, "tasks"), "--address", filepath.Join(dir, "c"))
	d.runs.Stdout, d.runs.Stderr = d.said, d.said
	if err := d.runs.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.remove)
	within(t, 20*time.Second, "containerd listens", func() error { _, err := os.Stat(filepath.Join(dir, "c")); return err })
	d.start()
	return d
}

func (d *engine) root() string   { return filepath.Join(d.dir, "root") }
func (d *engine) socket() string { return "unix://" + filepath.Join(d.dir, "sock") }

func (d *engine) start() {
	d.t.Helper()
	d.cmd = exec.Command("dockerd", d.args...)
	d.cmd.Stdout, d.cmd.Stderr = d.said, d.said
	// With --bridge none it removes docker0, which is that of the machine's own engine.
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if err := d.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	within(d.t, time.Minute, "dockerd answers", func() error {
		out, err := exec.Command("docker", "info", "-f", "{{.ServerErrors}}").CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s\n%s", err, out, tailOf(d.said.String(), 10))
		}
		return nil
	})
}

// stop ends dockerd, and nothing else: as for an upgrade, or as a crash does.
func (d *engine) stop(how syscall.Signal) {
	d.t.Helper()
	if err := d.cmd.Process.Signal(how); err != nil {
		d.t.Fatal(err)
	}
	_ = d.cmd.Wait() // how it ended is known
}

// remove ends what the daemon has started, and removes its folder.
func (d *engine) remove() {
	if out, err := exec.Command("docker", "ps", "-aq").Output(); err == nil && len(out) > 0 {
		_ = exec.Command("docker", append([]string{"rm", "-f", "-v"}, strings.Fields(string(out))...)...).Run()
	}
	d.stop(syscall.SIGTERM)
	_ = d.runs.Process.Signal(syscall.SIGTERM)
	_ = d.runs.Wait()
	mounts, _ := os.ReadFile("/proc/self/mounts")
	for _, m := range slices.Backward(strings.Split(string(mounts), "\n")) {
		if f := strings.Fields(m); len(f) > 1 && strings.HasPrefix(f[1], d.dir) {
			_ = syscall.Unmount(f[1], syscall.MNT_DETACH)
		}
	}
	within(d.t, 20*time.Second, "the folder of dockerd goes", func() error { return os.RemoveAll(d.dir) })
}

// size is that of all log files of a container.
func (d *engine) size(id string) (bytes int64) {
	files, _ := filepath.Glob(filepath.Join(d.root(), "containers", id, id+"-json.log*"))
	for _, name := range files {
		if st, err := os.Stat(name); err == nil { // it may be renamed meanwhile
			bytes += st.Size()
		}
	}
	return bytes
}

// maxFile is more than dockerd fills, so that it removes none that is compared.
const maxFile = 2000

// logged reads back what dockerd has written, the oldest file first: it, and not
// what the container printed, is what an agent can know.
func (d *engine) logged(id string) (texts map[string][]string, files int) {
	d.t.Helper()
	path := filepath.Join(d.root(), "containers", id, id+"-json.log")
	var names []string
	for n := range maxFile { // a dockerd that dies within a rotation leaves a number out
		name := path
		if n > 0 {
			name = fmt.Sprintf("%s.%d", path, n)
		}
		if _, err := os.Stat(name); err == nil {
			names = append(names, name)
		}
	}
	texts = map[string][]string{}
	open, at := map[string]string{}, map[string]string{}
	end := func(stream string) {
		texts[stream] = append(texts[stream], open[stream])
		open[stream] = ""
	}
	for _, name := range slices.Backward(names) {
		f, err := os.Open(name)
		if err != nil {
			d.t.Fatal(err)
		}
		dec := json.NewDecoder(bufio.NewReader(f))
		for {
			var e struct{ Log, Stream, Time string }
			err := dec.Decode(&e)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				d.t.Fatalf("%s: %v", name, err)
			}
			if open[e.Stream] != "" && at[e.Stream] != e.Time {
				end(e.Stream) // dockerd died within a line: all pieces of one have its time
			}
			text, whole := strings.CutSuffix(e.Log, "\n")
			open[e.Stream], at[e.Stream] = open[e.Stream]+text, e.Time
			if whole {
				end(e.Stream)
			}
		}
		f.Close()
	}
	for stream, text := range open {
		if text != "" {
			end(stream)
		}
	}
	return texts, len(names)
}

// around shows a line that should not be there, and those before and behind it.
func around(sink *fakees.Server, id, stream, text string) (out string) {
	var all []document
	for _, doc := range sink.Docs("logs-mesos.container-default") {
		var l document
		if json.Unmarshal(doc.Source, &l) == nil && l.Container.ID == id && l.Stream == stream {
			all = append(all, l)
		}
	}
	for _, x := range all {
		for _, l := range all {
			near := l.Log.File.Generation == x.Log.File.Generation && max(l.Event.Sequence-x.Event.Sequence, x.Event.Sequence-l.Event.Sequence) < 2
			if x.Message == text && (near || l.Time.Equal(x.Time)) {
				out += fmt.Sprintf("\n  %s %s line %d at %d, %d bytes, flags %q", l.Time.Format(time.RFC3339Nano), l.Log.File.Generation, l.Event.Sequence, l.Log.Offset, len(l.Message), l.Log.Flags)
			}
		}
	}
	return out
}

// TestDockerdRestart: dockerd ends and comes back, in order and by a crash, with
// the containers living on or not, and the agent is killed now and then
// meanwhile. All that dockerd wrote is stored once.
func TestDockerdRestart(t *testing.T) {
	for _, live := range []bool{false, true} {
		t.Run(fmt.Sprintf("live-restore=%t", live), func(t *testing.T) { dockerdRestarts(t, live) })
	}
}

func dockerdRestarts(t *testing.T, live bool) {
	d := newEngine(t, live)
	if err := makeImage(scratch); err != nil {
		t.Fatal(err)
	}
	sink := &fakees.Server{}
	server := httptest.NewServer(sink)
	defer server.Close()
	address := freeAddress(t)
	p := newProcess(t, "agent", address, fmt.Sprintf(`
data_dir: %s
http: {listen: %q}
docker: {root: %s, socket: %q}
hold: {min_free: "0"}
output: {elasticsearch: {hosts: [%q]}}
`, t.TempDir(), address, d.root(), d.socket(), server.URL))
	p.start()
	var writers []*writer
	for i, options := range [][]string{nil, {"--log-opt", "max-size=100k", "--log-opt", fmt.Sprint("max-file=", maxFile)}} {
		w := newWriter(t, fmt.Sprintf("dockerd-%t-%d", live, i), func(w *writer) {
			w.kinds = []string{"plain", "json", "multibyte", "markup", "exact"}
			w.options = append(options, "--restart", "always")
			w.flags = []string{"-n", "1000000", "-pace", "3ms", "-stay"}
		})
		w.start()
		writers = append(writers, w)
	}
	grows := func(what string) {
		t.Helper()
		for _, w := range writers {
			before := d.size(w.id)
			within(t, time.Minute, what, func() error {
				if now := d.size(w.id); now < before+100_000 {
					return fmt.Errorf("%d bytes, and %d now", before, now)
				}
				return nil
			})
		}
	}
	for round, how := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL, syscall.SIGTERM, syscall.SIGKILL, syscall.SIGKILL, syscall.SIGTERM} {
		grows("the containers write")
		d.stop(how)
		if round%2 == 1 {
			p.kill()
			p.start()
		}
		d.start()
	}
	grows("the containers write again")
	for _, w := range writers {
		docker(t, "stop", "-t", "20", w.id)
	}
	for _, w := range writers {
		var want map[string][]string
		var files int
		within(t, time.Minute, "all lines to be stored", func() error {
			want, files = d.logged(w.id) // the last lines come behind the end of the container
			got := map[string]map[string]int{"stdout": {}, "stderr": {}}
			for _, doc := range sink.Docs("logs-mesos.container-default") {
				var l document
				if err := json.Unmarshal(doc.Source, &l); err != nil {
					return err
				}
				if l.Container.ID == w.id {
					if l.Stream == "" {
						return fmt.Errorf("a gap: %s", l.Message)
					}
					got[l.Stream][l.Message]++
				}
			}
			for stream, texts := range want {
				// What dockerd has not read when it dies stays in the pipe, and the next one
				// finds the rest of a line there. Several such rests may be a newline alone.
				for _, text := range texts {
					got[stream][text]--
				}
				for text, n := range got[stream] {
					if n != 0 {
						return fmt.Errorf("%s %s: stored and written by dockerd differ by %+d: %d bytes %.200q%s", w.name, stream, n, len(text), text, around(sink, w.id, stream, text))
					}
				}
			}
			return nil
		})
		t.Logf("%s: %d and %d lines in %d files", w.name, len(want["stdout"]), len(want["stderr"]), files)
	}
}

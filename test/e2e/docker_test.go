//go:build e2e && linux

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mesoscope/test/e2e/lines"
)

// image holds the writer and nothing else.
const image = "mesoscope-test/writer"

// label is on every container of this run of the tests; the clean-up removes
// exactly these.
var label = fmt.Sprintf("mesoscope.test=e2e-%d", os.Getpid())

// docker runs the docker command and returns what it prints.
func docker(t testing.TB, args ...string) string {
	t.Helper()
	cmd := exec.Command("docker", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("docker %s: %v: %s", strings.Join(args, " "), err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// lacking ends a test for want of a component: a failure in CI, else a skip.
func lacking(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") != "" || os.Getenv("MESOSCOPE_TEST_CI") != "" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// dockerRoot is Docker's folder; there is an image of the writer afterwards.
func dockerRoot(t testing.TB) string {
	t.Helper()
	if os.Geteuid() != 0 {
		lacking(t, "needs root, for Docker's log files")
	}
	out, err := exec.Command("docker", "info", "-f", "{{.DockerRootDir}}").Output()
	if err != nil {
		lacking(t, fmt.Sprintf("docker does not answer: run test/docker/start.sh: %v", err))
	}
	return strings.TrimSpace(string(out))
}

// makeImage builds the writer and imports it.
func makeImage(dir string) error {
	binary := filepath.Join(dir, "writer")
	build := exec.Command("go", "build", "-o", binary, "./writer")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the writer: %w: %s", err, out)
	}
	tar := exec.Command("sh", "-c", `tar -C "$0" -c writer | docker import - "$1"`, dir, image)
	if out, err := tar.CombinedOutput(); err != nil {
		return fmt.Errorf("import the writer: %w: %s", err, out)
	}
	return nil
}

// A writer is a container that prints known lines.
type writer struct {
	t       testing.TB
	name    string // of the container and in its lines
	id      string
	kinds   []string
	streams []string
	options []string // of docker run
	flags   []string // of the writer
	tty     bool
	remove  bool // docker run --rm
	driver  string
	labels  map[string]string
	env     map[string]string
	runs    int // that have been started
	record  string
}

// newWriter is a container that is not yet started.
func newWriter(t testing.TB, name string, set func(*writer)) *writer {
	w := &writer{t: t, name: fmt.Sprintf("e2e-%d-%s", os.Getpid(), name), kinds: lines.Kinds, streams: []string{"stdout", "stderr"}, driver: "json-file"}
	var err error
	if w.record, err = os.MkdirTemp(scratch, "record-"); err != nil {
		t.Fatal(err)
	}
	if set != nil {
		set(w)
	}
	return w
}

// start runs the container for the first time.
func (w *writer) start() {
	w.t.Helper()
	args := []string{"run", "-d", "--network", "none", "--label", label, "--name", w.name, "--log-driver", w.driver, "-v", w.record + ":/record"}
	if w.tty {
		args = append(args, "-t")
	}
	if w.remove {
		args = append(args, "--rm")
	}
	for k, v := range w.labels {
		args = append(args, "--label", k+"="+v)
	}
	for k, v := range w.env {
		args = append(args, "-e", k+"="+v)
	}
	args = append(args, w.options...)
	args = append(args, image, "/writer", "-name", w.name, "-kinds", strings.Join(w.kinds, ","),
		"-streams", strings.Join(w.streams, ","), "-record", "/record/runs")
	w.id = docker(w.t, append(args, w.flags...)...)
	w.runs++
}

// again starts the container once more, after it has ended by itself.
func (w *writer) again() {
	w.t.Helper()
	docker(w.t, "wait", w.id) // the record is there a moment before the end
	docker(w.t, "start", w.id)
	w.runs++
}

// restart is docker restart: SIGTERM, and a new run.
func (w *writer) restart() {
	w.t.Helper()
	docker(w.t, "restart", "-t", "20", w.id)
	w.runs++
}

// finish waits until all runs have noted what they printed.
func (w *writer) finish() {
	w.t.Helper()
	for end := time.Now().Add(3 * time.Minute); len(w.written()) < w.runs; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("%s: %d of %d runs have ended", w.name, len(w.written()), w.runs)
		}
	}
}

// written is the record.
func (w *writer) written() (runs []lines.Run) {
	w.t.Helper()
	text, err := os.ReadFile(filepath.Join(w.record, "runs"))
	if err != nil && !os.IsNotExist(err) {
		w.t.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			break // being written
		}
		var r lines.Run
		if err := json.Unmarshal(line, &r); err != nil {
			w.t.Fatalf("%s: record: %v: %s", w.name, err, line)
		}
		runs = append(runs, r)
	}
	return runs
}

// expected are the lines of a stream, in order.
func (w *writer) expected(stream string) []string {
	if !slices.Contains(w.streams, stream) {
		return nil
	}
	return lines.Expected(w.kinds, w.name, stream, w.written())
}

// removeContainers removes what this run of the tests has started.
func removeContainers() {
	out, err := exec.Command("docker", "ps", "-aq", "--filter", "label="+label).Output()
	if ids := strings.Fields(string(out)); err == nil && len(ids) > 0 {
		_ = exec.Command("docker", append([]string{"rm", "-f", "-v"}, ids...)...).Run()
	}
}

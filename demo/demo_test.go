package demo

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// TestMain makes the test binary stand for mesoscope's hidden command.
func TestMain(m *testing.M) {
	if len(os.Args) == 5 && os.Args[1] == "demo-service" && os.Args[3] == "--root" {
		if err := Service(context.Background(), os.Args[2], os.Args[4]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if len(os.Args) == 3 && os.Args[1] == "demo-parent" {
		exe, err := os.Executable()
		if err == nil {
			_, err = Start(context.Background(), os.Args[2], []string{exe, "demo-service"}, slog.New(slog.DiscardHandler))
		}
		fmt.Println("started", err)
		select {} // until it is killed
	}
	os.Exit(m.Run())
}

func self(t *testing.T) []string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return []string{exe, "demo-service"}
}

// TestProcesses runs the real child processes for a moment. No log is full so
// early, and no container removed: all lines are still on disk.
func TestProcesses(t *testing.T) {
	root := t.TempDir()
	d, err := Start(t.Context(), root, self(t), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(2500 * time.Millisecond) // the workload runs in real time; nothing is waited for
	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}
	for _, c := range d.children {
		if c.cmd.ProcessState == nil || !c.cmd.ProcessState.Success() {
			t.Errorf("%s: %v", c.name, c.cmd.ProcessState)
		}
	}
	h := holder{t: t, root: root}
	h.hold()
	compare(t, root, h.read())
	if err := d.Stop(); err != nil {
		t.Errorf("second Stop: %v", err)
	}
}

func TestStopAtOnce(t *testing.T) {
	root := t.TempDir()
	d, err := Start(t.Context(), root, self(t), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}
	h := holder{t: t, root: root}
	h.hold()
	compare(t, root, h.read())
}

// TestChildDies holds that a service that ends before its time is reported.
func TestChildDies(t *testing.T) {
	said := make(lines, len(services))
	d, err := Start(t.Context(), t.TempDir(), self(t), slog.New(slog.NewTextHandler(said, nil)))
	if err != nil {
		t.Fatal(err)
	}
	victim := d.children[0]
	if err := victim.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if line := <-said; !strings.Contains(line, victim.name) {
		t.Errorf("the log says %s, want the name of %s", line, victim.name)
	}
	if err := d.Stop(); err == nil || !strings.Contains(err.Error(), victim.name) {
		t.Errorf("Stop: %v, want the name of %s", err, victim.name)
	}
}

// TestParentGone holds that the services end when the context of Start does.
func TestParentGone(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	d, err := Start(ctx, t.TempDir(), self(t), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	<-d.ended
	if d.err != nil {
		t.Error(d.err)
	}
}

// TestParentKilled holds that the services end in order, with their counts,
// when the parent has no chance to tell them.
func TestParentKilled(t *testing.T) {
	root := t.TempDir()
	parent := exec.Command(self(t)[0], "demo-parent", root)
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "started <nil>\n" {
		t.Fatalf("%q %v", line, err)
	}
	for len(runningContainers(t, root)) < len(services)-1 { // the job comes later
		time.Sleep(5 * time.Millisecond)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	parent.Wait()
	for len(runningContainers(t, root)) > 0 {
		time.Sleep(5 * time.Millisecond) // go test's timeout is the limit
	}
	h := holder{t: t, root: root}
	h.hold()
	compare(t, root, h.read())
}

// runningContainers are the ids that config.v2.json says are running.
func runningContainers(t *testing.T, root string) (ids []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "containers", "*", "config.v2.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		var c struct {
			ID    string
			State struct{ Running bool }
		}
		data, err := os.ReadFile(f)
		if err == nil {
			err = json.Unmarshal(data, &c)
		}
		if err != nil {
			t.Fatal(err)
		}
		if c.State.Running {
			ids = append(ids, c.ID)
		}
	}
	return ids
}

func TestStartFails(t *testing.T) {
	if _, err := Start(t.Context(), t.TempDir(), []string{"/does/not/exist"}, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("no error")
	}
	if err := Service(t.Context(), "nobody", t.TempDir()); err == nil || !strings.Contains(err.Error(), "checkout") {
		t.Errorf("unknown service: %v, want the list of names", err)
	}
}

// TestMinute runs all services for 65 s of virtual time, holds each log file by
// hard link as the agent does, and wants what the demo promises: each way of
// rotation within 15 s, a crash with a restart, removed containers, and each
// line counted.
func TestMinute(t *testing.T) {
	root := t.TempDir()
	h := holder{t: t, root: root, seen: map[uint64]string{}}
	rotations := map[string]int{}
	synctest.Test(t, func(t *testing.T) {
		if err := os.MkdirAll(tallyDir(root), 0o755); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 65*time.Second)
		defer cancel()
		var services sync.WaitGroup
		for _, name := range Names() {
			services.Go(func() {
				if err := run(ctx, name, root); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			})
		}
		begin := time.Now()
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			select {
			case <-ctx.Done():
			case <-tick.C:
				h.hold()
				if time.Since(begin) == 15*time.Second {
					rotations = h.rotations()
				}
			}
		}
		services.Wait()
	})
	h.hold()
	for _, kind := range []string{"rename", "unlink", "gzip"} {
		if rotations[kind] == 0 {
			t.Errorf("no rotation by %s in 15 s: %v", kind, rotations)
		}
	}
	got := h.read()
	compare(t, root, got)
	for _, want := range []string{
		"Exception in thread", "<script>alert", "\x1b[31m", "🚚", `"level":"error"`, "segment flushed", "carts removed",
	} {
		if !bytes.Contains(got.text, []byte(want)) {
			t.Errorf("nobody printed %q", want)
		}
	}
	if bytes.Contains(got.text, []byte("correct-horse")) {
		t.Error("a secret was printed")
	}
	ids, err := os.ReadDir(filepath.Join(root, "containers"))
	if err != nil {
		t.Fatal(err)
	}
	_, all, err := readTallies(root)
	if err != nil {
		t.Fatal(err)
	}
	if removed := len(all) - len(ids); removed < 2 {
		t.Errorf("%d containers were removed, want some", removed)
	}
	restarts := 0
	for _, id := range ids {
		var c struct {
			RestartCount int
			State        struct{ Running bool }
		}
		data, err := os.ReadFile(filepath.Join(root, "containers", id.Name(), "config.v2.json"))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(data, &c); err != nil {
			t.Fatal(err)
		}
		restarts += c.RestartCount
		if c.State.Running {
			t.Errorf("%s is said to run after the end", id.Name())
		}
	}
	if restarts == 0 {
		t.Error("nothing crashed and restarted")
	}
}

// A holder keeps each log file by a hard link from the moment that it sees it.
type holder struct {
	t    *testing.T
	root string
	seen map[uint64]string // inode -> container id
}

func (h *holder) dir() string { return filepath.Join(h.root, "held") }

func (h *holder) hold() {
	h.t.Helper()
	if h.seen == nil {
		h.seen = map[uint64]string{}
	}
	if err := os.MkdirAll(h.dir(), 0o755); err != nil {
		h.t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(h.root, "containers", "*", "*-json.log*"))
	if err != nil {
		h.t.Fatal(err)
	}
	for _, f := range files {
		if strings.HasSuffix(f, ".gz") {
			continue // a copy of what is held
		}
		info, err := os.Stat(f)
		if err != nil {
			continue // rotated since
		}
		inode := info.Sys().(*syscall.Stat_t).Ino
		if _, ok := h.seen[inode]; ok {
			continue
		}
		if os.Link(f, filepath.Join(h.dir(), fmt.Sprint(inode))) == nil {
			h.seen[inode] = filepath.Base(filepath.Dir(f))
		}
	}
}

// rotations counts what has happened so far by what is left of it.
func (h *holder) rotations() map[string]int {
	n := map[string]int{}
	for inode, id := range h.seen {
		info, err := os.Stat(filepath.Join(h.dir(), fmt.Sprint(inode)))
		if err != nil {
			h.t.Fatal(err)
		}
		log := filepath.Join(h.root, "containers", id, id+"-json.log")
		_, plain := os.Stat(log + ".1")
		zipped, zippedErr := os.ReadFile(log + ".1.gz")
		switch {
		case zippedErr == nil:
			if _, err := gzip.NewReader(bytes.NewReader(zipped)); err == nil {
				n["gzip"]++
			}
		case plain == nil:
			n["rename"]++
		case info.Sys().(*syscall.Stat_t).Nlink == 1:
			if _, err := os.Stat(log); err == nil { // not removed as a whole
				n["unlink"]++
			}
		}
	}
	return n
}

type content struct {
	lines map[string]int64 // container id -> lines
	text  []byte           // everything that was logged
}

// read counts the lines in the held files: an entry ends one if it ends with a
// newline, and so does the next entry of its stream with another time.
func (h *holder) read() content {
	h.t.Helper()
	c := content{lines: map[string]int64{}}
	type key struct{ id, stream string }
	type piece struct {
		time string
		open bool
	}
	last := map[key]piece{}
	// A piece never spans two files here: the services that rotate print short lines.
	for inode, id := range h.seen {
		data, err := os.ReadFile(filepath.Join(h.dir(), fmt.Sprint(inode)))
		if err != nil {
			h.t.Fatal(err)
		}
		dec := json.NewDecoder(bytes.NewReader(data))
		for {
			var e struct{ Log, Stream, Time string }
			if err := dec.Decode(&e); err == io.EOF {
				break
			} else if err != nil {
				h.t.Fatalf("%s: %v", id, err)
			}
			k := key{id, e.Stream}
			if l := last[k]; !l.open || l.time != e.Time {
				c.lines[id]++
			}
			last[k] = piece{e.Time, !strings.HasSuffix(e.Log, "\n")}
			c.text = append(c.text, e.Log...)
		}
	}
	return c
}

func compare(t *testing.T, root string, got content) {
	t.Helper()
	total, want, err := (&Demo{root: root}).Written()
	if err != nil {
		t.Fatal(err)
	}
	var sum int64
	for id, n := range want {
		if got.lines[id] != n {
			t.Errorf("%s: %d lines in the files, %d written", id, got.lines[id], n)
		}
		sum += got.lines[id]
	}
	if len(got.lines) > len(want) || sum != total || (total == 0 && len(want) > 0) {
		t.Errorf("%d lines of %d containers in the files, %d of %d written", sum, len(got.lines), total, len(want))
	}
	t.Logf("%d lines of %d containers", total, len(want))
}

// A lines channel gets what is written to it.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}

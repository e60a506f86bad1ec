package tail

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"mesoscope/internal/sandbox"
)

func (l *rawLog) say(text string) {
	l.w.t.Helper()
	if _, err := l.writer.Write([]byte(text)); err != nil {
		l.w.t.Fatal(err)
	}
}

// said are the messages of one stream, as they came.
func (l *rawLog) said(stream string) (m []string) {
	l.w.store.mu.Lock()
	defer l.w.store.mu.Unlock()
	for _, id := range l.w.store.order[l.id+"/"+stream] {
		m = append(m, l.w.store.docs[id].Message)
	}
	return m
}

func (l *rawLog) expect(stream string, want ...string) {
	l.w.t.Helper()
	l.w.until(strings.Join(want, "|"), func() bool { return len(l.said(stream)) >= len(want) })
	if got := l.said(stream); strings.Join(got, "|") != strings.Join(want, "|") {
		l.w.t.Errorf("got %q, want %q", got, want)
	}
}

// TestRawTimes: a line that is read again after a restart has the time of its first
// reading, and none has one from before it was written.
func TestRawTimes(t *testing.T) {
	w := newWorld(t, 1)
	l := w.rawLog(0, RawStdout, sandbox.Options{})
	before := time.Now().Add(-time.Second)
	w.start()
	l.say("one\ntwo\n")
	l.expect("stdout", "one", "two")
	w.agent.f.writeCheckpoint() // the harness kills without
	w.kill()
	times := map[string]time.Time{}
	for id, d := range w.store.docs {
		if times[id] = d.Time; d.Time.Before(before) || d.Time.After(time.Now()) {
			t.Errorf("%q has the time %s", d.Message, d.Time)
		}
	}
	// As if no answer had come: all is sent again.
	st := w.agent.f.checkpoint.last[l.id]
	st.Settled = [2]Position{}
	text, err := appendRecord([]byte("mesoscope-checkpoint 2\n"), st)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.state, "checkpoint"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	old := w.store.docs
	w.store = newStore(t)
	l.say("three\n")
	w.start()
	l.expect("stdout", "one", "two", "three")
	w.kill()
	for id, d := range w.store.docs {
		if was, ok := old[id]; ok && !was.Time.Equal(d.Time) {
			t.Errorf("%q had the time %s, and has %s", d.Message, was.Time, d.Time)
		} else if !ok && d.Message != "three" {
			t.Errorf("%q has another id than before", d.Message)
		}
	}
}

// TestRawEmptied: `> stdout`, and what logrotate does with copytruncate. The copy
// holds nothing new.
func TestRawEmptied(t *testing.T) {
	w := newWorld(t, 1)
	l := w.rawLog(0, RawStdout, sandbox.Options{})
	w.start()
	l.say("a first line\n")
	l.expect("stdout", "a first line")
	text, err := os.ReadFile(l.target.Path)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * fileClockTick()) // the birth of the copy is told from that of the file
	if err := os.WriteFile(l.target.Path+".1", text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(l.target.Path, 0); err != nil {
		t.Fatal(err)
	}
	l.say("another\n")
	l.expect("stdout", "a first line", "another")
	for _, d := range w.store.docs {
		if d.Log.Offset != 0 || d.Event.Sequence != 1 {
			t.Errorf("%+v", d)
		}
	}
	w.kill()
}

// TestRawBeside: what controls logrotate, links and folders beside the log are no
// part of it.
func TestRawBeside(t *testing.T) {
	w := newWorld(t, 1)
	l := w.rawLog(0, RawStdout, sandbox.Options{MaxSize: 1 << 20, Rotate: 2})
	for name, text := range map[string]string{"stdout.logrotate.state": "x\n", "stdout.txt": "y\n", "stdout.old": "z\n"} {
		if err := os.WriteFile(filepath.Join(l.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(l.target.Path, l.target.Path+".1"); err != nil {
		t.Fatal(err)
	}
	w.start()
	l.say("the only line\n")
	l.expect("stdout", "the only line")
	w.kill()
}

// TestRawHuge: a line without an end, and bytes that are no text, cost no more
// memory than others.
func TestRawHuge(t *testing.T) {
	w := newWorld(t, 1)
	l := w.rawLog(0, RawStdout, sandbox.Options{})
	w.start()
	chunk := strings.Repeat("\x00\xff\x1b\x80abc", 10_000)
	for range 100 {
		l.say(chunk)
	}
	l.say("\nafter it\n")
	w.until("two lines", func() bool { return len(l.said("stdout")) == 2 })
	if m := l.said("stdout"); len(m[0]) < 100_000 || m[1] != "after it" {
		t.Errorf("%d bytes, and %q", len(m[0]), m[1])
	}
	w.kill()
}

// TestRawDropped: what an executor prints can be dropped, and is counted then.
func TestRawDropped(t *testing.T) {
	w := newWorld(t, 1)
	l := w.rawLog(0, RawExecutor, sandbox.Options{})
	l.target.DropExecutor, l.target.Notes = true, testNotes(l.id)
	w.raws[l.id], w.targets[l.id] = l.target, l.target
	w.start()
	const glog = "I1123 05:53:24.385162  9892 exec.cpp:1349] x\n"
	l.say("one\n" + glog + glog + "two\n" + glog)
	l.expect("stderr", "one", "two")
	w.until("three dropped", func() bool { return testutil.ToFloat64(w.agent.f.metrics.dropped) == 3 })
	l.say("three\n")
	l.expect("stderr", "one", "two", "three")
	delete(w.targets, l.id)
	os.RemoveAll(l.dir)
	w.set()
	w.until("everything forgotten", func() bool { return len(w.agent.f.Sources()) == 0 })
	w.kill()
	w.checkReceipts()
	if len(w.store.sink.receipts) != 1 {
		t.Errorf("%d receipts", len(w.store.sink.receipts))
	}
}

// TestRawHold: what is held lies beside the log and not in the hold folder, and is
// found there by a next run, and by whoever gives it up.
func TestRawHold(t *testing.T) {
	w := newWorld(t, 1)
	l := w.rawLog(0, RawStdout, sandbox.Options{})
	w.start()
	l.say("one\n")
	l.expect("stdout", "one")
	w.agent.f.writeCheckpoint()
	w.kill()
	dirs, err := HoldDirs(w.state)
	if err != nil || len(dirs) != 1 || dirs[0] != l.target.HoldDir {
		t.Fatalf("%q, %v", dirs, err)
	}
	if held, err := InspectHold(dirs[0], w.state); err != nil || len(held) != 1 || held[0].ID != l.id || held[0].Files != 1 {
		t.Errorf("%+v, %v", held, err)
	}
	if held, err := InspectHold(w.hold, w.state); err != nil || len(held) != 0 {
		t.Errorf("%+v, %v", held, err)
	}
	// The sandbox is collected while no agent runs. The next one is not told of it.
	l.say("two\n")
	os.RemoveAll(l.dir)
	delete(w.targets, l.id)
	w.start()
	l.expect("stdout", "one", "two")
	w.until("everything forgotten", func() bool { return len(w.agent.f.Sources()) == 0 })
	w.kill()
}

package tail

import (
	"os"
	"testing"
	"time"

	"mesoscope/internal/jsonfile"
	"mesoscope/record"
)

// TestEndedBeforeItIsKnown: a line was ended, but the checkpoint does not know it
// yet, and the rest of the line is written. The line must not be sent before.
func TestEndedBeforeItIsKnown(t *testing.T) {
	w, c := one(t, jsonfile.Options{})
	s := w.stepper(Config{})
	c.line(0, "one")
	s.rounds(c.id, 2)
	if err := c.writer.WritePartial("stdout", []byte("begun, "), c.now.Add(time.Second), false); err != nil {
		t.Fatal(err)
	}
	old(t, c.writer.Path())
	stopped := w.targets[c.id]
	stopped.Running = false
	w.targets[c.id] = stopped
	w.set()
	if n := len(s.turn(c.id)); n != 0 {
		t.Fatalf("%d batches before the checkpoint knows where the line ends", n)
	}
	if err := c.writer.WritePartial("stdout", []byte("ended later"), c.now.Add(time.Second), true); err != nil {
		t.Fatal(err)
	}
	if n := len(s.turn(c.id)); n != 0 {
		t.Errorf("%d batches before the checkpoint knows where the line ends", n)
	}
	s.save()
	s.store(s.turn(c.id))
	w.expect(c, 0, "one", "begun, ", "ended later")
	s.killed()
}

// TestGarbageOnce: a torn entry stands before one that begins a new batch, and the
// agent dies when the batch before it is settled. The torn one is counted once.
func TestGarbageOnce(t *testing.T) {
	w := newWorld(t, 1)
	w.moody = true
	c := w.container(0, jsonfile.Options{})
	cfg := Config{Attrs: func(id string, _ []byte) [2]*record.Stream { return streamsOf(id) }}
	s := w.stepper(cfg)
	c.line(1, "zero")
	s.rounds(c.id, 2)
	c.line(0, "one")
	const torn = `{"log":"torn`
	f, err := os.OpenFile(c.writer.Path(), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	text := append([]byte(torn), jsonfile.AppendEntry(nil, []byte("two\n"), "stdout", []byte(`{"tag":"x"}`), c.now.Add(1))...)
	if _, err := f.Write(text); err != nil {
		t.Fatal(err)
	}
	under := s.turn(c.id)
	if len(under) != 2 {
		t.Fatalf("%d batches, want 2", len(under))
	}
	s.store(under[:1])
	s.save()
	s.killed()
	s = w.stepper(cfg)
	s.rounds(c.id, 2)
	if err := os.RemoveAll(jsonfile.Dir(w.root, c.id)); err != nil {
		t.Fatal(err)
	}
	s.gone(c.id)
	s.rounds(c.id, 4)
	w.expect(c, 0, "one", "two")
	if b := w.store.sink.receipts[c.id+" "+w.generationOf(c)+" stdout"].Bytes; b.Garbage != int64(len(torn)) || b.OtherStream != b.Size-b.Delivered-b.Garbage {
		t.Errorf("%+v", b)
	}
	s.killed()
}

// TestRotatedWithinALine: the container runs again, which the reader has not heard
// yet, and dockerd rotates between two pieces of a line: for a moment no file has
// the log's name. The line goes on behind it.
func TestRotatedWithinALine(t *testing.T) {
	w, c := one(t, jsonfile.Options{})
	stopped := w.targets[c.id]
	stopped.Running = false
	w.targets[c.id] = stopped
	s := w.stepper(Config{})
	turn := func() {
		s.store(s.turn(c.id))
		s.save()
	}
	c.line(0, "one")
	at := c.now.Add(time.Second)
	if err := c.writer.WritePartial("stdout", []byte("begun, "), at, false); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(c.writer.Path(), c.writer.Path()+".1"); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		turn()
	}
	w.expect(c, 0, "one")
	if err := os.WriteFile(c.writer.Path(), jsonfile.AppendEntry(nil, []byte("and ended\n"), "stdout", nil, at), 0o640); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		turn()
	}
	w.expect(c, 0, "one", "begun, and ended")

	// A log that somebody has removed will not come back, and its folder is as old.
	at = at.Add(time.Second)
	f, err := os.OpenFile(c.writer.Path(), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(jsonfile.AppendEntry(nil, []byte("never ended"), "stdout", nil, at)); err != nil {
		t.Fatal(err)
	}
	turn()
	if err := os.Remove(c.writer.Path()); err != nil {
		t.Fatal(err)
	}
	old(t, jsonfile.Dir(w.root, c.id))
	for range 2 {
		turn()
	}
	w.expect(c, 0, "one", "begun, and ended", "never ended")
	s.killed()
}

package tail

import (
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mesoscope/internal/jsonfile"
	"mesoscope/record"
)

// TestHorizonStays: what was sent once can have been sent at every later start,
// although reading goes back for the other stream.
func TestHorizonStays(t *testing.T) {
	w, c := one(t, jsonfile.Options{})
	s := w.stepper(Config{Sink: w.store})
	if err := c.writer.WritePartial("stdout", []byte("begun"), c.now, false); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(c.writer.Path(), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const far = 2 * horizonAhead
	entry := jsonfile.AppendEntry(nil, []byte("far away\n"), "stderr", nil, c.now.Add(1))
	if _, err := f.WriteAt(entry, far); err != nil {
		t.Fatal(err)
	}
	// stderr is stored, but no answer arrives any more. Then the line of stdout,
	// which goes on before it, is needed again.
	for range 4 {
		for _, fl := range s.turn(c.id) {
			w.store.add(&fl.Batch)
		}
		s.save()
	}
	w.expect(c, 1, "far away")
	src := s.f.sources[c.id]
	src.goBack(0)
	src.dirty = true
	s.save()
	s.killed()
	s = w.stepper(Config{Sink: w.store})
	for range 4 {
		for _, fl := range s.turn(c.id) {
			w.store.add(&fl.Batch) // complains if it is sent as a new one
		}
		s.save()
	}
	s.killed()
	if w.store.sink.repeated == 0 {
		t.Error("the line was not sent again")
	}
}

// TestGapAgain: a gap that was noted before the checkpoint was lost is noted
// again, and that document may be there.
func TestGapAgain(t *testing.T) {
	w := newWorld(t, 1)
	w.moody = true
	c := w.container(0, jsonfile.Options{})
	s := w.stepper(Config{})
	c.line(0, "one")
	s.rounds(c.id, 2)
	s.killed()
	if err := os.Remove(filepath.Join(w.state, "checkpoint")); err != nil {
		t.Fatal(err)
	}
	s = w.stepper(Config{Returning: true})
	s.turn(c.id)
	src := s.f.sources[c.id]
	src.noteGap(src.gens[0], "damaged", 7, 0, "the compressed log is damaged", s.f.metrics)
	s.save()
	found := false
	for _, fl := range s.turn(c.id) {
		if fl.Stream.Index == "gaps" {
			found = true
			if fl.Since != record.Unknown {
				t.Errorf("Since is %q", fl.Since)
			}
		}
	}
	if !found {
		t.Error("no gap document")
	}
	s.killed()
}

// TestOldCheckpoint: what version 1 wrote is taken over. It knows of no books, and
// not which index was written to.
func TestOldCheckpoint(t *testing.T) {
	w, c := one(t, jsonfile.Options{})
	c.line(0, "stored")
	ino, size := live(c.writer.Path())
	head := c.now.UnixNano()
	c.line(0, "not stored")
	name := fmt.Sprintf("1_%d_%d_0", ino, head)
	if err := os.MkdirAll(filepath.Join(w.hold, c.id), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(c.writer.Path(), filepath.Join(w.hold, c.id, name)); err != nil {
		t.Fatal(err)
	}
	old := fmt.Sprintf(`{"id":%q,"gens":[{"n":1,"ino":%d,"head":%d,"path":%q,"hold":%q}],`+
		`"settled":[{"n":1,"off":%d,"lines":1},{"n":1,"off":%d,"lines":0}],"horizon":{"n":1,"off":67108864}}`,
		c.id, ino, head, c.writer.Path(), name, size, size)
	if err := os.MkdirAll(w.state, 0o700); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("mesoscope-checkpoint 1\n%08x %s\n", crc32.Checksum([]byte(old), castagnoli), old)
	if err := os.WriteFile(filepath.Join(w.state, "checkpoint"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := w.stepper(Config{Returning: true})
	if s.f.doubt.Load() {
		t.Error("there is doubt about a good checkpoint")
	}
	out := s.turn(c.id)
	if len(out) != 1 || out[0].Len() != 1 || out[0].Since != record.Unknown {
		t.Fatalf("%d batches: %+v", len(out), out)
	}
	s.store(out)
	w.expect(c, 0, "not stored")
	for _, d := range w.store.docs {
		if d.Event.Sequence != 2 {
			t.Errorf("event.sequence is %d, want 2", d.Event.Sequence)
		}
	}
	s.save()
	text2, err := os.ReadFile(filepath.Join(w.state, "checkpoint"))
	if err != nil || !strings.HasPrefix(string(text2), "mesoscope-checkpoint 2\n") {
		t.Errorf("%v: %.60q", err, text2)
	}
	s.killed()
}

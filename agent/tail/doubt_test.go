package tail

import (
	"os"
	"path/filepath"
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
	for range 2 {
		s.store(s.turn(c.id))
		s.save()
	}
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

package tail

import (
	"bytes"
	"os"
	"testing"

	"mesoscope/internal/jsonfile"
)

// TestNumbersAreNotUsedAgain: the last file of a container that has gone was
// settled and is forgotten, while an older one is remembered for its receipt. If
// the container comes back, its next file is not that one: it would count as
// settled.
func TestNumbersAreNotUsedAgain(t *testing.T) {
	w := newWorld(t, 1)
	w.moody = true
	c := w.container(0, jsonfile.Options{})
	s := w.stepper(Config{})
	c.line(0, "one")
	name := ""
	round := func() {
		for range 3 {
			for _, fl := range s.turn(c.id) {
				if fl.Stream.Index == "receipts" && name != "" && bytes.Contains(fl.Doc(0), []byte(name)) {
					fl.Return() // nobody takes the receipt of the first file
					continue
				}
				s.store([]*flight{fl})
			}
			s.save()
		}
	}
	round()
	name = w.generationOf(c)
	if err := os.Rename(c.writer.Path(), c.writer.Path()+".1"); err != nil {
		t.Fatal(err)
	}
	writer, err := jsonfile.Open(c.writer.Path(), c.opt)
	if err != nil {
		t.Fatal(err)
	}
	c.writer = writer
	c.line(0, "two")
	round()
	if err := os.RemoveAll(jsonfile.Dir(w.root, c.id)); err != nil {
		t.Fatal(err)
	}
	s.gone(c.id)
	round()
	s.killed()
	s = w.stepper(Config{})
	s.gone(c.id)
	round()
	if src := s.f.sources[c.id]; src == nil || len(src.gens) != 1 || src.gens[0].N != 1 {
		t.Fatal("want the first file alone, for its receipt")
	}
	s.killed()

	now := c.now
	c = w.container(0, jsonfile.Options{})
	c.now = now
	s = w.stepper(Config{})
	c.line(0, "three")
	s.rounds(c.id, 2)
	w.expect(c, 0, "one", "two", "three")
	s.killed()
}

// TestLagOfHeldFiles: after a restart, what is held and not read yet is lag, though
// nobody has opened it.
func TestLagOfHeldFiles(t *testing.T) {
	w, c := one(t, jsonfile.Options{})
	s := w.stepper(Config{})
	c.line(0, "one")
	s.turn(c.id)
	s.save()
	s.killed()
	if err := os.RemoveAll(jsonfile.Dir(w.root, c.id)); err != nil {
		t.Fatal(err)
	}
	s = w.stepper(Config{})
	s.gone(c.id)
	src := s.f.sources[c.id]
	if _, err := s.f.look(src); err != nil {
		t.Fatal(err)
	}
	if st := src.status(); st.LagBytes != 68 {
		t.Errorf("%d bytes of lag, want 68", st.LagBytes)
	}
	s.killed()
}

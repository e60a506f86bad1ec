package tail

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mesoscope/internal/jsonfile"
)

// gone and back say that the container is not there, or again.
func (s *stepper) gone(id string) {
	delete(s.w.targets, id)
	s.w.set()
	s.f.Set(nil)
}

func (s *stepper) back(id string) {
	s.w.targets[id] = s.w.target(id)
	s.w.set()
}

// TestReceiptOfOneThatComesBack: a container that was taken for gone has its last
// receipt on the way, or stored, when it comes back. It gets another one when it
// ends.
func TestReceiptOfOneThatComesBack(t *testing.T) {
	for _, how := range []string{"receipt under way", "receipt under way, killed", "receipt not sent, killed", "killed, back later"} {
		t.Run(how, func(t *testing.T) {
			w := newWorld(t, 1)
			w.moody = true
			c := w.container(0, jsonfile.Options{})
			s := w.stepper(Config{})
			c.line(0, "one")
			s.rounds(c.id, 2)
			s.gone(c.id)
			s.turn(c.id)
			if src := s.f.sources[c.id]; !src.finished {
				t.Fatal("not finished")
			}
			s.save()
			var under []*flight
			if !strings.Contains(how, "not sent") {
				if under = s.turn(c.id); len(under) != 1 {
					t.Fatalf("%d batches, want the receipt", len(under))
				}
			}
			if strings.Contains(how, "killed") {
				if under != nil {
					w.store.add(&under[0].Batch)
				}
				s.killed()
				if strings.Contains(how, "later") {
					s = w.stepper(Config{})
					s.gone(c.id)
					s.turn(c.id)
					s.save()
					s.back(c.id)
				} else {
					w.targets[c.id] = w.target(c.id)
					s = w.stepper(Config{})
				}
			} else {
				s.back(c.id)
				s.store(under)
			}
			c.line(0, "two")
			s.rounds(c.id, 3)
			key := fmt.Sprintf("%s %s stdout", c.id, w.generationOf(c))
			if r := w.store.sink.receipts[key]; r.Final && r.Lines.Total == 2 {
				t.Errorf("final although the container goes on: %+v", r)
			}
			c.line(0, "three")
			s.rounds(c.id, 3)
			s.gone(c.id)
			s.rounds(c.id, 4)
			w.expect(c, 0, "one", "two", "three")
			if r := w.store.sink.receipts[key]; !r.Final || r.Lines.Total != 3 {
				t.Errorf("receipt %+v", r)
			}
			if s.f.sources[c.id] != nil {
				t.Error("never forgotten")
			}
			s.killed()
		})
	}
}

// TestGoneWithinALine: a container is gone, but its file was written to just now,
// and ends within a line.
func TestGoneWithinALine(t *testing.T) {
	w, c := one(t, jsonfile.Options{})
	s := w.stepper(Config{})
	c.line(0, "one")
	if err := c.writer.WritePartial("stdout", []byte("begun"), c.now.Add(time.Second), false); err != nil {
		t.Fatal(err)
	}
	s.rounds(c.id, 2)
	s.gone(c.id)
	for range 3 {
		s.store(s.turn(c.id))
		s.save()
		if s.f.sources[c.id] == nil {
			t.Fatal("forgotten before its last line was sent")
		}
	}
	old(t, c.writer.Path())
	s.rounds(c.id, 4)
	w.expect(c, 0, "one", "begun")
	s.killed()
}

// TestHeldUntilStored: nobody takes the last receipt of a container that has
// gone. That is no reason to keep its file.
func TestHeldUntilStored(t *testing.T) {
	w := newWorld(t, 1)
	w.moody = true
	c := w.container(0, jsonfile.Options{})
	s := w.stepper(Config{})
	c.line(0, "one")
	round := func() {
		for range 3 {
			for _, fl := range s.turn(c.id) {
				if fl.Stream.Index == "receipts" {
					fl.Return()
					continue
				}
				s.store([]*flight{fl})
			}
			s.save()
		}
	}
	round()
	if err := os.RemoveAll(jsonfile.Dir(w.root, c.id)); err != nil {
		t.Fatal(err)
	}
	s.gone(c.id)
	round()
	left := func() (links int) {
		names, _ := os.ReadDir(filepath.Join(w.hold, c.id))
		return len(names)
	}
	if n := left(); n != 0 {
		t.Errorf("%d files are held although all lines are stored", n)
	}
	if s.f.sources[c.id] == nil {
		t.Fatal("forgotten without its receipt")
	}
	s.killed()
	s = w.stepper(Config{})
	s.rounds(c.id, 3)
	r := w.store.sink.receipts[fmt.Sprintf("%s %s stdout", c.id, w.generationOf(c))]
	if !r.Final || r.Lines.Total != 1 || len(r.Gaps) > 0 {
		t.Errorf("receipt %+v", r)
	}
	if s.f.sources[c.id] != nil {
		t.Error("never forgotten")
	}
	s.killed()
}

// TestKilledBeforeTheLastAnswer: a container has gone and its log was read to the
// end, but the last lines were not answered when the agent was killed. That the
// file has its end does not mean that it is settled: the next agent needs it, and
// its receipt says what became of those lines.
func TestKilledBeforeTheLastAnswer(t *testing.T) {
	w := newWorld(t, 1)
	w.moody = true
	c := w.container(0, jsonfile.Options{})
	s := w.stepper(Config{})
	c.line(0, "one")
	s.rounds(c.id, 2)
	c.line(0, "two")
	c.line(1, "three")
	name := w.generationOf(c)
	if err := os.RemoveAll(jsonfile.Dir(w.root, c.id)); err != nil {
		t.Fatal(err)
	}
	s.gone(c.id)
	if n := len(s.turn(c.id)); n != 2 {
		t.Fatalf("%d batches under way, want 2", n)
	}
	s.save()
	s.killed()

	s = w.stepper(Config{})
	s.gone(c.id)
	src := s.f.sources[c.id]
	if _, err := s.f.look(src); err != nil {
		t.Fatal(err)
	}
	src.dirty = true // whatever the reason
	s.save()         // before a line is read again
	s.rounds(c.id, 4)
	w.expect(c, 0, "one", "two")
	w.expect(c, 1, "three")
	for stream, lines := range map[string]int64{"stdout": 2, "stderr": 1} {
		if r := w.store.sink.receipts[fmt.Sprintf("%s %s %s", c.id, name, stream)]; !r.Final || r.Lines.Total != lines || len(r.Gaps) > 0 {
			t.Errorf("receipt of %s: %+v", stream, r)
		}
	}
	s.killed()
}

// TestForgottenAndBack: a container was forgotten while its files were still
// there, and is named again, by this agent or by a later one: reading goes on.
func TestForgottenAndBack(t *testing.T) {
	w, c := one(t, jsonfile.Options{})
	s := w.stepper(Config{Sink: w.store})
	c.line(0, "one")
	s.rounds(c.id, 2)
	for life := range 3 {
		s.gone(c.id)
		s.turn(c.id)
		s.save()
		if s.f.sources[c.id] != nil {
			t.Fatal("not forgotten")
		}
		if held, _ := os.ReadDir(filepath.Join(w.hold, c.id)); len(held) > 0 {
			t.Errorf("%d files are held", len(held))
		}
		if life == 1 {
			s.killed()
			s = w.stepper(Config{Sink: w.store})
			if s.f.sources[c.id] != nil {
				t.Fatal("followed although nobody named it")
			}
		}
		s.back(c.id)
		c.line(0, fmt.Sprint("and ", life))
		s.rounds(c.id, 2)
	}
	w.expect(c, 0, "one", "and 0", "and 1", "and 2")
	if n := w.store.sink.repeated; n > 0 {
		t.Errorf("%d lines were sent again", n)
	}
	s.gone(c.id)
	s.turn(c.id)
	s.save()
	s.killed()
	if err := os.RemoveAll(jsonfile.Dir(w.root, c.id)); err != nil {
		t.Fatal(err)
	}
	s = w.stepper(Config{})
	if len(s.f.known) > 0 || len(s.f.checkpoint.last) > 0 {
		t.Error("never forgotten")
	}
	s.killed()
}

// TestForgivenGap: a gap document that nobody takes does not keep a container for
// ever.
func TestForgivenGap(t *testing.T) {
	w := newWorld(t, 1)
	w.moody = true
	c := w.container(0, jsonfile.Options{})
	s := w.stepper(Config{})
	c.line(0, "one")
	s.rounds(c.id, 2)
	src := s.f.sources[c.id]
	src.noteGap(src.gens[0], "damaged", 7, 0, "damaged", s.f.metrics)
	s.gone(c.id)
	for range 4 {
		for _, fl := range s.turn(c.id) {
			if fl.Stream.Index == "gaps" {
				fl.Return()
				continue
			}
			s.store([]*flight{fl})
		}
		s.save()
	}
	if s.f.sources[c.id] == nil {
		t.Fatal("forgotten without its gap document")
	}
	src.forgive(true)
	s.save()
	if s.f.sources[c.id] != nil {
		t.Error("never forgotten")
	}
	s.killed()
}

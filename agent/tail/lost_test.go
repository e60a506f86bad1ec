package tail

import (
	"fmt"
	"os"
	"testing"

	"mesoscope/internal/jsonfile"
)

// TestLostUnderWay: a file is truncated while lines of it are under way. They
// are given back, or the agent dies: nobody can read them again, and that is
// said too.
func TestLostUnderWay(t *testing.T) {
	for _, how := range []string{"given back", "killed"} {
		t.Run(how, func(t *testing.T) {
			w := newWorld(t, 1)
			w.moody = true
			c := w.container(0, jsonfile.Options{})
			s := w.stepper(Config{})
			c.line(0, "one")
			c.line(1, "two")
			s.rounds(c.id, 2)
			_, settled := live(c.writer.Path())
			c.line(0, "under way")
			c.line(1, "under way too")
			_, read := live(c.writer.Path())
			under := s.turn(c.id)
			if len(under) != 2 {
				t.Fatalf("%d batches under way", len(under))
			}
			first := s.f.sources[c.id].gens[0].name()
			if err := os.Truncate(c.writer.Path(), 0); err != nil {
				t.Fatal(err)
			}
			c.line(0, "after")
			s.turn(c.id) // notices
			s.save()
			if how == "killed" {
				s.killed()
				s = w.stepper(Config{})
			} else {
				for _, fl := range under {
					fl.Return()
				}
			}
			s.rounds(c.id, 5)
			w.expect(c, 0, "one", "after")
			from := read
			for _, g := range w.store.sink.gaps {
				if g.From > 0 { // 0: the doubt about what came before the next file
					from = min(from, g.From)
				}
			}
			if from != settled {
				t.Errorf("lines are declared lost from offset %d on, want %d: %+v", from, settled, w.store.sink.gaps)
			}
			for _, stream := range streamNames {
				r := w.store.sink.receipts[fmt.Sprintf("%s %s %s", c.id, first, stream)]
				if !r.Final || r.Lines.Total != 1 || r.Bytes.Size != read || r.Bytes.Gap != read-settled {
					t.Errorf("receipt of %s: %+v", stream, r)
				}
				b := r.Bytes
				if sum := b.Delivered + b.OtherStream + b.Garbage + b.Gap; sum != b.Size || b.OtherStream < 0 {
					t.Errorf("bytes of %s do not add up: %+v", stream, b)
				}
			}
			s.killed()
		})
	}
}

// TestLostInARow: a log is truncated in place again and again while nothing is
// answered, and the container goes. Whoever comes next passes over all that is
// lost, and reads what the last link leads to.
func TestLostInARow(t *testing.T) {
	for _, how := range []string{"given back", "killed"} {
		t.Run(how, func(t *testing.T) {
			w := newWorld(t, 1)
			w.moody = true
			c := w.container(0, jsonfile.Options{})
			s := w.stepper(Config{})
			c.line(0, "stored")
			s.rounds(c.id, 2)
			var under []*flight
			for n := range 10 {
				c.line(0, fmt.Sprintf("under way %d", n))
				under = append(under, s.turn(c.id)...)
				s.save() // which lets what lies in a new file be sent
				under = append(under, s.turn(c.id)...)
				if err := os.Truncate(c.writer.Path(), 0); err != nil {
					t.Fatal(err)
				}
			}
			if len(under) < 10 {
				t.Fatalf("%d batches under way", len(under))
			}
			c.line(0, "the last")
			s.turn(c.id)
			s.save()
			if err := os.RemoveAll(jsonfile.Dir(w.root, c.id)); err != nil {
				t.Fatal(err)
			}
			if how == "killed" {
				s.killed()
				s = w.stepper(Config{})
			} else {
				for _, fl := range under {
					fl.Return()
				}
			}
			s.gone(c.id)
			s.rounds(c.id, 4)
			w.expect(c, 0, "stored", "the last")
			if s.f.sources[c.id] != nil {
				t.Error("never forgotten")
			}
			s.killed()
		})
	}
}

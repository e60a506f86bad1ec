package tail

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mesoscope/internal/jsonfile"
)

// TestPresumed: the checkpoint falls back to a time when files were held that have
// been settled and let go since. They are not lost, their receipts stay, and that
// nothing is known for sure is said once.
func TestPresumed(t *testing.T) {
	for _, gone := range []bool{false, true} {
		t.Run(fmt.Sprint("gone ", gone), func(t *testing.T) {
			w := newWorld(t, 1)
			w.moody = true
			c := w.container(0, jsonfile.Options{})
			s := w.stepper(Config{})
			checkpoint := filepath.Join(w.state, "checkpoint")
			c.line(0, "one")
			c.line(1, "one, too")
			s.save()
			under := s.turn(c.id)
			s.save()
			under = append(under, s.turn(c.id)...)
			s.save()
			old, err := os.ReadFile(checkpoint)
			if err != nil {
				t.Fatal(err)
			}
			s.store(under)
			name := w.generationOf(c)
			if err := os.Remove(c.writer.Path()); err != nil {
				t.Fatal(err)
			}
			if c.writer, err = jsonfile.Open(c.writer.Path(), c.opt); err != nil {
				t.Fatal(err)
			}
			c.line(0, "two")
			s.rounds(c.id, 3)
			s.killed()
			if err := os.WriteFile(checkpoint, append(old, "torn"...), 0o600); err != nil {
				t.Fatal(err)
			}
			if gone {
				if err := os.RemoveAll(filepath.Dir(c.writer.Path())); err != nil {
					t.Fatal(err)
				}
				if err := os.RemoveAll(filepath.Join(w.hold, c.id)); err != nil {
					t.Fatal(err)
				}
			}

			s = w.stepper(Config{Returning: true})
			if !s.f.doubt.Load() {
				t.Fatal("no doubt about a torn checkpoint")
			}
			if gone {
				s.gone(c.id)
			} else {
				c.line(0, "three")
			}
			gaps := 0
			for range 4 {
				if s.f.sources[c.id] == nil {
					break
				}
				out := s.turn(c.id)
				for _, fl := range out {
					if fl.Stream.Index == "gaps" {
						gaps++
						if doc := string(fl.Doc(0)); !strings.Contains(doc, "the checkpoint was damaged") {
							t.Errorf("a gap: %s", doc)
						}
					}
				}
				s.store(out)
				s.save()
			}
			if gaps != 1 {
				t.Errorf("%d gap documents, want 1", gaps)
			}
			if gone && s.f.sources[c.id] != nil {
				t.Error("never forgotten")
			}
			if !gone {
				w.expect(c, 0, "one", "two", "three")
			}
			for _, stream := range streamNames {
				if r := w.store.sink.receipts[fmt.Sprintf("%s %s %s", c.id, name, stream)]; !r.Final || r.Lines.Total != 1 || len(r.Gaps) > 0 {
					t.Errorf("receipt of %s: %+v", stream, r)
				}
			}
			s.killed()
			if gone {
				return
			}
			s = w.stepper(Config{})
			s.turn(c.id)
			if src := s.f.sources[c.id]; src.unproven != "" {
				t.Errorf("once more: %s", src.unproven)
			}
			s.killed()
		})
	}
}

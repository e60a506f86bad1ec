package tail

import (
	"os"
	"testing"

	"mesoscope/internal/jsonfile"
)

// TestTruncatedAndRemoved: a log is truncated in place and written on, and its
// container is removed before the folder is looked at again. Only the link leads to
// what was written behind the truncation, for this agent or for the next one.
func TestTruncatedAndRemoved(t *testing.T) {
	for _, how := range []string{"running", "killed before", "killed within"} {
		t.Run(how, func(t *testing.T) {
			w, c := one(t, jsonfile.Options{})
			s := w.stepper(Config{})
			c.line(0, "one, which is longer than what comes")
			s.rounds(c.id, 2)
			if err := os.Truncate(c.writer.Path(), 0); err != nil {
				t.Fatal(err)
			}
			c.line(0, "two")
			if err := os.RemoveAll(jsonfile.Dir(w.root, c.id)); err != nil {
				t.Fatal(err)
			}
			if how == "killed before" {
				s.killed()
				s = w.stepper(Config{})
			}
			s.gone(c.id)
			if how == "killed within" {
				s.turn(c.id)
				s.killed()
				s = w.stepper(Config{})
				s.gone(c.id)
			}
			s.rounds(c.id, 4)
			w.expect(c, 0, "one, which is longer than what comes", "two")
			if s.f.sources[c.id] != nil {
				t.Error("never forgotten")
			}
			if _, err := os.Stat(s.f.hold.folder(c.id)); err == nil {
				t.Error("its folder in the hold stays")
			}
			s.killed()
		})
	}
}

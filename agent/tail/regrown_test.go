package tail

import (
	"os"
	"testing"
	"time"

	"mesoscope/internal/jsonfile"
)

// TestRegrownBehindOpenLine: the file has lost, and got again, what lies behind
// the begin of an open line of stdout, where stderr was settled already.
func TestRegrownBehindOpenLine(t *testing.T) {
	for _, grown := range []int{0, 1, 5} {
		w, c := one(t, jsonfile.Options{})
		s := w.stepper(Config{Sink: w.store})
		c.line(0, "one")
		if err := c.writer.WritePartial("stdout", []byte("begun"), c.now.Add(time.Second), false); err != nil {
			t.Fatal(err)
		}
		c.line(1, "kept")
		_, keep := live(c.writer.Path())
		c.line(1, "lost")
		s.rounds(c.id, 2)
		s.killed()
		if err := os.Truncate(c.writer.Path(), keep); err != nil {
			t.Fatal(err)
		}
		if err := c.writer.Close(); err != nil {
			t.Fatal(err)
		}
		var err error
		if c.writer, err = jsonfile.Open(c.writer.Path(), c.opt); err != nil {
			t.Fatal(err)
		}
		c.now = c.now.Add(time.Minute)
		want := []string{"kept", "lost"}
		for range grown {
			want = append(want, "newx")
			c.line(1, "newx")
		}
		s = w.stepper(Config{Sink: w.store})
		s.rounds(c.id, 2)
		want = append(want, "last")
		c.line(1, "last")
		s.rounds(c.id, 2)
		if err := c.writer.WritePartial("stdout", []byte(" ended"), c.now.Add(time.Second), true); err != nil {
			t.Fatal(err)
		}
		s.rounds(c.id, 2)
		w.expect(c, 1, want...)
		w.expect(c, 0, "one", "begun", " ended")
		s.killed()
	}
}

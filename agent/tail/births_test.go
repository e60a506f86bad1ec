package tail

import (
	"strings"
	"testing"
	"time"

	"mesoscope/internal/jsonfile"
)

// TestFilesUnseen: files come and go faster than the agent looks at their
// folder. That is said, and only that.
func TestFilesUnseen(t *testing.T) {
	w, c := one(t, jsonfile.Options{MaxSize: 300, MaxFile: 1})
	w.start()
	long := strings.Repeat("x", 300) // each line fills a file
	c.line(0, "first "+long)
	c.waitSeen()
	for range 20 { // at a pace at which each file is seen
		c.line(0, "seen "+long)
		c.waitSeen()
	}
	w.until("all lines", func() bool { return len(w.messages(c, 0)) == 21 })
	if s := w.source(c); s.Gaps != 0 || s.Unproven {
		t.Fatalf("without a reason: %+v", s)
	}
	w.until("births that were found already to be told", func() bool {
		s := w.agent.f.sources[c.id]
		s.mu.Lock()
		defer s.mu.Unlock()
		return time.Since(s.births.since) > settling
	})
	s := w.agent.f.sources[c.id]
	s.mu.Lock() // nobody can look
	for range 7 {
		c.line(0, "unseen "+long)
	}
	s.mu.Unlock()
	c.waitSeen() // the last of them is there
	w.until("the loss to be noticed", func() bool { return w.source(c).Gaps > 0 })
	s.mu.Lock()
	why := s.gens[len(s.gens)-1].Doubt
	s.mu.Unlock()
	if !strings.Contains(why, "came and went before the agent could look at") {
		t.Errorf("the receipt says %q", why)
	}
	c.line(0, "and on "+long)
	c.waitSeen()
	w.until("the rest", func() bool { return len(w.messages(c, 0)) == 23 })
	if n := w.source(c).Gaps; n > 2 { // the births may have been told in two parts
		t.Errorf("%d gaps for one loss", n)
	}
	w.kill()
}

func TestBirths(t *testing.T) {
	var b births
	b.restart(3, 2, true)
	for _, c := range []struct {
		told  int64
		found int
		want  int64
	}{
		{3, 0, 0},
		{4, 0, 0}, // the birth of a file that the first look has found
		{5, 0, 0}, // and of the other one
		{6, 1, 0},
		{6, 1, 0}, // found before its birth is told …
		{7, 0, 0}, // … which comes now
		{9, 1, 1}, // one that nobody saw
		{9, 0, 0}, // is said once
		{15, 2, 4},
	} {
		if got := b.unseen(c.told, c.found); got != c.want {
			t.Errorf("told %d, found %d: %d unseen, want %d", c.told, c.found, got, c.want)
		}
	}
}

package tail

import (
	"strings"
	"testing"

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
	if n := w.source(c).Gaps; n != 1 {
		t.Errorf("%d gaps for one loss", n)
	}
	w.kill()
}

// TestUnseenAndKilled: files come and go unseen, and the agent dies before it could
// write that down. The next one says so, once, and of the right file.
func TestUnseenAndKilled(t *testing.T) {
	w, c := one(t, jsonfile.Options{MaxSize: 300, MaxFile: 1})
	w.moody = true
	w.targets[c.id] = w.target(c.id)
	long := strings.Repeat("x", 300) // each line fills a file
	s := w.stepper(Config{})
	for _, line := range []string{"one ", "two "} {
		c.line(0, line+long)
		s.store(s.turn(c.id))
		s.save()
	}
	c.line(0, "unseen "+long)
	c.line(0, "unseen "+long)
	c.line(0, "three "+long)
	three := c.now.UnixNano()
	s.turn(c.id)
	if n := w.source(c).Gaps; n != 1 {
		t.Fatalf("%d gaps, want one", n)
	}
	c.line(0, "four "+long)
	s.turn(c.id)
	s.killed()
	for life, want := range []int64{1, 0} {
		s = w.stepper(Config{})
		first := s.turn(c.id)
		for _, g := range s.f.sources[c.id].gens {
			if g.Doubt != "" && g.Head != three {
				t.Errorf("the doubt %q is about the wrong file", g.Doubt)
			}
		}
		s.store(first)
		for range 3 {
			s.save()
			s.store(s.turn(c.id))
		}
		if n := w.source(c).Gaps; n != want {
			t.Errorf("%d gaps in the next life but %d, want %d", n, life, want)
		}
		s.killed()
	}
	w.expect(c, 0, "one "+long, "two "+long, "three "+long, "four "+long)
}

func TestBirths(t *testing.T) {
	var b births
	for _, c := range []struct {
		now          heard
		there, fresh int
		want         int64
	}{
		{heard{1, true, 2}, 3, 3, 0}, // the first look: one was there before the watch
		{heard{1, true, 2}, 3, 0, 0},
		{heard{1, true, 3}, 3, 1, 0},
		{heard{1, true, 5}, 3, 1, 1}, // one that nobody saw
		{heard{1, true, 5}, 3, 0, 0}, // is said once
		{heard{1, true, 9}, 2, 2, 2},
		{heard{1, true, 9}, 3, 1, 0}, // made by another hand: it counts for nobody
		{heard{1, true, 10}, 3, 0, 1},
		{heard{2, true, 3}, 3, 3, 0},  // events were lost: nothing is known of before
		{heard{3, true, 4}, 3, 0, 1},  // and again; one of these has gone
		{heard{3, false, 9}, 3, 0, 0}, // not watched any more
		{heard{4, true, 1}, 2, 1, 0},
	} {
		if got := b.unseen(c.now, c.there, c.fresh); got != c.want {
			t.Errorf("told %+v, %d there, %d fresh: %d unseen, want %d", c.now, c.there, c.fresh, got, c.want)
		}
		b.last = c.now
	}
}

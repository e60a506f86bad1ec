package tail

import (
	"os"
	"path/filepath"
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

// TestUnseenByTheFirstLook: files come and go after the folder of a new container is
// watched, and before it is looked at. Where none has gone, nothing is declared.
func TestUnseenByTheFirstLook(t *testing.T) {
	for _, test := range []struct {
		maxFile, lines int
		want           int64
	}{{1, 1, 0}, {1, 2, 1}, {1, 4, 1}, {3, 3, 0}, {3, 4, 1}} {
		w, c := one(t, jsonfile.Options{MaxSize: 300, MaxFile: test.maxFile})
		s := w.stepper(Config{})
		for range test.lines {
			c.line(0, strings.Repeat("x", 300)) // each line fills a file
		}
		s.rounds(c.id, 2)
		if n := w.source(c).Gaps; n != test.want {
			t.Errorf("max-file %d, %d lines: %d gaps, want %d", test.maxFile, test.lines, n, test.want)
		}
		s.killed()
	}
}

// TestUnseenBeforeAnEmptyFile: files have come and gone, and the present one has no
// entry yet. The doubt waits for it, and stands before it.
func TestUnseenBeforeAnEmptyFile(t *testing.T) {
	w, c := one(t, jsonfile.Options{MaxSize: 300, MaxFile: 1})
	long := strings.Repeat("x", 300) // each line fills a file
	s := w.stepper(Config{})
	c.line(0, long)
	s.turn(c.id)
	c.line(0, long) // unseen
	must(t, os.Remove(c.writer.Path()), os.WriteFile(c.writer.Path(), nil, 0o600))
	s.turn(c.id)
	if n := w.source(c).Gaps; n != 0 {
		t.Errorf("%d gaps before there is a file behind them", n)
	}
	must(t, os.WriteFile(c.writer.Path(), jsonfile.AppendEntry(nil, []byte("on"), "stdout", nil, c.now), 0o600))
	s.turn(c.id)
	src := s.f.sources[c.id]
	if n := len(src.gens); n != 2 || src.gens[1].Doubt == "" || src.gens[1].N != 3 {
		t.Errorf("%d files; the last one is number %d, doubt %q", n, src.gens[n-1].N, src.gens[n-1].Doubt)
	}
	s.killed()
}

// TestUnseenSinceItWasEmpty: a look finds a file that has no entry yet, and the next
// one others in its place.
func TestUnseenSinceItWasEmpty(t *testing.T) {
	for _, unseen := range []bool{false, true} {
		w, c := one(t, jsonfile.Options{})
		path := c.writer.Path()
		entry := jsonfile.AppendEntry(nil, []byte("on"), "stdout", nil, c.now)
		rotate := func() { must(t, os.Rename(path, path+".1"), os.WriteFile(path, nil, 0o600)) }
		s := w.stepper(Config{})
		c.line(0, "first")
		s.turn(c.id)
		rotate()
		s.turn(c.id) // the live file is empty
		// Its inode does not come back, which would tell.
		must(t, os.Link(path, filepath.Join(t.TempDir(), "kept")))
		must(t, os.WriteFile(path, entry, 0o600))
		rotate()
		if unseen {
			must(t, os.WriteFile(path, entry, 0o600))
			rotate()
		}
		must(t, os.WriteFile(path, entry, 0o600))
		s.turn(c.id)
		src := s.f.sources[c.id]
		if n := len(src.gens); n != 3 || (src.gens[1].Doubt != "") != unseen || src.gens[2].Doubt != "" {
			t.Errorf("unseen %t: %d files, doubts %q and %q", unseen, n, src.gens[1].Doubt, src.gens[2].Doubt)
		}
		s.killed()
	}
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
		{heard{watch: 1, on: true, births: 2}, 3, 3, 0}, // the first look: one was there before the watch
		{heard{watch: 1, on: true, births: 2}, 3, 0, 0},
		{heard{watch: 1, on: true, births: 3}, 3, 1, 0},
		{heard{watch: 1, on: true, births: 5}, 3, 1, 1}, // one that nobody saw
		{heard{watch: 1, on: true, births: 5}, 3, 0, 0}, // is said once
		{heard{watch: 1, on: true, births: 9}, 2, 2, 2},
		{heard{watch: 1, on: true, births: 9}, 3, 1, 0}, // made by another hand: it counts for nobody
		{heard{watch: 1, on: true, births: 10}, 3, 0, 1},
		{heard{watch: 2, on: true, births: 3}, 3, 3, 0}, // events were lost: nothing is known of before
		{heard{watch: 3, on: true, births: 4}, 3, 0, 1}, // and again; one of these has gone
		{heard{watch: 3, births: 6}, 0, 0, 2},           // told before the watch ended
		{heard{watch: 3, births: 6}, 0, 0, 0},
		{heard{watch: 4, on: true, births: 1, before: 1}, 2, 1, 0},
	} {
		if got := b.unseen(c.now, c.there, c.fresh); got != c.want {
			t.Errorf("told %+v, %d there, %d fresh: %d unseen, want %d", c.now, c.there, c.fresh, got, c.want)
		}
		b.last = c.now
	}
}

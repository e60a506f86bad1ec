package tail

import (
	"context"
	"os"
	"path/filepath"
	"time"
)

// sweepAll looks at every folder now and then, and each second at those that
// cannot be watched or wait for a second look.
func (f *Follower) sweepAll(ctx context.Context) {
	const unwatched = time.Second
	tick := time.NewTicker(min(unwatched, f.sweep))
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		all := time.Since(last) >= f.sweep
		if all {
			last = time.Now()
		}
		blind, waiting := f.watch.blind.Swap(false), f.dangling.Swap(false)
		waiting = f.blocked.Swap(false) || waiting
		if !all && !blind && !waiting {
			continue // thousands of silent sources cost nothing
		}
		f.mu.Lock()
		if all {
			f.forgive()
		}
		for _, s := range f.sources {
			unwatched := !s.watched.Load()
			if unwatched && f.watch.add(s.folder(), s) {
				f.wake(s, true) // what came before the watch was not seen
			} else if (all || unwatched) && s.changed() || all && s.linkGone(f.hold.folder(s.id)) {
				f.wake(s, true)
			} else if s.waits() {
				f.wake(s, false)
			}
			if all {
				f.askReceipts(s)
			}
		}
		f.mu.Unlock()
	}
}

// changed says whether the live file is another one than the one that is read,
// or there is more in it than was read, or the source waits for something that
// a look may cure.
func (s *source) changed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.problem != "" || !s.begun {
		return true
	}
	var size int64
	var ino uint64
	if fi, err := os.Stat(s.target.Path); err == nil {
		size, ino = fi.Size(), inode(fi)
	}
	if n := len(s.gens); n > 0 && s.gens[n-1].at == s.target.Path {
		g := s.gens[n-1]
		return g.Ino != ino || s.gen != g || s.off != size
	}
	return size > 0 || s.gen != nil && s.gen.at == "" && !s.gen.ended
}

// linkGone says whether somebody has taken away the link to the live file.
func (s *source) linkGone(holdDir string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.gens) == 0 {
		return false
	}
	g := s.gens[len(s.gens)-1]
	if g.Hold == "" {
		return false
	}
	_, err := os.Lstat(filepath.Join(holdDir, g.Hold))
	return err != nil
}

// waits says whether a second look after some time is needed.
func (s *source) waits() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dangling || s.blocked != "" || s.noteWait != ""
}

// Receipts that nobody takes (the credentials may not write them, say) must not
// pile up for ever: so many containers that have gone are remembered for theirs,
// and so many files of one that goes on.
const (
	mostOwing      = 1000
	mostOwingFiles = 100
)

// forgive gives up the receipts that are too many. f.mu is held.
func (f *Follower) forgive() {
	gone := 0
	for _, s := range f.sources {
		s.mu.Lock()
		if s.noteWait != "" {
			if s.finished && s.owes() {
				gone++
			}
			n := s.forgive(gone > mostOwing)
			f.metrics.receiptsDropped.Add(float64(n))
			if n > 0 {
				f.log.Warn("receipts are given up, because nobody takes them", "container", s.id, "destination", s.noteWait, "receipts", n)
			}
		}
		s.mu.Unlock()
	}
}

// forgive gives up the oldest receipts, or all, and counts them.
func (s *source) forgive(all bool) (n int) {
	var owing []*generation
	for _, g := range s.gens {
		if g.owes(s) && g != s.gen || all {
			owing = append(owing, g)
		}
	}
	if !all {
		owing = owing[:max(0, len(owing)-mostOwingFiles)]
	}
	for _, g := range owing {
		for k := range g.Final {
			if !g.Final[k] && !s.silent(g, k) {
				g.Final[k] = true
				n++
			}
		}
		for i := range g.Gaps {
			g.Gaps[i].Noted = true // the metric and the log have said it
		}
	}
	s.dirty = s.dirty || len(owing) > 0
	return n
}

// askReceipts asks for an open receipt of s when the last one is old enough.
func (f *Follower) askReceipts(s *source) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.begun && !s.finished && time.Since(s.openAt) >= s.openWait {
		s.openAt, s.openWait = time.Now(), min(2*s.openWait, openEvery)
		s.askNotes(true)
	}
}

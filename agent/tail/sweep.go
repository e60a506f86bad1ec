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

// askReceipts asks for an open receipt of s when the last one is old enough.
func (f *Follower) askReceipts(s *source) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.begun && !s.finished && time.Since(s.openAt) >= openEvery {
		s.openAt = time.Now()
		s.askNotes(true)
	}
}

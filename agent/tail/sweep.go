package tail

import (
	"context"
	"os"
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
		if !all && !f.unwatched.Load() && !f.dangling.Swap(false) {
			continue // thousands of silent sources cost nothing
		}
		f.mu.Lock()
		for _, s := range f.sources {
			if (all || !s.watched) && s.changed() {
				f.wake(s, true)
			} else if s.waits() {
				f.wake(s, false)
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

// waits says whether a second look after some time is needed.
func (s *source) waits() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dangling
}

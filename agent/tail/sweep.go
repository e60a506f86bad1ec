package tail

import (
	"context"
	"os"
	"path/filepath"
	"time"
)

// sweepAll looks at every folder now and then.
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
		}
		f.mu.Unlock()
	}
}

// changed says whether the live file is another one or has another size than
// at the last sweep, or the source waits for something that a look may cure.
func (s *source) changed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	var size int64
	var ino uint64
	if fi, err := os.Stat(s.target.Path); err == nil {
		size, ino = fi.Size(), inode(fi)
	}
	differs := size != s.seenSize || ino != s.seenIno || s.problem != "" || s.gen != nil && s.gen.at == "" && !s.gen.ended
	s.seenSize, s.seenIno = size, ino
	return differs
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
	return s.dangling
}

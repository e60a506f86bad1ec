package tail

import (
	"fmt"
	"sync/atomic"
	"time"
)

// While the agent runs, files can still come and go before it looks at their
// folder: a container may fill and rotate several within milliseconds. Nothing
// can be held of those, but they must not be missing unnoticed. inotify tells of
// every birth of a live file, however short its life was; a birth that no
// generation stands for is a file that nobody has seen.

// births counts them. The watcher adds, a look compares.
type births struct {
	told     atomic.Int64 // by inotify, since the folder is watched
	overflow atomic.Bool  // inotify has lost events: told means nothing
	known    int64        // of these, those that a generation stands for, or that were declared
	slack    int64        // files found by the look that began the count: their births may still be told
	since    time.Time    // of that look
	counting bool
}

// settling is how long the birth of a file that was found already may still be
// on its way to us.
const settling = time.Second

// restart begins to count anew, behind a look that found so many new files.
func (b *births) restart(told int64, found int, watched bool) {
	b.known, b.slack, b.since, b.counting = told, int64(found), time.Now(), watched
}

// unseen is how many files have come and gone that nobody saw. told is what was
// told before the folder was looked at, found how many new files were there.
func (b *births) unseen(told int64, found int) int64 {
	b.known += int64(found)
	if b.slack > 0 && time.Since(b.since) > settling {
		b.slack = 0
	}
	n := told - b.known
	if n <= 0 {
		return 0
	}
	late := min(n, b.slack)
	b.slack -= late
	b.known += n
	return n - late
}

// counts says whether each birth since the last look was told.
func (b *births) counts() bool { return b.counting && !b.overflow.Load() }

// countBirths finds out, behind a look at the folder that has found new files,
// whether others have come and gone since the last look. live says that the file
// that is written to is known: until it has an entry, its own birth would count.
func (s *source) countBirths(told int64, fresh []*generation, live bool) {
	b := &s.births
	found := 0
	for _, g := range fresh {
		// A file that was truncated in place is not born again.
		if s.find(func(o *generation) bool { return o.Lost && o.Ino == g.Ino }) == nil {
			found++
		}
	}
	watched := s.watched.Load()
	if !s.begun || !watched || !b.counts() {
		b.overflow.Store(false)
		b.restart(told, found, watched)
		return
	}
	if !live {
		b.known += int64(found)
		return
	}
	switch n := b.unseen(told, found); n {
	case 0:
	case 1:
		s.missed = "a log file came and went before the agent could look at it"
	default:
		s.missed = fmt.Sprintf("%d log files came and went before the agent could look at them", n)
	}
}

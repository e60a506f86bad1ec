package tail

import (
	"fmt"
	"sync"
)

// While the agent runs, files can still come and go before it looks at their
// folder: a container may fill and rotate several within milliseconds. Nothing
// can be held of those, but they must not be missing unnoticed. inotify tells of
// every birth of a live file, however short its life was; a birth that no
// generation stands for is a file that nobody has seen.
//
// The count is exact: a look takes in all that was told before it, and again
// behind it, and counts only if nothing was told in between.

// births counts them. The watcher adds, a look compares.
type births struct {
	mu   sync.Mutex
	told heard // guarded by mu

	// As of the last look; guarded by the source.
	last  heard
	empty int // live files that had no entry then: 0 or 1
}

// heard is what the watcher has told of one folder.
type heard struct {
	// watch tells apart the times in which nothing was lost: another begins with
	// each watch, and when the kernel had no room for events.
	watch  int64
	on     bool  // the folder is watched
	births int64 // of live files, in that time
	before int64 // live files that were there before it: 0 or 1
}

// begin is for a new watch, and for lost events. before says how many live files
// were there already, as far as that is known.
func (b *births) begin(before int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.told = heard{watch: b.told.watch + 1, on: true, before: before}
}

func (b *births) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.told.on = false
}

func (b *births) add() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.told.births++
}

func (b *births) heard() heard {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.told
}

// counts says whether each birth since the last look was told.
func (b *births) counts(now heard) bool { return b.last.on && now.on && b.last.watch == now.watch }

// unseen is how many files have come and gone that nobody saw. now is what was
// told when the folder was looked at, there how many files it had, fresh how many
// of these the last look had not seen, or not seen an entry of.
func (b *births) unseen(now heard, there, fresh int) int64 {
	switch {
	case b.last.on && b.last.watch == now.watch: // which may have ended since
		// What had no entry yet was told then, and is found, or has gone, now.
		return max(0, now.births-b.last.births+int64(b.empty-fresh))
	case now.on:
		// Docker removes the oldest first, so those that were born last are there.
		return max(0, now.before+now.births-int64(there))
	}
	return 0
}

// countBirths finds out, behind a look at the folder, whether files have come and
// gone since the last look that nobody saw; severed says that the youngest one
// that was known has no name any more, or that there was none: else all that are
// younger have one too. gone says that there is no folder any more.
func (s *source) countBirths(now heard, fd found, severed, gone bool) {
	b := &s.births
	there, fresh, empty := len(fd.known)+len(fd.fresh), 0, 0
	for _, g := range fd.fresh {
		if !s.emptied(g.Ino) {
			fresh++
		}
	}
	if fd.empty != 0 {
		there++
		if !s.emptied(fd.empty) {
			empty++
		}
	}
	if len(fd.fresh) == 0 && severed && (!gone || len(s.gens) == 0) {
		return // there is no file yet before which others may be missing
	}
	if len(s.gens) > 0 {
		now.before = 0 // it may be one of those that are known
	}
	n := b.unseen(now, there, fresh+empty)
	b.last, b.empty = now, empty
	switch {
	case n == 0, !severed, s.missed != "":
	case n == 1:
		s.missed = "a log file came and went before the agent could look at it"
	default:
		s.missed = fmt.Sprintf("%d log files came and went before the agent could look at them", n)
	}
}

// emptied says whether a file is one that was truncated in place: that is no birth.
func (s *source) emptied(ino uint64) bool {
	return s.find(func(g *generation) bool { return g.Lost && g.Ino == ino }) != nil
}

package tail

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// The states of a source.
const (
	StateFollowing = "following" // or waiting for its first entry
	StateFailing   = "failing"   // cannot be read at present, see Problem
	StateGone      = "gone"      // the container was removed, its last lines are on their way
)

// A Source is how far the log of one container is.
type Source struct {
	ID         string
	Path       string
	State      string
	Size       int64    // of the generation that is being read
	Offset     int64    // how far it is read
	Settled    [2]int64 // how far stdout and stderr are settled
	Lines      [2]int64 // of stdout and stderr in the generation that is being read
	LagBytes   int64    // not settled, all generations together
	LagSeconds float64
	Held       bool  // its files are held
	Garbage    int64 // bytes that are no entries
	Gaps       int64 // times that lines were lost
	Unproven   bool  // lines may be missing from when no agent ran
	Watched    bool  // changes are noticed at once, not only by looking
	ReadLines  int64 // in this run, of both streams
	ReadBytes  int64 // in this run, uncompressed
	Problem    string
	// Blocked says what has been waiting for its answer for long, "" if nothing
	// has.
	Blocked string
}

// Sources lists all sources, ordered by id.
func (f *Follower) Sources() []Source {
	f.mu.Lock()
	all := make([]*source, 0, len(f.sources))
	for _, s := range f.sources {
		all = append(all, s)
	}
	f.mu.Unlock()
	list := make([]Source, 0, len(all))
	for _, s := range all {
		list = append(list, s.status())
	}
	slices.SortFunc(list, func(a, b Source) int { return strings.Compare(a.ID, b.ID) })
	return list
}

func (s *source) status() Source {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := Source{
		ID: s.id, Path: s.target.Path, State: StateFollowing, Offset: s.off, Garbage: s.garbage, Gaps: s.gaps,
		Unproven: s.unproven != "", Watched: s.watched.Load(), Problem: s.problem, ReadLines: s.readLines, ReadBytes: s.readBytes,
	}
	low := s.settled()
	for _, g := range s.gens {
		r.Held = r.Held || g.Hold != ""
		switch {
		case g.N > low.Generation:
			r.LagBytes += max(0, g.size-g.From)
		case g.N == low.Generation:
			r.LagBytes += max(0, g.size-low.Offset)
		}
	}
	if s.gen != nil {
		r.Size, r.Lines = s.gen.size, [2]int64{s.counts[0].lines, s.counts[1].lines}
		for k, l := range s.ledgers {
			if l.settled.Generation == s.gen.N {
				r.Settled[k] = l.settled.Offset
			}
		}
	}
	if r.LagBytes > 0 {
		r.LagSeconds = time.Since(s.caughtUp).Seconds()
	}
	r.Blocked = s.blockedBy(time.Now())
	switch {
	case s.target.Gone:
		r.State = StateGone
	case s.problem != "":
		r.State = StateFailing
	}
	return r
}

// longUnder is how long a batch may be under way before status names it.
const longUnder = 30 * time.Second

// blockedBy names the lines that have been under way for longest.
func (s *source) blockedBy(now time.Time) string {
	if s.blocked != "" {
		return s.blocked + " takes nothing at present"
	}
	text, longest := "", longUnder
	for k := range s.ledgers {
		l := &s.ledgers[k]
		if len(l.flights) == 0 {
			continue
		}
		if d := now.Sub(l.flights[0].since); d >= longest {
			longest = d
			text = fmt.Sprintf("%s: lines from offset %d on (generation %s) have had no final answer for %s",
				s.streamName(k), l.settled.Offset, s.nameOf(l.settled.Generation), d.Round(time.Second))
			if s.muted[k] {
				text += "; this stream waits for them"
			}
		}
	}
	return text
}

func (s *source) nameOf(n int64) string {
	if g := s.find(func(g *generation) bool { return g.N == n }); g != nil {
		return g.name()
	}
	return "?"
}

package tail

import (
	"slices"
	"time"

	"mesoscope/record"
)

// A trail says into which backing indices a stream's documents may have gone: a
// data stream has one at a time, and an id is unique only within one. After a
// restart, what was under way is looked up from the oldest of them on.
type trail []sighting

// A sighting says that documents behind At went to the backing index Index or a
// younger one: the sink had seen that one before any of them was sent.
type sighting struct {
	At    Position `json:"at"`
	Index string   `json:"index"`
}

// note enters that index is the one to write to now, and that nothing behind at
// was sent yet. It is called before the checkpoint grants that more is sent.
func (t *trail) note(index string, at Position) (changed bool) {
	if n := len(*t); index == "" || n > 0 && (*t)[n-1].Index == index {
		return false
	}
	*t = append(*t, sighting{At: at, Index: index})
	return true
}

// forget drops what concerns nothing behind settled.
func (t *trail) forget(settled Position) {
	n := 0
	for n+1 < len(*t) && !settled.before((*t)[n+1].At) {
		n++
	}
	if n > 0 {
		*t = slices.Delete(slices.Clone(*t), 0, n) // what the checkpoint holds does not change
	}
}

// doubt is for when the checkpoint may be older than what was sent, or is lost:
// all that is at hand now may have been sent.
func (s *source) doubt() {
	// Receipts that are not known of any more have smaller numbers.
	s.revisions = int(time.Now().Unix())
	s.dirty = true
	if n := len(s.gens); n > 0 {
		last := s.gens[n-1]
		sent := Position{Generation: last.N, Offset: last.size}
		if last.at != s.target.Path {
			sent.Offset = never // nobody writes to it any more
		}
		s.sent = later(s.sent, sent)
	}
}

// oldest is the index that a document behind p can have gone to first.
func (t trail) oldest(p Position) string {
	index := record.Unknown
	for _, s := range t {
		if p.before(s.At) {
			break
		}
		index = s.Index
	}
	return index
}

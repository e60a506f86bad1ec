package tail

import (
	"slices"

	"mesoscope/agent/pipeline"
)

// Where a source is read from is decided here: at the start, when one file
// follows another, and whenever something has to be read again.

// begin finds out, after the first scan, where to go on. cursors are what the
// sink knows itself, which can only be further than the checkpoint.
func (s *source) begin(cursors map[string][]byte) {
	s.begun = true
	to := s.resume
	for k := range to {
		if text, ok := cursors[s.target.Streams[k].Name]; ok {
			if p, ok := s.fromCursor(text, k); ok && to[k].before(p) {
				to[k] = p
			}
		}
		s.since[k] = s.trails[k].oldest(to[k])
		s.ledgers[k].start(to[k])
	}
	s.seek(to)
}

// seek reads on at the lower of two positions, and passes over what lies before
// the other one in its stream. The ledgers are not touched: neither position may
// lie before what they know as scanned.
func (s *source) seek(to [2]Position) {
	s.resume = to
	for k := range to {
		s.joiners[k].Resume(to[k].Cut)
		s.carry[k], s.muted[k], s.reload[k] = nil, false, false
	}
	s.lineOf, s.tear = 0, pipeline.Tear{}
	s.gen = nil
	s.enterFirst()
}

// enterFirst enters the oldest generation that is not done, from the place to
// resume at on.
func (s *source) enterFirst() {
	from := lower(s.resume)
	for _, g := range s.gens {
		if g.N < from.Generation || g.Done {
			continue
		}
		s.enter(g)
		if s.off == from.Offset && g.N == from.Generation {
			s.lineOf = from.In
		}
		return
	}
}

// enter begins to read g.
func (s *source) enter(g *generation) {
	s.gen, s.off, s.garbageHere = g, g.From, 0
	if from := lower(s.resume); from.Generation == g.N {
		s.off, s.garbageHere = max(s.off, from.Offset), from.Garbage
	}
	for k, r := range s.resume {
		c := &s.counts[k]
		*c = counts{}
		switch {
		case s.muted[k]:
			s.skip[k] = never
		case r.Generation == g.N:
			s.skip[k] = r.Offset
			*c = counts{lines: r.Lines, own: r.Own, passed: r.Passed, last: r.LastNanos}
		case r.Generation > g.N:
			s.skip[k] = never
		default:
			s.skip[k] = 0
		}
	}
	s.scanned()
}

// never is an offset that no entry has.
const never = int64(1) << 62

// counts are what one stream has in the current generation up to where it is
// read.
type counts struct {
	lines  int64 // that began
	own    int64 // bytes of its entries, but for passed
	passed int64 // bytes of lines beyond their cap
	last   int64 // time of the line that began last
}

// here is the place of stream k at offset off of the current generation.
func (s *source) here(k int, off int64) Position {
	c := &s.counts[k]
	return Position{Generation: s.gen.N, Offset: off, Lines: c.lines, Own: c.own, Passed: c.passed, Garbage: s.garbageHere, LastNanos: c.last}
}

// place is how far stream k is scanned: everything before it is in a flight.
func (s *source) place(k int) Position {
	if s.muted[k] {
		return s.stop[k]
	}
	if _, open := s.joiners[k].Open(); open {
		return s.begins[k]
	}
	p := s.here(k, s.off)
	p.Cut = s.joiners[k].CutTime()
	if s.lineOf != k+1 {
		p.In = s.lineOf
	}
	if p.before(s.resume[k]) {
		return s.resume[k]
	}
	return p
}

// end notes in the books of the current generation that it was read as far as
// it goes. A stream that is not read at present will pass here again.
func (s *source) end() {
	for k := range s.gen.End {
		if s.muted[k] || s.resume[k].Generation > s.gen.N {
			continue
		}
		s.gen.End[k] = later(s.here(k, s.off), s.resume[k]) // a lost file is left where reading goes back to
		if n := s.joiners[k].Source(); n > 0 {
			for _, p := range s.carry[k] {
				n -= p.bytes
			}
			if n > 0 {
				s.carry[k] = append(s.carry[k], part{s.gen.N, n})
			}
		}
	}
	s.owing, s.dirty = true, true
}

// leave ends the reading of the current generation and enters the next one.
// false: there is none.
func (s *source) leave() bool {
	i := slices.Index(s.gens, s.gen)
	if i+1 == len(s.gens) {
		return false
	}
	s.end()
	s.gen.Size = s.off
	if s.gen.file != nil {
		if fi, err := s.gen.file.Stat(); err == nil {
			s.gen.Modified = fi.ModTime().UnixNano()
		}
	}
	if s.gen.Hold != "" {
		// Otherwise the open file is what keeps its inode from being used
		// again, until all of it is settled.
		s.gen.close()
	}
	s.enter(s.gens[i+1])
	return true
}

// mute stops reading stream k, which has too much under way, and no other: what
// comes of it is passed over until unmute.
func (s *source) mute(k int) {
	s.stop[k] = s.place(k)
	s.muted[k] = true
	s.skip[k] = never
	s.joiners[k].Resume(0)
	s.carry[k] = nil
}

// unmute goes back to where stream k was muted.
func (s *source) unmute(k int) {
	to := [2]Position{s.place(0), s.place(1)}
	other := 1 - k
	wasMuted := s.muted[other]
	s.seek(to)
	if wasMuted {
		s.mute(other)
	}
}

// goBack reads the open line of stream k again, whose text was given up.
func (s *source) goBack(k int) {
	to := [2]Position{s.place(0), s.place(1)}
	muted := s.muted[1-k]
	s.seek(to)
	s.reload[k] = true
	if muted {
		s.mute(1 - k)
	}
}

// rewind forgets all that is under way: the sink has given some of it back, and
// everything behind the settled places is read and sent once more.
func (s *source) rewind() {
	s.epoch++
	var to [2]Position
	for k := range s.ledgers {
		l := &s.ledgers[k]
		s.sent = later(s.sent, l.scanned)
		to[k] = l.settled
		s.since[k] = s.trails[k].oldest(to[k])
		l.start(to[k])
	}
	if s.finished {
		s.finished = false
		s.reopen()
	}
	s.returned, s.dirty = false, true
	s.seek(to)
}

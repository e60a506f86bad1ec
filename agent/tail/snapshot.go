package tail

import (
	"slices"

	"mesoscope/agent/pipeline"
)

// snapshot is what the checkpoint is to know, and what it then allows.
func (s *source) snapshot() state {
	low := s.settled().Generation
	st := state{ID: s.id, HoldDir: s.target.HoldDir, Settled: [2]Position{s.ledgers[0].settled, s.ledgers[1].settled}, Horizon: s.nextHorizon()}
	for _, g := range s.gens {
		if g.N < low || g.closed(0, s.ledgers[0].settled) && g.closed(1, s.ledgers[1].settled) {
			g.Done = true
		}
		c := g.clone()
		if c.Path == s.target.Path {
			c.Path = "" // there may be thousands of files that are still to be read
		}
		st.Generations = append(st.Generations, c)
	}
	for k := range s.flushed {
		passed := st.Settled[k]
		if s.target.Format.raw() {
			passed = lower(st.Settled) // where lines of one stream begin depends on those of the other
		}
		if b := &s.flushed[k]; b.set() && !passed.before(b.End) {
			*b = boundary{} // nobody reads it again
		}
	}
	if st.Horizon.before(s.sent) {
		st.Sent = s.sent
	}
	s.forgetReadings(lower(st.Settled))
	st.Readings, st.ReadTo = slices.Clone(s.readings), s.readTo
	st.Trails, st.Flushed, st.Mark, st.Heads = s.trails, s.flushed, s.mark(), s.heads
	if st.Gone = s.finished && !s.flying() && !s.owes(); st.Gone && s.remains() {
		st.Gone, st.Left = false, s.target.Path
	}
	if !s.begun {
		st.Settled, st.Mark = s.resume, s.marked
	}
	return st
}

// remains says whether files of the log are still there: the container is not
// gone, but nobody wants its lines any more.
func (s *source) remains() bool {
	return s.find(func(g *generation) bool { return g.at != "" }) != nil
}

// clone is what the checkpoint writes down, and keeps, while g goes on.
func (g *generation) clone() generation {
	c := *g
	c.file, c.inflate, c.headTail, c.origins = nil, nil, nil, [2]*pipeline.Origin{}
	for k := range c.Books {
		c.Books[k] = g.Books[k].clone()
	}
	c.Gaps = slices.Clone(g.Gaps)
	return c
}

// horizonAhead is how far beyond the read position may be sent before the
// checkpoint has to be written again.
const horizonAhead = 64 << 20

// nextHorizon never goes back, although reading does: what was sent below an
// earlier one can have been sent for ever.
func (s *source) nextHorizon() Position {
	if s.gen == nil {
		return s.horizon
	}
	p, ahead := Position{Generation: s.gen.N, Offset: s.off}, int64(horizonAhead)
	for i := slices.Index(s.gens, s.gen); i+1 < len(s.gens); i++ {
		rest := max(0, s.gens[i].size-p.Offset)
		if rest >= ahead {
			break
		}
		ahead -= rest
		p = Position{Generation: s.gens[i+1].N, Offset: s.gens[i+1].From}
	}
	p.Offset += ahead
	return later(p, s.horizon)
}

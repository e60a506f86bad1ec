package tail

import (
	"slices"
	"time"

	"mesoscope/receipt"
	"mesoscope/record"
)

// Notes are the documents that a source writes about its own log: gaps at once,
// receipts when a file is settled, and open receipts now and then. They go the
// way of the lines, but no line waits for them. Before one is sent, the
// checkpoint knows of it: so it is written in the end, and no revision of a
// receipt ever says two things.

// A gap is the loss of lines, to be noted among the lines.
type gap struct {
	receipt.Gap
	At    int64 `json:"at"`              // ns; where it belongs in time
	Noted bool  `json:"noted,omitempty"` // the document is stored

	granted bool // the checkpoint knows of it
	flying  bool
	again   bool // it may have been sent before
}

// openFirst and openEvery say how often a file that goes on gets a receipt, so
// that whoever asks whether lines are missing learns about all but the latest:
// soon, then after twice as long each time, in the end every 10 minutes.
const (
	openFirst = time.Minute
	openEvery = 10 * time.Minute
)

// owes says whether something is to be written before the source may be
// forgotten.
func (s *source) owes() bool {
	for _, g := range s.gens {
		if g.owes(s) {
			return true
		}
	}
	return false
}

// owes says whether g must be remembered because of its notes.
func (g *generation) owes(s *source) bool {
	if s.target.Notes == nil {
		return false
	}
	for k := range g.Final {
		if !g.Final[k] && !s.silent(g, k) {
			return true
		}
	}
	return slices.ContainsFunc(g.Gaps, func(p gap) bool { return !p.Noted })
}

// askNotes finds out which receipts are due, and asks for the checkpoint that
// they need. Without anything due it costs one comparison.
func (s *source) askNotes(open bool) {
	if s.target.Notes == nil || !s.owing && !open {
		return
	}
	s.owing = false
	for _, g := range s.gens {
		for k := range g.Final {
			if g.Final[k] {
				continue
			}
			final := g.closed(k, s.ledgers[k].settled) && !s.silent(g, k)
			s.owing = s.owing || final || g.End[k].Generation == g.N && !s.silent(g, k)
			if g.due[k] != 0 || g.flying[k] {
				continue
			}
			if r, ok := s.receipt(g, k); ok && (r.Final && final || open && s.openNews(g, k, r)) {
				g.Revision[k] = max(g.Revision[k]+1, s.revisions)
				g.due[k] = g.Revision[k]
				s.dirty = true
			}
		}
		for i := range g.Gaps {
			s.owing = s.owing || !g.Gaps[i].Noted
		}
	}
}

// openNews says whether an open receipt would say more than the last one.
func (s *source) openNews(g *generation, k int, r receipt.Receipt) bool {
	at := s.ledgers[k].settled
	if r.Final || r.Lines.Total == 0 || g.N < at.Generation || at == s.openFor[k] {
		return false
	}
	s.openFor[k] = at
	return true
}

// notesKnown enters which notes the checkpoint knows now, and says whether some
// can be sent.
func (s *source) notesKnown(st state) (some bool) {
	for i := range st.Generations {
		kept := &st.Generations[i]
		g := s.find(func(g *generation) bool { return g.N == kept.N })
		if g == nil {
			continue
		}
		for k := range g.granted {
			g.granted[k] = kept.Revision[k]
			some = some || g.due[k] != 0 && g.due[k] <= g.granted[k]
		}
		for n := range kept.Gaps {
			g.Gaps[n].granted = true
			some = some || !g.Gaps[n].Noted && !g.Gaps[n].flying
		}
	}
	return some
}

// notes hands over what may be sent.
func (w *worker) notes(s *source) {
	if s.target.Notes == nil {
		return
	}
	s.askNotes(false)
	if s.noteWait != "" {
		if !w.f.takes(s.noteWait) {
			w.f.blocked.Store(true)
			return
		}
		s.noteWait = ""
	}
	for _, g := range s.gens {
		w.gapNotes(s, g)
		for k := range g.due {
			if g.due[k] == 0 || g.due[k] > g.granted[k] {
				continue
			}
			r, ok := s.receipt(g, k)
			g.due[k], g.flying[k] = 0, ok
			if !ok {
				continue
			}
			r.Revision = g.Revision[k]
			end := g.End[k]
			o := s.noteOrigin(g)
			o.Stream = s.streamName(k)
			fl := w.note(s, s.target.Notes.Receipts(o.Stream), o.ID(r.Revision), func(settled bool) {
				g.flying[k] = false
				// Unless the container has come back meanwhile, and goes on.
				if settled && g.closed(k, s.ledgers[k].settled) && g.End[k] == end {
					g.Final[k] = r.Final
				}
				s.owing = s.owing || !g.Final[k]
			})
			if own, err := o.Append(fl.Body, r, time.Now()); err == nil {
				fl.Body = own
			}
			w.sendNote(s, fl)
		}
	}
}

func (w *worker) gapNotes(s *source, g *generation) {
	for n := range g.Gaps {
		p := &g.Gaps[n]
		if p.Noted || p.flying || !p.granted {
			continue
		}
		p.flying = true
		o := s.noteOrigin(g)
		stream := s.target.Notes.Gaps()
		fl := w.note(s, stream, o.GapID(p.Gap), func(settled bool) {
			// By number: the slice may have grown since.
			g.Gaps[n].flying, g.Gaps[n].Noted = false, settled
			g.Gaps[n].again = true
			s.owing = s.owing || !settled
		})
		if p.again {
			fl.Since = record.Unknown
		}
		if own, err := o.AppendGap(fl.Body, p.Gap, stream.Dataset, time.Unix(0, p.At)); err == nil {
			fl.Body = own
		}
		w.sendNote(s, fl)
	}
}

func (s *source) noteOrigin(g *generation) receipt.Origin {
	return receipt.Origin{Container: s.id, Path: g.Path, Generation: g.name()}
}

func streamName(k int) string { return [2]string{"stdout", "stderr"}[k] }

// note begins a flight with one document about the log. ended is called under
// the source's lock when the sink has stored it, or given it back.
func (w *worker) note(s *source, stream *record.Stream, id string, ended func(settled bool)) *flight {
	fl := w.f.flights.take()
	fl.source = s
	s.notes++
	fl.Reset(stream, func(_ *record.Batch, settled bool) {
		s.mu.Lock()
		s.notes--
		ended(settled)
		s.dirty = true
		if !settled {
			s.noteWait = stream.Index
			w.f.blocked.Store(true)
		}
		s.mu.Unlock()
		w.f.landed(fl)
		w.f.reads.push(&s.reading)
	})
	fl.Body = record.AppendAction(fl.Body, []byte(id))
	fl.Items = append(fl.Items, record.Item{Doc: uint32(len(fl.Body))})
	fl.Body = append(fl.Body, '{')
	return fl
}

// sendNote completes the document and hands it over.
func (w *worker) sendNote(s *source, fl *flight) {
	fl.Body = append(fl.Body, ',')
	fl.Body = append(fl.Body, fl.Stream.Fields...)
	fl.Body = append(fl.Body, "}\n"...)
	fl.Items[0].End = uint32(len(fl.Body))
	fl.bytes = int64(cap(fl.Body)) + flightOverhead
	w.f.inflight.Add(fl.bytes)
	w.ready = append(w.ready, fl)
}

// lose notes that the bytes of g from offset on will never be read, or not once
// more.
func (f *Follower) lose(s *source, g *generation, from int64, why error) {
	n := max(0, g.LostFrom-from)
	if !g.Lost {
		g.LostSize = max(g.size, g.Size, from)
		n = g.LostSize - from
	}
	f.log.Error("lines are lost", "container", s.id, "file", g.Path, "generation", g.name(), "from_offset", from, "bytes", n, "reason", why)
	g.Lost, g.ended, g.LostFrom = true, true, from
	s.noteGap(g, "lost", from, n, why.Error(), f.metrics)
	g.close()
}

// passLost goes on behind the files that are lost, however many follow one another:
// whoever stopped at one of them would take it for the end of the log.
func (w *worker) passLost(s *source) {
	for s.gen != nil && s.gen.Lost {
		if s.off < s.gen.LostFrom {
			w.f.lose(s, s.gen, s.off, errLostAgain)
		}
		if !w.leave(s) {
			return
		}
	}
}

// unprove notes that nobody knows what came and went before the first file that
// the last look has found, or before the youngest one.
func (s *source) unprove(m *metrics) {
	why := s.missed
	s.missed, s.unproven = "", why
	if len(s.gens) == 0 {
		return
	}
	first := s.gens[len(s.gens)-1]
	for _, g := range s.gens {
		if g.fresh {
			first = g
			break
		}
	}
	s.unproveBefore(first, why, m)
}

// reopen is for a container that was taken for gone, and is not.
func (s *source) reopen() {
	if n := len(s.gens); n > 0 && s.gens[n-1].Closed {
		g := s.gens[n-1]
		g.Closed, g.Done, g.Final = false, false, [2]bool{}
	}
}

// noteGap enters a loss in the books of g.
func (s *source) noteGap(g *generation, kind string, from, bytes int64, why string, m *metrics) {
	m.gaps.WithLabelValues(kind).Inc()
	s.gaps++
	if slices.ContainsFunc(g.Gaps, func(p gap) bool { return p.Reason == why && p.From == from }) {
		return // the same again at the same place: one document says it
	}
	at := max(s.counts[0].last, s.counts[1].last, g.Head)
	g.Gaps = append(g.Gaps, gap{Gap: receipt.Gap{Reason: why, From: from, Bytes: bytes}, At: at, again: s.revisions > 0})
	s.owing, s.dirty = true, true
}

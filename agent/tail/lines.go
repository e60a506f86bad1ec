package tail

import (
	"mesoscope/agent/pipeline"
	"mesoscope/record"
)

// entry works off one physical line that begins at off and takes size bytes.
// false: there is no entry in it.
func (w *worker) entry(s *source, line []byte, off int64, size int) bool {
	var e pipeline.Entry
	from := 0
	for w.parser.Parse(line[from:], &e) != nil {
		// A torn entry may have a whole one behind it in the same line.
		if from = pipeline.Resync(line, from+1); from >= len(line) {
			return false
		}
	}
	if from > 0 {
		w.garbage(s, from)
		off += int64(from)
		s.off = off // it is counted, so no place may lie before it
	}
	k := int(e.Stream)
	if off < s.skip[k] {
		return true // settled before the start, or not read at present
	}
	if e.Attrs != nil && !s.sameAttrs(e.Attrs) && w.f.attrs != nil {
		w.newStreams(s, w.f.attrs(s.id, e.Attrs))
	}
	e.Size = size - from
	if w.keepsBoundary(s, k, off) {
		w.add(s, k, &e, off)
	}
	return true
}

// keepsBoundary ends the open line of stream k where it was ended once before the
// rest of it came. false: that line has to be read again first.
func (w *worker) keepsBoundary(s *source, k int, off int64) bool {
	if !s.flushed[k].set() || !s.ends(k, off) {
		return true
	}
	if s.joiners[k].Due(true) {
		w.back = k + 1
		return false
	}
	w.endLine(s, k)
	return true
}

// add gives an entry of stream k to its joiner.
func (w *worker) add(s *source, k int, e *pipeline.Entry, off int64) {
	j, c := &s.joiners[k], &s.counts[k]
	goesOn := j.CutTime() // of a line whose beginning has been sent
	lines, began := j.Add(e, pipeline.Place{Generation: s.gen.N, Offset: off, Sequence: c.lines + 1})
	if j.Due(false) {
		w.back = k + 1
		return
	}
	if began {
		if _, open := j.Open(); open {
			s.begins[k] = s.here(k, off)
		}
		c.lines++
		c.last = e.Nanos
		if s.gen.First[k] == 0 {
			s.gen.First[k] = e.Nanos
		}
	}
	if goesOn != 0 && !began {
		c.passed += int64(e.Size)
	} else {
		c.own += int64(e.Size)
	}
	w.emit(s, k, lines)
}

// endLine emits the open line of stream k, which nothing else ends.
func (w *worker) endLine(s *source, k int) {
	if s.lineOf == k+1 {
		s.lineOf = 0
		var e pipeline.Entry
		if w.parser.Rest(&s.tear, &e) {
			e.Nanos, _ = s.joiners[k].Nanos()
			lines, _ := s.joiners[k].Add(&e, pipeline.Place{})
			w.emit(s, k, lines)
		}
	}
	w.emit(s, k, s.joiners[k].Flush())
}

// newStreams uses what the attrs of the entries say from the next line on.
func (w *worker) newStreams(s *source, streams [2]*record.Stream) {
	for k, st := range streams {
		if st != nil {
			w.closeBatch(s, k)
			s.target.Streams[k] = st
		}
	}
}

// emit appends whole lines of stream k to its batch.
func (w *worker) emit(s *source, k int, lines []pipeline.Line) {
	if s.unwanted(k) {
		w.dropped += int64(len(lines))
		s.carry[k], s.reload[k] = nil, false
		return
	}
	for i := range lines {
		l := &lines[i]
		fl := w.open[k]
		if fl == nil {
			fl = w.f.flight(s, k)
			w.open[k] = fl
			if (Position{Generation: l.Generation, Offset: l.Offset}).before(s.sent) {
				fl.Since = s.since[k]
			}
		}
		if l.Generation != fl.generation {
			fl.carried = append(fl.carried, s.carry[k]...)
		}
		s.carry[k], s.reload[k] = nil, false
		o := s.origin(k, l.Generation)
		w.f.flights.room(fl, o.Size(l))
		o.Append(&fl.Batch, l, w.created)
		w.lines[k]++
	}
}

// closeBatches enters what was emitted in the ledgers, and only then how far
// the file was looked at: the other way round, the ledger would take lines for
// settled that are not on their way yet.
func (w *worker) closeBatches(s *source) {
	joined := int64(0)
	for k := range w.open {
		w.closeBatch(s, k)
		j := &s.joiners[k]
		j.Trim() // a long line now and then must not cost each of thousands of containers its length for ever
		if w.f.joined.Load() > w.f.openLines && !s.reload[k] {
			j.Spill() // it lies in the files too, and can be read again
		}
		joined += int64(j.Bytes())
	}
	w.f.joined.Add(joined - s.joined)
	s.joined = joined
	s.scanned()
}

// closeBatch enters the batch of stream k in the ledger.
func (w *worker) closeBatch(s *source, k int) {
	fl := w.open[k]
	if fl == nil {
		return
	}
	w.open[k] = nil
	end := s.place(k)
	fl.Cursor = s.appendCursor(fl.Cursor[:0], k, end)
	fl.bytes = int64(cap(fl.Body)) + flightOverhead
	fl.slot = s.ledgers[k].begin(end, s.lastLook)
	w.f.inflight.Add(fl.bytes)
	w.ready = append(w.ready, fl)
}

// flightOverhead is what a flight takes besides its body.
const flightOverhead = 512

package tail

import (
	"bytes"
	"math"
	"time"

	"mesoscope/agent/pipeline"
)

// pieces works off the lines of b, which begins at s.off in the current file, and
// returns how many bytes that were. all says that a rest without a newline is to
// be worked off, too: nothing more fits, or nothing more comes.
func (w *worker) pieces(s *source, b []byte, all bool) int {
	w.modified = s.gen.modifiedNow()
	pos, begin := 0, s.off
	for until := s.off; pos < len(b); {
		n, newline := bytes.IndexByte(b[pos:], '\n'), 1
		if n < 0 {
			if !all {
				break
			}
			n, newline = len(b)-pos, 0
		}
		for k := range s.flushed {
			if e := s.flushed[k].End; e.Generation == s.gen.N && s.off < e.Offset && e.Offset < s.off+int64(n+newline) {
				n, newline = int(e.Offset-s.off), 0 // the line was ended here once, before the rest of it came
			}
		}
		if s.off >= until {
			var nanos int64
			nanos, until = s.readAt(s.off, w.modified)
			w.parser.Stamp(nanos)
		}
		w.fragment(s, b[pos:pos+n], newline)
		if w.back != 0 {
			break
		}
		pos += n + newline
		s.off = begin + int64(pos)
		for k, fl := range w.open {
			if fl != nil && len(fl.Body) >= batchBytes {
				w.closeBatch(s, k)
			}
		}
	}
	if at := (Position{Generation: s.gen.N, Offset: s.off}); s.readTo.before(at) {
		s.readTo = at
	}
	return pos
}

// fragment works off a piece of a line that begins at s.off; newline is 1 if one
// follows it.
func (w *worker) fragment(s *source, piece []byte, newline int) {
	k, goesOn := s.openStream()
	if goesOn && !w.keepsBoundary(s, k, s.off) {
		return
	}
	if k, goesOn = s.openStream(); !goesOn {
		k = s.target.Format.streamOf(piece)
		s.tear = pipeline.Tear{}
	}
	s.lineOf = k + 1
	if newline > 0 {
		s.lineOf = 0
	}
	if s.off < s.skip[k] {
		return
	}
	var e pipeline.Entry
	w.parser.Raw(piece, newline > 0, &s.tear, &e)
	e.Stream, e.Size = pipeline.Stream(k), len(piece)+newline
	if nanos, open := s.joiners[k].Nanos(); open {
		e.Nanos = nanos // so that it goes on
	}
	w.add(s, k, &e, s.off)
}

// openStream is the stream of the line that goes on at s.off, if one does. That of
// a stream which is not read at present goes on, too.
func (s *source) openStream() (k int, open bool) {
	for k := range s.flushed {
		if e := s.flushed[k].End; s.lineOf == k+1 && e.Generation == s.gen.N && e.Offset == s.off && s.off <= s.skip[k] {
			s.lineOf = 0 // it was ended here, which is passed over
		}
	}
	if s.lineOf > 0 {
		return s.lineOf - 1, true
	}
	for k := range s.joiners {
		if _, open := s.joiners[k].Nanos(); open && s.off >= s.skip[k] {
			return k, true // it was resumed within a line that is cut
		}
	}
	return 0, false
}

// leave ends the reading of the current generation and enters the next one.
// false: there is none. The line that a raw log has open does not go on behind a
// loss. Where files only may be missing, it is taken to go on: mostly none is.
func (w *worker) leave(s *source) bool {
	if k := s.lineOf - 1; k >= 0 && s.gen.Lost {
		if s.joiners[k].Due(true) {
			s.joiners[k].Resume(0) // the loss of the file, which is noted, is that of this line, too
		}
		w.endLine(s, k)
		s.joiners[k].Resume(0)
	}
	return s.leave()
}

// awaitRest is at the end of a file that may grow. A rest without a newline is the
// end of a line if nobody writes any more.
func (w *worker) awaitRest(s *source, rest []byte) verdict {
	if !s.target.Format.raw() || len(rest) == 0 || s.target.Running {
		return w.atEnd(s)
	}
	if time.Since(s.touched()).Abs() < quiet {
		v := w.atEnd(s)
		s.dangling = true
		w.f.dangling.Store(true)
		return v
	}
	w.pieces(s, rest, true)
	if w.back != 0 {
		return w.goBack(s)
	}
	return w.atEnd(s)
}

// cutRaw is for a raw file that is shorter than it was, or another one behind its
// first bytes. Who writes to it has begun anew; if nobody does, it was a power cut
// that took its end, which is stored.
func (w *worker) cutRaw(s *source) (v verdict, ok bool, err error) {
	if s.target.Running && !s.target.Gone {
		return w.lost(s, errEmptied), false, nil
	}
	w.f.log.Warn("a log file has lost its end after it was read, as in a power cut", "path", s.gen.file.Name(), "offset", s.off)
	s.marked = mark{}
	return again, true, nil
}

// modifiedNow is when the open file of g was written last, in ns: at the latest
// now. Its lines are not younger.
func (g *generation) modifiedNow() int64 {
	now := time.Now().UnixNano()
	fi, err := g.file.Stat()
	if err != nil {
		return now
	}
	at := fi.ModTime().UnixNano()
	if at < g.Head && !g.Gz || at > now || at <= 0 {
		return now // somebody has set it
	}
	return at
}

// A reading says when bytes were read: all from a place on, up to that of the
// next one. It gives a line the time that it had before when it is read again.
type reading struct {
	Generation int64 `json:"n"`
	Offset     int64 `json:"off"`
	Nanos      int64 `json:"t"`
}

func (r reading) place() Position { return Position{Generation: r.Generation, Offset: r.Offset} }

// mostReadings bounds how finely that is remembered.
const mostReadings = 1024

// readAt is the time of what stands at off in the current file, and up to where
// it counts. What was not read before was written at modified at the latest.
func (s *source) readAt(off, modified int64) (nanos, until int64) {
	n := len(s.readings)
	here := Position{Generation: s.gen.N, Offset: off}
	if !here.before(s.readTo) {
		if n == 0 || s.readings[n-1].Nanos != modified {
			s.readings = append(s.readings, reading{s.gen.N, off, modified})
		}
		if n >= mostReadings {
			s.thin()
		}
		return modified, math.MaxInt64
	}
	nanos, until = modified, math.MaxInt64
	if s.readTo.Generation == s.gen.N {
		until = s.readTo.Offset
	}
	for i := n - 1; i >= 0; i-- {
		r := s.readings[i]
		nanos = r.Nanos
		if !here.before(r.place()) {
			break
		}
		if r.Generation == s.gen.N {
			until = r.Offset
		}
	}
	return nanos, until
}

// thin drops every second reading.
func (s *source) thin() {
	kept := s.readings[:0]
	for i, r := range s.readings {
		if i%2 == 0 || i == len(s.readings)-1 {
			kept = append(kept, r)
		}
	}
	s.readings = kept
}

// forgetReadings drops what concerns nothing behind p.
func (s *source) forgetReadings(p Position) {
	n := 0
	for n+1 < len(s.readings) && !p.before(s.readings[n+1].place()) {
		n++
	}
	s.readings = append(s.readings[:0], s.readings[n:]...)
}

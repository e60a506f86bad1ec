package tail

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"mesoscope/agent/pipeline"
)

// A verdict says what is to become of a source after a piece of work.
type verdict int

const (
	idle  verdict = iota // nothing to do until it is woken
	again                // there is more
	park                 // it waits for the checkpoint, or for a batch to settle
)

const (
	pieceBytes = 256 << 10 // read at once: large enough for few calls, small enough for fairness
	pieceMax   = 4 << 20   // largest physical line; Docker's are below 100 KiB and attrs
	batchBytes = 512 << 10 // a batch is handed over when its body is larger
)

// maxFlights is how many batches of one stream may wait for the oldest of them
// to be settled. It bounds what a batch that is never settled can cost: its own
// stream waits on the disk, and no other.
const maxFlights = 1024

// A worker turns pieces of files into batches. What it holds is used for one
// source after another.
type worker struct {
	f       *Follower
	parser  pipeline.Parser
	buf     []byte
	created []byte
	open    [2]*flight // being filled
	ready   []*flight  // filled, entered in the ledger, to be handed over

	modified int64 // of a raw file: when it was written last, or now

	// back is the stream, counted from 1, whose open line is needed again
	// although its text was given up; 0: none.
	back int

	// Of the piece at hand, added to the metrics at its end.
	lines   [2]int64
	bytes   int64
	dropped int64 // lines of an executor that nobody wants
}

// step does one piece of work on s, whose mu the caller holds. The flights to
// hand over are in w.ready afterwards.
func (w *worker) step(s *source) (verdict, error) {
	s.parked = false
	s.lastLook = time.Now()
	if !s.flying() && (s.gen == nil || s.off >= s.gen.size) {
		s.caughtUp = s.lastLook
	}
	if !s.begun || s.dropped {
		return idle, nil // the keeper will push it, or nobody asks for it any more
	}
	if s.returned {
		s.rewind()
	}
	w.notes(s)
	if s.finished {
		return idle, nil // what was held may have gone already
	}
	if s.target.Wait && !s.started {
		s.finished = s.target.Gone
		s.dirty = s.dirty || s.finished
		return idle, nil
	}
	s.started = true
	if v, ok := w.mayRead(s); !ok {
		return v, nil
	}
	if w.awaitBoundary(s) {
		return park, nil
	}
	if s.gen == nil {
		s.enterFirst()
	}
	w.passLost(s)
	// Whatever happens below, no line may stay in a batch that the next source
	// would fill.
	defer w.closeBatches(s)
	if s.gen == nil || s.gen.Lost {
		return w.atEnd(s), nil
	}
	return w.piece(s)
}

// mayRead says whether the sink takes what would be read. What it has given
// back is read again as soon as it does.
func (w *worker) mayRead(s *source) (verdict, bool) {
	if s.blocked != "" {
		if !w.f.takes(s.blocked) {
			w.f.blocked.Store(true)
			return idle, false
		}
		s.blocked = ""
	}
	full := 0
	for k := range s.ledgers {
		n := len(s.ledgers[k].flights)
		switch {
		case s.muted[k] && n <= w.f.ring/2:
			s.unmute(k)
		case !s.muted[k] && n >= w.f.ring:
			s.mute(k)
		}
		if s.muted[k] {
			full++
		}
	}
	s.parked = full == len(s.ledgers) || full > 0 && s.target.Format.single()
	return park, !s.parked
}

// atEnd is where everything that there is has been read.
func (w *worker) atEnd(s *source) verdict {
	if s.gen == nil {
		s.finished = s.target.Gone && len(s.gens) == 0 || s.target.Gone && s.allDone()
		s.dirty = s.dirty || s.finished
		return idle
	}
	s.dangling = false
	if !s.target.Running || s.gen.ended {
		w.flush(s)
	}
	if w.back != 0 {
		return w.goBack(s)
	}
	if s.gen.ended && s.target.Gone && !s.parked && !s.dangling && !s.muted[0] && !s.muted[1] {
		w.closeBatches(s)
		s.end()
		s.gen.Closed = true
		s.gen.close()
		s.finished, s.dirty = true, true
		return again // for the receipts
	}
	return idle
}

func (s *source) allDone() bool {
	return s.find(func(g *generation) bool { return !g.Done }) == nil
}

// piece reads and works off one piece of the current generation.
func (w *worker) piece(s *source) (verdict, error) {
	g := s.gen
	if err := g.open(w.f.hold.folder(s.id)); err != nil {
		if errors.Is(err, os.ErrNotExist) && g.at != "" {
			// Renamed since the last look: the keeper will find it.
			w.f.looks.push(&s.looking)
			return idle, nil
		}
		if errors.Is(err, errEmptied) {
			return w.lost(s, err), nil
		}
		if errors.Is(err, os.ErrNotExist) && s.target.Steady && s.off >= g.size {
			g.ended = true // removed, because all of it is settled
			return w.passOver(s), nil
		}
		if errors.Is(err, os.ErrNotExist) {
			return w.lost(s, errLost), nil
		}
		return idle, fmt.Errorf("open log: %w", err)
	}
	if v, ok, err := w.checkFile(s); !ok {
		return v, err
	}
	// What is sent must lie below the horizon that the checkpoint grants.
	if limit := (Position{Generation: g.N, Offset: s.off + int64(len(w.buf))}); s.horizon.before(limit) {
		s.dirty, s.parked = true, true
		w.f.kick()
		return park, nil
	}
	if g.inflate != nil && s.off < g.inflate.at {
		z, err := newInflater(g.file) // it is read once more
		if err != nil {
			return idle, fmt.Errorf("read log: %w", err)
		}
		g.inflate = z
	}
	n, err := g.reader().ReadAt(w.buf, s.off)
	if err != nil && err != io.EOF {
		if g.inflate == nil {
			return idle, fmt.Errorf("read log: %w", err)
		}
		if !g.damaged {
			g.damaged = true
			w.f.log.Error("a compressed log is damaged; what follows in it is lost", "path", g.file.Name(), "offset", s.off+int64(n), "error", err)
			s.noteGap(g, "damaged", s.off+int64(n), 0, "the compressed log is damaged", w.f.metrics)
		}
	}
	atEOF := err != nil
	used := w.work(s, w.buf[:n], atEOF)
	w.bytes += int64(used)
	g.size = max(g.size, s.off)
	switch {
	case w.back != 0:
		return w.goBack(s), nil
	case used == 0 && n == len(w.buf) && n < pieceMax:
		w.buf = make([]byte, 4*len(w.buf)) // a physical line that is longer
		return w.piece(s)
	case used == 0 && n == len(w.buf):
		w.garbage(s, n)
		s.off += int64(n)
		return again, nil
	case !atEOF:
		return again, nil
	case !g.ended:
		return w.awaitRest(s, w.buf[used:n]), nil
	}
	if rest := w.buf[used:n]; len(rest) > 0 {
		// No newline will follow: a power cut tore the entry, or only the
		// newline is missing.
		end := s.off + int64(len(rest))
		if !w.entry(s, rest, s.off, len(rest)) {
			w.garbage(s, len(rest))
		}
		if w.back != 0 {
			return w.goBack(s), nil
		}
		s.off = end
		g.size = max(g.size, s.off)
	}
	w.closeBatches(s)
	if w.leave(s) {
		return again, nil
	}
	return w.atEnd(s), nil
}

// checkFile looks whether the open file still is what was read so far.
func (w *worker) checkFile(s *source) (v verdict, ok bool, err error) {
	g := s.gen
	if g.inflate != nil {
		return again, true, nil
	}
	fi, err := g.file.Stat()
	if err != nil {
		return idle, false, fmt.Errorf("look at log: %w", err)
	}
	size := fi.Size()
	switch intact, err := g.intact(size); {
	case err != nil:
		return idle, false, fmt.Errorf("read the head of a log: %w", err)
	case !intact:
		return w.lost(s, errEmptied), false, nil
	}
	g.size, g.sound = size, size
	// It begins as before, but may be shorter: a power cut took what the file
	// system had not written yet, or somebody cut it. And it may have grown since.
	read := s.reach()
	switch regrown := s.regrown(g); {
	case g.raw && (size < read || regrown):
		return w.cutRaw(s)
	case size >= read && !regrown:
		if s.marked.Generation == g.N {
			s.marked = mark{}
		}
		return again, true, nil
	case s.flying():
		s.parked = true
		return park, false, nil
	case regrown:
		w.f.log.Warn("a log file is not what was read of it; it is read once more", "path", g.file.Name(), "offset", s.marked.Offset)
		w.anew(s, s.marked.Offset)
	default:
		w.f.log.Warn("a log file is shorter than what was read of it; it is read once more", "path", g.file.Name(), "offset", read, "size", size)
		w.anew(s, size)
	}
	return again, false, nil
}

// anew reads the current file from its beginning again.
func (w *worker) anew(s *source, from int64) {
	s.noteGap(s.gen, "shrunk", from, 0, "the file has lost its end after it was read, as in a power cut", w.f.metrics)
	s.readAnew()
}

// lost gives up the current generation.
func (w *worker) lost(s *source, why error) verdict {
	if g := s.gen; errors.Is(why, errEmptied) {
		g.size = g.sound // what was seen of it since may be of the next one
	}
	w.f.lose(s, s.gen, s.off, why)
	if errors.Is(why, errEmptied) {
		w.f.salvage(s, s.gen)
	}
	return w.passOver(s)
}

// passOver goes on behind the current generation, of which nothing is left.
func (w *worker) passOver(s *source) verdict {
	s.noteLive()
	if w.leave(s) {
		return again
	}
	if !s.target.Gone {
		// Whatever is at its place is another generation.
		w.f.looks.push(&s.looking)
		return idle
	}
	return w.atEnd(s)
}

// work works off what was read at s.off, and returns how many bytes that were.
func (w *worker) work(s *source, b []byte, atEOF bool) int {
	if s.target.Format.raw() {
		full := len(b) == len(w.buf) && bytes.IndexByte(b, '\n') < 0
		return w.pieces(s, b, full || atEOF && s.gen.ended)
	}
	w.parser.Fallback = s.gen.Head
	return w.entries(s, b)
}

// entries works off the whole physical lines of b, which begins at s.off, and
// returns how many bytes that were.
func (w *worker) entries(s *source, b []byte) int {
	pos, begin := 0, s.off
	for pos < len(b) {
		if b[pos] == 0 {
			n := leadingZeros(b[pos:])
			w.garbage(s, n)
			pos += n
			s.off = begin + int64(pos)
			continue
		}
		nl := bytes.IndexByte(b[pos:], '\n')
		if nl < 0 {
			break
		}
		if !w.entry(s, b[pos:pos+nl], s.off, nl+1) {
			w.garbage(s, nl+1)
		}
		if w.back != 0 {
			break
		}
		pos += nl + 1
		s.off = begin + int64(pos)
		for k, fl := range w.open {
			if fl != nil && len(fl.Body) >= batchBytes {
				w.closeBatch(s, k)
			}
		}
	}
	return pos
}

func (w *worker) garbage(s *source, n int) {
	s.garbage += int64(n)
	s.garbageHere += int64(n)
	w.f.metrics.garbage.Add(float64(n))
}

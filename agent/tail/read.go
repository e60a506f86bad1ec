package tail

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"mesoscope/agent/pipeline"
	"mesoscope/record"
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
// container waits on the disk, and no other.
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

	// Of the piece at hand, added to the metrics at its end.
	lines [2]int64
	bytes int64
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
	if s.gen == nil {
		w.enterFirst(s)
	} else if s.gen.Lost {
		s.leave()
	}
	// Whatever happens below, no line may stay in a batch that the next source
	// would fill.
	defer w.closeBatches(s)
	switch {
	case s.gen == nil || s.gen.Lost:
		return w.atEnd(s), nil
	case len(s.ledgers[0].flights) >= maxFlights || len(s.ledgers[1].flights) >= maxFlights:
		s.parked = true
		return park, nil
	}
	return w.piece(s)
}

// enterFirst enters the oldest generation that is not done, if there is one.
func (w *worker) enterFirst(s *source) {
	for _, g := range s.gens {
		if !g.Done {
			s.enter(g)
			return
		}
	}
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
	if s.gen.ended && s.target.Gone {
		s.gen.close()
		s.finished, s.dirty = true, true
	}
	return idle
}

// quiet is how long the file of a stopped container must not have changed
// before a line without a newline counts as whole: that the container stopped
// may be old news, and it may be running again.
const quiet = 2 * time.Second

// flush emits the lines that nothing will end any more.
func (w *worker) flush(s *source) {
	for k := range s.joiners {
		if _, open := s.joiners[k].Open(); !open {
			continue
		}
		// A time in the future is that of a clock which was put back since.
		if fi, err := os.Stat(s.target.Path); err == nil && time.Since(fi.ModTime()).Abs() < quiet {
			s.dangling = true
			w.f.dangling.Store(true)
			return
		}
		w.emit(s, k, s.joiners[k].Flush())
	}
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
	n, err := g.reader().ReadAt(w.buf, s.off)
	if err != nil && err != io.EOF {
		if g.inflate == nil {
			return idle, fmt.Errorf("read log: %w", err)
		}
		if !g.damaged {
			g.damaged = true
			w.f.log.Error("a compressed log is damaged; what follows in it is lost", "path", g.file.Name(), "offset", s.off+int64(n), "error", err)
			w.f.metrics.gaps.WithLabelValues("damaged").Inc()
			s.gaps++
		}
	}
	atEOF := err != nil
	w.parser.Fallback = g.Head
	used := w.entries(s, w.buf[:n])
	w.bytes += int64(used)
	g.size = max(g.size, s.off)
	switch {
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
		return w.atEnd(s), nil
	}
	if rest := w.buf[used:n]; len(rest) > 0 {
		// No newline will follow: a power cut tore the entry, or only the
		// newline is missing.
		if !w.entry(s, rest, s.off) {
			w.garbage(s, len(rest))
		}
		s.off += int64(len(rest))
		g.size = max(g.size, s.off)
	}
	w.closeBatches(s)
	if s.leave() {
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
	g.size = size
	if size >= s.off {
		return again, true, nil
	}
	// It begins as before, but is shorter: a power cut took what the file
	// system had not written yet, or somebody cut it. It goes on at its end.
	if s.flying() {
		s.parked = true
		return park, false, nil
	}
	w.f.log.Warn("a log file is shorter than what was read of it; going on at its end", "path", g.file.Name(), "offset", s.off, "size", size)
	w.f.metrics.gaps.WithLabelValues("shrunk").Inc()
	s.gaps++
	s.off = size
	for k := range s.ledgers {
		s.joiners[k].Flush()
		s.resume[k] = Position{Generation: g.N, Offset: size, Lines: s.lines[k]}
		s.skip[k] = size
		s.ledgers[k].start(s.resume[k])
	}
	s.dirty = true
	return again, true, nil
}

// lost gives up the current generation.
func (w *worker) lost(s *source, why error) verdict {
	w.f.lose(s, s.gen, s.off, why)
	s.noteLive()
	if s.leave() {
		return again
	}
	if !s.target.Gone {
		// Whatever is at its place is another generation.
		w.f.looks.push(&s.looking)
		return idle
	}
	return w.atEnd(s)
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
		if !w.entry(s, b[pos:pos+nl], s.off) {
			w.garbage(s, nl+1)
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

// entry works off one physical line that begins at off. false: there is no
// entry in it.
func (w *worker) entry(s *source, line []byte, off int64) bool {
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
	}
	k := int(e.Stream)
	if off < s.skip[k] {
		return true // settled before the start
	}
	if e.Attrs != nil && !s.sameAttrs(e.Attrs) && w.f.attrs != nil {
		w.newStreams(s, w.f.attrs(s.id, e.Attrs))
	}
	lines, began := s.joiners[k].Add(&e, pipeline.Place{Generation: s.gen.N, Offset: off, Sequence: s.lines[k] + 1})
	if began {
		s.lines[k]++
	}
	w.emit(s, k, lines)
	return true
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
	for i := range lines {
		fl := w.open[k]
		if fl == nil {
			fl = w.f.flight(s, k)
			w.open[k] = fl
		}
		o := s.origin(k, lines[i].Generation)
		w.f.flights.room(fl, o.Size(&lines[i]))
		o.Append(&fl.Batch, &lines[i], w.created)
		w.lines[k]++
	}
}

// closeBatches enters what was emitted in the ledgers, and only then how far
// the file was looked at: the other way round, the ledger would take lines for
// settled that are not on their way yet.
func (w *worker) closeBatches(s *source) {
	for k := range w.open {
		w.closeBatch(s, k)
		s.joiners[k].Trim() // a long line now and then must not cost each of thousands of containers its length for ever
	}
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
	fl.Cursor = s.appendCursor(fl.Cursor[:0], end)
	fl.bytes = int64(cap(fl.Body)) + flightOverhead
	fl.slot = s.ledgers[k].begin(end)
	w.f.inflight.Add(fl.bytes)
	w.ready = append(w.ready, fl)
}

// flightOverhead is what a flight takes besides its body.
const flightOverhead = 512

func (w *worker) garbage(s *source, n int) {
	s.garbage += int64(n)
	w.f.metrics.garbage.Add(float64(n))
}

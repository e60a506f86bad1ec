package tail

import (
	"hash/crc32"
	"io"
)

// After a power cut a file may have lost its end, lines of which are stored, and
// may have grown again since. How far it still is what was read, nobody knows;
// but a line has the same id however often it is read. So the file is read from
// its beginning once more, and what is stored of it is looked up: nothing is
// lost and nothing doubled. Lines behind the cut get numbers that lines which
// the file has lost had before them, which the receipt says by its gap.

// markBytes is how much before the settled place is remembered, to notice that
// the file was written anew up to there or further.
const markBytes = 64

// A mark is what stood before a place in a file.
type mark struct {
	Generation int64  `json:"n"`
	Offset     int64  `json:"off"`
	Sum        uint32 `json:"sum"`
}

// mark remembers what stands before the settled place, that of the stream which
// is further, if its file is open.
func (s *source) mark() (m mark) {
	p, g := later(s.ledgers[0].settled, s.ledgers[1].settled), s.gen
	if g == nil || g.N != p.Generation || g.file == nil || g.inflate != nil || p.Offset <= g.From {
		return mark{}
	}
	sum, ok := sumBefore(g.file, p.Offset)
	if !ok {
		return mark{}
	}
	return mark{Generation: p.Generation, Offset: p.Offset, Sum: sum}
}

func sumBefore(r io.ReaderAt, off int64) (sum uint32, ok bool) {
	var buf [markBytes]byte
	b := buf[:min(markBytes, off)]
	if n, err := r.ReadAt(b, off-int64(len(b))); n < len(b) || err != nil && err != io.EOF {
		return 0, false
	}
	return crc32.Checksum(b, castagnoli), true
}

// reach is how far the current file was read: that of one stream may lie behind
// the place where the other one is read on.
func (s *source) reach() int64 {
	off := s.off
	for _, r := range s.resume {
		if r.Generation == s.gen.N {
			off = max(off, r.Offset)
		}
	}
	return off
}

// regrown says whether g is not what it was before the place that was marked.
func (s *source) regrown(g *generation) bool {
	m := s.marked
	if m.Generation != g.N || g.inflate != nil {
		return false
	}
	sum, ok := sumBefore(g.file, m.Offset)
	return ok && sum != m.Sum
}

// readAnew begins the current generation once more. Nothing of it may be under
// way.
func (s *source) readAnew() {
	g := s.gen
	for k := range s.ledgers {
		s.sent = later(s.sent, s.ledgers[k].scanned)
		begin := Position{Generation: g.N, Offset: g.From}
		if s.ledgers[k].settled.before(begin) {
			begin = s.ledgers[k].settled // a line that began in an earlier file
		}
		s.since[k] = s.trails[k].oldest(begin)
		s.ledgers[k].start(begin)
		g.First[k], g.End[k], g.Books[k] = 0, Position{}, book{}
	}
	s.marked = mark{}
	s.seek([2]Position{s.ledgers[0].settled, s.ledgers[1].settled})
	s.dirty = true
}

package tail

import (
	"os"
	"time"
)

// A boundary is where a line was ended that its bytes did not end. It is written
// down before the line is sent: should the agent die in between, and the rest of
// the line be written after all, the line ends there again.
type boundary struct {
	Begin Position `json:"begin"`
	End   Position `json:"end"`
}

func (b boundary) set() bool { return b.End.Generation != 0 }

// ends says whether the open line of stream k was ended before offset off.
func (s *source) ends(k int, off int64) bool {
	b := &s.flushed[k]
	p, open := s.joiners[k].Open()
	return open && p.Generation == b.Begin.Generation && p.Offset == b.Begin.Offset &&
		!(Position{Generation: s.gen.N, Offset: off}).before(b.End)
}

// quiet is how long the file of a stopped container must not have changed
// before a line without a newline counts as whole: that the container stopped
// may be old news, and it may be running again (for seconds, if dockerd was
// restarted and started it).
const quiet = 2 * time.Second

// touched is when the live file was written last, or lost its name: between two
// steps of a rotation no file has it, and the next entry makes one. Zero if its
// folder has gone, too.
func (s *source) touched() time.Time {
	fi, err := os.Stat(s.target.Path)
	if err != nil {
		fi, err = os.Stat(s.dir())
	}
	if err != nil {
		return time.Time{}
	}
	return fi.ModTime()
}

// flush emits the lines that nothing will end any more.
func (w *worker) flush(s *source) {
	for k := range s.joiners {
		if _, open := s.joiners[k].Open(); !open || s.muted[k] {
			continue
		}
		if s.joiners[k].Due(true) {
			w.back = k + 1
			return
		}
		if !s.flushed[k].set() || !s.ends(k, s.off) {
			// A time in the future is that of a clock which was put back since.
			if time.Since(s.touched()).Abs() < quiet {
				s.dangling = true
				w.f.dangling.Store(true)
				return
			}
			s.flushed[k], s.mayFlush[k] = boundary{Begin: s.begins[k], End: s.here(k, s.off)}, false
			s.dirty = true
		}
		if !s.mayFlush[k] {
			w.awaitBoundary(s)
			continue
		}
		w.endLine(s, k)
	}
}

// awaitBoundary says whether nothing may be read before the checkpoint knows where
// a line was ended, and asks for it.
func (w *worker) awaitBoundary(s *source) bool {
	for k := range s.flushed {
		if s.flushed[k].set() && !s.mayFlush[k] {
			s.parked = true
			w.f.kick()
		}
	}
	return s.parked
}

// goBack reads the line again that w.back asks for.
func (w *worker) goBack(s *source) verdict {
	k := w.back - 1
	w.back = 0
	w.closeBatches(s)
	s.goBack(k)
	return again
}

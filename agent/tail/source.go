package tail

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"mesoscope/agent/pipeline"
	"mesoscope/record"
)

// A Target is one container whose log is to be followed.
type Target struct {
	ID   string
	Path string // the live json-file; its rotations lie beside it
	// Streams are stdout and stderr. New ones (with the same Name) replace the
	// old ones when the metadata changes.
	Streams [2]*record.Stream
	// Running is false when Docker has closed the file for now. A line without
	// a newline at its end is whole then.
	Running bool
	// Gone says that the container was removed: what is held of its log is
	// read to the end, and then the source is forgotten.
	Gone bool
	// Steady says that files of this log only vanish when Settled allows it,
	// so that they need not be held.
	Steady bool
}

// A source is the log of one container.
type source struct {
	id      string
	looking ticket      // for the keeper
	reading ticket      // for the workers
	watched atomic.Bool // changes in the folder are told by the watcher
	live    atomic.Bool // the youngest generation is the file that Docker writes to

	// mu guards all below. A worker holds it while it reads a piece, never
	// while it waits for the sink.
	mu       sync.Mutex
	target   Target
	begun    bool
	gens     []*generation // oldest first
	next     int64         // ordinal of the next new generation
	ledgers  [2]ledger
	horizon  Position // nothing may be handed to the sink above it
	durable  Position // the checkpoint knows that all before it is settled
	dirty    bool     // differs from the checkpoint
	finished bool     // gone, and read to its end
	dropped  bool     // finished, and the checkpoint knows it: whatever still comes in is too late
	parked   bool     // waits for the checkpoint or for a batch to settle
	dangling bool     // waits for proof that a line without a newline is whole

	gen     *generation // being read; nil: none yet
	off     int64       // in gen
	resume  [2]Position // where each stream was settled at the start
	skip    [2]int64    // entries of gen below it were settled before the start
	lines   [2]int64    // lines that began in gen so far
	joiners [2]pipeline.Joiner
	attrs   []byte

	problem    string // what is wrong at present
	unreadable error  // of a file of the log, at the last look
	unproven   bool   // files may have come and gone while no agent ran
	garbage    int64  // bytes that are no entries
	gaps       int64  // times that bytes were lost
	caughtUp   time.Time
	lastLook   time.Time

	unprovenWhy string // why unproven cannot be ruled out, as a sentence for the receipt
}

func newSource(t Target, st state, known bool) *source {
	s := &source{id: t.ID, target: t, next: 1, caughtUp: time.Now()}
	s.looking.source, s.reading.source = s, s
	if !known {
		return s
	}
	for i := range st.Generations {
		g := st.Generations[i]
		s.gens = append(s.gens, &g)
		s.next = max(s.next, g.N+1)
		s.dirty = s.dirty || g.Done && g.Hold != "" // killed before it was unlinked
	}
	s.resume, s.durable = st.Settled, lower(st.Settled)
	s.horizon = st.Horizon
	return s
}

func (s *source) dir() string { return filepath.Dir(s.target.Path) }

// folder is dir for callers without mu.
func (s *source) folder() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dir()
}

// begin finds out, after the first scan, where to go on. cursors are what the
// sink knows itself, which can only be further than the checkpoint.
func (s *source) begin(cursors map[string][]byte) {
	s.begun = true
	for k := range s.resume {
		if text, ok := cursors[s.target.Streams[k].Name]; ok {
			if p, ok := s.fromCursor(text); ok && s.resume[k].before(p) {
				s.resume[k] = p
			}
		}
		s.ledgers[k].start(s.resume[k])
		s.joiners[k].Resume(s.resume[k].Cut)
	}
	from := lower(s.resume)
	for _, g := range s.gens {
		if g.N >= from.Generation && !g.Done {
			s.enter(g)
			if g.N == from.Generation {
				s.off = max(s.off, from.Offset)
			}
			return
		}
	}
}

// enter begins to read g.
func (s *source) enter(g *generation) {
	s.gen, s.off = g, g.From
	for k, r := range s.resume {
		switch {
		case r.Generation == g.N:
			s.skip[k], s.lines[k] = r.Offset, r.Lines
		case r.Generation > g.N:
			s.skip[k], s.lines[k] = 1<<62, 0
		default:
			s.skip[k], s.lines[k] = 0, 0
		}
	}
	s.scanned()
}

// leave ends the reading of the current generation and enters the next one.
// false: there is none.
func (s *source) leave() bool {
	i := slices.Index(s.gens, s.gen)
	if i+1 == len(s.gens) {
		return false
	}
	s.gen.Size = s.off
	if fi, err := s.gen.file.Stat(); err == nil {
		s.gen.Modified = fi.ModTime().UnixNano()
	}
	if s.gen.Hold != "" {
		// Otherwise the open file is what keeps its inode from being used
		// again, until all of it is settled.
		s.gen.close()
	}
	s.enter(s.gens[i+1])
	return true
}

// noteLive finds out whether the youngest generation is the file that Docker
// writes to. If it is not, a new one may be born at any write, and the folder
// has to be looked at.
func (s *source) noteLive() {
	n := len(s.gens)
	s.live.Store(n > 0 && !s.gens[n-1].Lost && !s.gens[n-1].ended && s.gens[n-1].at == s.target.Path)
}

// fail notes what is wrong, and says it when it is new.
func (s *source) fail(log *slog.Logger, err error) {
	if s.problem != err.Error() {
		log.Warn("a log cannot be followed at present", "container", s.id, "error", err)
	}
	s.problem = err.Error()
}

// place is how far stream k is scanned: everything before it is in a flight.
func (s *source) place(k int) Position {
	if p, open := s.joiners[k].Open(); open {
		return Position{Generation: p.Generation, Offset: p.Offset, Lines: p.Sequence - 1}
	}
	p := Position{Generation: s.gen.N, Offset: s.off, Lines: s.lines[k], Cut: s.joiners[k].CutTime()}
	if p.before(s.resume[k]) {
		return s.resume[k]
	}
	return p
}

// scanned tells both ledgers how far the file has been looked at.
func (s *source) scanned() {
	if s.gen == nil {
		return
	}
	for k := range s.ledgers {
		if p := s.place(k); s.ledgers[k].scanned.before(p) {
			s.ledgers[k].scan(p)
			s.dirty = true
		}
	}
}

// settled is the place before which nothing of either stream is needed again.
func (s *source) settled() Position {
	return lower([2]Position{s.ledgers[0].settled, s.ledgers[1].settled})
}

func (s *source) flying() bool { return len(s.ledgers[0].flights)+len(s.ledgers[1].flights) > 0 }

// A cursor is a Position with the identity of its generation, for a sink that
// keeps it together with the lines.
type cursor struct {
	Position
	Ino  uint64 `json:"ino"`
	Head int64  `json:"head"`
}

func (s *source) appendCursor(dst []byte, p Position) []byte {
	c := cursor{Position: p}
	for _, g := range s.gens {
		if g.N == p.Generation {
			c.Ino, c.Head = g.Ino, g.Head
		}
	}
	text, err := json.Marshal(c)
	if err != nil {
		panic(fmt.Sprintf("BUG: tail: cursor: %v", err)) // numbers only
	}
	return append(dst, text...)
}

func (s *source) fromCursor(text []byte) (Position, bool) {
	var c cursor
	if err := json.Unmarshal(text, &c); err != nil {
		return Position{}, false
	}
	for _, g := range s.gens {
		if g.Ino == c.Ino && g.Head == c.Head {
			c.Position.Generation = g.N
			return c.Position, true
		}
	}
	return Position{}, false
}

// snapshot is what the checkpoint is to know, and what it then allows.
func (s *source) snapshot() state {
	low := s.settled().Generation
	st := state{ID: s.id, Settled: [2]Position{s.ledgers[0].settled, s.ledgers[1].settled}, Horizon: s.nextHorizon()}
	for _, g := range s.gens {
		if g.N < low {
			g.Done = true
		}
		st.Generations = append(st.Generations, *g)
	}
	st.Gone = s.finished && !s.flying()
	if !s.begun {
		st.Settled = s.resume
	}
	return st
}

// horizonAhead is how far beyond the read position may be sent before the
// checkpoint has to be written again.
const horizonAhead = 64 << 20

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
	return p
}

// land enters in the ledger that the sink has settled fl. wake says whether the
// source waited for that.
func (s *source) land(fl *flight) (wake bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ledgers[fl.stream].land(fl.slot)
	s.dirty = true
	return s.parked
}

var errLost = errors.New("the file is gone and was not held")

// adoptHeld takes in the links of the hold folder that the checkpoint does not
// know: the agent was killed after it had linked and before it had written
// that down, or the checkpoint was lost.
func (s *source) adoptHeld(holdDir string) {
	names, err := os.ReadDir(holdDir)
	if err != nil {
		return
	}
	for _, e := range names {
		g, ok := parseHoldName(e.Name())
		if !ok || s.find(func(k *generation) bool { return k.Ino == g.Ino && k.Head == g.Head }) != nil ||
			s.find(func(k *generation) bool { return k.N == g.N }) != nil {
			continue
		}
		g.Path = s.target.Path
		i := len(s.gens)
		for i > 0 && s.gens[i-1].N > g.N {
			i--
		}
		s.gens = append(s.gens[:i], append([]*generation{&g}, s.gens[i:]...)...)
		s.next = max(s.next, g.N+1)
		s.dirty = true
	}
}

// checkHeld forgets the links that are not there any more: nothing keeps the
// inodes of those files from being used again.
func (s *source) checkHeld(holdDir string) {
	for _, g := range s.gens {
		if g.Hold == "" {
			continue
		}
		if fi, err := os.Stat(filepath.Join(holdDir, g.Hold)); err != nil || inode(fi) != g.Ino {
			g.Hold = ""
			s.dirty = true
		}
	}
}

func (s *source) find(ok func(*generation) bool) *generation {
	for i := len(s.gens) - 1; i >= 0; i-- {
		if ok(s.gens[i]) {
			return s.gens[i]
		}
	}
	return nil
}

// origin is what the lines of stream k that began in generation n share.
func (s *source) origin(k int, n int64) *pipeline.Origin {
	g := s.gen
	if g.N != n {
		if g = s.find(func(g *generation) bool { return g.N == n }); g == nil {
			g = s.gen
		}
	}
	if o := g.origins[k]; o != nil && o.Stream == s.target.Streams[k] {
		return o
	}
	g.origins[k] = pipeline.NewOrigin(s.target.Streams[k], s.id, g.Path, g.name())
	return g.origins[k]
}

// sameAttrs says whether attrs are those that were seen last, and remembers.
func (s *source) sameAttrs(attrs []byte) bool {
	if bytes.Equal(attrs, s.attrs) {
		return true
	}
	s.attrs = append(s.attrs[:0], attrs...)
	return false
}

package tail

import (
	"bytes"
	"cmp"
	"errors"
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
	Path string // the live file; its rotations lie beside it
	// Format says what stands in it.
	Format Format
	// DropExecutor says that nobody wants what an executor prints (RawExecutor).
	DropExecutor bool
	// HoldDir is the folder for links to its files; "": that of the Config.
	HoldDir string
	// Streams are stdout and stderr. New ones (with the same Name) replace the
	// old ones when the metadata changes.
	Streams [2]*record.Stream
	// Running is false when Docker has closed the file for now. A line without
	// a newline at its end is whole then.
	Running bool
	// Gone says that the container was removed: what is held of its log is
	// read to the end, and then the source is forgotten.
	Gone bool
	// Wait says that nothing is to be read yet, because what the lines belong to
	// is not known; the files are held. It counts until reading has begun. With
	// Gone, nobody ever wanted the lines: the log is given up unread.
	Wait bool
	// Steady says that files of this log only vanish when Settled allows it,
	// so that they need not be held.
	Steady bool
	// Notes are where it is written down what became of the lines; nil: nowhere.
	Notes Notes
}

// Notes makes the Streams of documents about a log: receipts of "stdout" or
// "stderr", and gap documents.
type Notes interface {
	Receipts(stream string) *record.Stream
	Gaps() *record.Stream
}

// A source is the log of one container.
type source struct {
	id      string
	looking ticket      // for the keeper
	reading ticket      // for the workers
	watched atomic.Bool // changes in the folder are told by the watcher
	base    string      // name of the live file
	shared  bool        // its folder has other files that are written to
	births  births      // of live files
	live    atomic.Bool // the youngest generation is the file that Docker writes to

	// mu guards all below. A worker holds it while it reads a piece, never
	// while it waits for the sink.
	mu       sync.Mutex
	target   Target
	started  bool // reading has: Target.Wait counts no more
	begun    bool
	gens     []*generation // oldest first
	next     int64         // ordinal of the next new generation
	ledgers  [2]ledger
	horizon  Position // nothing may be handed to the sink above it
	durable  Position // the checkpoint knows that all before it is settled
	dirty    bool     // differs from the checkpoint
	saved    bool     // the checkpoint has it as it is in this run
	finished bool     // gone, and read to its end
	dropped  bool     // finished, and the checkpoint knows it: whatever still comes in is too late
	parked   bool     // waits for the checkpoint or for a batch to settle
	dangling bool     // waits for proof that a line without a newline is whole

	readLines, readBytes int64 // in this run, also what was read again

	gen         *generation // being read; nil: none yet
	off         int64       // in gen
	garbageHere int64       // bytes of gen before off that are no entries
	counts      [2]counts   // of gen before off
	resume      [2]Position // where each stream was when reading began here
	skip        [2]int64    // entries of gen below it are not to be read
	joiners     [2]pipeline.Joiner
	begins      [2]Position // of the line that a joiner waits for
	carry       [2][]part   // what of that line lies in earlier generations
	reload      [2]bool     // it was given up for want of memory and is being read again: keep it
	muted       [2]bool     // not read at present, because too much of it is under way
	stop        [2]Position // where a muted stream was left
	flushed     [2]boundary // where a line was ended that nothing had ended
	mayFlush    [2]bool     // the checkpoint knows that boundary
	heads       heads
	compressed  bool // the folder has had compressed files
	attrs       []byte
	lineOf      int           // stream of a raw log's open line, counted from 1; 0: none
	tear        pipeline.Tear // what that line was cut within
	readings    []reading     // when a raw log was read, from what is not settled on
	readTo      Position      // and how far it ever was
	marked      mark          // what stood before the place to go on at when the last agent ended

	epoch     int           // flights of an earlier one have been given up
	returned  bool          // the sink has given a flight back
	blocked   string        // the destination that takes nothing at present
	sent      Position      // what lies before it may have been sent in an earlier epoch
	since     [2]string     // the oldest backing index that it can have gone to
	trails    [2]trail      // of what is sent now
	owing     bool          // receipts or gap documents may be due
	notes     int           // of them, under way
	noteWait  string        // the destination of receipts that takes nothing at present
	revisions int           // receipts have at least that number
	openAt    time.Time     // when open receipts were asked for last
	openWait  time.Duration // until the next ones
	openFor   [2]Position   // and how far they went

	problem    string // what is wrong at present
	unreadable error  // of a file of the log, at the last look
	missed     string // why files may have come and gone since the look before; "": they have not
	unproven   string // why files may have come and gone while no agent ran; "": they have not
	garbage    int64  // bytes that are no entries
	gaps       int64  // times that bytes were lost
	joined     int64  // memory that its open lines take, as told to the follower
	caughtUp   time.Time
	lastLook   time.Time
}

func newSource(t Target, st state, known bool) *source {
	s := &source{id: t.ID, base: filepath.Base(t.Path), shared: t.Format.raw(), target: t, next: 1, caughtUp: time.Now(), openAt: time.Now(), openWait: openFirst}
	s.looking.source, s.reading.source = s, s
	if !known {
		return s
	}
	for i := range st.Generations {
		g := st.Generations[i].clone() // the checkpoint keeps st, and writes it down again
		for n := range g.Gaps {
			g.Gaps[n].granted, g.Gaps[n].again = true, true
		}
		g.granted = g.Revision
		g.raw = t.Format.raw()
		if g.Path == "" {
			g.Path = t.Path
		}
		s.gens = append(s.gens, &g)
		s.next = max(s.next, g.N+1)
		s.dirty = s.dirty || g.Done && g.Hold != "" // killed before it was unlinked
	}
	for _, p := range st.Settled {
		// Files that are settled may be forgotten, and the last one, too. A new one
		// with its number would count as settled.
		s.next = max(s.next, p.Generation+1)
	}
	s.resume, s.durable = st.Settled, lower(st.Settled)
	s.horizon, s.sent = st.Horizon, st.Horizon
	if s.sent.before(st.Sent) {
		s.sent = st.Sent
	}
	s.marked, s.heads = st.Mark, st.Heads
	s.trails, s.flushed, s.mayFlush = st.Trails, st.Flushed, [2]bool{true, true}
	s.readings, s.readTo = slices.Clone(st.Readings), st.ReadTo
	s.owing = true
	if !t.Gone {
		s.reopen() // it may have been gone when the last agent ended
	}
	return s
}

func (s *source) dir() string { return filepath.Dir(s.target.Path) }

// folder is dir for callers without mu.
func (s *source) folder() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dir()
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

// land enters in the ledger what became of fl. wake says whether the source
// waited for that.
func (s *source) land(fl *flight, settled bool) (wake bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case fl.epoch != s.epoch:
		// It was given up, and its lines are sent again.
		return false
	case !settled:
		s.returned, s.blocked = true, fl.Stream.Index
		return true
	}
	fl.slot.odd = fl.oddities()
	s.enterBooks(fl.stream, s.ledgers[fl.stream].land(fl.slot))
	s.dirty = true
	return s.parked || s.owing || s.muted[fl.stream]
}

var errLost = errors.New("the file is gone and was not held")

// errLostAgain is for lines that were read before their file was lost, and are
// needed again.
var errLostAgain = errors.New("the file was lost before the answer for these lines arrived; those that are not stored cannot be read again")

// adoptHeld takes in the links of the hold folder that the checkpoint does not
// know: the agent was killed after it had linked and before it had written
// that down, or the checkpoint was lost.
func (s *source) adoptHeld(holdDir string) {
	s.checkHeld(holdDir)
	for _, g := range heldIn(holdDir) {
		g.raw = s.target.Format.raw()
		// An inode that nothing keeps may have come back to another file, even of
		// the same huge line.
		known := s.find(func(k *generation) bool {
			return k.N == g.N || k.Head == g.Head && (k.Hold != "" && k.holds() == g.holds() || k.Ino == g.Ino && k.takeLink(g, holdDir))
		})
		if known != nil {
			known.takeLink(g, holdDir)
			continue
		}
		g.Path = s.target.Path
		i := len(s.gens)
		for i > 0 && s.gens[i-1].N > g.N {
			i--
		}
		g.Run = s.heads.meet(g.Head)
		s.gens = slices.Insert(s.gens, i, g)
		s.next = max(s.next, g.N+1)
		s.dirty = true
	}
}

// takeLink makes the link of h that of g, which has none, if it leads to the file
// of g: an earlier run, whose checkpoint is lost, has given it another number.
func (g *generation) takeLink(h *generation, holdDir string) bool {
	if g.Hold != "" || g.Done {
		return false
	}
	c := generation{Ino: g.Ino, Head: g.Head, From: g.From, HeadSum: g.HeadSum, HeadLen: g.HeadLen, Gz: g.Gz, Sum: g.Sum, Hold: h.Hold, HoldIno: h.HoldIno, raw: g.raw}
	if c.open(holdDir) != nil {
		return false
	}
	c.close()
	g.Hold, g.HoldIno = h.Hold, h.HoldIno
	return true
}

// holds is the inode of what is held.
func (g *generation) holds() uint64 { return cmp.Or(g.HoldIno, g.Ino) }

// heldIn are the generations to which the links in a folder belong, oldest
// first.
func heldIn(dir string) (gens []*generation) {
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	for _, e := range names {
		g, ok := parseHoldName(e.Name())
		fi, err := e.Info()
		if !ok || err != nil {
			continue
		}
		if inode(fi) != g.Ino {
			g.HoldIno = inode(fi)
		}
		gens = append(gens, &g)
	}
	slices.SortFunc(gens, func(a, b *generation) int { return cmp.Compare(a.N, b.N) })
	return gens
}

// checkHeld forgets the links that are not there any more: nothing keeps the
// inodes of those files from being used again. Of the others it learns the sizes.
func (s *source) checkHeld(holdDir string) {
	for _, g := range s.gens {
		if g.Hold == "" {
			continue
		}
		if fi, err := os.Stat(filepath.Join(holdDir, g.Hold)); err != nil || inode(fi) != g.holds() {
			g.Hold, g.HoldIno, g.released = "", 0, errors.Is(err, os.ErrNotExist)
			s.dirty = true
		} else if g.size == 0 {
			// Until it is read nobody else says how much of it is still to come.
			g.size = max(g.Size, fi.Size())
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
	if g.raw {
		g.origins[k].Key = g.key()
	}
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

package tail

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mesoscope/record"
)

// Config says how to follow.
type Config struct {
	// StateDir is the folder of the checkpoint. One process at a time.
	StateDir string
	// HoldDir is the folder of the hard links, on the same mount as the logs.
	// "" holds nothing: files are kept open instead.
	HoldDir string
	// HoldBudget is the most that files may take which exist only because they
	// are held, in bytes; 0: no limit. HoldMinFree says for a file system of a
	// given size how much has to stay free; may be nil.
	HoldBudget  int64
	HoldMinFree func(total int64) int64
	// Out takes the batches. A full channel makes the files wait.
	Out chan<- *record.Batch
	// Cursors are what the sink itself knows of each Stream.Name, if it keeps
	// Batch.Cursor together with the lines; else nil.
	Cursors map[string][]byte
	// Attrs is called when a container's entries carry other attrs (a JSON
	// object, see pipeline.Entry) than before; streams that it returns replace
	// the present ones. May be nil.
	Attrs func(id string, attrs []byte) [2]*record.Stream
	// Sink is asked how the destinations are; nil: they take everything, and
	// have no backing indices.
	Sink Sink
	// Returning says that an agent has worked with StateDir before: without a
	// checkpoint there, it is lost, and anything may have been sent already.
	Returning bool
	// InFlight is how many bytes may be on their way to the sink; 0 means 32
	// MiB. OpenLines is how much memory lines may take that have begun and not
	// ended, all containers together; 0 means as much.
	InFlight, OpenLines int64
	// Workers read and encode; 0 means one for each core, at most 4.
	Workers int
	// Sweep is how often all folders are looked at even if nothing woke us,
	// because inotify can overflow; 0 means 30 s. Folders that cannot be
	// watched are looked at each second.
	Sweep    time.Duration
	Log      *slog.Logger
	Registry prometheus.Registerer // may be nil
}

// A Sink is where batches go, as far as readers have to know it. index is a
// record.Stream.Index.
type Sink interface {
	// Takes is false while the destination takes nothing: it has given back, or
	// would give back, what is meant for it.
	Takes(index string) bool
	// WriteIndex is the backing index that took the last line for index, "" if
	// that is not known.
	WriteIndex(index string) string
}

// A Follower follows the logs of a set of containers.
type Follower struct {
	out     chan<- *record.Batch
	cursors map[string][]byte
	attrs   func(string, []byte) [2]*record.Stream
	sink    Sink
	limit   int64
	workers int
	sweep   time.Duration
	log     *slog.Logger
	metrics *metrics
	hold    hold
	budget  int64
	minFree func(total int64) int64
	fill    fill

	looks      queue // for the keeper: sources whose folder may have changed
	reads      queue // for the workers: sources that may have something to read
	inflight   atomic.Int64
	room       chan struct{} // a token when a flight has landed and somebody may wait
	save       chan struct{} // a token asks for a checkpoint now
	flights    hangar
	watch      *watcher
	checkpoint *checkpoint
	crowded    atomic.Bool // more sources than files may stay open
	dangling   atomic.Bool // some source waits for a second look
	blocked    atomic.Bool // some source waits for its destination
	openLines  int64
	maxLine    int          // longest message; 0: the default
	ring       int          // see maxFlights
	joined     atomic.Int64 // memory of lines that have not ended
	doubt      atomic.Bool  // the checkpoint may be older than what was sent
	told       bool         // Set was called

	mu      sync.Mutex
	sources map[string]*source
	known   map[string]state // from the checkpoint, of what has no source yet
}

// New opens the state. It fails if the state is of a newer version, or cannot
// be read or written.
func New(cfg Config) (*Follower, error) {
	f := &Follower{
		out: cfg.Out, cursors: cfg.Cursors, attrs: cfg.Attrs, sink: cfg.Sink, limit: cfg.InFlight, openLines: cfg.OpenLines, workers: cfg.Workers, sweep: cfg.Sweep, log: cfg.Log,
		hold: hold{dir: cfg.HoldDir}, budget: cfg.HoldBudget, minFree: cfg.HoldMinFree, room: make(chan struct{}, 1), save: make(chan struct{}, 1), sources: map[string]*source{}, ring: maxFlights,
	}
	if f.limit == 0 {
		f.limit = 32 << 20
	}
	if f.openLines == 0 {
		f.openLines = f.limit
	}
	if f.workers == 0 {
		f.workers = min(4, runtime.GOMAXPROCS(0))
	}
	if f.sweep == 0 {
		f.sweep = 30 * time.Second
	}
	f.looks.init()
	f.reads.init()
	if err := os.MkdirAll(cfg.StateDir, 0o700); err != nil {
		return nil, fmt.Errorf("make the state folder: %w", err)
	}
	if f.hold.dir != "" {
		if err := os.MkdirAll(f.hold.dir, 0o700); err != nil {
			f.hold.fail("", nil, err)
			f.hold.dir = ""
		}
	}
	var damaged int
	var err error
	if f.checkpoint, damaged, err = openCheckpoint(cfg.StateDir, cfg.Returning || len(f.hold.ids()) > 0); err != nil {
		return nil, err
	}
	f.doubt.Store(f.checkpoint.doubt)
	switch {
	case damaged > 0:
		f.log.Warn("the checkpoint is damaged; logs whose place is not known are read again from what is at hand, and lines that are stored already are looked up", "records", damaged)
	case f.checkpoint.doubt && f.checkpoint.fresh:
		f.log.Warn("the checkpoint of the last run is gone; logs are read again from what is at hand, and lines that are stored already are looked up", "path", f.checkpoint.path)
	case f.checkpoint.doubt:
		f.log.Warn("the checkpoint was damaged or gone at an earlier start; lines that are stored already are still looked up")
	}
	f.known = maps.Clone(f.checkpoint.last)
	for id, st := range f.known {
		f.hold.place(id, st.HoldDir)
	}
	f.clearUp()
	f.metrics = newMetrics(cfg.Registry, f)
	f.watch, err = newWatcher(f.wake)
	if err != nil {
		f.log.Warn("folders cannot be watched and are looked at each second instead", "error", err)
	}
	return f, nil
}

// clearUp forgets the logs that were left behind and have been removed since.
func (f *Follower) clearUp() {
	var gone []state
	for id, st := range f.known {
		if st.Left == "" {
			continue
		}
		if _, err := os.Stat(st.Left); errors.Is(err, os.ErrNotExist) {
			delete(f.known, id)
			gone = append(gone, state{ID: id, Gone: true})
		}
	}
	if err := f.checkpoint.save(gone); err != nil {
		f.log.Warn("the checkpoint keeps logs that have been removed", "error", err)
	}
}

// Held lists the containers of which lines may not be stored yet: those in the
// checkpoint and those in the hold folder. Set has to name each of them, as
// Gone if it does not exist any more.
func (f *Follower) Held() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen := map[string]bool{}
	var ids []string
	for id, st := range f.known {
		seen[id] = true
		if st.Left == "" {
			ids = append(ids, id)
		}
	}
	for _, id := range f.hold.ids() {
		if !seen[id] {
			ids = append(ids, id)
		}
	}
	return ids
}

// AddHold says of one more hold folder: what lies in it is held, too. See
// Target.HoldDir.
func (f *Follower) AddHold(dir string) { f.hold.add(dir) }

// HoldPath is HoldFolder, whether it exists or not.
func (f *Follower) HoldPath(id string) string {
	if f.hold.base(id) == "" {
		return ""
	}
	return f.hold.folder(id)
}

// HoldFolder is where what concerns one container may be kept until its last
// line is settled, or "" if nothing is held. It exists when the call returns.
func (f *Follower) HoldFolder(id string) string {
	if f.hold.base(id) == "" {
		return ""
	}
	dir := f.hold.folder(id)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		f.hold.fail(id, nil, err)
		return ""
	}
	return dir
}

// HoldProblem says why files cannot be held, or "".
func (f *Follower) HoldProblem() string { return f.hold.Problem() }

// Set says what there is to follow. Sources that are not named any more are
// Gone: they are read to the end of what is held, then forgotten.
func (f *Follower) Set(targets []Target) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.told = true
	named := make(map[string]bool, len(targets))
	for _, t := range targets {
		named[t.ID] = true
		f.hold.place(t.ID, t.HoldDir)
		s := f.sources[t.ID]
		if s == nil {
			st, known := f.known[t.ID]
			delete(f.known, t.ID)
			s = newSource(t, st, known)
			for k := range s.joiners {
				s.joiners[k].Max = f.maxLine
			}
			f.sources[t.ID] = s
			f.watch.add(filepath.Dir(t.Path), s)
			f.looks.push(&s.looking)
			continue
		}
		f.retarget(s, t)
	}
	f.crowded.Store(len(f.sources) > openFiles)
	for id, s := range f.sources {
		if !named[id] {
			s.mu.Lock()
			t := s.target
			s.mu.Unlock()
			t.Gone = true
			f.retarget(s, t)
		}
	}
}

// openFiles is how many live files may stay open while nothing happens. With
// more sources, held files are closed: they can be opened again at any time.
const openFiles = 512

// retarget wakes s if something changed that it acts on.
func (f *Follower) retarget(s *source, t Target) {
	s.mu.Lock()
	old := s.target
	s.target = t
	if old.Gone && !t.Gone {
		// It has come back before its end was written down, or just after.
		s.finished, s.dirty = false, true
		s.reopen()
	}
	s.mu.Unlock()
	if filepath.Dir(old.Path) != filepath.Dir(t.Path) {
		f.watch.remove(s)
		f.watch.add(filepath.Dir(t.Path), s)
	}
	if old.Running != t.Running || old.Gone != t.Gone || old.Wait != t.Wait || old.Path != t.Path {
		f.looks.push(&s.looking)
		f.reads.push(&s.reading)
	}
}

// Settled says whether all lines of one file of the log of id are settled, and
// the checkpoint knows it: the file is not needed any more.
func (f *Follower) Settled(id string, file os.FileInfo) bool {
	f.mu.Lock()
	s := f.sources[id]
	f.mu.Unlock()
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.find(func(g *generation) bool { return g.Ino == inode(file) })
	if g == nil {
		return false
	}
	return g.N < s.durable.Generation || g.N == s.durable.Generation && file.Size() <= s.durable.Offset
}

// Run follows until ctx ends. Batches that were handed over may still be
// settled after that; Close then makes it durable.
func (f *Follower) Run(ctx context.Context) {
	var group sync.WaitGroup
	for range f.workers {
		group.Go(func() { f.work(ctx) })
	}
	group.Go(f.keep)
	group.Go(f.watch.run)
	group.Go(func() { f.sweepAll(ctx) })
	group.Go(func() { f.checkpoints(ctx) })
	<-ctx.Done()
	f.looks.close()
	f.reads.close()
	f.watch.close()
	group.Wait()
}

// Close writes a last checkpoint of what is settled by now. Call it after Run,
// when the sink has ended.
func (f *Follower) Close() error {
	return errors.Join(f.writeCheckpoint(), f.checkpoint.close())
}

// wake is called when something in the folder of s changed; names says that
// files came, went or were renamed.
func (f *Follower) wake(s *source, names bool) {
	if names || !s.live.Load() {
		f.looks.push(&s.looking)
	}
	f.reads.push(&s.reading)
}

func (f *Follower) work(ctx context.Context) {
	w := &worker{f: f, buf: make([]byte, pieceBytes)}
	for {
		t := f.reads.pop()
		if t == nil || !f.waitForRoom(ctx) {
			return
		}
		s := t.source
		w.created = time.Now().UTC().AppendFormat(w.created[:0], time.RFC3339Nano)
		s.mu.Lock()
		v, err := w.step(s)
		if err != nil {
			s.fail(f.log, err)
		} else if s.problem != "" && v == again {
			s.problem = ""
		}
		if v == idle && s.gen != nil && s.gen.Hold != "" && f.crowded.Load() {
			s.gen.close() // it can be opened again; descriptors are few
		}
		s.readLines, s.readBytes = s.readLines+w.lines[0]+w.lines[1], s.readBytes+w.bytes
		format := s.target.Format
		s.mu.Unlock()
		f.metrics.read(w, format)
		if len(w.buf) > pieceBytes {
			w.buf = make([]byte, pieceBytes)
		}
		for _, fl := range w.ready {
			select {
			case f.out <- &fl.Batch:
			case <-ctx.Done():
				// Not handed over, so it never lands, and what it holds is read
				// again at the next start.
				return
			}
		}
		clear(w.ready)
		w.ready = w.ready[:0]
		f.reads.done(t, v == again)
	}
}

// waitForRoom waits until the sink has settled enough. false: ctx has ended.
func (f *Follower) waitForRoom(ctx context.Context) bool {
	waited := false
	for f.inflight.Load() > f.limit {
		select {
		case <-f.room:
			waited = true
		case <-ctx.Done():
			return false
		}
	}
	if waited {
		f.signalRoom() // there may be room for the next one, and nothing left that lands
	}
	return ctx.Err() == nil
}

func (f *Follower) signalRoom() {
	select {
	case f.room <- struct{}{}:
	default:
	}
}

// flight gives an empty flight for stream k of s.
func (f *Follower) flight(s *source, k int) *flight {
	fl := f.flights.take()
	fl.source, fl.stream, fl.epoch, fl.generation = s, k, s.epoch, s.gen.N
	fl.Reset(s.target.Streams[k], func(_ *record.Batch, settled bool) { f.land(fl, settled) })
	return fl
}

// land is called by the sink, from its goroutine. settled is false for what it
// gives back.
func (f *Follower) land(fl *flight, settled bool) {
	s := fl.source
	if s.land(fl, settled) {
		f.reads.push(&s.reading)
	}
	f.landed(fl)
}

// landed takes back the memory of a flight.
func (f *Follower) landed(fl *flight) {
	left := f.inflight.Add(-fl.bytes)
	f.flights.give(fl)
	if left <= f.limit {
		f.signalRoom()
	}
}

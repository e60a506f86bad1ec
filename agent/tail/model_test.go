package tail

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"mesoscope/internal/jsonfile"
	"mesoscope/record"
)

// A store is what a faithful sink ends up with: documents by id, as
// Elasticsearch keeps them.
type store struct {
	t *testing.T

	mu      sync.Mutex
	docs    map[string]doc
	order   map[string][]string // by container and stream: ids in the order of arrival
	cursors map[string][]byte
	changed chan struct{}
	sink    sinkState
}

type doc struct {
	Message string    `json:"message"`
	Stream  string    `json:"stream"`
	Time    time.Time `json:"@timestamp"`
	Log     struct {
		Offset int64    `json:"offset"`
		Flags  []string `json:"flags"`
		File   struct {
			Path       string `json:"path"`
			Generation string `json:"generation"`
		} `json:"file"`
	} `json:"log"`
	Event struct {
		Sequence int64 `json:"sequence"`
	} `json:"event"`
	Container struct {
		ID string `json:"id"`
	} `json:"container"`
}

func newStore(t *testing.T) *store {
	return &store{t: t, docs: map[string]doc{}, order: map[string][]string{}, cursors: map[string][]byte{}, changed: make(chan struct{}, 1), sink: newSinkState()}
}

func (st *store) add(b *record.Batch) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if b.Stream.Index == "receipts" || b.Stream.Index == "gaps" {
		st.sink.addNote(st.t, b)
		return
	}
	for i := range b.Items {
		var d doc
		if err := json.Unmarshal(b.Doc(i), &d); err != nil {
			st.t.Errorf("not JSON: %v: %s", err, b.Doc(i))
			continue
		}
		id := string(b.ID(i))
		if old, ok := st.docs[id]; ok {
			if old.Message != d.Message || old.Event.Sequence != d.Event.Sequence || old.Log.File.Generation != d.Log.File.Generation || old.Container.ID != d.Container.ID {
				st.t.Errorf("id %s stands for two lines:\n%.200v\n%.200v", id, old, d)
			}
			st.sink.again(st.t, b, i, id)
			continue
		}
		st.sink.first(b, i, id)
		st.docs[id] = d
		key := d.Container.ID + "/" + d.Stream
		st.order[key] = append(st.order[key], id)
	}
	st.cursors[b.Stream.Name] = append([]byte(nil), b.Cursor...)
	select {
	case st.changed <- struct{}{}:
	default:
	}
}

func (st *store) len() int {
	st.mu.Lock()
	defer st.mu.Unlock()
	return len(st.docs)
}

// An agent is one run of a Follower with a sink that settles late and out of
// order.
type agent struct {
	f      *Follower
	cancel context.CancelFunc
	ended  chan struct{}
	sink   chan struct{}
}

type world struct {
	t       *testing.T
	r       *rand.Rand
	root    string
	state   string
	hold    string
	store   *store
	targets map[string]Target
	raws    map[string]Target // sandboxes, whether they are there or not
	agent   *agent
	seed    uint64
	// cursors: the sink keeps them together with the lines, as the embedded
	// store does, and the next start gets them.
	cursors bool
	// moody: the sink rolls over, gives batches back, and refuses lines.
	moody bool
	// harsh: it also keeps batches for long, so that streams wait for it, lines
	// are cut early, and a container comes and goes or is truncated in place.
	harsh bool
}

// harshLine and harshRing are the limits of a harsh world.
const (
	harshLine = 40_000
	harshRing = 6
)

func testLog(t *testing.T) *slog.Logger {
	if testing.Verbose() {
		return slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	return slog.New(slog.NewTextHandler(io.Discard, nil))
}

func newWorld(t *testing.T, seed uint64) *world {
	root := t.TempDir()
	return &world{
		t: t, r: rand.New(rand.NewPCG(seed, 1)), seed: seed, root: root, state: filepath.Join(root, "state"), hold: filepath.Join(root, "hold"),
		store: newStore(t), targets: map[string]Target{},
	}
}

func streamsOf(id string) (s [2]*record.Stream) {
	for k, name := range []string{"stdout", "stderr"} {
		s[k] = &record.Stream{Name: "docker/" + id + "/" + name, Index: "logs", Dataset: "mesos.container",
			Fields: fmt.Appendf(nil, `"stream":%q,"container":{"id":%q}`, name, id)}
	}
	return s
}

func (w *world) start() { w.startSweeping(100 * time.Millisecond) }

// startSweeping starts an agent that looks at all folders so often.
func (w *world) startSweeping(sweep time.Duration) {
	out := make(chan *record.Batch, 4)
	cfg := Config{StateDir: w.state, HoldDir: w.hold, Out: out, Log: testLog(w.t), Workers: 2, Sweep: sweep}
	if w.moody {
		cfg.Sink = w.store
		cfg.OpenLines = 20 << 10 // less than the long lines of all containers take
	}
	if w.cursors {
		w.store.mu.Lock()
		cfg.Cursors = map[string][]byte{}
		for k, v := range w.store.cursors {
			cfg.Cursors[k] = v
		}
		w.store.mu.Unlock()
	}
	f, err := New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	if w.harsh {
		f.maxLine, f.ring = harshLine, harshRing
	}
	ctx, cancel := context.WithCancel(context.Background())
	a := &agent{f: f, cancel: cancel, ended: make(chan struct{}), sink: make(chan struct{})}
	w.agent = a
	go func() { f.Run(ctx); close(a.ended) }()
	r := rand.New(rand.NewPCG(w.r.Uint64(), 2))
	go func() {
		defer close(a.sink)
		var late, stuck []*record.Batch
		for {
			select {
			case <-a.ended:
				return // killed: what was stored and not settled stays so
			case b := <-out:
				if w.moody && !w.store.mood(r, b.Stream.Index) {
					b.Return()
					continue
				}
				w.store.add(b)
				if w.harsh && r.IntN(10) == 0 {
					stuck = append(stuck, b)
					continue
				}
				late = append(late, b)
			case <-time.After(time.Duration(r.IntN(3)) * time.Millisecond):
			}
			if r.IntN(100) == 0 {
				late, stuck = append(late, stuck...), nil
			}
			for len(late) > 0 && r.IntN(3) == 0 {
				i := 0
				if !w.cursors {
					i = r.IntN(len(late))
				}
				b := late[i]
				late = append(late[:i], late[i+1:]...)
				if w.moody && r.IntN(50) == 0 {
					b.Return() // stored, or a part of it, and given back nevertheless
					continue
				}
				b.Settle()
			}
		}
	}()
	w.set()
}

func (w *world) set() {
	var list []Target
	named := map[string]bool{}
	for id, t := range w.targets {
		list, named[id] = append(list, t), true
	}
	for _, id := range w.agent.f.Held() {
		if !named[id] {
			t := w.target(id)
			t.Gone, t.Running = true, false
			list = append(list, t)
		}
	}
	w.agent.f.Set(list)
}

// target is the container id as discovery knows it while it runs.
func (w *world) target(id string) Target {
	if t, ok := w.raws[id]; ok {
		return t
	}
	t := Target{ID: id, Path: jsonfile.LogPath(w.root, id), Streams: streamsOf(id), Running: true}
	if w.moody {
		t.Notes = testNotes(id)
	}
	return t
}

// kill ends the agent without a last checkpoint.
func (w *world) kill() {
	w.agent.cancel()
	<-w.agent.ended
	<-w.agent.sink
	w.agent.f.checkpoint.close()
}

// idle says that nothing more will come.
func (a *agent) idle() bool { return len(a.f.Sources()) == 0 }

// A container writes lines and remembers them.
type container struct {
	w       *world
	id      string
	writer  *jsonfile.Writer
	opt     jsonfile.Options
	written [2][]string
	now     time.Time
	budget  int // rotations that may happen while no agent runs
}

func (w *world) container(i int, opt jsonfile.Options) *container {
	c := &container{w: w, id: fmt.Sprintf("%064x", i+1), opt: opt, now: time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)}
	if err := os.MkdirAll(jsonfile.Dir(w.root, c.id), 0o700); err != nil {
		w.t.Fatal(err)
	}
	var err error
	if c.writer, err = jsonfile.Open(jsonfile.LogPath(w.root, c.id), opt); err != nil {
		w.t.Fatal(err)
	}
	w.targets[c.id] = w.target(c.id)
	return c
}

var streamNames = [2]string{"stdout", "stderr"}

// write writes n lines. up says that an agent runs: then no file is rotated
// away before the agent has seen it. Otherwise it stops when the budget of
// rotations is used up.
func (c *container) write(n int, up bool) {
	for range n {
		k := c.w.r.IntN(2)
		size := c.w.r.IntN(120)
		if up && c.w.r.IntN(40) == 0 {
			size = []int{16383, 16384, 16385, 2 * 16384, 50000}[c.w.r.IntN(5)]
		}
		line := fmt.Sprintf("%s %d %s", streamNames[k], len(c.written[k]), strings.Repeat("aé\"\\<\x01"[c.w.r.IntN(3):], size/6))
		line = strings.ToValidUTF8(line, "")
		c.now = c.now.Add(time.Duration(1 + c.w.r.IntN(1e6)))
		for rest := line; ; {
			if ino, size := live(c.writer.Path()); size >= c.opt.MaxSize {
				if up {
					c.w.waitHeld(c.id, ino)
				} else if c.budget--; c.budget < 0 {
					return
				}
			}
			chunk := rest[:cutRune(rest, 16384)]
			rest = rest[len(chunk):]
			last := rest == "" && len(chunk) < 16384
			if err := c.writer.WritePartial(streamNames[k], []byte(chunk), c.now, last); err != nil {
				c.w.t.Fatal(err)
			}
			if last {
				break
			}
		}
		c.written[k] = append(c.written[k], line)
	}
}

// cutRune is the largest length of at most n that does not cut a character.
func cutRune(s string, n int) int {
	if len(s) <= n {
		return len(s)
	}
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return n
}

func live(path string) (ino uint64, size int64) {
	fi, err := os.Stat(path)
	if err != nil {
		return 0, 0
	}
	return inode(fi), fi.Size()
}

// waitSeen waits until the live file of c cannot vanish any more.
func (c *container) waitSeen() {
	if ino, size := live(c.writer.Path()); size > 0 {
		c.w.waitHeld(c.id, ino)
	}
}

// waitHeld waits until the generation with this inode cannot vanish any more.
func (w *world) waitHeld(id string, ino uint64) {
	w.until(fmt.Sprintf("%s: inode %d held", id[60:], ino), func() bool {
		w.agent.f.mu.Lock()
		s := w.agent.f.sources[id]
		w.agent.f.mu.Unlock()
		if s == nil {
			return false
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.find(func(g *generation) bool {
			return g.Ino == ino && g.at == s.target.Path && (g.Hold != "" || g.file != nil)
		}) != nil
	})
}

func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			w.t.Fatalf("seed %d: waited in vain: %s\n%+v", w.seed, what, w.agent.f.Sources())
		}
		select {
		case <-w.store.changed:
		case <-time.After(time.Millisecond):
		}
	}
}

// check compares what is stored with what was written.
func (w *world) check(all []*container) {
	w.t.Helper()
	total := 0
	for _, c := range all {
		total += len(c.written[0]) + len(c.written[1])
	}
	w.until(fmt.Sprintf("%d lines stored", total), func() bool { return w.store.len() >= total || w.agent.idle() })
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	if len(w.store.docs) != total {
		w.t.Errorf("seed %d: %d documents for %d lines", w.seed, len(w.store.docs), total)
	}
	sequences := map[string]map[int64]bool{}
	for _, c := range all {
		for k, name := range streamNames {
			ids := w.store.order[c.id+"/"+name]
			if w.moody {
				// What is given back arrives late. Each line of a container has
				// its own time.
				slices.SortFunc(ids, func(a, b string) int { return w.store.docs[a].Time.Compare(w.store.docs[b].Time) })
			}
			if len(ids) != len(c.written[k]) {
				w.t.Errorf("seed %d: container %s %s: %d stored, %d written", w.seed, c.id[60:], name, len(ids), len(c.written[k]))
			}
			for i := range min(len(ids), len(c.written[k])) {
				d := w.store.docs[ids[i]]
				if w.harsh && slices.Contains(d.Log.Flags, "truncated") && len(c.written[k][i]) > harshLine/6 && strings.HasPrefix(c.written[k][i], d.Message) {
					c.written[k][i] = d.Message
				}
				if d.Message != c.written[k][i] {
					w.t.Logf("%s: %d bytes for %d, differ at %d, generation %s, offset %d", name, len(d.Message), len(c.written[k][i]), differ(d.Message, c.written[k][i]), d.Log.File.Generation, d.Log.Offset)
					w.t.Fatalf("seed %d: container %s %s line %d:\n got %.120q\nwant %.120q", w.seed, c.id[60:], name, i, d.Message, c.written[k][i])
				}
				key := c.id + name + d.Log.File.Generation
				if sequences[key] == nil {
					sequences[key] = map[int64]bool{}
				}
				if sequences[key][d.Event.Sequence] {
					w.t.Errorf("seed %d: sequence %d of %s twice", w.seed, d.Event.Sequence, key)
				}
				sequences[key][d.Event.Sequence] = true
			}
		}
	}
	for key, seen := range sequences {
		for n := int64(1); n <= int64(len(seen)); n++ {
			if !seen[n] {
				w.t.Errorf("seed %d: %s has %d lines, but none with number %d", w.seed, key, len(seen), n)
				break
			}
		}
	}
}

// TestModel writes, rotates, kills and restarts at random, and compares what
// the sink has in the end with what was written.
func TestModel(t *testing.T) {
	seeds := 6
	if testing.Short() {
		seeds = 2
	}
	for seed := range seeds {
		for _, kind := range []string{"plain", "cursors", "moody", "harsh"} {
			t.Run(fmt.Sprintf("seed %d %s", seed, kind), func(t *testing.T) {
				t.Parallel()
				runModel(t, uint64(seed), kind)
			})
		}
	}
}

func runModel(t *testing.T, seed uint64, kind string) {
	w := newWorld(t, seed)
	w.cursors, w.harsh = kind == "cursors", kind == "harsh"
	w.moody = kind == "moody" || w.harsh
	var all []*container
	for i := range 4 {
		opt := jsonfile.Options{MaxSize: int64(2000 + w.r.IntN(30000)), MaxFile: 1 + i%3, Compress: i == 2}
		if w.harsh && i == 3 {
			opt = jsonfile.Options{MaxSize: 1 << 40} // the one that comes and goes
		}
		all = append(all, w.container(i, opt))
	}
	// Some files are there before the agent is.
	for _, c := range all {
		c.budget = 1
		if c.opt.MaxFile > 1 {
			c.write(20, false)
		}
	}
	w.start()
	for round := range 12 {
		for range 5 {
			all[w.r.IntN(len(all))].write(1+w.r.IntN(60), true)
		}
		if w.harsh {
			all[3].annoy(all[:3])
		}
		if round%2 == 0 {
			w.kill()
			for _, c := range all {
				// Only as many rotations as leave the last known file a name.
				if c.budget = c.opt.MaxFile - 1; c.budget > 0 {
					c.write(30, false)
				}
			}
			w.start()
			for _, c := range all {
				c.waitSeen()
			}
		}
	}
	// The containers are removed while their lines are still on their way.
	for _, c := range all {
		c.write(5, true)
		c.waitSeen()
		c.writer.Close()
		os.RemoveAll(jsonfile.Dir(w.root, c.id))
		delete(w.targets, c.id)
	}
	w.set()
	w.check(all)
	w.until("everything forgotten", func() bool { return len(w.agent.f.Sources()) == 0 })
	if left, _ := os.ReadDir(w.hold); len(left) > 0 {
		t.Errorf("seed %d: the hold folder still has %v", seed, left)
	}
	w.kill()
	if w.moody {
		w.checkReceipts()
	}
}

func differ(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

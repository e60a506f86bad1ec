package tail

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"mesoscope/internal/jsonfile"
	"mesoscope/record"
)

// TestSetBesideCheckpoints: discovery may ask for what is held and set new
// targets at any time, from several goroutines, while checkpoints are written.
func TestSetBesideCheckpoints(t *testing.T) {
	w := newWorld(t, 3)
	var all []*container
	for i := range 8 {
		all = append(all, w.container(i, jsonfile.Options{MaxSize: 3000, MaxFile: 2}))
	}
	w.start()
	stop := make(chan struct{})
	var group sync.WaitGroup
	for range 2 {
		group.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					w.set()
					w.agent.f.kick()
					w.agent.f.Sources()
				}
			}
		})
	}
	for range 20 {
		for _, c := range all {
			c.write(10, true)
		}
	}
	close(stop)
	group.Wait()
	w.check(all)
	w.kill()
}

// TestGoneAndBack: the set of containers shrinks, the end of one is written
// down, and at that very moment the container is named again.
func TestGoneAndBack(t *testing.T) {
	w, c := one(t, jsonfile.Options{})
	out := make(chan *record.Batch, 16)
	f, err := New(Config{StateDir: w.state, HoldDir: w.hold, Out: out, Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	w.agent = &agent{f: f}
	w.set()
	c.line(0, "one")
	work := &worker{f: f, buf: make([]byte, pieceBytes)}
	turn := func() {
		s := f.sources[c.id]
		s.mu.Lock()
		defer s.mu.Unlock()
		if _, err := f.look(s); err != nil {
			t.Fatal(err)
		}
		for range 5 {
			if _, err := work.step(s); err != nil {
				t.Fatal(err)
			}
		}
		for _, fl := range work.ready {
			w.store.add(&fl.Batch)
			go fl.Settle()
		}
		work.ready = nil
	}
	save := func() {
		if err := f.writeCheckpoint(); err != nil {
			t.Fatal(err)
		}
	}
	turn()
	save()
	turn()
	w.until("settled", func() bool { return w.source(c).LagBytes == 0 })
	target := w.targets[c.id]
	aside := filepath.Dir(target.Path) + ".aside"
	if err := os.Rename(filepath.Dir(target.Path), aside); err != nil {
		t.Fatal(err)
	}
	f.Set(nil)
	turn()
	s := f.sources[c.id]
	st := s.snapshot()
	if !st.Gone {
		t.Fatalf("not finished: %+v", st)
	}
	if err := f.checkpoint.save([]state{st}); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(aside, filepath.Dir(target.Path)); err != nil {
		t.Fatal(err)
	}
	w.set()
	f.afterCheckpoint(s, st)
	if f.sources[c.id] == nil {
		t.Fatal("a container that is named is not followed")
	}
	c.line(0, "two")
	turn()
	save()
	turn()
	w.expect(c, 0, "one", "two")
	if _, known := f.checkpoint.last[c.id]; !known {
		t.Error("the checkpoint does not know it")
	}
}

// TestLostWithOpenLine: the beginning of a line is all that there is when its
// file is truncated in place. It goes to its own container.
func TestLostWithOpenLine(t *testing.T) {
	w := newWorld(t, 1)
	c, other := w.container(0, jsonfile.Options{}), w.container(1, jsonfile.Options{})
	w.start()
	c.line(0, "one")
	w.expect(c, 0, "one")
	if err := c.writer.WritePartial("stdout", []byte("begun"), c.now.Add(1), false); err != nil {
		t.Fatal(err)
	}
	_, size := live(c.writer.Path())
	w.until("read", func() bool { return w.source(c).Offset == size })
	if err := os.Truncate(c.writer.Path(), 0); err != nil {
		t.Fatal(err)
	}
	w.until("noticed", func() bool { return w.source(c).Gaps == 1 })
	old := time.Now().Add(-time.Minute)
	if err := os.Chtimes(c.writer.Path(), old, old); err != nil {
		t.Fatal(err)
	}
	target := w.targets[c.id]
	target.Running = false
	w.targets[c.id] = target
	w.set()
	w.until("the source was worked on", func() bool { w.set(); return len(w.messages(c, 0)) == 2 || w.source(c).Offset == size })
	for i := range 10 {
		other.line(0, fmt.Sprint("other ", i))
		w.until("settled", func() bool { return len(w.messages(other, 0)) == i+1 && w.source(other).LagBytes == 0 })
	}
	w.expect(other, 0, other.written[0]...)
	w.expect(c, 0, "one", "begun")
	w.kill()
}

// TestRoomForAll: several workers wait for the sink. When it settles much at
// once, all of them go on.
func TestRoomForAll(t *testing.T) {
	f, err := New(Config{StateDir: t.TempDir(), Log: testLog(t), InFlight: 10})
	if err != nil {
		t.Fatal(err)
	}
	f.inflight.Store(100)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	const workers = 4
	through := make(chan bool, workers)
	for range workers {
		go func() { through <- f.waitForRoom(ctx) }()
	}
	time.Sleep(20 * time.Millisecond) // lets them wait; without it the test would only prove less
	s := newSource(Target{ID: "x", Streams: streamsOf("x")}, state{}, false)
	s.gen = &generation{N: 1}
	fl := f.flight(s, 0)
	fl.bytes = 100
	fl.slot = fl.source.ledgers[0].begin(Position{}, time.Now())
	f.inflight.Add(0)
	fl.Settle()
	for range workers {
		if !<-through {
			t.Fatal("a worker waits although there is room")
		}
	}
}

// TestForeignFolderInHold: whatever else lies in the hold folder is not ours.
func TestForeignFolderInHold(t *testing.T) {
	w, c := one(t, jsonfile.Options{})
	foreign := filepath.Join(w.hold, "lost+found", "precious")
	if err := os.MkdirAll(filepath.Dir(foreign), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(foreign, []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.start()
	c.line(0, "one")
	w.expect(c, 0, "one")
	w.until("held", func() bool { return w.source(c).Held })
	beside := filepath.Join(w.hold, c.id, "notes.txt")
	if err := os.WriteFile(beside, []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	if n := w.agent.f.HeldBytes(); n != 0 {
		t.Errorf("%d bytes of others are counted", n)
	}
	c.writer.Close()
	os.RemoveAll(jsonfile.Dir(w.root, c.id))
	delete(w.targets, c.id)
	w.set()
	w.until("everything forgotten", func() bool { w.set(); return len(w.agent.f.Sources()) == 0 })
	for _, path := range []string{foreign, beside} {
		if _, err := os.Stat(path); err != nil {
			t.Errorf("a file of somebody else was removed: %v", err)
		}
	}
	if names, _ := os.ReadDir(filepath.Join(w.hold, c.id)); len(names) != 1 {
		t.Errorf("links are left: %v", names)
	}
	w.kill()
}

// TestTornGzip: what a compressed file lacks at its end is a gap that is said.
func TestTornGzip(t *testing.T) {
	w, c := one(t, jsonfile.Options{MaxSize: 20_000, MaxFile: 3, Compress: true})
	for len(glob(c.writer.Path()+".1.gz")) == 0 {
		c.line(0, fmt.Sprintf("%d %x", len(c.written[0]), w.r.Uint64()))
	}
	w.until("compressed", func() bool { return len(glob(c.writer.Path()+".1")) == 0 })
	fi, err := os.Stat(c.writer.Path() + ".1.gz")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(c.writer.Path()+".1.gz", fi.Size()/2); err != nil {
		t.Fatal(err)
	}
	w.start()
	w.until("the last line", func() bool {
		m := w.messages(c, 0)
		return len(m) > 0 && m[len(m)-1] == c.written[0][len(c.written[0])-1]
	})
	if s := w.source(c); s.Gaps == 0 {
		t.Errorf("%d of %d lines are stored, and nothing says so: %+v", len(w.messages(c, 0)), len(c.written[0]), s)
	}
	w.kill()
}

func glob(pattern string) []string {
	names, _ := filepath.Glob(pattern)
	return names
}

// TestHoldRemoved: somebody empties the hold folder while the agent runs.
func TestHoldRemoved(t *testing.T) {
	w, c := one(t, jsonfile.Options{MaxSize: 3000, MaxFile: 1})
	w.start()
	for range 5 {
		c.write(20, true)
		c.waitSeen()
		w.until("settled", func() bool { return w.source(c).LagBytes == 0 })
		if err := os.RemoveAll(filepath.Join(w.hold, c.id)); err != nil {
			t.Fatal(err)
		}
		w.until("held again", func() bool { return len(glob(filepath.Join(w.hold, c.id, "*"))) > 0 })
	}
	c.write(20, true)
	c.waitSeen()
	w.check([]*container{c})
	w.kill()
}

// TestPathChanges: a log goes on at another place, as that of a container whose
// driver is known late. It is watched there.
func TestPathChanges(t *testing.T) {
	w, c := one(t, jsonfile.Options{})
	other := w.container(1, jsonfile.Options{})
	delete(w.targets, other.id)
	w.startSweeping(time.Hour)
	target := w.targets[c.id]
	target.Path = other.writer.Path()
	w.targets[c.id] = target
	w.set()
	for i := range 3 {
		other.line(0, fmt.Sprint(i))
		w.until("line", func() bool { return len(w.messages(c, 0)) == i+1 })
	}
	w.kill()
}

// TestFolderMadeAgain: the folder of a log is removed and made again; the new
// one is watched as the old one was.
func TestFolderMadeAgain(t *testing.T) {
	w, c := one(t, jsonfile.Options{})
	w.startSweeping(time.Hour)
	c.line(0, "one")
	w.expect(c, 0, "one")
	c.writer.Close()
	if err := os.RemoveAll(jsonfile.Dir(w.root, c.id)); err != nil {
		t.Fatal(err)
	}
	again := w.container(0, jsonfile.Options{})
	again.now = c.now
	again.line(0, "two")
	w.expect(c, 0, "one", "two")
	again.line(0, "three")
	w.expect(c, 0, "one", "two", "three")
	w.until("watched", func() bool { return w.source(c).Watched })
	w.kill()
}

// TestExcludedIsRead: a container that is not named any more, but whose files
// are still there, is read to its end and then left alone.
func TestExcludedIsRead(t *testing.T) {
	w, c := one(t, jsonfile.Options{})
	w.start()
	c.line(0, "one")
	w.expect(c, 0, "one")
	delete(w.targets, c.id)
	w.agent.f.Set(nil)
	w.until("forgotten", func() bool { return len(w.agent.f.Sources()) == 0 })
	c.line(0, "two")
	w.kill()
	w.start()
	time.Sleep(50 * time.Millisecond)
	if m := w.messages(c, 0); strings.Join(m, "|") != "one" {
		t.Errorf("%q", m)
	}
	w.kill()
}

// TestStuckBatch: one batch of one container is never settled. Others go on,
// and what is kept in memory for its container is bounded.
func TestStuckBatch(t *testing.T) {
	w := newWorld(t, 1)
	c, other := w.container(0, jsonfile.Options{}), w.container(1, jsonfile.Options{})
	out := make(chan *record.Batch)
	f, err := New(Config{StateDir: w.state, HoldDir: w.hold, Out: out, Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	w.agent = &agent{f: f}
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() { f.Run(ctx) })
	var stuck *record.Batch
	settleAll := make(chan struct{})
	group.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-settleAll:
				stuck.Settle()
				settleAll = nil
			case b := <-out:
				w.store.add(b)
				if stuck == nil && strings.Contains(b.Stream.Name, c.id) {
					stuck = b
					continue
				}
				b.Settle()
			}
		}
	})
	w.set()
	f.mu.Lock()
	s := f.sources[c.id]
	f.mu.Unlock()
	flying := func() int {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.ledgers[0].flights)
	}
	for i := range maxFlights { // one batch for each line
		c.line(0, fmt.Sprint(i))
		w.until("line", func() bool { return flying() == i+1 })
	}
	for i := range 100 {
		c.line(0, fmt.Sprint(maxFlights+i))
		other.line(0, fmt.Sprint(i))
		w.until("line", func() bool { return len(w.messages(other, 0)) == i+1 })
	}
	if n := flying(); n > maxFlights {
		t.Fatalf("%d batches wait for the one that is stuck", n)
	}
	close(settleAll)
	w.expect(c, 0, c.written[0]...)
	w.until("settled", func() bool { return w.source(c).LagBytes == 0 })
	cancel()
	group.Wait()
}

// TestLongLinesLeaveNoMemory: what a line needed is given back when it ends,
// also when nothing follows it.
func TestLongLinesLeaveNoMemory(t *testing.T) {
	w, c := one(t, jsonfile.Options{})
	w.start()
	c.now = c.now.Add(1)
	long := strings.Repeat("z", 40*jsonfile.ChunkSize)
	c.line(0, long+"end")
	w.expect(c, 0, long+"end")
	w.until("given back", func() bool {
		s := w.agent.f.sources[c.id]
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.joiners[0].Bytes() == 0
	})
	w.kill()
}

// TestBudgetWithoutHold: files that are kept by a descriptor alone fill the
// disk just as held ones do.
func TestBudgetWithoutHold(t *testing.T) {
	w, c := one(t, jsonfile.Options{MaxSize: 20_000, MaxFile: 1})
	out := make(chan *record.Batch) // nobody reads
	f, err := New(Config{StateDir: w.state, Out: out, Log: testLog(t), HoldBudget: 100_000, InFlight: 1})
	if err != nil {
		t.Fatal(err)
	}
	w.agent = &agent{f: f}
	go f.Run(t.Context())
	w.set()
	c.write(2000, true)
	before := descriptorBytes(f)
	f.keepBudget()
	if n := descriptorBytes(f); before < 150_000 || n > 100_000 || n < 50_000 {
		t.Errorf("%d bytes are kept with a budget of 100,000, %d before", n, before)
	}
	if s := w.source(c); s.Gaps == 0 {
		t.Error("nothing says that lines are lost")
	}
}

// descriptorBytes is what the files take that have no name any more.
func descriptorBytes(f *Follower) (n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.sources {
		s.mu.Lock()
		for _, g := range s.gens {
			if g.file != nil {
				if fi, err := g.file.Stat(); err == nil {
					if bytes, names := diskBytes(fi); names == 0 {
						n += bytes
					}
				}
			}
		}
		s.mu.Unlock()
	}
	return n
}

// TestUnlinkedLate: the agent was killed after the checkpoint knew that a file
// is done, and before it was unlinked.
func TestUnlinkedLate(t *testing.T) {
	w, c := one(t, jsonfile.Options{})
	w.start()
	c.line(0, "one")
	w.expect(c, 0, "one")
	w.until("settled", func() bool { return w.source(c).LagBytes == 0 })
	if err := w.agent.f.writeCheckpointNow(); err != nil {
		t.Fatal(err)
	}
	w.kill()
	left := filepath.Join(w.hold, c.id, "left")
	if err := os.WriteFile(left, []byte("done"), 0o600); err != nil {
		t.Fatal(err)
	}
	ino, _ := live(left)
	done := generation{Ino: ino, Head: 1, Done: true}
	done.Hold = done.holdName()
	if err := os.Rename(left, filepath.Join(w.hold, c.id, done.Hold)); err != nil {
		t.Fatal(err)
	}
	ck, _, err := openCheckpoint(w.state, false)
	if err != nil {
		t.Fatal(err)
	}
	st := ck.last[c.id]
	st.Generations = append([]generation{done}, st.Generations...)
	if err := ck.save([]state{st}); err != nil {
		t.Fatal(err)
	}
	if err := ck.close(); err != nil {
		t.Fatal(err)
	}
	w.start()
	w.until("unlinked", func() bool { return len(glob(filepath.Join(w.hold, c.id, done.Hold))) == 0 })
	w.kill()
}

// TestHoldOnOtherMount: no link can be made. That is said, and files are kept
// open instead.
func TestHoldOnOtherMount(t *testing.T) {
	w, c := one(t, jsonfile.Options{MaxSize: 3000, MaxFile: 1})
	dir, err := os.MkdirTemp("/dev/shm", "mesoscope-")
	if err != nil {
		t.Skip("no second file system at hand: ", err)
	}
	defer os.RemoveAll(dir)
	if os.Link(c.writer.Path(), filepath.Join(dir, "x")) == nil {
		t.Skip("the temporary folder lies on /dev/shm too")
	}
	w.hold = dir
	w.start()
	c.write(200, true)
	w.check([]*container{c})
	if p := w.agent.f.HoldProblem(); !strings.Contains(p, "the log files lie on another mount") {
		t.Errorf("problem %q", p)
	}
	w.kill()
}

// TestNotRegular: a symbolic link in the place of a log is not followed, and
// not passed over in silence.
func TestNotRegular(t *testing.T) {
	w, c := one(t, jsonfile.Options{})
	c.writer.Close()
	if err := os.Remove(c.writer.Path()); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", c.writer.Path()); err != nil {
		t.Fatal(err)
	}
	w.start()
	w.until("said", func() bool {
		s := w.source(c)
		return s.State == StateFailing && strings.HasSuffix(s.Problem, "is not a regular file, and is not followed")
	})
	w.kill()
}

// TestFutureClock: the clock was put back while a container wrote a line that
// it never ended. Its last words do not wait for that time to come again.
func TestFutureClock(t *testing.T) {
	w, c := one(t, jsonfile.Options{})
	if err := c.writer.WritePartial("stdout", []byte("last words"), c.now, false); err != nil {
		t.Fatal(err)
	}
	ahead := time.Now().Add(time.Hour)
	if err := os.Chtimes(c.writer.Path(), ahead, ahead); err != nil {
		t.Fatal(err)
	}
	target := w.targets[c.id]
	target.Running = false
	w.targets[c.id] = target
	w.start()
	w.expect(c, 0, "last words")
	w.kill()
}

// TestCheckpointOnFullDisk: what could not be written is not taken for durable,
// and once there is room again the file says all of it.
func TestCheckpointOnFullDisk(t *testing.T) {
	dir := t.TempDir()
	c, _, err := openCheckpoint(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	at := func(id string, off int64) state {
		return state{ID: id, Settled: [2]Position{{Generation: 1, Offset: off}, {Generation: 1, Offset: off}}}
	}
	if err := c.save([]state{at("a", 1), at("b", 1)}); err != nil {
		t.Fatal(err)
	}
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Skip(err)
	}
	good, path := c.file, c.path
	c.file, c.path = full, filepath.Join(dir, "no such folder", "checkpoint")
	for off := range int64(3) {
		if err := c.save([]state{at("a", 2+off)}); err == nil {
			t.Fatal("no error on a full disk")
		}
	}
	c.path = path
	if err := c.save([]state{at("b", 9)}); err != nil {
		t.Fatal(err)
	}
	good.Close()
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
	c, damaged, err := openCheckpoint(dir, false)
	if err != nil || damaged != 0 {
		t.Fatal(damaged, err)
	}
	defer c.close()
	if b := c.last["b"].Settled[0].Offset; b != 9 {
		t.Errorf("b at %d", b)
	}
	if a := c.last["a"].Settled[0].Offset; a != 1 && a != 4 {
		t.Errorf("a at %d", a)
	}
}

package tail

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mesoscope/internal/jsonfile"
	"mesoscope/record"
)

// one makes a world with one container whose log has no rotation.
func one(t *testing.T, opt jsonfile.Options) (*world, *container) {
	w := newWorld(t, 1)
	return w, w.container(0, opt)
}

func (c *container) line(stream int, text string) {
	c.now = c.now.Add(time.Millisecond)
	if err := c.writer.WriteLine(streamNames[stream], []byte(text), c.now); err != nil {
		c.w.t.Fatal(err)
	}
	c.written[stream] = append(c.written[stream], text)
}

func (w *world) messages(c *container, stream int) (m []string) {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	for _, id := range w.store.order[c.id+"/"+streamNames[stream]] {
		m = append(m, w.store.docs[id].Message)
	}
	return m
}

// small writes n lines that are whole in one entry each: a piece at the head of
// a file cannot be told from a line when the checkpoint and the file with the
// line's beginning are gone.
func (c *container) small(n int) {
	for range n {
		if ino, size := live(c.writer.Path()); size >= c.opt.MaxSize {
			c.w.waitHeld(c.id, ino)
		}
		c.line(c.w.r.IntN(2), fmt.Sprintf("line %d", len(c.written[0])+len(c.written[1])))
	}
}

// expect waits until exactly these lines are stored.
func (w *world) expect(c *container, stream int, want ...string) {
	w.t.Helper()
	w.until(fmt.Sprintf("%d lines", len(want)), func() bool { return len(w.messages(c, stream)) >= len(want) })
	if got := w.messages(c, stream); strings.Join(got, "|") != strings.Join(want, "|") {
		w.t.Errorf("got  %.300q\nwant %.300q", got, want)
	}
}

func (w *world) source(c *container) Source {
	for _, s := range w.agent.f.Sources() {
		if s.ID == c.id {
			return s
		}
	}
	return Source{}
}

func TestTruncatedInPlace(t *testing.T) {
	w, c := one(t, jsonfile.Options{})
	w.start()
	c.line(0, "one")
	c.line(1, "two")
	w.expect(c, 0, "one")
	w.expect(c, 1, "two")
	// As `truncate -s0` does it: dockerd goes on at its old offset.
	if err := os.Truncate(c.writer.Path(), 0); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(c.writer.Path(), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	entry := jsonfile.AppendEntry(nil, []byte("three\n"), "stdout", nil, c.now.Add(time.Hour))
	if _, err := f.WriteAt(entry, 300_000); err != nil {
		t.Fatal(err)
	}
	w.expect(c, 0, "one", "three")
	if s := w.source(c); s.Gaps != 1 {
		t.Errorf("%d gaps, want 1: %+v", s.Gaps, s)
	}
	w.kill()
	w.start()
	entry = jsonfile.AppendEntry(nil, []byte("four\n"), "stdout", nil, c.now.Add(2*time.Hour))
	if _, err := f.WriteAt(entry, 300_000+int64(len(entry))+1); err != nil {
		t.Fatal(err)
	}
	w.expect(c, 0, "one", "three", "four")
	w.kill()
}

// TestTruncatedInPlaceMeanwhile: the link still leads to the file, which holds
// something else by now. Docker up to 19.03 with max-file=1 makes that of each
// rotation.
func TestTruncatedInPlaceMeanwhile(t *testing.T) {
	w, c := one(t, jsonfile.Options{MaxSize: 10, MaxFile: 1, InPlace: true})
	w.start()
	c.line(0, "one")
	w.expect(c, 0, "one")
	w.kill()
	c.line(0, "two") // the file of "one" is gone
	w.start()
	w.expect(c, 0, "one", "two")
	if s := w.source(c); s.Gaps != 1 {
		t.Errorf("%d gaps, want 1: %+v", s.Gaps, s)
	}
	w.kill()
}

// A copy of a log is removed when all of it is settled. If the reader comes to
// it once more, nothing is lost.
func TestSteadyRemoved(t *testing.T) {
	w, c := one(t, jsonfile.Options{})
	target := w.targets[c.id]
	target.Steady = true
	w.targets[c.id] = target
	w.start()
	c.line(0, "one")
	w.expect(c, 0, "one")
	fi, err := os.Stat(c.writer.Path())
	if err != nil {
		t.Fatal(err)
	}
	w.until("settled", func() bool { return w.agent.f.Settled(c.id, fi) })
	w.kill()
	if err := os.Rename(jsonfile.Dir(w.root, c.id), jsonfile.Dir(w.root, c.id)+".aside"); err != nil {
		t.Fatal(err)
	}
	w.start()
	target.Gone, target.Running = true, false
	w.targets[c.id] = target
	w.set()
	w.until("its end", func() bool { return len(w.agent.f.Sources()) == 0 || w.source(c).Gaps > 0 })
	if n := w.source(c).Gaps; n > 0 {
		t.Errorf("%d gaps", n)
	}
	w.kill()
}

func TestGarbage(t *testing.T) {
	w, c := one(t, jsonfile.Options{})
	w.start()
	c.line(0, "one")
	w.expect(c, 0, "one")
	appendRaw(t, c, "\x00\x00\x00not json\n{\"log\":\"torn")
	c.line(0, "two") // in the same physical line as the torn one
	appendRaw(t, c, strings.Repeat("x", 700_000)+"\n")
	c.line(0, "three")
	w.expect(c, 0, "one", "two", "three")
	w.until("garbage counted", func() bool {
		return w.source(c).Garbage == int64(len("\x00\x00\x00not json\n{\"log\":\"torn")+700_001)
	})
	w.kill()
}

func appendRaw(t *testing.T, c *container, text string) {
	t.Helper()
	f, err := os.OpenFile(c.writer.Path(), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

func TestDanglingLine(t *testing.T) {
	w, c := one(t, jsonfile.Options{})
	w.start()
	c.line(0, "one")
	if err := c.writer.WritePartial("stdout", []byte(strings.Repeat("y", 16384)), c.now.Add(1), false); err != nil {
		t.Fatal(err)
	}
	c.line(1, "beside") // goes on meanwhile
	w.expect(c, 1, "beside")
	w.expect(c, 0, "one")
	// The container ends: what is there is the line.
	old := time.Now().Add(-time.Minute)
	if err := os.Chtimes(c.writer.Path(), old, old); err != nil {
		t.Fatal(err)
	}
	target := w.targets[c.id]
	target.Running = false
	w.targets[c.id] = target
	w.set()
	w.expect(c, 0, "one", strings.Repeat("y", 16384))
	// It is started again; the file goes on.
	c.line(0, "two")
	w.expect(c, 0, "one", strings.Repeat("y", 16384), "two")
	w.kill()
	w.start()
	c.line(0, "three")
	w.expect(c, 0, "one", strings.Repeat("y", 16384), "two", "three")
	w.kill()
}

func TestHugeLineIsCutOnce(t *testing.T) {
	w, c := one(t, jsonfile.Options{MaxSize: 200_000, MaxFile: 2})
	w.start()
	c.line(0, "one")
	at := c.now.Add(1)
	piece := []byte(strings.Repeat("z", 16384))
	for i := range 150 { // 2.4 MiB
		if ino, size := live(c.writer.Path()); size >= c.opt.MaxSize {
			w.waitHeld(c.id, ino)
		}
		if err := c.writer.WritePartial("stdout", piece, at, false); err != nil {
			t.Fatal(err)
		}
		if i == 100 { // behind the cap: what was sent must not be sent again
			w.until("the beginning is stored", func() bool { return len(w.messages(c, 0)) == 2 })
			w.until("settled", func() bool { s := w.source(c); return s.LagBytes == 0 })
			if err := w.agent.f.writeCheckpointNow(); err != nil {
				t.Fatal(err)
			}
			w.kill()
			w.start()
		}
	}
	if err := c.writer.WritePartial("stdout", []byte("end"), at, true); err != nil {
		t.Fatal(err)
	}
	c.now = at
	c.line(0, "two")
	w.expect(c, 0, "one", strings.Repeat("z", 1<<20), "two")
	w.kill()
}

// writeCheckpointNow waits for one that is written in the ordinary way.
func (f *Follower) writeCheckpointNow() error {
	f.kick()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		dirty := false
		f.mu.Lock()
		for _, s := range f.sources {
			s.mu.Lock()
			dirty = dirty || s.dirty
			s.mu.Unlock()
		}
		f.mu.Unlock()
		if !dirty {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("no checkpoint within 5 s")
		}
		f.kick()
	}
}

func TestCheckpointLost(t *testing.T) {
	for _, how := range []string{"removed", "garbled", "torn"} {
		t.Run(how, func(t *testing.T) {
			w, c := one(t, jsonfile.Options{MaxSize: 3000, MaxFile: 2})
			w.start()
			c.small(100)
			w.until("all", func() bool { return w.store.len() == 100 })
			w.kill()
			path := filepath.Join(w.state, "checkpoint")
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			switch how {
			case "removed":
				err = os.Remove(path)
			case "garbled":
				text[len(text)/2] ^= 0xff
				err = os.WriteFile(path, text, 0o600)
			case "torn":
				err = os.WriteFile(path, text[:len(text)-5], 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			w.start()
			c.waitSeen()
			c.small(20)
			w.check([]*container{c})
			w.kill()
		})
	}
}

func TestCheckpointFromTheFuture(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "checkpoint")
	if err := os.WriteFile(path, []byte("mesoscope-checkpoint 99\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := New(Config{StateDir: dir, Log: testLog(t)})
	want := "checkpoint " + path + " has version 99, this mesoscope knows up to 2: run the newer one again, or move the file away to read everything at hand again"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if text, _ := os.ReadFile(path); string(text) != "mesoscope-checkpoint 99\n" {
		t.Errorf("the file was changed: %q", text)
	}
}

func TestPowerCut(t *testing.T) {
	w, c := one(t, jsonfile.Options{})
	w.start()
	c.line(0, "one")
	c.line(0, "two")
	w.expect(c, 0, "one", "two")
	w.until("settled", func() bool { return w.source(c).LagBytes == 0 })
	if err := w.agent.f.writeCheckpointNow(); err != nil {
		t.Fatal(err)
	}
	w.kill()
	// The file loses its unsynced end, in the middle of an entry.
	fi, err := os.Stat(c.writer.Path())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(c.writer.Path(), fi.Size()-20); err != nil {
		t.Fatal(err)
	}
	w.start()
	w.until("noticed", func() bool { return w.source(c).Gaps == 1 })
	c.line(0, "three") // dockerd appends to the torn entry
	w.expect(c, 0, "one", "two", "three")
	w.kill()
}

func TestWithoutHold(t *testing.T) {
	w, c := one(t, jsonfile.Options{MaxSize: 3000, MaxFile: 1})
	w.hold = ""
	w.start()
	c.write(200, true)
	w.check([]*container{c})
	w.kill()
}

func TestHoldBudget(t *testing.T) {
	w, c := one(t, jsonfile.Options{MaxSize: 20_000, MaxFile: 1})
	out := make(chan *record.Batch) // nobody reads: Elasticsearch is away
	f, err := New(Config{StateDir: w.state, HoldDir: w.hold, Out: out, Log: testLog(t), HoldBudget: 100_000, InFlight: 1})
	if err != nil {
		t.Fatal(err)
	}
	w.agent = &agent{f: f}
	ended := make(chan struct{})
	ctx := t.Context()
	go func() { f.Run(ctx); close(ended) }()
	w.set()
	c.write(2000, true)
	if f.hold.Bytes() < 150_000 {
		t.Fatalf("only %d bytes are held: nothing to give up", f.hold.Bytes())
	}
	before := f.hold.Bytes()
	if err := os.WriteFile(filepath.Join(f.HoldFolder(c.id), "container.json"), make([]byte, 9000), 0o600); err != nil {
		t.Fatal(err)
	}
	if n := f.hold.Bytes(); n != before {
		t.Errorf("what is known of the container counts as %d held bytes", n-before)
	}
	f.keepBudget()
	if n := f.hold.Bytes(); n > 100_000 || n < 50_000 {
		t.Errorf("%d bytes are held with a budget of 100,000", n)
	}
	if s := w.source(c); s.Gaps == 0 {
		t.Error("nothing says that lines are lost")
	}
	// A file that has its name still costs nothing, and is never given up.
	c.waitSeen() // the youngest file that is known
	f.budget = 1
	f.keepBudget()
	if s := f.sources[c.id]; s.gens[len(s.gens)-1].Lost {
		t.Error("the live file was given up")
	}
}

func TestAttrsReplaceStreams(t *testing.T) {
	w := newWorld(t, 1)
	c := w.container(0, jsonfile.Options{Attrs: map[string]string{"MARATHON_APP_ID": "/web"}})
	out := make(chan *record.Batch, 16)
	seen := make(chan string, 4)
	f, err := New(Config{StateDir: w.state, HoldDir: w.hold, Out: out, Log: testLog(t), Attrs: func(id string, attrs []byte) [2]*record.Stream {
		seen <- string(attrs)
		s := streamsOf(id)
		for k := range s {
			s[k].Fields = append(s[k].Fields, `,"service":{"name":"/web"}`...)
		}
		return s
	}})
	if err != nil {
		t.Fatal(err)
	}
	w.agent = &agent{f: f}
	go f.Run(t.Context())
	w.set()
	c.line(0, "one")
	b := <-out
	if got := <-seen; got != `{"MARATHON_APP_ID":"/web"}` {
		t.Errorf("attrs %s", got)
	}
	if !strings.Contains(string(b.Doc(0)), `"service":{"name":"/web"}`) {
		t.Errorf("the first line lacks what the attrs say: %s", b.Doc(0))
	}
}

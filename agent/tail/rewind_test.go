package tail

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"mesoscope/internal/jsonfile"
)

// A stepper drives a Follower by hand, so that a test decides what lands when.
type stepper struct {
	t    *testing.T
	w    *world
	f    *Follower
	work *worker
}

func (w *world) stepper(cfg Config) *stepper {
	w.t.Helper()
	cfg.StateDir, cfg.HoldDir, cfg.Log = w.state, w.hold, testLog(w.t)
	f, err := New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.agent = &agent{f: f}
	w.set()
	return &stepper{t: w.t, w: w, f: f, work: &worker{f: f, buf: make([]byte, pieceBytes)}}
}

// turn looks at the folder of id, reads until nothing more is to be done, and
// gives the batches that come of it.
func (s *stepper) turn(id string) (out []*flight) {
	s.t.Helper()
	src := s.f.sources[id]
	src.mu.Lock()
	defer src.mu.Unlock()
	if _, err := s.f.look(src); err != nil {
		s.t.Fatal(err)
	}
	for n := 0; ; n++ {
		v, err := s.work.step(src)
		if err != nil {
			s.t.Fatal(err)
		}
		out = append(out, s.work.ready...)
		s.work.ready = nil
		if v != again {
			return out
		}
		if n > 10_000 {
			s.t.Fatal("it never comes to an end")
		}
	}
}

func (s *stepper) save() {
	s.t.Helper()
	if err := s.f.writeCheckpoint(); err != nil {
		s.t.Fatal(err)
	}
}

// store stores and settles.
func (s *stepper) store(flights []*flight) {
	for _, fl := range flights {
		s.w.store.add(&fl.Batch)
		fl.Settle()
	}
}

// rounds looks, reads, stores and saves so many times, or until the source is
// forgotten.
func (s *stepper) rounds(id string, n int) {
	s.t.Helper()
	for range n {
		if s.f.sources[id] == nil {
			return
		}
		s.store(s.turn(id))
		s.save()
	}
}

// killed forgets the process, as kill -9 does.
func (s *stepper) killed() { s.f.checkpoint.close() }

// old makes a file look as if nobody had written to it for long.
func old(t *testing.T, path string) {
	t.Helper()
	then := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, then, then); err != nil {
		t.Fatal(err)
	}
}

// TestEndedLineStaysEnded: the container has stopped within a line, which is
// sent as whole. Then the agent dies, and the rest of the line is written after
// all. It must not become part of the line, whose document is there already.
func TestEndedLineStaysEnded(t *testing.T) {
	w, c := one(t, jsonfile.Options{})
	c.line(0, "one")
	if err := c.writer.WritePartial("stdout", []byte("begun, "), c.now.Add(time.Second), false); err != nil {
		t.Fatal(err)
	}
	old(t, c.writer.Path())
	stopped := w.targets[c.id]
	stopped.Running = false
	w.targets[c.id] = stopped
	s := w.stepper(Config{})
	first := s.turn(c.id) // asks for the horizon
	s.save()
	first = append(first, s.turn(c.id)...)
	if n := len(first); n != 1 {
		t.Fatalf("%d batches before the checkpoint knows where the line ends, want that of the first line alone", n)
	}
	s.save()
	ended := s.turn(c.id)
	if len(ended) != 1 || ended[0].Len() != 1 {
		t.Fatalf("%d batches for the line that was ended", len(ended))
	}
	// Both are stored, but the answer does not arrive any more.
	w.store.add(&first[0].Batch)
	w.store.add(&ended[0].Batch)
	s.killed()

	if err := c.writer.WritePartial("stdout", []byte("ended later"), c.now.Add(time.Second), true); err != nil {
		t.Fatal(err)
	}
	stopped.Running = true
	w.targets[c.id] = stopped
	s = w.stepper(Config{})
	s.store(s.turn(c.id))
	s.save()
	s.store(s.turn(c.id))
	w.expect(c, 0, "one", "begun, ", "ended later")
	s.killed()
}

// TestFullRing: a batch of stdout is never answered. stderr goes on, and stdout
// too as soon as it is.
func TestFullRing(t *testing.T) {
	w, c := one(t, jsonfile.Options{})
	s := w.stepper(Config{InFlight: 1 << 40})
	var stuck []*flight
	step := func() {
		for _, fl := range s.turn(c.id) {
			if fl.stream == 0 {
				stuck = append(stuck, fl)
				continue
			}
			s.store([]*flight{fl})
		}
	}
	c.line(0, "first")
	step()
	s.save()
	const lines = maxFlights + 200
	for i := range lines {
		c.line(0, fmt.Sprint("out ", i))
		c.line(1, fmt.Sprint("err ", i))
		step()
	}
	s.save()
	if n := len(w.messages(c, 1)); n != lines {
		t.Errorf("%d lines of stderr are stored, want %d", n, lines)
	}
	if n := len(stuck); n != maxFlights {
		t.Errorf("%d batches of stdout are under way, want %d", n, maxFlights)
	}
	src := s.f.sources[c.id]
	if text := src.blockedBy(time.Now().Add(time.Minute)); !strings.HasPrefix(text, "stdout: lines from offset 0 on") || !strings.HasSuffix(text, "this stream waits for them") {
		t.Errorf("status says %q", text)
	}
	if p := s.f.checkpoint.last[c.id].Settled; p[0].Offset != 0 || p[1].Offset == 0 {
		t.Errorf("settled %+v", p)
	}
	s.store(stuck)
	stuck = nil
	for range 3 {
		step()
		s.store(stuck)
		stuck = nil
	}
	if got := w.messages(c, 0); len(got) != lines+1 || got[lines] != fmt.Sprint("out ", lines-1) {
		t.Errorf("%d lines of stdout are stored, want %d", len(got), lines+1)
	}
	if n := len(w.messages(c, 1)); n != lines {
		t.Errorf("%d lines of stderr are stored, want %d", n, lines)
	}
	s.killed()
}

// TestOpenLines: thousands of lines that do not end take no more memory than
// they may, and come whole when they do.
func TestOpenLines(t *testing.T) {
	const containers, limit = 50, 512 << 10
	w := newWorld(t, 1)
	var all []*container
	for i := range containers {
		all = append(all, w.container(i, jsonfile.Options{MaxSize: 150_000, MaxFile: 3}))
	}
	s := w.stepper(Config{InFlight: 1 << 40, OpenLines: limit})
	text := strings.Repeat("0123456789abcde ", 1024) // 16 KiB
	most := int64(0)
	const pieces = 12
	for n := range pieces {
		for i, c := range all {
			c.now = c.now.Truncate(time.Hour)
			if err := c.writer.WritePartial("stdout", []byte(text), c.now, false); err != nil {
				t.Fatal(err)
			}
			s.store(s.turn(c.id))
			s.save() // grants the horizon in a new file
			s.store(s.turn(c.id))
			most = max(most, s.f.joined.Load())
			if i == 0 && n%3 == 2 {
				if err := c.writer.WriteLine("stderr", []byte(fmt.Sprint("meanwhile ", n)), c.now.Add(time.Duration(n))); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if least := int64(containers) * pieces * 16 << 10; least < 10*limit {
		t.Fatalf("too few lines to prove anything: %d bytes", least)
	}
	if most > limit+limit/2 {
		t.Errorf("open lines take %d bytes, may take %d", most, limit)
	}
	for _, c := range all {
		if err := c.writer.WritePartial("stdout", []byte("end"), c.now, true); err != nil {
			t.Fatal(err)
		}
		s.store(s.turn(c.id))
		s.save()
		s.store(s.turn(c.id))
		w.expect(c, 0, strings.Repeat(text, pieces)+"end")
	}
	w.expect(all[0], 1, "meanwhile 2", "meanwhile 5", "meanwhile 8", "meanwhile 11")
	s.save()
	if n := s.f.joined.Load(); n != 0 {
		t.Errorf("after all lines have ended, they still take %d bytes", n)
	}
	s.killed()
}

// TestGapIsNoted: what is lost stands among the lines, and in the receipt.
func TestGapIsNoted(t *testing.T) {
	w := newWorld(t, 1)
	w.moody = true
	c := w.container(0, jsonfile.Options{})
	s := w.stepper(Config{})
	c.line(0, "one")
	c.line(1, "two")
	s.store(s.turn(c.id))
	s.save()
	s.store(s.turn(c.id))
	c.line(0, "never read")
	_, size := live(c.writer.Path())
	src := s.f.sources[c.id]
	src.gen.sound = size // it has been seen
	first := src.gen.name()
	if err := os.Truncate(c.writer.Path(), 0); err != nil {
		t.Fatal(err)
	}
	c.line(0, "after")
	s.rounds(c.id, 5)
	w.expect(c, 0, "one", "after")
	if len(w.store.sink.gaps) != 1 {
		t.Fatalf("%d gap documents, want 1: %+v", len(w.store.sink.gaps), w.store.sink.gaps)
	}
	for _, g := range w.store.sink.gaps {
		if g.Reason != "the file was truncated in place" || g.From == 0 || g.From+g.Bytes != size {
			t.Errorf("the gap document says %+v, the file had %d bytes", g, size)
		}
	}
	for _, stream := range streamNames {
		r := w.store.sink.receipts[fmt.Sprintf("%s %s %s", c.id, first, stream)]
		if !r.Final || r.Lines.Total != 1 || len(r.Gaps) != 1 || r.Bytes.Gap != r.Gaps[0].Bytes || r.Bytes.Size != size {
			t.Errorf("receipt of %s: %+v", stream, r)
		}
	}
	s.killed()
}

// TestPowerCutBooks: a file loses its end, with a line that is stored and one
// that had begun. Both stay accounted for.
func TestPowerCutBooks(t *testing.T) {
	w := newWorld(t, 1)
	w.moody = true
	c := w.container(0, jsonfile.Options{})
	s := w.stepper(Config{})
	c.line(0, "one")
	_, keep := live(c.writer.Path())
	c.line(0, "stored, then lost")
	if err := c.writer.WritePartial("stdout", []byte("begun"), c.now.Add(time.Second), false); err != nil {
		t.Fatal(err)
	}
	s.rounds(c.id, 2)
	if err := os.Truncate(c.writer.Path(), keep); err != nil {
		t.Fatal(err)
	}
	if err := c.writer.Close(); err != nil {
		t.Fatal(err)
	}
	var err error
	if c.writer, err = jsonfile.Open(c.writer.Path(), c.opt); err != nil {
		t.Fatal(err)
	}
	c.now = c.now.Add(time.Minute)
	c.line(0, "three")
	_, end := live(c.writer.Path())
	s.rounds(c.id, 2)
	if err := os.RemoveAll(jsonfile.Dir(w.root, c.id)); err != nil {
		t.Fatal(err)
	}
	delete(w.targets, c.id)
	w.set()
	s.rounds(c.id, 4)
	w.expect(c, 0, "one", "stored, then lost", "three")
	r := w.store.sink.receipts[fmt.Sprintf("%s %s stdout", c.id, w.generationOf(c))]
	if !r.Final || r.Lines.Total != 2 || r.Lines.Duplicate != 1 || len(r.Gaps) != 1 || r.Bytes.Size != end {
		t.Errorf("receipt %+v", r)
	}
	s.killed()
}

func (w *world) generationOf(c *container) (name string) {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	for _, d := range w.store.docs {
		if d.Container.ID == c.id {
			name = d.Log.File.Generation
		}
	}
	return name
}

// TestGivenBack: a sink gives all back that it has, some of it stored. What is
// sent afterwards says since when it can be there.
func TestGivenBack(t *testing.T) {
	w, c := one(t, jsonfile.Options{})
	s := w.stepper(Config{Sink: w.store})
	for i := range 5 {
		c.line(i%2, fmt.Sprint("line ", i))
	}
	s.turn(c.id)
	s.save()
	under := s.turn(c.id)
	w.store.sink.refuses["logs"] = 1
	w.store.add(&under[0].Batch) // stored in the first index
	for _, fl := range under {
		fl.Return()
	}
	if got := s.turn(c.id); len(got) != 0 {
		t.Fatalf("%d batches while the destination takes nothing", len(got))
	}
	w.store.sink.index++ // and a rollover in between
	again := s.turn(c.id)
	if len(again) != 2 {
		t.Fatalf("%d batches after it takes lines again, want 2", len(again))
	}
	for _, fl := range again {
		if fl.Since != indexName(0) {
			t.Errorf("Since is %q, want %q", fl.Since, indexName(0))
		}
	}
	s.store(again)
	s.save()
	w.expect(c, 0, "line 0", "line 2", "line 4")
	w.expect(c, 1, "line 1", "line 3")
	c.line(0, "line 5")
	for _, fl := range s.turn(c.id) {
		if fl.Since != "" {
			t.Errorf("a new line is sent as if it could be there since %s", fl.Since)
		}
	}
	s.killed()
}

// TestReceiptsNobodyTakes do not pile up.
func TestReceiptsNobodyTakes(t *testing.T) {
	w := newWorld(t, 1)
	w.moody = true
	c := w.container(0, jsonfile.Options{MaxSize: 200, MaxFile: 2})
	s := w.stepper(Config{})
	for range mostOwingFiles + 50 {
		c.line(0, strings.Repeat("x", 200))
		for _, fl := range s.turn(c.id) {
			if fl.Stream.Index == "receipts" {
				fl.Return()
				continue
			}
			s.store([]*flight{fl})
		}
		s.save()
	}
	src := s.f.sources[c.id]
	if n := len(src.gens); n < mostOwingFiles {
		t.Fatalf("%d files are remembered for their receipts, want them all", n)
	}
	s.f.forgive()
	s.save()
	for range 2 {
		for _, fl := range s.turn(c.id) {
			fl.Return()
		}
		s.save()
	}
	if n := len(src.gens); n > mostOwingFiles+3 {
		t.Errorf("%d files are remembered for receipts that nobody takes", n)
	}
	s.killed()
}

// TestRegrown: a power cut took the end of a file, and by the time that the
// agent looks again, it is longer than it was.
func TestRegrown(t *testing.T) {
	w, c := one(t, jsonfile.Options{})
	s := w.stepper(Config{Sink: w.store})
	c.line(0, "one")
	_, keep := live(c.writer.Path())
	c.line(0, "two")
	s.rounds(c.id, 2)
	w.expect(c, 0, "one", "two")
	s.killed()
	if err := os.Truncate(c.writer.Path(), keep); err != nil {
		t.Fatal(err)
	}
	if err := c.writer.Close(); err != nil {
		t.Fatal(err)
	}
	var err error
	if c.writer, err = jsonfile.Open(c.writer.Path(), c.opt); err != nil {
		t.Fatal(err)
	}
	w.store.sink.index++ // and there was a rollover
	want := []string{"one", "two"}
	for i := range 5 {
		want = append(want, fmt.Sprint("new ", i))
		c.line(0, want[len(want)-1])
	}
	s = w.stepper(Config{Sink: w.store})
	s.rounds(c.id, 2)
	w.expect(c, 0, want...)
	if src := w.source(c); src.Gaps != 1 {
		t.Errorf("%d gaps, want that the lost end is one", src.Gaps)
	}
	s.killed()
}

// TestDoubtOutlivesARun: after the checkpoint was lost, the first run does not
// get far. The next one still knows that everything may have been sent.
func TestDoubtOutlivesARun(t *testing.T) {
	w, c := one(t, jsonfile.Options{})
	s := w.stepper(Config{Returning: true, Sink: w.store}) // with data of an earlier run, but no checkpoint
	for i := range 3 {
		c.line(0, fmt.Sprint("line ", i))
	}
	s.killed() // before it has looked at anything
	s = w.stepper(Config{Returning: true, Sink: w.store})
	s.turn(c.id)
	s.save()
	for _, fl := range s.turn(c.id) {
		if fl.Since != "*" {
			t.Errorf("lines are sent with Since %q", fl.Since)
		}
		w.store.add(&fl.Batch) // stored, and killed before the answer
	}
	s.killed()
	s = w.stepper(Config{Returning: true, Sink: w.store})
	if s.f.doubt.Load() {
		t.Error("there is doubt although the checkpoint says of each source what may have been sent")
	}
	for _, fl := range s.turn(c.id) {
		if fl.Since != "*" {
			t.Errorf("lines are sent again with Since %q", fl.Since)
		}
	}
	s.killed()
}

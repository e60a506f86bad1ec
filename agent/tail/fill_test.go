package tail

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mesoscope/internal/jsonfile"
	"mesoscope/record"
)

func TestForecast(t *testing.T) {
	const gib = 1 << 30
	noon := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	// each makes samples a minute apart, with a budget of 10 GiB.
	each := func(grown ...int64) (s []holdSample) {
		for i, n := range grown {
			s = append(s, holdSample{at: noon.Add(time.Duration(i) * time.Minute), grown: n, room: 10*gib - n, limit: errBudget})
		}
		return s
	}
	bounded := func(limit error, s []holdSample) []holdSample {
		for i := range s {
			s[i].limit = limit
		}
		return s
	}
	back := each(0, 1*gib, 2*gib)
	back[2].at = noon.Add(-time.Hour)
	full := each(9*gib, 10*gib, 12*gib)
	for _, c := range []struct {
		name    string
		samples []holdSample
		want    time.Duration
		free    bool
		ok      bool
	}{
		{"nothing", nil, 0, false, false},
		{"two looks", each(0, gib), 0, false, false},
		{"growing", each(0, gib, 2*gib), 8 * time.Minute, false, true},
		{"a burst", []holdSample{{at: noon}, {at: noon.Add(time.Minute), grown: gib}, {at: noon.Add(2*time.Minute - 1), grown: 2 * gib, limit: errBudget}}, 0, false, false},
		{"growing slowly", each(0, gib/1000, gib/500), 9998 * time.Minute, false, true},
		{"growing by a byte an age, as far as a duration goes", bounded(errBudget, []holdSample{
			{at: noon}, {at: noon.Add(time.Hour), grown: 1}, {at: noon.Add(1000 * time.Hour), grown: 2, room: 1 << 62, limit: errBudget}}), 1<<62 - 1, false, true},
		{"faster and faster", each(0, gib, 4*gib), 3 * time.Minute, false, true},
		{"flat", each(gib, gib, gib, gib), 0, false, false},
		{"shrinking", each(3*gib, 2*gib, gib), 0, false, false},
		{"one jump, early", each(0, 5*gib, 5*gib, 5*gib, 5*gib), 0, false, false},
		{"one jump, late", each(0, 0, 0, 0, 5*gib), 0, false, false},
		{"steps", each(0, 0, gib, gib, 2*gib), 16 * time.Minute, false, true},
		{"up and down again", each(0, 5*gib, gib), 0, false, false},
		{"full, and files are given up", full, 0, false, true},
		{"min_free", bounded(errMinFree, each(0, gib, 2*gib)), 8 * time.Minute, true, true},
		{"no limit", bounded(nil, each(0, gib, 2*gib)), 0, false, false},
		{"a clock that was put back", back, 0, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, ok := forecast(c.samples)
			if c.want > 0 && (f.In-c.want).Abs() > c.want/1000 {
				t.Errorf("in %s, want %s", f.In, c.want)
			}
			if ok != c.ok || f.Free != c.free || c.want == 0 && f.In != 0 {
				t.Errorf("%+v %v", f, ok)
			}
		})
	}
}

// TestFillWarnsOnce: below an hour it is said once, and again only after calm.
func TestFillWarnsOnce(t *testing.T) {
	var said bytes.Buffer
	log := slog.New(slog.NewTextHandler(&said, nil))
	var f fill
	at, grown := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC), int64(0)
	go5 := func(n int, each, room int64) { // looks five seconds apart
		for range n {
			at, grown = at.Add(budgetEvery), grown+each
			f.note(log, holdSample{at: at, grown: grown, room: room, limit: errBudget})
		}
	}
	warned := func() int { return strings.Count(said.String(), "level=WARN") }
	go5(1000, 0, 1<<40)
	if _, ok := f.forecast(); ok || len(f.ring) != samples {
		t.Errorf("flat: %v, %d samples", ok, len(f.ring))
	}
	go5(1000, 1000, 1<<40)
	if n := warned(); n != 0 {
		t.Errorf("%d warnings with years of room", n)
	}
	go5(1000, 1000, 200*(50*60)) // 200 bytes a second, 50 min
	if n := warned(); n != 1 {
		t.Errorf("%d warnings for one danger:\n%s", n, &said)
	}
	if !strings.Contains(said.String(), "full_in=50m0s") || !strings.Contains(said.String(), "limit=hold.budget") {
		t.Error(said.String())
	}
	go5(1000, 1000, 200*(90*60)) // somewhat better is not over
	go5(1000, 1000, 200*(50*60))
	if n := warned(); n != 1 {
		t.Errorf("%d warnings, the second without calm in between", n)
	}
	go5(1000, 0, 1<<40)
	go5(1000, 1000, 200*(50*60))
	if n := warned(); n != 2 {
		t.Errorf("%d warnings for two dangers", n)
	}
	at = at.Add(time.Hour) // the machine slept
	go5(1, 1<<30, 1000)
	if _, ok := f.forecast(); ok {
		t.Error("a rate over a pause")
	}
	at = at.Add(-2 * time.Hour)
	go5(1, 1<<30, 1000)
	if _, ok := f.forecast(); ok || len(f.ring) != 1 {
		t.Error("a rate over a clock that was put back")
	}
}

// TestFillMetric: the gauge is absent as long as nothing grows.
func TestFillMetric(t *testing.T) {
	var f fill
	reg := prometheus.NewRegistry()
	reg.MustRegister(&f)
	value := func() (seconds float64, there bool) {
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			if family.GetName() == "mesoscope_hold_full_seconds" {
				return family.GetMetric()[0].GetGauge().GetValue(), true
			}
		}
		return 0, false
	}
	if v, there := value(); there {
		t.Errorf("%v before anything is known", v)
	}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	for i := range int64(3) {
		f.note(log, holdSample{at: time.Unix(60*i, 0), grown: i * 60, room: 7200, limit: errBudget})
	}
	if v, there := value(); !there || v != 7200 {
		t.Errorf("%v %v, want 7200", v, there)
	}
}

// TestChoose: over budget goes first what is read, then the oldest of the
// container that holds most, and no more than necessary.
func TestChoose(t *testing.T) {
	holding := func(id string, files ...heldFile) *holder {
		h := &holder{source: &source{id: id}}
		for i := range files {
			files[i].g = &generation{N: int64(i + 1)}
			h.bytes += files[i].bytes
		}
		h.files = files
		return h
	}
	set := func() []*holder {
		return []*holder{
			holding("small", heldFile{bytes: 10, read: true}, heldFile{bytes: 20}),
			holding("large", heldFile{bytes: 100, read: true}, heldFile{bytes: 90}, heldFile{bytes: 80}),
			holding("middle", heldFile{bytes: 60}, heldFile{bytes: 60}),
		}
	}
	for _, c := range []struct {
		missing int64
		want    string
	}{
		{-5, ""},
		{0, ""},
		{1, "large1"},
		{100, "large1"},
		{101, "large1 small1"},
		{111, "large1 small1 large2"},
		{200, "large1 small1 large2"},
		{201, "large1 small1 large2 middle1"},
		{261, "large1 small1 large2 middle1 large3"},
		{1 << 40, "large1 small1 large2 middle1 large3 middle2 small2"},
	} {
		var got []string
		for _, x := range choose(set(), c.missing) {
			got = append(got, fmt.Sprint(x.source.id, x.file.g.N))
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%d missing: %q, want %q", c.missing, s, c.want)
		}
	}
}

// TestMinFree: the free space counts, not only the budget; whichever is nearer.
func TestMinFree(t *testing.T) {
	dir := t.TempDir()
	free, total := freeSpace(dir)
	if total == 0 {
		lacking(t, "needs a system that tells the free space")
	}
	f := &Follower{budget: 1 << 50, minFree: func(n int64) int64 {
		if n != total {
			t.Errorf("asked for %d bytes of %d", n, total)
		}
		return free / 2
	}}
	near := func(got, want int64) bool { return max(got-want, want-got) < free/4 } // others write, too
	if s := f.budgetFor(1000).tighter(f.freeIn(dir)); s.why != errMinFree || !near(s.bytes, free-free/2) {
		t.Errorf("%+v with %d free", s, free)
	}
	f.budget = 1500
	if s := f.budgetFor(1000).tighter(f.freeIn(dir)); s.why != errBudget || s.bytes != 500 {
		t.Errorf("%+v", s)
	}
	f.budget, f.minFree = 0, nil
	if s := f.budgetFor(1000).tighter(f.freeIn(dir)); s != (space{}) {
		t.Errorf("%+v without limits", s)
	}
}

// TestRisk: what only descriptors keep is what a restart would lose, less what
// is settled.
func TestRisk(t *testing.T) {
	w, c := one(t, jsonfile.Options{MaxSize: 20_000, MaxFile: 1})
	out := make(chan *record.Batch) // nobody reads
	f, err := New(Config{StateDir: w.state, Out: out, Log: testLog(t), InFlight: 1})
	if err != nil {
		t.Fatal(err)
	}
	w.agent = &agent{f: f}
	go f.Run(t.Context())
	w.set()
	c.small(1000)
	c.waitSeen() // the present file is open, too, and has a name
	kept := 0
	var size, disk int64
	s := f.sources[c.id]
	s.mu.Lock()
	for _, g := range s.gens {
		fi, err := g.file.Stat()
		if err != nil {
			t.Fatal(err)
		}
		if n, names := diskBytes(fi); names == 0 {
			kept, size, disk = kept+1, size+fi.Size(), disk+n
		}
	}
	s.mu.Unlock()
	if r := f.Risk(); r.Files != kept || r.Bytes != size || kept < 3 || f.HeldBytes() != disk {
		t.Errorf("%+v, %d held: %d files of %d bytes, %d on disk", r, f.HeldBytes(), kept, size, disk)
	}
	s.mu.Lock()
	for k := range s.ledgers {
		s.ledgers[k].settled = Position{Generation: s.gens[1].N, Offset: 1000}
	}
	first := s.gens[0].file
	s.mu.Unlock()
	fi, err := first.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if r := f.Risk(); r.Files != kept-1 || r.Bytes != size-fi.Size()-1000 {
		t.Errorf("%+v when the first file and 1000 bytes of the second are settled", r)
	}
}

// TestHeldCostsByBlocks: a link costs nothing while its file has another name,
// and else the blocks of the file, not its length.
func TestHeldCostsByBlocks(t *testing.T) {
	w, c := one(t, jsonfile.Options{})
	f, err := New(Config{StateDir: w.state, HoldDir: w.hold, Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	log := c.writer.Path()
	sparse := jsonfile.AppendEntry(nil, []byte("one\n"), "stdout", nil, c.now)
	must(t, os.WriteFile(log, sparse, 0o600), os.Truncate(log, 1<<30))
	w.agent = &agent{f: f}
	w.set()
	s := f.sources[c.id]
	look := func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if _, err := f.look(s); err != nil {
			t.Fatal(err)
		}
	}
	look()
	if h := f.costs(s); s.gens[0].Hold == "" || h.bytes != 0 {
		t.Errorf("a file with a name costs %d", h.bytes)
	}
	if err := os.Remove(log); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	look()
	h := f.costs(s)
	fi, err := os.Stat(filepath.Join(w.hold, c.id, s.gens[0].Hold))
	if err != nil {
		t.Fatal(err)
	}
	if n, _ := diskBytes(fi); len(h.files) != 1 || h.bytes != n || n > 1<<20 {
		t.Errorf("a sparse file of 1 GiB costs %d, its blocks take %d", h.bytes, n)
	}
	// A backup has a link of its own: giving up ours would free nothing.
	must(t, os.Link(filepath.Join(w.hold, c.id, s.gens[0].Hold), filepath.Join(w.root, "backup")))
	if h := f.costs(s); h.bytes != 0 {
		t.Errorf("a file with a foreign name costs %d", h.bytes)
	}
}

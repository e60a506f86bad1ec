package usage

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

var start = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

// A fake is a tree of v2 cgroups that a test writes.
type fake struct {
	t      testing.TB
	dir    string
	owners []Owner
}

func newFake(t testing.TB) (*fake, *Sampler) {
	f := &fake{t: t, dir: t.TempDir()}
	s := newSampler(Options{Node: "n1", Owners: func() []Owner { return slices.Clone(f.owners) }}, &hierarchy{unified: f.dir})
	return f, s
}

func longID(i int) string { return fmt.Sprintf("%064x", i+1) }

// write sets files of the container i: name, text, name, text…
func (f *fake) write(i int, files ...string) {
	f.t.Helper()
	dir := filepath.Join(f.dir, "docker", longID(i))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		f.t.Fatal(err)
	}
	for k := 0; k < len(files); k += 2 {
		if err := os.WriteFile(filepath.Join(dir, files[k]), []byte(files[k+1]), 0o600); err != nil {
			f.t.Fatal(err)
		}
	}
}

func (f *fake) cpu(i int, usec, periods, throttled int) {
	f.write(i, "cpu.stat", fmt.Sprintf("usage_usec %d\nuser_usec 0\nsystem_usec 0\nnr_periods %d\nnr_throttled %d\nthrottled_usec 0\n", usec, periods, throttled))
}

func TestRates(t *testing.T) {
	f, s := newFake(t)
	f.owners = []Owner{
		{ID: longID(0), Name: "web-1", App: "/web", Framework: "marathon", Task: "web.1", Running: true, Created: start, Lines: 100, LogBytes: 1000},
		{ID: longID(1), Name: "db", App: "db", Running: true, Created: start},
		{ID: longID(2), Name: "old", App: "old", Created: start},
	}
	f.cpu(0, 1e6, 10, 0)
	f.write(0, "io.stat", "8:0 rbytes=100 wbytes=0 rios=1 wios=0\n", "memory.current", "1000", "memory.max", "4000", "memory.stat", "inactive_file 200\n", "memory.events", "oom_kill 0\n")
	f.cpu(1, 50e6, 0, 0)
	f.write(1, "memory.current", "900", "memory.max", "1000", "memory.events", "oom_kill 4\n")
	s.sample(start)
	if u := s.Usage(); u.Seconds != 0 || len(u.Containers) != 3 || u.Containers[0].CPUCores != 0 {
		t.Errorf("after one look: %+v", u)
	}
	f.owners[0].Lines, f.owners[0].LogBytes = 600, 51000
	f.cpu(0, 6e6, 110, 25)
	f.write(0, "io.stat", "8:0 rbytes=2100 wbytes=0 rios=1 wios=0\n")
	f.cpu(1, 1e6, 0, 0) // started anew
	s.sample(start.Add(10 * time.Second))
	u := s.Usage()
	if u.Seconds != 10 || u.Node != "n1" || u.Problem != "" {
		t.Errorf("%+v", u)
	}
	got := map[string]int{}
	for i, c := range u.Containers {
		got[c.App] = i
	}
	web := u.Containers[got["/web"]]
	if web.CPUCores != 0.5 || web.Throttled != 0.25 || web.Read != 200 || web.Lines != 50 || web.LogBytes != 5000 || web.WorkingSet != 800 ||
		web.Task != "web.1" || web.Framework != "marathon" || !web.Measured {
		t.Errorf("web: %+v", web)
	}
	if db := u.Containers[got["db"]]; db.CPUCores != 0 || db.StrainOf != "memory" || db.Strain != 0.9 {
		t.Errorf("db, which has been started anew: %+v", db)
	}
	if old := u.Containers[got["old"]]; old.Measured {
		t.Errorf("old: %+v", old)
	}
	if u.Containers[0].App != "db" || u.Containers[2].App != "old" {
		t.Errorf("the worst first: %v", got)
	}
	f.write(0, "memory.events", "oom_kill 1\n")
	s.sample(start.Add(20 * time.Second))
	if c := s.Usage().Containers[0]; c.App != "/web" || c.StrainOf != "oom" || c.Strain != 1 {
		t.Errorf("after an OOM kill the worst is %+v", c)
	}
}

// TestEnds: a container that has ended has no numbers, and is found again should
// it run again.
func TestEnds(t *testing.T) {
	f, s := newFake(t)
	f.owners = []Owner{{ID: longID(0), App: "a", Running: true}}
	f.cpu(0, 1e6, 0, 0)
	measured := func(at time.Duration) bool {
		s.sample(start.Add(at))
		return s.Usage().Containers[0].Measured
	}
	if !measured(0) {
		t.Error("not measured")
	}
	if err := os.RemoveAll(filepath.Join(f.dir, "docker")); err != nil {
		t.Fatal(err)
	}
	if measured(10*time.Second) || s.Usage().Problem == "" {
		t.Error("measured without a cgroup, or no word on it")
	}
	again := filepath.Join(f.dir, "system.slice", "docker-"+longID(0)+".scope") // Docker was told otherwise meanwhile
	if err := os.MkdirAll(again, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(again, "cpu.stat"), []byte("usage_usec 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if !measured(20 * time.Second) {
		t.Error("not found again")
	}
	s = newSampler(Options{Owners: func() []Owner { return nil }}, &hierarchy{})
	s.sample(start)
	if u := s.Usage(); !strings.Contains(u.Problem, "no cgroups") {
		t.Errorf("without cgroups: %+v", u)
	}
}

func TestSlots(t *testing.T) {
	s := newSlots()
	web := func(i int) Owner {
		return Owner{ID: longID(i), App: "web", Created: start.Add(time.Duration(i) * time.Second)}
	}
	at := func(minutes int, owners ...Owner) []int {
		t.Helper()
		s.assign(owners, start.Add(time.Duration(minutes)*time.Minute))
		var got []int
		for _, o := range owners {
			got = append(got, s.of[o.ID].n)
		}
		return got
	}
	for _, c := range []struct {
		got, want []int
	}{
		{at(0, web(2), web(0), web(1)), []int{2, 0, 1}},
		{at(1, web(2), web(1)), []int{2, 1}},
		{at(2, web(2), web(1), web(3)), []int{2, 1, 3}},                     // 0 rests
		{at(12, web(2), web(1), web(3), web(4)), []int{2, 1, 3, 0}},         // and is free
		{at(13, Owner{ID: longID(2), App: "db"}, web(1)), []int{0, 1}},      // whose it is became known
		{at(13, Owner{ID: longID(2), App: "db"}, web(5)), []int{0, 2}},      // its old number is free at once
		{at(13, Owner{ID: longID(6), App: "db", Framework: "x"}), []int{0}}, // frameworks are apart
	} {
		if !slices.Equal(c.got, c.want) {
			t.Errorf("slots %v, want %v", c.got, c.want)
		}
	}
	at(60)
	at(71)
	if len(s.taken) != 0 || len(s.of) != 0 {
		t.Errorf("remembers %v %v", s.taken, s.of)
	}
}

func TestMetrics(t *testing.T) {
	f, s := newFake(t)
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(s)
	if n, err := testutil.GatherAndCount(reg); n != 0 || err != nil {
		t.Errorf("before the first look: %d, %v", n, err)
	}
	f.owners = []Owner{
		{ID: longID(0), Name: "web-1", App: "/web", Framework: "marathon", Task: "web.1", Image: "web:1", Running: true, Created: start, Lines: 7},
		{ID: longID(1), Name: "web-2", App: "/web", Framework: "marathon", Task: "web.2", Image: "web:1", Running: true, Created: start.Add(1)},
		{ID: longID(1), Name: "again"}, // another agent sees it, too
		{ID: longID(2), Name: "gone", App: "gone"},
	}
	f.cpu(0, 1500000, 0, 0)
	f.cpu(1, 2500000, 0, 0)
	s.sample(start)
	want := `# HELP mesoscope_container_cpu_usage_seconds_total CPU time.
# TYPE mesoscope_container_cpu_usage_seconds_total counter
mesoscope_container_cpu_usage_seconds_total{app="/web",framework="marathon",slot="0"} 1.5
mesoscope_container_cpu_usage_seconds_total{app="/web",framework="marathon",slot="1"} 2.5
# HELP mesoscope_container_info 1; which task and container it is that has these labels now.
# TYPE mesoscope_container_info gauge
mesoscope_container_info{app="/web",framework="marathon",id="` + longID(0) + `",image="web:1",name="web-1",slot="0",task="web.1"} 1
mesoscope_container_info{app="/web",framework="marathon",id="` + longID(1) + `",image="web:1",name="web-2",slot="1",task="web.2"} 1
# HELP mesoscope_container_log_lines_total Lines read from the container's log.
# TYPE mesoscope_container_log_lines_total counter
mesoscope_container_log_lines_total{app="/web",framework="marathon",slot="0"} 7
mesoscope_container_log_lines_total{app="/web",framework="marathon",slot="1"} 0
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want),
		"mesoscope_container_cpu_usage_seconds_total", "mesoscope_container_info", "mesoscope_container_log_lines_total"); err != nil {
		t.Error(err)
	}
	if n, err := testutil.GatherAndCount(reg, "mesoscope_container_memory_usage_bytes"); n != 0 || err != nil {
		t.Errorf("memory, of which nothing is known: %d, %v", n, err)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v %v", problems, err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.Metric {
			for _, l := range m.Label {
				if l.GetName() == "task" && family.GetName() != "mesoscope_container_info" {
					t.Errorf("%s has a label that is new with each task", family.GetName())
				}
			}
		}
	}
}

// TestRun looks at once, and then every ten seconds.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var looks atomic.Int64
		s := newSampler(Options{Owners: func() []Owner { looks.Add(1); return nil }}, &hierarchy{})
		go s.Run(t.Context())
		synctest.Wait()
		for i := int64(1); i < 4; i++ {
			if n := looks.Load(); n != i {
				t.Fatalf("%d looks, want %d", n, i)
			}
			time.Sleep(Every)
			synctest.Wait()
		}
	})
}

// many is a Sampler of n containers with all of the files of v1.
func many(t testing.TB, n int) *Sampler {
	recorded, id := recordedV1(t)
	h := &hierarchy{v1: map[string]string{}}
	dir := t.TempDir()
	for name, root := range recorded.v1 {
		h.v1[name] = filepath.Join(dir, name)
		for i := range n {
			if err := os.CopyFS(filepath.Join(dir, name, "docker", longID(i)), os.DirFS(filepath.Join(root, "docker", id))); err != nil {
				t.Fatal(err)
			}
		}
	}
	var owners []Owner
	for i := range n {
		owners = append(owners, Owner{ID: longID(i), App: fmt.Sprint("app-", i%10), Running: true})
	}
	return newSampler(Options{Owners: func() []Owner { return slices.Clone(owners) }}, h)
}

// TestAllocations holds what a look at a container may allocate: its files are
// read into one buffer and not made into strings.
func TestAllocations(t *testing.T) {
	const n = 50
	s := many(t, n)
	s.sample(start)
	for id := range s.paths {
		if _, err := s.reader.read(s.paths[id]); err != nil {
			t.Fatal(err)
		}
	}
	per := testing.AllocsPerRun(5, func() {
		for _, path := range s.paths {
			_, _ = s.reader.read(path)
		}
	}) / n
	if per > 100 {
		t.Errorf("%.0f allocations for each container", per)
	}
	t.Logf("%.0f allocations for each container", per)
}

// BenchmarkLook is what one look costs; at one each ten seconds, 20 ms are 0.2 %
// of a core.
func BenchmarkLook(b *testing.B) {
	for _, n := range []int{0, 100, 1000} {
		b.Run(fmt.Sprintf("containers=%d", n), func(b *testing.B) {
			s := many(b, n)
			s.sample(start)
			b.ReportAllocs()
			for b.Loop() {
				s.sample(start)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(Every)*100, "%core")
		})
	}
}

// BenchmarkLookKernel is BenchmarkLook with 100 cgroups of the kernel, which it
// makes and removes. It needs root.
func BenchmarkLookKernel(b *testing.B) {
	const n = 100
	h := mounts(hostMounts())
	roots := map[string]bool{h.unified: h.unified != ""}
	for _, point := range h.v1 {
		roots[point] = true
	}
	var owners []Owner
	for i := range n {
		owners = append(owners, Owner{ID: longID(i), App: fmt.Sprint("app-", i%10), Running: true})
	}
	for root, is := range roots {
		if !is {
			continue
		}
		dir := filepath.Join(root, fmt.Sprint("mesoscope-bench-", os.Getpid()))
		if err := os.Mkdir(dir, 0o755); err != nil {
			b.Skip("needs root and cgroups: ", err)
		}
		b.Cleanup(func() { _ = os.Remove(dir) })
		for _, o := range owners {
			below := filepath.Join(dir, o.ID)
			if err := os.Mkdir(below, 0o755); err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = os.Remove(below) })
		}
	}
	s := newSampler(Options{Owners: func() []Owner { return slices.Clone(owners) }}, h)
	s.sample(time.Now())
	if len(s.paths) != n {
		b.Fatalf("%d cgroups found", len(s.paths))
	}
	for b.Loop() {
		s.sample(time.Now())
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(Every)*100, "%core")
}

// TestDocs: docs/usage.md names each metric.
func TestDocs(t *testing.T) {
	text, err := os.ReadFile("../../docs/usage.md")
	if err != nil {
		t.Fatal(err)
	}
	container, node, ok := strings.Cut(string(text), "| `mesoscope_node_…` |")
	if !ok {
		t.Fatal("no table of the machine")
	}
	ch := make(chan *prometheus.Desc, 100)
	(&Sampler{}).Describe(ch)
	close(ch)
	for d := range ch {
		_, name, _ := strings.Cut(d.String(), `fqName: "`)
		name, _, _ = strings.Cut(name, `"`)
		where := container
		short, ok := strings.CutPrefix(name, "mesoscope_container_")
		if !ok {
			where, short = node, strings.TrimPrefix(name, "mesoscope_node_")
		}
		if !strings.Contains(where, "`"+short) && !strings.Contains(where, "`"+name) {
			t.Errorf("%s is not there", name)
		}
	}
}

// TestOOMEnds: a container that ends because it has no memory is counted once
// for each of its ends, whoever looks how often, and not those before our time.
func TestOOMEnds(t *testing.T) {
	f, s := newFake(t)
	web := Owner{ID: longID(0), App: "/web", Framework: "marathon", Created: start}
	old, late := web, Owner{ID: longID(1), App: "db", Running: true}
	old.ID, old.OOMKilled = longID(2), time.Now().Add(-time.Hour)
	now := time.Now()
	look := func(want int, strained string) {
		t.Helper()
		now = now.Add(Every)
		s.sample(now)
		text := fmt.Sprintf("# HELP mesoscope_container_oom_ends_total %s\n# TYPE mesoscope_container_oom_ends_total counter\n", oomEndsHelp)
		if want == 0 {
			text = ""
		} else {
			text += fmt.Sprintf("mesoscope_container_oom_ends_total{app=\"/web\",framework=\"marathon\"} %d\n", want)
		}
		if err := testutil.CollectAndCompare(s, strings.NewReader(text), "mesoscope_container_oom_ends_total"); err != nil {
			t.Error(err)
		}
		for _, c := range s.Usage().Containers {
			if oom := c.StrainOf == "oom"; oom != (c.ID == strained) {
				t.Errorf("%s is strained by %q", c.ID, c.StrainOf)
			}
			if c.ID == web.ID && c.OOMKills != uint64(min(want, 1)) {
				t.Errorf("%d OOM kills", c.OOMKills)
			}
		}
	}
	f.owners = []Owner{web, old, late}
	look(0, "")
	web.OOMKilled = now.Add(time.Second)
	f.owners = []Owner{web, old, late}
	look(1, web.ID)
	look(1, "")
	web.OOMKilled, web.Running = now.Add(time.Second), true // started again, and ended so again
	f.owners = []Owner{web, old, late}
	look(2, web.ID)
	f.owners = []Owner{old, late}
	look(2, "")
	if len(s.oomEnds.last) != 0 {
		t.Errorf("%v is remembered", s.oomEnds.last)
	}
}

// TestPause: a few containers are looked at every ten seconds; thousands less
// often, and once a minute in any case.
func TestPause(t *testing.T) {
	for took, want := range map[time.Duration]time.Duration{0: Every, 20 * time.Millisecond: Every, 100 * time.Millisecond: 20 * time.Second, 10 * time.Second: Rarest} {
		if got := pause(took); got != want {
			t.Errorf("after %v: %v, want %v", took, got, want)
		}
	}
}

package usage

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// The recordings: v1 is a container of Docker 20.10 on Linux 6.18 with limits,
// that wrote 8 MiB past the page cache, read them and lost a process for want of
// memory; v2 has the forms that the kernel documents.
const (
	idV2   = "4d2f8e0c9b7a6655443322110ffeeddccbbaa99887766554433221100f0e0d0c"
	pathV2 = "/system.slice/docker-" + idV2 + ".scope"
)

func recordedV1(t testing.TB) (h *hierarchy, id string) {
	t.Helper()
	root := filepath.Join("testdata", "v1")
	entries, err := os.ReadDir(filepath.Join(root, "memory", "docker"))
	if err != nil || len(entries) != 1 {
		t.Fatalf("recording: %v %v", entries, err)
	}
	h = &hierarchy{v1: map[string]string{}, unified: filepath.Join(root, "unified")}
	for name := range controllers {
		h.v1[name] = filepath.Join(root, name)
	}
	return h, entries[0].Name()
}

func TestReadV1(t *testing.T) {
	h, id := recordedV1(t)
	got, err := newReader(h).read("/docker/" + id)
	if err != nil {
		t.Fatal(err)
	}
	want := Counters{
		Known: KnownCPU | KnownThrottling | KnownMemory | KnownOOMKills | KnownIO | KnownPids | KnownPressure,
		CPU:   2437168040, User: 2330000000, System: 100000000,
		Periods: 82, ThrottledPeriods: 79, Throttled: 5124899334, CPULimit: 0.3,
		Memory: 806912, WorkingSet: 802816, RSS: 61440, Cache: 4096, MemoryLimit: 64 << 20, OOMKills: 1,
		ReadBytes: 8413184, WrittenBytes: 8388608, Reads: 14, Writes: 8, Pids: 1, PidsLimit: 50,
		PressureCPU: Stall{3917065e3, 3914377e3}, PressureMemory: Stall{63e3, 63e3}, PressureIO: Stall{5953e3, 5953e3},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestReadV2(t *testing.T) {
	h := &hierarchy{unified: filepath.Join("testdata", "v2")}
	got, err := newReader(h).read(pathV2)
	if err != nil {
		t.Fatal(err)
	}
	want := Counters{
		Known: KnownCPU | KnownThrottling | KnownMemory | KnownOOMKills | KnownIO | KnownPids | KnownPressure,
		CPU:   48213960e3, User: 40102210e3, System: 8111750e3,
		Periods: 3120, ThrottledPeriods: 410, Throttled: 20511030e3, CPULimit: 1.5,
		Memory: 201326592, WorkingSet: 201326592 - 50331648, RSS: 104857600, Cache: 83886080, MemoryLimit: 256 << 20, OOMKills: 2,
		ReadBytes: 1459200 + 90430464, WrittenBytes: 314773504 + 299008000, Reads: 192 + 8950, Writes: 353 + 1252, Pids: 23,
		PressureCPU: Stall{1088168e3, 900e3}, PressureMemory: Stall{52113e3, 41807e3}, PressureIO: Stall{9811231e3, 9310044e3},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if _, err := newReader(h).read("/docker/" + idV2); !errors.Is(err, errNoCgroup) {
		t.Errorf("a container that is not there: %v", err)
	}
}

// TestReadParts: a controller that is not there takes its own numbers along and
// no others.
func TestReadParts(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("cpu.stat", "usage_usec 7\nuser_usec 4\nsystem_usec 3\n") // as without the cpu controller
	write("memory.current", "4096\n")
	write("memory.max", "max\n")
	write("memory.events", "low 0\n") // before 4.13 there is no oom_kill
	write("io.stat", "")
	got, err := newReader(&hierarchy{unified: dir}).read("")
	want := Counters{Known: KnownCPU | KnownMemory | KnownIO, CPU: 7000, User: 4000, System: 3000, Memory: 4096, WorkingSet: 4096}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
}

func TestNumbers(t *testing.T) {
	for _, c := range []struct {
		text string
		n    uint64
		ok   bool
	}{
		{"12\n", 12, true}, {" 0 ", 0, true}, {"max\n", 0, true}, {"-1\n", 0, false}, {"", 0, false}, {"1 2", 0, false}, {"1.5", 0, false},
		{"18446744073709551615", 0, false}, {"9223372036854771712", 9223372036854771712, true},
	} {
		if n, ok := number([]byte(c.text)); n != c.n || ok != c.ok {
			t.Errorf("number(%q) = %d, %v", c.text, n, ok)
		}
	}
	if n, ok := limit([]byte("9223372036854771712\n")); n != 0 || !ok {
		t.Errorf("no limit of v1 is read as %d", n)
	}
	if n, ok := limit([]byte("67108864\n")); n != 64<<20 || !ok {
		t.Errorf("limit of 64 MiB is read as %d", n)
	}
}

func TestPressure(t *testing.T) {
	for text, want := range map[string]Stall{
		"some avg10=0.00 avg60=0.00 avg300=0.00 total=12\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=5\n": {12000, 5000},
		"some avg10=0.00 avg60=0.00 avg300=0.00 total=12\n":                                                 {12000, 0},
	} {
		if got, ok := pressure([]byte(text)); !ok || got != want {
			t.Errorf("%q: %v, %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "some", "some total=x", "full avg10=0.00 total=5"} {
		if got, ok := pressure([]byte(text)); ok {
			t.Errorf("%q: %v", text, got)
		}
	}
}

const (
	mountsV1 = `31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
`
	mountsV2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
	// An agent in a container of its own, with the host's cgroups at /host/cgroup.
	mountsInside = `600 590 0:26 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw
610 590 0:26 /../.. /host/c\040group ro,nosuid - cgroup2 cgroup2 rw
`
	mountsInsideV1 = `600 590 0:32 /docker/abc /sys/fs/cgroup/memory ro,nosuid - cgroup cgroup rw,memory
610 590 0:32 / /host/memory ro,nosuid - cgroup cgroup rw,memory
`
)

func TestMounts(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want hierarchy
	}{
		"v1":           {mountsV1, hierarchy{map[string]string{"cpu": "/sys/fs/cgroup/cpu,cpuacct", "cpuacct": "/sys/fs/cgroup/cpu,cpuacct", "memory": "/sys/fs/cgroup/memory"}, "/sys/fs/cgroup/unified"}},
		"v2":           {mountsV2, hierarchy{nil, "/sys/fs/cgroup"}},
		"inside of v2": {mountsInside, hierarchy{nil, "/host/c group"}},
		"inside of v1": {mountsInsideV1, hierarchy{map[string]string{"memory": "/host/memory"}, ""}},
		"none":         {"22 1 254:0 / / rw - ext4 /dev/vda rw\ngarbage\n", hierarchy{}},
	} {
		if got := mounts(c.text); !reflect.DeepEqual(*got, c.want) {
			t.Errorf("%s: %+v, want %+v", name, *got, c.want)
		}
	}
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	id := func(c string) string { return strings.Repeat(c, 64) }
	for _, path := range []string{
		"docker/" + id("a"), "system.slice/docker-" + id("b") + ".scope", "kubepods/burstable/pod1/" + id("c"), "mesos/x/" + id("d"),
		"docker/" + id("e") + "/docker/" + id("f"), "docker/" + strings.Repeat("g", 64), "user.slice/x" + id("a") + ".scope",
		"mesos/c7c311a4-b669-11e6-a48f-0ea4f4b1778c/mesos/nested",
	} {
		if err := os.MkdirAll(filepath.Join(dir, path), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	h := &hierarchy{unified: dir}
	got := map[string]string{}
	wanted := map[string]bool{id("c"): true, id("d"): true, id("f"): true, id("9"): true, "c7c311a4-b669-11e6-a48f-0ea4f4b1778c": true}
	h.find(wanted, func(id, path string) { got[id] = path })
	want := map[string]string{id("c"): "/kubepods/burstable/pod1/" + id("c"), id("d"): "/mesos/x/" + id("d"), id("f"): "/docker/" + id("e") + "/docker/" + id("f"),
		"c7c311a4-b669-11e6-a48f-0ea4f4b1778c": "/mesos/c7c311a4-b669-11e6-a48f-0ea4f4b1778c"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("found %v", got)
	}
	for c, want := range map[string]string{"a": "/docker/" + id("a"), "b": "/system.slice/docker-" + id("b") + ".scope", "c": ""} {
		if path, _ := h.usual(id(c)); path != want {
			t.Errorf("usual(%s…) = %q", c, path)
		}
	}
	for name, want := range map[string]string{id("a"): id("a"), "docker-" + id("b") + ".scope": id("b"), "x" + id("a"): "", "docker": "", strings.Repeat("g", 64): ""} {
		if got := containerID(name); got != want {
			t.Errorf("containerID(%q) = %q", name, got)
		}
	}
}

// FuzzFiles: whatever stands in the files, reading them ends, and says nothing
// that cannot be.
func FuzzFiles(f *testing.F) {
	err := filepath.WalkDir("testdata/v1", func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			text, _ := os.ReadFile(path)
			f.Add(text)
		}
		return err
	})
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range []string{"io.stat", "cpu.stat", "cpu.max", "memory.events", "io.pressure"} {
		text, err := os.ReadFile(filepath.Join("testdata/v2", pathV2, name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(mountsV1))
	f.Add([]byte(mountsInside))
	f.Fuzz(func(t *testing.T, text []byte) {
		before := string(text)
		var c Counters
		ioStat(text, &c)
		s, ok := pressure(text)
		if !ok && s.Some != 0 {
			t.Errorf("pressure %v of nothing", s)
		}
		if read, written, ok := blkio(text); !ok && read+written != 0 {
			t.Errorf("blkio %d %d of nothing", read, written)
		}
		n := 0
		p := pairs{text}
		for _, _, ok := p.next(); ok; _, _, ok = p.next() {
			n++
		}
		if n > strings.Count(before, "\n")+1 {
			t.Errorf("%d pairs in %q", n, before)
		}
		h := mounts(before)
		if h.there() && h.base() == "" && !strings.Contains(before, "cgroup") {
			t.Errorf("%q has cgroups", before)
		}
		if string(text) != before {
			t.Error("the input was changed")
		}
	})
}

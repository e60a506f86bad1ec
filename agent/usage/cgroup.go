package usage

import (
	"bytes"
	"errors"
	"os"
)

// Known says which groups of Counters a container has: it depends on the version
// of cgroups, on the kernel, and on which controllers are there.
type Known uint8

// The groups of Counters.
const (
	KnownCPU        Known = 1 << iota // CPU, User, System
	KnownThrottling                   // Periods, ThrottledPeriods, Throttled, CPULimit
	KnownMemory                       // Memory, WorkingSet, RSS, Cache, MemoryLimit
	KnownOOMKills
	KnownIO
	KnownPids
	KnownPressure
)

// Counters are what the kernel says of one container. Times are nanoseconds, and
// they, events and bytes of I/O count since the container's start. A limit of 0
// is none.
type Counters struct {
	Known Known

	CPU, User, System         uint64
	Periods, ThrottledPeriods uint64 // of the CPU limit
	Throttled                 uint64
	CPULimit                  float64 // cores

	Memory      uint64 // bytes, with the page cache
	WorkingSet  uint64 // Memory without what the kernel would give back first
	RSS, Cache  uint64
	MemoryLimit uint64
	OOMKills    uint64 // processes that were killed for want of memory

	ReadBytes, WrittenBytes uint64
	Reads, Writes           uint64

	Pids, PidsLimit uint64

	PressureCPU, PressureMemory, PressureIO Stall
}

// errNoCgroup says that a container has none (any more).
var errNoCgroup = errors.New("no cgroup")

// A reader reads files into one buffer: what file returns is good until the next
// call.
type reader struct {
	path, buf []byte
	root      *hierarchy
}

func newReader(h *hierarchy) *reader { return &reader{root: h, buf: make([]byte, 16<<10)} }

// file reads dir/name; nil if it cannot be read.
func (r *reader) file(dir, name string) []byte {
	r.path = append(append(append(r.path[:0], dir...), '/'), name...)
	text, ok := readInto(string(r.path), r.buf)
	if !ok {
		return nil
	}
	if len(text) > len(r.buf) {
		r.buf = text[:cap(text)]
	}
	return text
}

// maxFile bounds one file of the kernel, in bytes; the largest, memory.stat, has
// less than 4 KiB.
const maxFile = 1 << 20

// read reads the counters of the container whose cgroup is at path below the
// root of each hierarchy. The error is errNoCgroup if there is none.
func (r *reader) read(path string) (Counters, error) {
	var c Counters
	if r.root.unified != "" && r.root.v1 == nil {
		r.readV2(r.root.unified+path, &c)
	} else {
		r.readV1(path, &c)
	}
	if r.root.unified != "" {
		r.readPressure(r.root.unified+path, &c) // on hosts with both, v2 has it alone
	}
	if c.Known&(KnownCPU|KnownMemory|KnownPids) == 0 {
		return c, errNoCgroup
	}
	return c, nil
}

func (r *reader) readPressure(dir string, c *Counters) {
	var some bool
	for _, p := range []struct {
		name string
		to   *Stall
	}{{"cpu.pressure", &c.PressureCPU}, {"memory.pressure", &c.PressureMemory}, {"io.pressure", &c.PressureIO}} {
		if s, ok := pressure(r.file(dir, p.name)); ok {
			*p.to, some = s, true
		}
	}
	if some {
		c.Known |= KnownPressure
	}
}

// one is the number that a file has.
func (r *reader) one(dir, name string, to *uint64) bool {
	n, ok := number(r.file(dir, name))
	if ok {
		*to = n
	}
	return ok
}

const userHz = 100 // of cpuacct.stat; the same for all programs on Linux, whatever the kernel's own is

func (r *reader) readV1(path string, c *Counters) {
	h := r.root
	if dir, ok := h.dir("cpuacct", path); ok && r.one(dir, "cpuacct.usage", &c.CPU) {
		c.Known |= KnownCPU
		p := pairs{r.file(dir, "cpuacct.stat")}
		for key, n, ok := p.next(); ok; key, n, ok = p.next() {
			switch string(key) {
			case "user":
				c.User = n * (1e9 / userHz)
			case "system":
				c.System = n * (1e9 / userHz)
			}
		}
	}
	if dir, ok := h.dir("cpu", path); ok {
		r.throttling(pairs{r.file(dir, "cpu.stat")}, 1, c)
		var quota, period uint64
		// a quota of -1 is no number, so it is none
		if r.one(dir, "cpu.cfs_quota_us", &quota) && r.one(dir, "cpu.cfs_period_us", &period) && period > 0 {
			c.CPULimit = float64(quota) / float64(period)
		}
	}
	if dir, ok := h.dir("memory", path); ok && r.one(dir, "memory.usage_in_bytes", &c.Memory) {
		c.Known |= KnownMemory
		if n, ok := limit(r.file(dir, "memory.limit_in_bytes")); ok {
			c.MemoryLimit = n
		}
		r.memoryStat(dir, c, "total_rss", "total_cache", "total_inactive_file")
		r.oomKills(dir, "memory.oom_control", c)
	}
	if dir, ok := h.dir("blkio", path); ok {
		// bfq counts what it schedules, the other file what a limit was set for
		// on young kernels and everything on old ones: neither alone is enough.
		for _, name := range [...][2]string{
			{"blkio.throttle.io_service_bytes_recursive", "blkio.throttle.io_serviced_recursive"},
			{"blkio.throttle.io_service_bytes", "blkio.throttle.io_serviced"},
			{"blkio.bfq.io_service_bytes_recursive", "blkio.bfq.io_serviced_recursive"}} {
			read, written, ok := blkio(r.file(dir, name[0]))
			if !ok {
				continue
			}
			c.Known |= KnownIO
			if read == 0 && written == 0 {
				continue
			}
			c.ReadBytes, c.WrittenBytes = read, written
			c.Reads, c.Writes, _ = blkio(r.file(dir, name[1]))
			break
		}
	}
	if dir, ok := h.dir("pids", path); ok {
		r.pids(dir, c)
	}
}

func (r *reader) readV2(dir string, c *Counters) {
	text := r.file(dir, "cpu.stat")
	p := pairs{text}
	for key, n, ok := p.next(); ok; key, n, ok = p.next() {
		switch string(key) {
		case "usage_usec":
			c.CPU = n * 1000
			c.Known |= KnownCPU
		case "user_usec":
			c.User = n * 1000
		case "system_usec":
			c.System = n * 1000
		}
	}
	r.throttling(pairs{text}, 1000, c)
	if c.Known&KnownThrottling != 0 {
		quota, period := cut(bytes.TrimSpace(r.file(dir, "cpu.max")), ' ')
		q, ok := number(quota)
		if p, is := number(period); ok && is && p > 0 {
			c.CPULimit = float64(q) / float64(p)
		}
	}
	if r.one(dir, "memory.current", &c.Memory) {
		c.Known |= KnownMemory
		r.one(dir, "memory.max", &c.MemoryLimit)
		r.memoryStat(dir, c, "anon", "file", "inactive_file")
		r.oomKills(dir, "memory.events", c)
	}
	if text := r.file(dir, "io.stat"); text != nil {
		c.Known |= KnownIO
		ioStat(text, c)
	}
	r.pids(dir, c)
}

// throttling reads what the two versions have in common; unit is that of the
// time, in nanoseconds.
func (r *reader) throttling(p pairs, unit uint64, c *Counters) {
	for key, n, ok := p.next(); ok; key, n, ok = p.next() {
		switch string(key) {
		case "nr_periods":
			c.Periods = n
			c.Known |= KnownThrottling
		case "nr_throttled":
			c.ThrottledPeriods = n
		case "throttled_time", "throttled_usec":
			c.Throttled = n * unit
		}
	}
}

func (r *reader) memoryStat(dir string, c *Counters, rss, cache, inactive string) {
	c.WorkingSet = c.Memory
	p := pairs{r.file(dir, "memory.stat")}
	for key, n, ok := p.next(); ok; key, n, ok = p.next() {
		switch string(key) {
		case rss:
			c.RSS = n
		case cache:
			c.Cache = n
		case inactive:
			c.WorkingSet = c.Memory - min(n, c.Memory)
		}
	}
}

func (r *reader) oomKills(dir, name string, c *Counters) {
	p := pairs{r.file(dir, name)}
	for key, n, ok := p.next(); ok; key, n, ok = p.next() {
		if string(key) == "oom_kill" { // kernels before 4.13 do not count them
			c.OOMKills = n
			c.Known |= KnownOOMKills
		}
	}
}

func (r *reader) pids(dir string, c *Counters) {
	if r.one(dir, "pids.current", &c.Pids) {
		c.Known |= KnownPids
		r.one(dir, "pids.max", &c.PidsLimit)
	}
}

// exists says whether there is a folder.
func exists(dir string) bool {
	info, err := os.Stat(dir)
	return err == nil && info.IsDir()
}

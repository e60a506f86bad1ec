package usage

import (
	"cmp"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/shirou/gopsutil/v3/cpu"
	"github.com/shirou/gopsutil/v3/disk"
	"github.com/shirou/gopsutil/v3/load"
	"github.com/shirou/gopsutil/v3/mem"
	"github.com/shirou/gopsutil/v3/net"
)

// A machine is one look at the whole host. What could not be read is missing.
type machine struct {
	cpus        int
	cpu         *cpu.TimesStat // seconds since the start, of all CPUs together
	load        *load.AvgStat
	memory      *mem.VirtualMemoryStat
	oomKills    uint64
	disks       []disk.IOCountersStat // by name
	filesystems []disk.UsageStat      // by mount point
	network     []net.IOCountersStat  // by name
	pressure    *[3]Stall             // cpu, memory, io
}

// most bounds the disks, file systems and interfaces, because each of them has
// series of its own.
const most = 64

// slowly is how often is asked what hardly changes: which disks there are, and
// how full the file systems.
const slowly = time.Minute

// A machineReader remembers what is asked slowly.
type machineReader struct {
	files       *reader
	asked       time.Time
	disks       []string
	filesystems []disk.UsageStat
}

// read looks at the machine. Errors are not told: whatever can be read is.
func (r *machineReader) read(now time.Time) machine {
	m := machine{cpus: runtime.NumCPU()}
	if t, err := cpu.Times(false); err == nil && len(t) > 0 {
		m.cpu = &t[0]
	}
	if l, err := load.Avg(); err == nil {
		m.load = l
	}
	if v, err := mem.VirtualMemory(); err == nil {
		m.memory = v
	}
	if r.asked.IsZero() || now.Sub(r.asked) >= slowly {
		r.asked, r.disks, r.filesystems = now, wholeDisks(), filesystems()
	}
	m.filesystems = r.filesystems
	if len(r.disks) > 0 {
		if all, err := disk.IOCounters(slices.Clone(r.disks)...); err == nil { // it writes into its argument
			for _, d := range all {
				m.disks = append(m.disks, d)
			}
			slices.SortFunc(m.disks, func(a, b disk.IOCountersStat) int { return cmp.Compare(a.Name, b.Name) })
		}
	}
	if all, err := net.IOCounters(true); err == nil {
		all = slices.DeleteFunc(all, func(i net.IOCountersStat) bool { return ofContainers(i.Name) })
		slices.SortFunc(all, func(a, b net.IOCountersStat) int { return cmp.Compare(a.Name, b.Name) })
		m.network = all[:min(len(all), most)]
	}
	r.kernel(&m)
	return m
}

// kernel reads what gopsutil does not know.
func (r *machineReader) kernel(m *machine) {
	p := pairs{r.files.file("/proc", "vmstat")}
	for key, n, ok := p.next(); ok; key, n, ok = p.next() {
		if string(key) == "oom_kill" {
			m.oomKills = n
		}
	}
	var stalls [3]Stall
	var some bool
	for i, name := range [...]string{"cpu", "memory", "io"} {
		if s, ok := pressure(r.files.file("/proc/pressure", name)); ok {
			stalls[i], some = s, true
		}
	}
	if some {
		m.pressure = &stalls
	}
}

// wholeDisks are the names of disks without partitions, which would count the
// same bytes again, and without those that are memory or files.
func wholeDisks() (names []string) {
	entries, err := os.ReadDir("/sys/block")
	if err != nil {
		return nil
	}
	for _, e := range entries {
		if !slices.ContainsFunc([]string{"loop", "ram", "zram", "fd", "sr"}, func(p string) bool { return strings.HasPrefix(e.Name(), p) }) {
			names = append(names, e.Name())
		}
	}
	return names[:min(len(names), most)]
}

// filesystems are the local ones, each once: a network's may not answer.
func filesystems() (list []disk.UsageStat) {
	parts, err := disk.Partitions(false)
	if err != nil {
		return nil
	}
	slices.SortFunc(parts, func(a, b disk.PartitionStat) int { // the shortest of a device's mount points is its own
		return cmp.Or(cmp.Compare(len(a.Mountpoint), len(b.Mountpoint)), cmp.Compare(a.Mountpoint, b.Mountpoint))
	})
	seen := map[string]bool{}
	for _, p := range parts {
		if p.Fstype == "squashfs" || seen[p.Device] || len(list) == most {
			continue
		}
		seen[p.Device] = true
		if info, err := os.Stat(p.Mountpoint); err != nil || !info.IsDir() {
			continue // a file that is mounted into a container
		}
		u, err := disk.Usage(p.Mountpoint)
		if err != nil || u.Total == 0 {
			continue
		}
		list = append(list, *u)
	}
	slices.SortFunc(list, func(a, b disk.UsageStat) int { return cmp.Compare(a.Path, b.Path) })
	return list
}

// ofContainers says whether an interface is loopback, or one of those that come
// and go with containers and carry nothing that a real one does not carry, too.
func ofContainers(name string) bool {
	return name == "lo" || slices.ContainsFunc([]string{"veth", "cali", "lxc", "docker", "br-", "cni", "flannel", "virbr", "ifb", "tunl", "dummy"},
		func(p string) bool { return strings.HasPrefix(name, p) })
}

// hostMounts is /proc/self/mountinfo, "" where there is none.
func hostMounts() string {
	text, err := os.ReadFile(filepath.Join("/proc", "self", "mountinfo"))
	if err != nil {
		return ""
	}
	return string(text)
}

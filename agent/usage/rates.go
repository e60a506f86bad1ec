package usage

import (
	"cmp"
	"slices"

	"github.com/shirou/gopsutil/v3/cpu"

	"mesoscope/agent/status"
)

// rates is what b has more than a, by the second. A counter that went back was
// started anew: then what it has is what was added.
func rates(a, b look) status.Usage {
	u := status.Usage{Time: b.time, Containers: []status.ContainerUsage{}}
	if !a.time.IsZero() {
		u.Seconds = b.time.Sub(a.time).Seconds()
	}
	per := func(before, after float64) float64 {
		if u.Seconds <= 0 {
			return 0
		}
		if after < before {
			before = 0
		}
		return (after - before) / u.Seconds
	}
	u.Machine = machineRates(a.machine, b.machine, per)
	for id, c := range b.containers {
		before, known := a.containers[id]
		if !known {
			before = c // it came between the looks: no rate is known of it
		}
		r := containerRates(before, c, per)
		r.strain(before, c, u.Machine)
		u.Containers = append(u.Containers, r.ContainerUsage)
	}
	slices.SortFunc(u.Containers, func(x, y status.ContainerUsage) int {
		return cmp.Or(cmp.Compare(y.Strain, x.Strain), cmp.Compare(y.LogBytes, x.LogBytes), cmp.Compare(x.App, y.App), cmp.Compare(x.Slot, y.Slot), cmp.Compare(x.ID, y.ID))
	})
	return u
}

type rated struct{ status.ContainerUsage }

func containerRates(a, b *container, per func(before, after float64) float64) rated {
	if !a.Measured || a.Counters.CPU > b.Counters.CPU { // it was not running, or has been started anew
		a = &container{Owner: a.Owner, Counters: b.Counters, Measured: true}
	}
	x, y := a.Counters, b.Counters
	r := rated{status.ContainerUsage{
		ID: b.ID, Name: b.Name, App: b.App, Framework: b.Framework, Task: b.Task, Slot: b.Slot, Measured: b.Measured,
		CPUCores: per(float64(x.CPU), float64(y.CPU)) / 1e9, CPULimit: y.CPULimit,
		Memory: y.Memory, WorkingSet: y.WorkingSet, MemoryLimit: y.MemoryLimit, OOMKills: y.OOMKills,
		Read: per(float64(x.ReadBytes), float64(y.ReadBytes)), Written: per(float64(x.WrittenBytes), float64(y.WrittenBytes)),
		Pids: y.Pids, PidsLimit: y.PidsLimit,
		Lines: per(float64(a.Lines), float64(b.Lines)), LogBytes: per(float64(a.LogBytes), float64(b.LogBytes)),
	}}
	if !b.OOMKilled.IsZero() && !b.Measured {
		r.OOMKills = 1 // at least; the kernel's count has gone with the container
	}
	if n := y.Periods - min(x.Periods, y.Periods); n > 0 {
		r.Throttled = float64(y.ThrottledPeriods-min(x.ThrottledPeriods, y.ThrottledPeriods)) / float64(n)
	}
	if y.Known&KnownPressure != 0 {
		r.Pressure = pressureRates([3]Stall{x.PressureCPU, x.PressureMemory, x.PressureIO}, [3]Stall{y.PressureCPU, y.PressureMemory, y.PressureIO}, per)
	}
	return r
}

// strain finds the worst of what a container does.
func (r *rated) strain(a, b *container, m status.Machine) {
	worst := func(of string, part float64) {
		if part > r.Strain {
			r.Strain, r.StrainOf = min(part, 1), of
		}
	}
	if b.OOMEnded || a.Measured && b.Measured && b.Counters.OOMKills > a.Counters.OOMKills {
		worst("oom", 1)
	}
	if m.CPUs > 0 {
		worst("cpu", r.CPUCores/float64(m.CPUs))
	}
	worst("throttled", r.Throttled)
	room := m.MemoryTotal
	if r.MemoryLimit > 0 && (r.MemoryLimit < room || room == 0) {
		room = r.MemoryLimit
	}
	if room > 0 {
		worst("memory", float64(r.WorkingSet)/float64(room))
	}
}

func machineRates(a, b machine, per func(before, after float64) float64) status.Machine {
	m := status.Machine{CPUs: b.cpus, OOMKills: b.oomKills, Disks: []status.Disk{}, Filesystems: []status.Filesystem{}, Network: []status.Interface{}}
	if a.cpu != nil && b.cpu != nil {
		m.BusyCores, m.StealCores, m.IOWaitCores = per(busy(a.cpu), busy(b.cpu)), per(a.cpu.Steal, b.cpu.Steal), per(a.cpu.Iowait, b.cpu.Iowait)
	}
	if b.load != nil {
		m.Load = [3]float64{b.load.Load1, b.load.Load5, b.load.Load15}
	}
	if v := b.memory; v != nil {
		m.MemoryTotal, m.MemoryAvailable, m.SwapTotal, m.SwapFree = v.Total, v.Available, v.SwapTotal, v.SwapFree
	}
	if b.pressure != nil {
		before := b.pressure
		if a.pressure != nil {
			before = a.pressure
		}
		m.Pressure = pressureRates(*before, *b.pressure, per)
	}
	for _, d := range b.disks {
		for _, o := range a.disks {
			if o.Name == d.Name {
				m.Disks = append(m.Disks, status.Disk{Device: d.Name, Read: per(float64(o.ReadBytes), float64(d.ReadBytes)),
					Written: per(float64(o.WriteBytes), float64(d.WriteBytes)), Busy: min(1, per(float64(o.IoTime), float64(d.IoTime))/1000)})
			}
		}
	}
	for _, f := range b.filesystems {
		m.Filesystems = append(m.Filesystems, status.Filesystem{Mountpoint: f.Path, Size: f.Total, Available: f.Free})
	}
	for _, i := range b.network {
		for _, o := range a.network {
			if o.Name == i.Name {
				m.Network = append(m.Network, status.Interface{Device: i.Name, Received: per(float64(o.BytesRecv), float64(i.BytesRecv)), Sent: per(float64(o.BytesSent), float64(i.BytesSent))})
			}
		}
	}
	return m
}

// busy is the time in which CPUs worked; that of guests is in user and nice.
func busy(t *cpu.TimesStat) float64 {
	return t.User + t.Nice + t.System + t.Irq + t.Softirq
}

func pressureRates(a, b [3]Stall, per func(before, after float64) float64) *status.Pressure {
	one := func(i int) status.Stalled {
		return status.Stalled{Some: min(1, per(float64(a[i].Some), float64(b[i].Some))/1e9), Full: min(1, per(float64(a[i].Full), float64(b[i].Full))/1e9)}
	}
	return &status.Pressure{CPU: one(0), Memory: one(1), IO: one(2)}
}

package usage

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// labels of a container's series. A task's id is new with each task, so it
// stands in mesoscope_container_info alone.
var labels = []string{"app", "framework", "slot"}

var infoDesc = prometheus.NewDesc("mesoscope_container_info", "1; which task and container it is that has these labels now.",
	append(labels, "task", "name", "id", "image"), nil)

// A metric is one number of a T.
type metric[T any] struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	known Known
	value func(*T) float64
}

func counter[T any](known Known, labels []string, name, help string, value func(*T) float64) metric[T] {
	return metric[T]{prometheus.NewDesc(name, help, labels, nil), prometheus.CounterValue, known, value}
}

func gauge[T any](known Known, labels []string, name, help string, value func(*T) float64) metric[T] {
	return metric[T]{prometheus.NewDesc(name, help, labels, nil), prometheus.GaugeValue, known, value}
}

const pre, sec = "mesoscope_container_", 1e9

var containerMetrics = []metric[Counters]{
	counter(KnownCPU, labels, pre+"cpu_usage_seconds_total", "CPU time.", func(c *Counters) float64 { return float64(c.CPU) / sec }),
	counter(KnownCPU, labels, pre+"cpu_user_seconds_total", "CPU time outside of the kernel.", func(c *Counters) float64 { return float64(c.User) / sec }),
	counter(KnownCPU, labels, pre+"cpu_system_seconds_total", "CPU time in the kernel.", func(c *Counters) float64 { return float64(c.System) / sec }),
	counter(KnownThrottling, labels, pre+"cpu_cfs_periods_total", "Periods of the CPU limit.", func(c *Counters) float64 { return float64(c.Periods) }),
	counter(KnownThrottling, labels, pre+"cpu_cfs_throttled_periods_total", "Periods in which the container used up its CPU limit and had to stop.", func(c *Counters) float64 { return float64(c.ThrottledPeriods) }),
	counter(KnownThrottling, labels, pre+"cpu_cfs_throttled_seconds_total", "Time for which the container had to stop, all of its CPUs together.", func(c *Counters) float64 { return float64(c.Throttled) / sec }),
	gauge(KnownThrottling, labels, pre+"cpu_limit_cores", "CPU limit; 0: none.", func(c *Counters) float64 { return c.CPULimit }),
	gauge(KnownMemory, labels, pre+"memory_usage_bytes", "Memory, with the page cache.", func(c *Counters) float64 { return float64(c.Memory) }),
	gauge(KnownMemory, labels, pre+"memory_working_set_bytes", "Memory without inactive files, which the kernel would give back first.", func(c *Counters) float64 { return float64(c.WorkingSet) }),
	gauge(KnownMemory, labels, pre+"memory_rss_bytes", "Anonymous memory.", func(c *Counters) float64 { return float64(c.RSS) }),
	gauge(KnownMemory, labels, pre+"memory_cache_bytes", "Page cache.", func(c *Counters) float64 { return float64(c.Cache) }),
	gauge(KnownMemory, labels, pre+"memory_limit_bytes", "Memory limit; 0: none.", func(c *Counters) float64 { return float64(c.MemoryLimit) }),
	counter(KnownOOMKills, labels, pre+"oom_kills_total", "Processes of the container that were killed for want of memory while it ran on.", func(c *Counters) float64 { return float64(c.OOMKills) }),
	counter(KnownIO, labels, pre+"blkio_read_bytes_total", "Bytes read from disks.", func(c *Counters) float64 { return float64(c.ReadBytes) }),
	counter(KnownIO, labels, pre+"blkio_written_bytes_total", "Bytes written to disks; with cgroup v1 only what was not written through the page cache.", func(c *Counters) float64 { return float64(c.WrittenBytes) }),
	counter(KnownIO, labels, pre+"blkio_reads_total", "Reads from disks.", func(c *Counters) float64 { return float64(c.Reads) }),
	counter(KnownIO, labels, pre+"blkio_writes_total", "Writes to disks.", func(c *Counters) float64 { return float64(c.Writes) }),
	gauge(KnownPids, labels, pre+"pids", "Processes and threads.", func(c *Counters) float64 { return float64(c.Pids) }),
	gauge(KnownPids, labels, pre+"pids_limit", "Most processes and threads; 0: no limit.", func(c *Counters) float64 { return float64(c.PidsLimit) }),
	counter(KnownPressure, labels, pre+"pressure_cpu_waiting_seconds_total", "Time in which some of the container waited for a CPU.", func(c *Counters) float64 { return float64(c.PressureCPU.Some) / sec }),
	counter(KnownPressure, labels, pre+"pressure_memory_waiting_seconds_total", "Time in which some of the container waited for memory.", func(c *Counters) float64 { return float64(c.PressureMemory.Some) / sec }),
	counter(KnownPressure, labels, pre+"pressure_memory_stalled_seconds_total", "Time in which all of the container waited for memory.", func(c *Counters) float64 { return float64(c.PressureMemory.Full) / sec }),
	counter(KnownPressure, labels, pre+"pressure_io_waiting_seconds_total", "Time in which some of the container waited for a disk.", func(c *Counters) float64 { return float64(c.PressureIO.Some) / sec }),
	counter(KnownPressure, labels, pre+"pressure_io_stalled_seconds_total", "Time in which all of the container waited for a disk.", func(c *Counters) float64 { return float64(c.PressureIO.Full) / sec }),
}

var logMetrics = []metric[Owner]{
	counter(0, labels, pre+"log_lines_total", "Lines read from the container's log.", func(o *Owner) float64 { return float64(o.Lines) }),
	counter(0, labels, pre+"log_bytes_total", "Bytes read of the container's log file.", func(o *Owner) float64 { return float64(o.LogBytes) }),
}

// Describe sends what Collect can send.
func (s *Sampler) Describe(ch chan<- *prometheus.Desc) {
	ch <- infoDesc
	ch <- oomEndsDesc
	describe(ch, containerMetrics)
	describe(ch, logMetrics)
	describeMachine(ch)
}

// Collect sends what was seen last. A container that does not run has no series.
func (s *Sampler) Collect(ch chan<- prometheus.Metric) {
	s.mu.Lock()
	l := s.now
	s.mu.Unlock()
	if l.time.IsZero() {
		return
	}
	for _, c := range l.containers {
		if !c.Running && !c.Measured {
			continue
		}
		values := []string{c.App, c.Framework, strconv.Itoa(c.Slot)}
		ch <- prometheus.MustNewConstMetric(infoDesc, prometheus.GaugeValue, 1, append(values[:3:3], c.Task, c.Name, c.ID, c.Image)...)
		send(ch, logMetrics, &c.Owner, values...)
		for _, m := range containerMetrics {
			if c.Counters.Known&m.known != 0 {
				ch <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value(&c.Counters), values...)
			}
		}
	}
	s.oomEnds.collect(ch)
	collectMachine(l.machine, ch)
}

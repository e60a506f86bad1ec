package usage

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/shirou/gopsutil/v3/disk"
	"github.com/shirou/gopsutil/v3/net"
)

var (
	byDevice = []string{"device"}
	byMount  = []string{"mountpoint", "fstype"}

	nodeCPU = prometheus.NewDesc("mesoscope_node_cpu_seconds_total", "CPU time of the machine, all CPUs together, by mode.", []string{"mode"}, nil)
)

var machineMetrics = []metric[machine]{
	gauge(0, nil, "mesoscope_node_cpus", "CPUs of the machine.", func(m *machine) float64 { return float64(m.cpus) }),
	counter(0, nil, "mesoscope_node_oom_kills_total", "Processes of the machine that were killed for want of memory.", func(m *machine) float64 { return float64(m.oomKills) }),
}

// Those of whose source nothing can be read are left out, hence the groups.
var (
	loadMetrics = []metric[machine]{
		gauge(0, nil, "mesoscope_node_load1", "Load average of 1 minute.", func(m *machine) float64 { return m.load.Load1 }),
		gauge(0, nil, "mesoscope_node_load5", "Load average of 5 minutes.", func(m *machine) float64 { return m.load.Load5 }),
		gauge(0, nil, "mesoscope_node_load15", "Load average of 15 minutes.", func(m *machine) float64 { return m.load.Load15 }),
	}
	memoryMetrics = []metric[machine]{
		gauge(0, nil, "mesoscope_node_memory_total_bytes", "Memory of the machine.", func(m *machine) float64 { return float64(m.memory.Total) }),
		gauge(0, nil, "mesoscope_node_memory_available_bytes", "Memory that programs could have without swapping.", func(m *machine) float64 { return float64(m.memory.Available) }),
		gauge(0, nil, "mesoscope_node_memory_free_bytes", "Memory that nothing uses.", func(m *machine) float64 { return float64(m.memory.Free) }),
		gauge(0, nil, "mesoscope_node_swap_total_bytes", "Swap space.", func(m *machine) float64 { return float64(m.memory.SwapTotal) }),
		gauge(0, nil, "mesoscope_node_swap_free_bytes", "Swap space that nothing uses.", func(m *machine) float64 { return float64(m.memory.SwapFree) }),
	}
	pressureMetrics = []metric[machine]{
		counter(0, nil, "mesoscope_node_pressure_cpu_waiting_seconds_total", "Time in which something waited for a CPU.", func(m *machine) float64 { return float64(m.pressure[0].Some) / sec }),
		counter(0, nil, "mesoscope_node_pressure_memory_waiting_seconds_total", "Time in which something waited for memory.", func(m *machine) float64 { return float64(m.pressure[1].Some) / sec }),
		counter(0, nil, "mesoscope_node_pressure_memory_stalled_seconds_total", "Time in which everything waited for memory.", func(m *machine) float64 { return float64(m.pressure[1].Full) / sec }),
		counter(0, nil, "mesoscope_node_pressure_io_waiting_seconds_total", "Time in which something waited for a disk.", func(m *machine) float64 { return float64(m.pressure[2].Some) / sec }),
		counter(0, nil, "mesoscope_node_pressure_io_stalled_seconds_total", "Time in which everything waited for a disk.", func(m *machine) float64 { return float64(m.pressure[2].Full) / sec }),
	}
	diskMetrics = []metric[disk.IOCountersStat]{
		counter(0, byDevice, "mesoscope_node_disk_read_bytes_total", "Bytes read from a disk.", func(d *disk.IOCountersStat) float64 { return float64(d.ReadBytes) }),
		counter(0, byDevice, "mesoscope_node_disk_written_bytes_total", "Bytes written to a disk.", func(d *disk.IOCountersStat) float64 { return float64(d.WriteBytes) }),
		counter(0, byDevice, "mesoscope_node_disk_reads_completed_total", "Reads from a disk.", func(d *disk.IOCountersStat) float64 { return float64(d.ReadCount) }),
		counter(0, byDevice, "mesoscope_node_disk_writes_completed_total", "Writes to a disk.", func(d *disk.IOCountersStat) float64 { return float64(d.WriteCount) }),
		counter(0, byDevice, "mesoscope_node_disk_io_time_seconds_total", "Time in which a disk was busy.", func(d *disk.IOCountersStat) float64 { return float64(d.IoTime) / 1000 }),
	}
	filesystemMetrics = []metric[disk.UsageStat]{
		gauge(0, byMount, "mesoscope_node_filesystem_size_bytes", "Size of a local file system.", func(u *disk.UsageStat) float64 { return float64(u.Total) }),
		gauge(0, byMount, "mesoscope_node_filesystem_avail_bytes", "Bytes that a user other than root could write.", func(u *disk.UsageStat) float64 { return float64(u.Free) }),
		gauge(0, byMount, "mesoscope_node_filesystem_files", "Inodes.", func(u *disk.UsageStat) float64 { return float64(u.InodesTotal) }),
		gauge(0, byMount, "mesoscope_node_filesystem_files_free", "Inodes that nothing uses.", func(u *disk.UsageStat) float64 { return float64(u.InodesFree) }),
	}
	networkMetrics = []metric[net.IOCountersStat]{
		counter(0, byDevice, "mesoscope_node_network_receive_bytes_total", "Bytes received.", func(i *net.IOCountersStat) float64 { return float64(i.BytesRecv) }),
		counter(0, byDevice, "mesoscope_node_network_transmit_bytes_total", "Bytes sent.", func(i *net.IOCountersStat) float64 { return float64(i.BytesSent) }),
		counter(0, byDevice, "mesoscope_node_network_receive_errs_total", "Errors of receiving.", func(i *net.IOCountersStat) float64 { return float64(i.Errin) }),
		counter(0, byDevice, "mesoscope_node_network_transmit_errs_total", "Errors of sending.", func(i *net.IOCountersStat) float64 { return float64(i.Errout) }),
		counter(0, byDevice, "mesoscope_node_network_receive_drop_total", "Packets that were dropped when they came.", func(i *net.IOCountersStat) float64 { return float64(i.Dropin) }),
		counter(0, byDevice, "mesoscope_node_network_transmit_drop_total", "Packets that were dropped when they were sent.", func(i *net.IOCountersStat) float64 { return float64(i.Dropout) }),
	}
)

func describe[T any](ch chan<- *prometheus.Desc, list []metric[T]) {
	for _, m := range list {
		ch <- m.desc
	}
}

func describeMachine(ch chan<- *prometheus.Desc) {
	ch <- nodeCPU
	for _, list := range [][]metric[machine]{machineMetrics, loadMetrics, memoryMetrics, pressureMetrics} {
		describe(ch, list)
	}
	describe(ch, diskMetrics)
	describe(ch, filesystemMetrics)
	describe(ch, networkMetrics)
}

func send[T any](ch chan<- prometheus.Metric, list []metric[T], of *T, labels ...string) {
	for _, m := range list {
		ch <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value(of), labels...)
	}
}

func collectMachine(m machine, ch chan<- prometheus.Metric) {
	send(ch, machineMetrics, &m)
	if t := m.cpu; t != nil {
		for mode, v := range map[string]float64{"user": t.User, "nice": t.Nice, "system": t.System, "idle": t.Idle,
			"iowait": t.Iowait, "irq": t.Irq, "softirq": t.Softirq, "steal": t.Steal} {
			ch <- prometheus.MustNewConstMetric(nodeCPU, prometheus.CounterValue, v, mode)
		}
	}
	if m.load != nil {
		send(ch, loadMetrics, &m)
	}
	if m.memory != nil {
		send(ch, memoryMetrics, &m)
	}
	if m.pressure != nil {
		send(ch, pressureMetrics, &m)
	}
	for i := range m.disks {
		send(ch, diskMetrics, &m.disks[i], m.disks[i].Name)
	}
	for i := range m.filesystems {
		send(ch, filesystemMetrics, &m.filesystems[i], m.filesystems[i].Path, m.filesystems[i].Fstype)
	}
	for i := range m.network {
		send(ch, networkMetrics, &m.network[i], m.network[i].Name)
	}
}

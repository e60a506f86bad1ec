package status

import "time"

// UsagePath is where a Usage is served.
const UsagePath = "/api/v1/usage"

// A Usage is what the machine and its containers use. Rates are those between
// the last two looks.
type Usage struct {
	Node       string           `json:"node"` // host.name
	Time       time.Time        `json:"time,omitzero"`
	Seconds    float64          `json:"seconds"` // between the two looks; 0: there was one only, and no rate is known
	Machine    Machine          `json:"machine"`
	Containers []ContainerUsage `json:"containers"`        // the worst first
	Problem    string           `json:"problem,omitempty"` // why containers cannot be measured
}

// A Machine is the whole host. Memory is in bytes.
type Machine struct {
	CPUs            int          `json:"cpus"`
	BusyCores       float64      `json:"busy_cores"`  // without idle, iowait and steal
	StealCores      float64      `json:"steal_cores"` // taken by other machines of the hypervisor
	IOWaitCores     float64      `json:"iowait_cores"`
	Load            [3]float64   `json:"load"` // of 1, 5 and 15 minutes
	MemoryTotal     uint64       `json:"memory_total"`
	MemoryAvailable uint64       `json:"memory_available"`
	SwapTotal       uint64       `json:"swap_total"`
	SwapFree        uint64       `json:"swap_free"`
	OOMKills        uint64       `json:"oom_kills"`          // since the machine started
	Pressure        *Pressure    `json:"pressure,omitempty"` // nil: the kernel does not tell
	Disks           []Disk       `json:"disks"`
	Filesystems     []Filesystem `json:"filesystems"`
	Network         []Interface  `json:"network"`
}

// A Disk is a whole disk, with bytes a second, and the part of the time in which
// it was busy.
type Disk struct {
	Device  string  `json:"device"`
	Read    float64 `json:"read_bytes_per_second"`
	Written float64 `json:"written_bytes_per_second"`
	Busy    float64 `json:"busy"`
}

// A Filesystem is a local one, in bytes.
type Filesystem struct {
	Mountpoint string `json:"mountpoint"`
	Size       uint64 `json:"size"`
	Available  uint64 `json:"available"`
}

// An Interface is one of the network, without those of containers.
type Interface struct {
	Device   string  `json:"device"`
	Received float64 `json:"received_bytes_per_second"`
	Sent     float64 `json:"sent_bytes_per_second"`
}

// Pressure is the part of the time in which work waited for a resource.
type Pressure struct {
	CPU    Stalled `json:"cpu"`
	Memory Stalled `json:"memory"`
	IO     Stalled `json:"io"`
}

// Stalled is from 0 to 1: some of the work waited, or all of it at once.
type Stalled struct {
	Some float64 `json:"some"`
	Full float64 `json:"full"`
}

// A ContainerUsage is what one container uses. A limit of 0 is none.
type ContainerUsage struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	App       string `json:"app"` // service.name
	Framework string `json:"framework,omitempty"`
	Task      string `json:"task,omitempty"`
	Slot      int    `json:"slot"` // tells the instances of an app on this host apart
	// Measured says that its cgroup was read; without one, only its log is known.
	Measured bool `json:"measured"`

	CPUCores    float64   `json:"cpu_cores"`
	CPULimit    float64   `json:"cpu_limit"`          // cores
	Throttled   float64   `json:"throttled"`          // part of the periods of its CPU limit in which it had to stop
	Memory      uint64    `json:"memory"`             // bytes, with the page cache
	WorkingSet  uint64    `json:"memory_working_set"` // without what the kernel would give back first
	MemoryLimit uint64    `json:"memory_limit"`
	OOMKills    uint64    `json:"oom_kills"` // since its start; 1 (at least) of one that ended by it
	Read        float64   `json:"read_bytes_per_second"`
	Written     float64   `json:"written_bytes_per_second"`
	Pids        uint64    `json:"pids"`
	PidsLimit   uint64    `json:"pids_limit"`
	Pressure    *Pressure `json:"pressure,omitempty"`
	Lines       float64   `json:"lines_per_second"`
	LogBytes    float64   `json:"log_bytes_per_second"` // of its log file

	// Strain is how much it strains the machine or itself, by the worst of what
	// StrainOf can be: "oom" (1, a process was killed since the last look),
	// "cpu" (part of the machine), "throttled" (part of the periods), "memory"
	// (working set, part of the limit, or of the machine).
	Strain   float64 `json:"strain"`
	StrainOf string  `json:"strain_of,omitempty"`
}

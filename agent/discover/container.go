// Package discover finds out what runs on this node and builds one Container
// value for each container from all that is known about it: Docker's files on
// disk, Docker's API, and what an earlier run of the agent wrote down.
//
// The way of the data: a source (files, API) -> one merged set of Containers ->
// the agent, which turns each Container into record.Streams and follows its
// files. A set is always whole: what is missing from it has gone.
package discover

import "time"

// A Container is all that is known about one container. It holds no secrets:
// environment variables come in by an allow-list only.
type Container struct {
	ID      string            `json:"id"`                // 64 hex digits; of a sandbox Mesos' own id, or ids, with a dot between
	Runtime string            `json:"runtime,omitempty"` // RuntimeMesos: its log lies in Sandbox; "": Docker
	Name    string            `json:"name,omitempty"`    // without the leading slash
	Image   Image             `json:"image"`             //
	Labels  map[string]string `json:"labels,omitempty"`  //
	Env     map[string]string `json:"env,omitempty"`     // allow-listed variables only
	Created time.Time         `json:"created,omitzero"`  //
	Running bool              `json:"running,omitempty"` // false: Docker has closed its log file
	TTY     bool              `json:"tty,omitempty"`     //
	// OOMKilled is the end of its last run, if Docker saw a process of it killed
	// for want of memory in it.
	OOMKilled time.Time `json:"oom_killed,omitzero"`
	Network   string    `json:"network,omitempty"` // network mode, e.g. "bridge" or "host"
	Host      string    `json:"host,omitempty"`    // the container's own host name

	// Sandbox is the folder that is mounted at mesos.SandboxTarget, or that of a task
	// without Docker; "" if none.
	Sandbox  string `json:"sandbox,omitempty"`
	Mesos    *Mesos `json:"mesos,omitempty"`    // nil: not of Mesos, as far as is known
	Marathon *App   `json:"marathon,omitempty"` // nil: not of Marathon

	// Dataset and Namespace are where the lines go, if the container chooses
	// it by its labels; "": where all go.
	Dataset   string `json:"dataset,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	// Waiting says that more may be known in a moment: its log is to be held,
	// and not to be read yet.
	Waiting bool `json:"-"`
	// Undecided says of a sandbox that its task may run in Docker.
	Undecided bool `json:"undecided,omitempty"`

	// Driver is Docker's log driver, e.g. "json-file", and DriverOpts its options.
	Driver     string            `json:"driver,omitempty"`
	DriverOpts map[string]string `json:"driver_opts,omitempty"`
	// LogPath is the json-file to follow: Docker's own, or the agent's local
	// copy of a driver that can only be read through the API. Empty: cannot be
	// followed, and Problem says why ("not readable: driver none"). Of a sandbox, its
	// stdout; see Stderr for the other one.
	LogPath string `json:"log_path,omitempty"`
	// ViaAPI says that LogPath is such a copy; the guarantee is weaker then.
	ViaAPI  bool   `json:"via_api,omitempty"`
	Problem string `json:"problem,omitempty"`
	// Lossy says why Docker itself loses lines of this container before anybody
	// can read them: LossyNonBlocking or LossyTruncates. Empty: it does not.
	Lossy string `json:"lossy,omitempty"`

	// From names for each fact where it came from, keyed by the JSON name of
	// the member above: {"name": "docker api", "labels": "config.v2.json"}.
	From map[string]string `json:"from,omitempty"`
}

// An Image is what is known of a container's image.
type Image struct {
	Name string `json:"name,omitempty"` // as given to docker run, without tag: "redis", "reg:5000/team/web"
	Tag  string `json:"tag,omitempty"`  // "7", "latest"; empty if unknown or run by digest
	ID   string `json:"id,omitempty"`   // "sha256:…"
}

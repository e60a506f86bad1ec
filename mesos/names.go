package mesos

import (
	"regexp"
	"strings"
)

const uuid = `[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`

// containerName: "mesos-<container>" up to 0.22 and since 1.4,
// "mesos-<agent>.<container>" between; ".executor" is behind it where the agent
// itself runs in Docker.
var containerName = regexp.MustCompile(`^mesos-(?:([0-9a-zA-Z-]+-S\d+)\.)?(` + uuid + `)(\.executor)?$`)

// A ContainerName is what the name says that an agent gives a Docker container.
type ContainerName struct {
	AgentID     string // "" if the name has none
	ContainerID string // Mesos' own
	// Executor says that this is not the task's own container: the agent runs
	// in Docker, and in this one runs the executor that waits for the task and
	// prints what that prints.
	Executor bool
}

// ParseContainerName reads a container's name, without its leading slash.
func ParseContainerName(name string) (ContainerName, bool) {
	m := containerName.FindStringSubmatch(name)
	if m == nil {
		return ContainerName{}, false
	}
	return ContainerName{m[1], m[2], m[3] != ""}, true
}

// SandboxTarget is where a task finds its sandbox in its Docker container.
const SandboxTarget = "/mnt/mesos/sandbox"

// A Sandbox is what the path of a sandbox says. FrameworkID and ExecutorID are
// empty where the agent had to mount a link, because Docker takes no path with
// a colon.
type Sandbox struct {
	AgentID, FrameworkID, ExecutorID, ContainerID string
}

var (
	sandboxPath = regexp.MustCompile(`/slaves/([^/]+)/frameworks/([^/]+)/executors/([^/]+)/runs/([^/]+)$`)
	linkPath    = regexp.MustCompile(`/slaves/([^/]+)/docker/links/([^/]+)$`)
)

// ParseSandbox reads the path of an executor's sandbox,
// <work_dir>/slaves/A/frameworks/F/executors/E/runs/C.
func ParseSandbox(path string) (Sandbox, bool) {
	path = strings.TrimSuffix(path, "/")
	if m := sandboxPath.FindStringSubmatch(path); m != nil {
		return Sandbox{m[1], m[2], m[3], m[4]}, true
	}
	if m := linkPath.FindStringSubmatch(path); m != nil {
		return Sandbox{AgentID: m[1], ContainerID: m[2]}, true
	}
	return Sandbox{}, false
}

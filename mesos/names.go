package mesos

import (
	"regexp"
	"strings"
)

const uuid = `[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`

// containerName: "mesos-<container>" up to 0.22 and since 1.4,
// "mesos-<agent>.<container>" between; ".executor" is behind it where the agent
// itself runs in Docker.
var containerName = regexp.MustCompile(`^mesos-(?:([0-9a-zA-Z-]+-S\d+)\.)?(` + uuid + `)(?:\.executor)?$`)

// ContainerName cuts the name that an agent gives a Docker container, without
// its leading slash, into the agent's id ("" if the name has none) and Mesos'
// own id of the container.
func ContainerName(name string) (agentID, containerID string, ok bool) {
	m := containerName.FindStringSubmatch(name)
	if m == nil {
		return "", "", false
	}
	return m[1], m[2], true
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

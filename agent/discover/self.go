package discover

import (
	"os"
	"regexp"
	"strings"
)

var (
	// cgroupID finds the id in a line of /proc/self/cgroup: ".../docker/<id>"
	// or ".../docker-<id>.scope".
	cgroupID = regexp.MustCompile(`/(?:docker-)?([0-9a-f]{64})(?:\.scope)?$`)
	// mountID finds it in /proc/self/mountinfo, where cgroup v2 hides it from
	// the first: Docker mounts /etc/hostname from the container's directory.
	mountID = regexp.MustCompile(`/containers/([0-9a-f]{64})/(?:hostname|hosts|resolv\.conf) /etc/`)
)

// A self is what this process runs as. Its output is not followed, or each line
// that it ships could make it print another one.
type self struct {
	container string // Docker's id; "": in none
	app       string // of Marathon: its tasks here that have ended were this process, too
	sandbox   string // of a task without Docker
}

func whoAmI() self {
	return self{container: selfID(), app: os.Getenv("MARATHON_APP_ID"), sandbox: os.Getenv("MESOS_DIRECTORY")}
}

// is says whether c is, or was, this process.
func (s self) is(c *Container) bool {
	return s.container != "" && c.ID == s.container ||
		s.app != "" && c.Marathon != nil && c.Marathon.ID == s.app ||
		s.sandbox != "" && c.Sandbox == s.sandbox
}

// selfID is the id of the container in which this process runs; "" if in none
// or on a system without /proc.
func selfID() string {
	cgroup, _ := os.ReadFile("/proc/self/cgroup")
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	return findID(string(cgroup), string(mounts))
}

func findID(cgroup, mounts string) string {
	for line := range strings.Lines(cgroup) {
		if m := cgroupID.FindStringSubmatch(strings.TrimSpace(line)); m != nil {
			return m[1]
		}
	}
	if m := mountID.FindStringSubmatch(mounts); m != nil {
		return m[1]
	}
	return ""
}

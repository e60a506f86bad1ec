package usage

import (
	"cmp"
	"os"
	"strings"
)

// A hierarchy is where cgroups are mounted. A container has the same path below
// each of them.
type hierarchy struct {
	v1      map[string]string // mount point by controller; nil: there is only v2
	unified string            // mount point of v2; "": none
}

// mounts finds the hierarchies among the mounts of this process, in the form of
// /proc/self/mountinfo:
//
//	33 31 0:30 / /sys/fs/cgroup/cpuacct rw,relatime - cgroup cgroup rw,cpuacct
//
// In a container there may be two of a kind: its own, and the host's, which
// somebody has mounted for us. The host's begins further up.
func mounts(mountinfo string) *hierarchy {
	h := &hierarchy{}
	best := map[string]int{}
	for line := range strings.Lines(mountinfo) {
		left, right, ok := strings.Cut(strings.TrimSpace(line), " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if !ok || len(l) < 5 || len(r) < 3 {
			continue
		}
		root, point := l[3], unescape(l[4])
		above := 1
		switch {
		case strings.HasPrefix(root, "/.."):
			above = 3
		case root == "/":
			above = 2
		}
		better := func(name string) bool {
			if above <= best[name] {
				return false
			}
			best[name] = above
			return true
		}
		switch r[0] {
		case "cgroup2":
			if better("") {
				h.unified = point
			}
		case "cgroup":
			for _, name := range strings.Split(r[2], ",") {
				if controllers[name] && better(name) {
					if h.v1 == nil {
						h.v1 = map[string]string{}
					}
					h.v1[name] = point
				}
			}
		}
	}
	return h
}

// controllers are those of v1 that are read.
var controllers = map[string]bool{"cpu": true, "cpuacct": true, "memory": true, "blkio": true, "pids": true}

// unescape reads the octal escapes of a mount point.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

func (h *hierarchy) there() bool { return h.unified != "" || len(h.v1) > 0 }

// dir is the folder of a container in the hierarchy of a controller.
func (h *hierarchy) dir(controller, path string) (string, bool) {
	point, ok := h.v1[controller]
	return point + path, ok
}

// base is the hierarchy in which containers are looked for.
func (h *hierarchy) base() string {
	for _, name := range []string{"memory", "cpuacct", "cpu", "pids", "blkio"} {
		if point, ok := h.v1[name]; ok {
			return point
		}
	}
	return h.unified
}

// usual is where Docker puts containers unless it is told otherwise: by itself,
// or through systemd.
func (h *hierarchy) usual(id string) (path string, ok bool) {
	for _, path := range []string{"/docker/" + id, "/system.slice/docker-" + id + ".scope"} {
		if exists(h.base() + path) {
			return path, true
		}
	}
	return "", false
}

// maxDepth is how deep below the root containers are looked for: Kubernetes has
// them four deep, and Docker may itself run in a container.
const maxDepth = 8

// find looks for containers in the whole tree, and calls found with the path of
// each one that is wanted.
func (h *hierarchy) find(wanted map[string]bool, found func(id, path string)) {
	left := len(wanted)
	var walk func(path string, depth int)
	walk = func(path string, depth int) {
		entries, err := os.ReadDir(h.base() + path)
		if err != nil {
			return // it has gone meanwhile
		}
		for _, e := range entries {
			if left == 0 {
				return
			}
			if !e.IsDir() {
				continue
			}
			below := path + "/" + e.Name()
			// Mesos calls those of its containerizer by their bare ids.
			if id := cmp.Or(containerID(e.Name()), e.Name()); wanted[id] {
				found(id, below)
				left--
			} else if depth > 1 {
				walk(below, depth-1)
			}
		}
	}
	walk("", maxDepth)
}

// containerID is the id in the name of a cgroup: "<id>", "docker-<id>.scope"; ""
// if there is none.
func containerID(name string) string {
	name = strings.TrimSuffix(name, ".scope")
	if len(name) < 64 {
		return ""
	}
	id := name[len(name)-64:]
	if len(name) > 64 && name[len(name)-65] != '-' {
		return ""
	}
	for _, c := range id {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return ""
		}
	}
	return id
}

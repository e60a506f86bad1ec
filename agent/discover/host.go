package discover

import (
	"net"
	"os"
	"slices"
	"strings"
)

// A Host is this machine and the agent on it, as every document names them.
type Host struct {
	Name     string   // node.name, else the host name
	Hostname string   // as the system has it
	IPs      []string // without loopback, link-local and the bridges of container engines
	Agent    Agent
}

// An Agent is the process that reads the lines.
type Agent struct {
	Version     string
	ID          string // stable over restarts
	EphemeralID string // of this process
}

// NewHost asks the system. name overrides the host's name ("" does not).
func NewHost(name string, agent Agent) (Host, error) {
	hostname, err := os.Hostname()
	if err != nil && name == "" {
		return Host{}, err // os says which call failed
	}
	if hostname == "" {
		hostname = name
	}
	if name == "" {
		name = hostname
	}
	h := Host{Name: name, Hostname: hostname, Agent: agent}
	interfaces, err := net.Interfaces()
	if err != nil {
		return h, nil // a host without addresses is no reason to ship no lines
	}
	for _, i := range interfaces {
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagLoopback != 0 || engineBridge(i.Name) {
			continue
		}
		addrs, _ := i.Addrs()
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
				h.IPs = append(h.IPs, n.IP.String())
			}
		}
	}
	slices.Sort(h.IPs)
	h.IPs = slices.Compact(h.IPs)
	return h, nil
}

// engineBridge says whether an interface belongs to a container engine or
// hypervisor: its address is the same on every host and identifies none.
func engineBridge(name string) bool {
	for _, prefix := range []string{"docker", "br-", "veth", "virbr", "cni", "flannel", "cali", "vxlan", "podman", "lxcbr", "lxdbr", "m-dcos", "d-dcos"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

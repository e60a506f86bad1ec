package target

import (
	"context"
	"strings"
	"time"

	"mesoscope/mesos"
)

// Marathon is one Marathon, by any of its URLs.
type Marathon struct {
	Client    *mesos.MarathonClient
	Framework string // its name in labels
}

// Name names it in messages.
func (m *Marathon) Name() string { return "marathon " + m.Client.URL() }

// Every is how often it is asked.
func (m *Marathon) Every() time.Duration { return 10 * time.Second }

// Hints listens to Marathon's events.
func (m *Marathon) Hints(ctx context.Context, hint func()) error {
	return m.Client.Events(ctx, func(string, string) { hint() })
}

// Find asks for all apps and their tasks.
func (m *Marathon) Find(ctx context.Context) (Set, error) {
	apps, err := m.Client.Apps(ctx)
	if err != nil {
		return Set{}, err
	}
	var out Set
	for _, a := range apps {
		minimum := 1.0
		if c := a.Upgrade.MinimumHealthCapacity; c != nil {
			minimum = *c
		}
		out.Apps = append(out.Apps, App{ID: a.ID, Labels: a.Labels, Framework: m.Framework, Expected: a.Instances, Minimum: minimum, Deploying: len(a.Deployments) > 0})
		for _, t := range a.Tasks {
			if !expected(t) {
				continue
			}
			i := Instance{
				ID: t.ID, App: a.ID, Task: t.ID, Host: t.Host, Framework: m.Framework, Image: a.Container.Docker.Image,
				Labels: a.Labels, Health: imported(a.Checks, t.Results), Started: t.StartedAt,
			}
			i.Address, i.Ports = endpoints(a, t)
			out.Instances = append(out.Instances, i)
		}
	}
	return out, nil
}

// expected says whether a task should answer. One that cannot be reached is
// expected all the more.
func expected(t mesos.AppTask) bool {
	switch t.State {
	case "TASK_RUNNING", "TASK_UNREACHABLE":
		return true
	case "": // an old Marathon: it has started, or not yet
		return !t.StartedAt.IsZero()
	}
	return false
}

// endpoints are a task's address and its ports. In host and bridge mode they
// are on the host, in the order of the definition; in a network of its own they
// are the container's.
func endpoints(a mesos.AppState, t mesos.AppTask) (string, []Port) {
	mappings := a.Container.PortMappings
	if mappings == nil {
		mappings = a.Container.Docker.PortMappings
	}
	mode := strings.ToLower(a.Container.Docker.Network)
	for _, n := range a.Networks {
		mode = n.Mode
	}
	own := mode == "container" || mode == "user" || a.IPAddress != nil
	var ports []Port
	if own && len(t.IPAddresses) > 0 {
		for _, p := range mappings {
			ports = append(ports, Port{Number: p.ContainerPort, Name: p.Name})
		}
		if a.IPAddress != nil && len(ports) == 0 {
			for _, p := range a.IPAddress.Discovery.Ports {
				ports = append(ports, Port{Number: p.Number, Name: p.Name})
			}
		}
		return t.IPAddresses[0].IPAddress, ports
	}
	if own { // what is mapped to the host can be reached without its address
		var mapped []mesos.PortDefinition
		for _, p := range mappings {
			if p.HostPort != nil {
				mapped = append(mapped, p)
			}
		}
		mappings = mapped
	}
	for n, number := range t.Ports {
		p := Port{Number: number}
		switch {
		case n < len(mappings):
			p.Name, p.Container = mappings[n].Name, mappings[n].ContainerPort
		case n < len(a.PortDefinitions):
			p.Name = a.PortDefinitions[n].Name
		}
		ports = append(ports, p)
	}
	return t.Host, ports
}

// imported are the checks that can be done from here. A COMMAND is not run: what
// Marathon knows of it is the result.
func imported(list []mesos.HealthCheck, results []mesos.HealthResult) (out []Health) {
	for n, c := range list {
		kind := strings.ToLower(strings.TrimPrefix(c.Protocol, "MESOS_"))
		if kind == "" {
			kind = "http" // Marathon's default
		}
		if kind != "http" && kind != "https" && kind != "tcp" && kind != "command" {
			continue
		}
		seconds := func(n int) time.Duration { return time.Duration(n) * time.Second }
		h := Health{Kind: kind, Path: c.Path, Port: c.Port, PortIndex: c.PortIndex,
			Grace: seconds(c.Grace), Interval: seconds(c.Interval), Timeout: seconds(c.Timeout), MaxFailures: c.MaxFailures}
		if kind == "command" && len(results) == len(list) { // else nobody knows which is whose
			h.Known, h.Alive, h.Cause = true, results[n].Alive, results[n].Cause
		}
		out = append(out, h)
	}
	return out
}

package target

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"mesoscope/mesos"
)

// Master is a Mesos master, which knows the tasks of all frameworks and all
// machines. What Marathon tells of its own tasks is more, so that comes before.
type Master struct {
	Client *mesos.MasterClient
}

// Name names it in messages.
func (m *Master) Name() string { return "mesos " + m.Client.URL() }

// Every is how often it is asked.
func (m *Master) Every() time.Duration { return 10 * time.Second }

// Find asks for all agents and tasks.
func (m *Master) Find(ctx context.Context) (Set, error) {
	agents, err := m.Client.Agents(ctx)
	if err != nil {
		return Set{}, err
	}
	tasks, err := m.Client.Tasks(ctx)
	if err != nil {
		return Set{}, err
	}
	out := Set{Instances: []Instance{}}
	hosts := map[string]string{}
	for _, a := range agents {
		hosts[a.ID] = a.Hostname
		out.Hosts = append(out.Hosts, a.Hostname)
	}
	slices.Sort(out.Hosts)
	out.Hosts = slices.Compact(out.Hosts)
	for _, t := range tasks {
		if t.State == "TASK_RUNNING" || t.State == "TASK_UNREACHABLE" {
			out.Instances = append(out.Instances, fromMaster(t, hosts[t.Agent]))
		}
	}
	return out, nil
}

// fromMaster makes an instance of a task. The app is what its id tells, else
// its name.
func fromMaster(t mesos.MasterTask, host string) Instance {
	i := Instance{ID: t.ID, App: t.Name, Task: t.ID, Host: host, Framework: t.Framework, Image: t.Container.Docker.Image, Address: host, Labels: map[string]string{}, Started: t.Since()}
	if name, ok := mesos.ParseTaskID(t.ID); ok && name.Sure {
		i.App, i.Framework = name.App, string(name.Scheduler)
	}
	for _, l := range t.Labels {
		i.Labels[l.Key] = l.Value
	}
	for _, s := range t.Statuses {
		if s.State != "TASK_RUNNING" {
			continue
		}
		own := t.Container.Docker.Network == "USER" || slices.ContainsFunc(t.Container.Networks, func(n struct {
			Name string `json:"name"`
		}) bool {
			return n.Name != ""
		})
		for _, n := range s.Container.Networks {
			if own && len(n.Addresses) > 0 {
				i.Address = n.Addresses[0].IP
			}
		}
	}
	for _, p := range t.Container.Docker.PortMappings {
		switch {
		case i.Address != host:
			i.Ports = append(i.Ports, Port{Number: p.ContainerPort})
		case p.HostPort != 0:
			i.Ports = append(i.Ports, Port{Number: p.HostPort, Container: p.ContainerPort})
		}
	}
	names := map[int]string{}
	for _, p := range t.Discovery.Ports.Ports {
		names[p.Number] = p.Name
		if i.Address != host && len(t.Container.Docker.PortMappings) == 0 {
			i.Ports = append(i.Ports, Port{Number: p.Number})
		}
	}
	if i.Ports == nil && i.Address == host {
		for _, n := range ranges(t.Resources.Ports) {
			i.Ports = append(i.Ports, Port{Number: n})
		}
	}
	for n := range i.Ports {
		i.Ports[n].Name = cmp.Or(names[i.Ports[n].Number], names[i.Ports[n].Container])
	}
	return i
}

// maxPorts bounds what one task can make of a range.
const maxPorts = 100

// ranges reads "[31000-31001, 31005-31005]".
func ranges(text string) (list []int) {
	for part := range strings.SplitSeq(strings.Trim(text, "[]"), ",") {
		from, to, _ := strings.Cut(strings.TrimSpace(part), "-")
		low, err := strconv.Atoi(from)
		high, err2 := strconv.Atoi(to)
		if err != nil || err2 != nil {
			continue
		}
		for n := low; n <= high && len(list) < maxPorts; n++ {
			list = append(list, n)
		}
	}
	return list
}

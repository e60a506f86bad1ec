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

// Find asks for all tasks and machines.
func (m *Master) Find(ctx context.Context) (Set, error) {
	tasks, hosts, err := m.Client.Cluster(ctx)
	if err != nil {
		return Set{}, err
	}
	out := Set{Instances: []Instance{}, Hosts: hosts}
	for _, t := range tasks {
		if t.State == "TASK_RUNNING" || t.State == "TASK_UNREACHABLE" {
			out.Instances = append(out.Instances, fromMaster(t))
		}
	}
	return out, nil
}

// fromMaster makes an instance of a task. The app is what its id tells, else
// its name.
func fromMaster(t mesos.MasterTask) Instance {
	i := Instance{ID: t.ID, App: t.Name, Task: t.ID, Host: t.Host, Framework: cmp.Or(t.Framework.Name, t.Framework.ID), Image: t.Image,
		Address: cmp.Or(t.Address, t.Host), Labels: t.Labels, Started: t.Since}
	if name, ok := mesos.ParseTaskID(t.ID); ok && name.Sure {
		i.App = name.App
	}
	if t.Address != "" {
		for _, n := range t.Inside {
			if !slices.ContainsFunc(i.Ports, func(p Port) bool { return p.Number == n }) {
				i.Ports = append(i.Ports, Port{Number: n, Name: t.PortNames[n]})
			}
		}
		return i
	}
	for _, text := range t.Ports {
		i.Ports = append(i.Ports, mapped(text, t.PortNames)...)
	}
	return i
}

// maxPorts bounds what one task can make of a range.
const maxPorts = 100

// mapped reads "31000->80/tcp", "31000" and "31000-31050".
func mapped(text string, names map[int]string) (list []Port) {
	outer, inner, isMapped := strings.Cut(text, "->")
	from, to, isRange := strings.Cut(outer, "-")
	low, err := strconv.Atoi(from)
	if err != nil {
		return nil
	}
	high := low
	if isRange {
		high, _ = strconv.Atoi(to)
	}
	inner, _, _ = strings.Cut(inner, "/")
	container, _ := strconv.Atoi(inner)
	for n := low; n <= high && len(list) < maxPorts; n++ {
		p := Port{Number: n, Name: cmp.Or(names[n], names[container])}
		if isMapped {
			p.Container = container
		}
		list = append(list, p)
	}
	return list
}

package agent

import (
	"cmp"
	"context"
	"strings"
	"time"

	"mesoscope/agent/discover"
	"mesoscope/agent/status"
	"mesoscope/agent/tail"
	"mesoscope/agent/usage"
)

// Owners lists the containers that are there, whether they are followed or not,
// and whose they are.
func (a *Agent) Owners() []usage.Owner {
	read := map[string]tail.Source{}
	for _, s := range a.tail.Sources() {
		read[s.ID] = s
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	list := make([]usage.Owner, 0, len(a.containers))
	a.each(func(c discover.Container) {
		o := owner(c)
		for _, source := range sourcesOf(c) { // of one that is excluded nothing was read
			o.Lines, o.LogBytes = o.Lines+read[source].ReadLines, o.LogBytes+read[source].ReadBytes
		}
		list = append(list, o)
	})
	for id, c := range a.oomKilled {
		if time.Since(c.OOMKilled) > remember {
			delete(a.oomKilled, id)
		} else if known := a.containers[id]; known == nil || known.gone {
			list = append(list, owner(c))
		}
	}
	return list
}

// remember is for how long a container that ended for want of memory is told of
// when it has gone: until the Sampler has looked once more.
const remember = usage.Rarest + usage.Every

func owner(c discover.Container) usage.Owner {
	o := usage.Owner{ID: c.ID, Name: c.Name, App: discover.ServiceName(c), Image: c.Image.Name, Created: c.Created, Running: c.Running, OOMKilled: c.OOMKilled}
	if c.Image.Tag != "" {
		o.Image += ":" + c.Image.Tag
	}
	if m := c.Mesos; m != nil {
		o.Framework, o.Task = cmp.Or(m.FrameworkName, m.FrameworkID), m.TaskID
	}
	o.App, o.Name, o.Image = valid(o.App), valid(o.Name), valid(o.Image)
	o.Framework, o.Task = valid(o.Framework), valid(o.Task)
	return o
}

// valid makes UTF-8 of what others wrote: a label that is not fails the whole
// answer to Prometheus.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// Instances lists the containers that are there, and where they can be reached.
// Docker is asked for what changes all the time; without its answer, that is
// missing.
func (a *Agent) Instances(ctx context.Context) []status.Instance {
	listed, err := a.discover.List(ctx)
	if err != nil {
		a.log.Debug("docker does not tell the ports and states of containers", "error", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	var list []status.Instance
	add := func(c discover.Container) {
		o, l := owner(c), listed[c.ID]
		i := status.Instance{App: o.App, Node: a.host.Name, Framework: o.Framework, Task: o.Task, Container: o.Name, ID: o.ID, Image: o.Image,
			Version: discover.ServiceVersion(c), Running: o.Running, State: cmp.Or(l.Status, "exited"), Since: o.Created, Ports: l.Ports}
		if o.Running && l.Status == "" {
			i.State = "running"
		}
		if !o.Running && !o.OOMKilled.IsZero() {
			i.State = "out of memory, " + i.State
		}
		if len(i.Ports) == 0 {
			i.Ports = discover.HostPorts(c)
		}
		list = append(list, i)
	}
	a.each(add)
	return list
}

// each calls use with each container that is there, also with those whose lines
// are not wanted. a.mu is held.
func (a *Agent) each(use func(discover.Container)) {
	for _, c := range a.containers {
		if !c.gone {
			use(c.known)
		}
	}
	for _, e := range a.discover.Excluded() {
		if a.containers[e.ID] == nil {
			use(e.Of)
		}
	}
}

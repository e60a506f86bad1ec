package agent

import (
	"cmp"
	"slices"
	"strings"

	"mesoscope/agent/discover"
	"mesoscope/agent/status"
)

// Explain says of each container that name may mean what its lines carry, and
// where it is from. name is the container's name, the beginning of its id, its
// Mesos task or Mesos' own id of the container.
func (a *Agent) Explain(name string) []status.Explained {
	list := []status.Explained{}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.containers {
		k := c.known
		m := discover.Mesos{}
		if k.Mesos != nil {
			m = *k.Mesos
		}
		if name != k.Name && name != m.TaskID && name != m.ContainerID && !strings.HasPrefix(k.ID, name) {
			continue
		}
		k.Waiting = c.Waiting
		e := status.Explained{ID: k.ID, Name: k.Name, State: "followed", Notes: discover.Notes(k)}
		switch {
		case a.discover.Excludes(k.ID):
			e.State = "excluded"
		case c.gone:
			e.State = "gone"
		case k.LogPath == "":
			e.State = "not readable"
		}
		for _, f := range discover.Explain(k, a.host, a.opt.Dataset, a.opt.Namespace) {
			e.Fields = append(e.Fields, status.Field(f))
		}
		list = append(list, e)
	}
	for _, x := range a.discover.Excluded() {
		if (name == x.Name || strings.HasPrefix(x.ID, name)) && !slices.ContainsFunc(list, func(e status.Explained) bool { return e.ID == x.ID }) {
			list = append(list, status.Explained{ID: x.ID, Name: x.Name, State: "excluded", Notes: []string{"A rule keeps it out: " + x.Rule + "."}})
		}
	}
	slices.SortFunc(list, func(x, y status.Explained) int { return cmp.Or(cmp.Compare(x.Name, y.Name), cmp.Compare(x.ID, y.ID)) })
	return list
}

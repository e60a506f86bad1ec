package discover

import (
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"time"

	"mesoscope/mesos"
)

// enrich adds to c what Mesos and Marathon know of it, and decides whether its
// lines wait for that.
func (d *Discoverer) enrich(c *Container) {
	old, before := d.joined[c.ID]
	if !before {
		old = d.recall(c.ID)
	}
	c.remember(old)
	if app := c.Marathon; d.apps == nil && app != nil && app.Switches != nil {
		next := *app
		next.Switches = nil // nobody would ever say that they are gone
		c.Marathon = &next
	}
	c.identify()
	if c.ofMesos() {
		if d.tasks != nil {
			d.tasks.join(c)
		}
		if m := c.Mesos; m != nil && m.FrameworkName == "" && d.frameworks[m.FrameworkID] != "" {
			next := *m
			c.fact(&next.FrameworkName, keyFrameName, d.frameworks[m.FrameworkID], fromEarlier, false)
			c.Mesos = &next
			c.identifyApp()
		}
	}
	if d.apps != nil && c.Marathon != nil {
		d.apps.join(c)
	}
	if c.ofMesos() || !before { // else what is written down would be read each time
		d.joined[c.ID] = Container{Mesos: c.Mesos, Marathon: c.Marathon, From: mesosFacts(c.From)}
	}
	if c.Mesos != nil && c.Runtime == "" {
		d.inDocker(c.Mesos.ContainerID)
	}
	d.wait(c)
	c.choose()
}

// mesosFacts are the origins that remember takes over.
func mesosFacts(from map[string]string) map[string]string {
	c := Container{}
	c.remember(Container{From: from})
	return c.From
}

// wait lets the lines of a container that has just come wait for a moment, if
// Mesos or Marathon may know more of it then.
func (d *Discoverer) wait(c *Container) {
	task := d.mesos != nil && c.ofMesos() && !c.joined()
	app := d.apps != nil && c.Marathon != nil && !d.apps.knows(c.Marathon.ID)
	if !task && !app {
		delete(d.asking, c.ID)
		return
	}
	since, seen := d.since[c.ID]
	if !seen {
		since = time.Now()
		d.since[c.ID] = since
	}
	limit := mesosGrace
	if c.From[keyTask] == fromQueued {
		limit = mesosLate // the task cannot have printed anything yet
	}
	age := time.Since(since)
	c.Waiting = age < limit
	if age >= mesosLate {
		delete(d.asking, c.ID)
		return
	}
	next := since.Add(mesosLate)
	if c.Waiting {
		next = since.Add(limit)
	}
	d.asking[c.ID] = asking{task: task, next: next}
	if task {
		d.mesos.ask()
	}
}

// asking is for a container of which Mesos or Marathon may come to know more.
// An answer builds it again, and so does time, at next; in between there is
// nothing to build, which counts where thousands of containers are asked for.
type asking struct {
	task bool // it is the Mesos agent that is asked
	next time.Time
}

// askOn goes on asking, and returns the containers whose time has come.
func (d *Discoverer) askOn() (due []string) {
	task, now := false, time.Now()
	for id, a := range d.asking {
		task = task || a.task
		if !now.Before(a.next) {
			due = append(due, id)
		}
	}
	if task {
		d.mesos.ask()
	}
	return due
}

// takeState takes over a new state of the Mesos agent.
func (d *Discoverer) takeState(s *mesos.State) {
	if s.Recovering && d.tasks != nil {
		return // it has told more before
	}
	before := d.tasks
	if before == nil {
		before = newDirectoryOfTasks(&mesos.State{})
	}
	d.tasks = newDirectoryOfTasks(s)
	used := make(map[string]bool)
	for _, e := range s.Executors {
		used[e.Framework.ID] = true
		if e.Framework.Name != "" {
			d.frameworks[e.Framework.ID] = e.Framework.Name
		}
	}
	for id, c := range maps.Clone(d.joined) {
		m := c.Mesos
		if m == nil {
			continue
		}
		used[m.FrameworkID] = true
		if m.FrameworkName == "" || before.agentID != d.tasks.agentID || !reflect.DeepEqual(before.find(m), d.tasks.find(m)) {
			d.touch(id)
		}
	}
	maps.DeleteFunc(d.frameworks, func(id, _ string) bool { return !used[id] })
}

// touchApps builds those containers again that Marathon may know.
func (d *Discoverer) touchApps() {
	for id, c := range maps.Clone(d.joined) {
		if c.Marathon != nil {
			d.touch(id)
		}
	}
}

// forget drops what was known of a container that has gone.
func (d *Discoverer) forget(id string) {
	delete(d.joined, id)
	delete(d.since, id)
	delete(d.asking, id)
	d.switchedOn(id)
}

// running are the apps of which there are containers here.
func (d *Discoverer) running() map[string]bool {
	ids := make(map[string]bool)
	for _, c := range d.joined {
		if c.Marathon != nil {
			ids[c.Marathon.ID] = true
		}
	}
	return ids
}

// recall is what an earlier run wrote down of a container.
func (d *Discoverer) recall(id string) Container {
	if d.opt.OffDir != "" {
		if c, err := ReadContainer(filepath.Join(d.opt.OffDir, id)); err == nil {
			return c
		}
	}
	if d.opt.Recall == nil {
		return Container{}
	}
	c, _ := d.opt.Recall(id)
	return c
}

// switchedOff writes down that c does not want to be read: after a restart, its
// lines must not be taken for wanted because Mesos cannot be asked.
func (d *Discoverer) switchedOff(c Container) {
	if d.opt.OffDir == "" || !c.ofMesos() {
		return // Docker will say it again
	}
	dir := filepath.Join(d.opt.OffDir, c.ID)
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		err = WriteContainer(dir, c)
	}
	if err != nil {
		d.log.Warn("that a container is switched off cannot be written down", "container", c.ID, "err", err)
	}
}

func (d *Discoverer) switchedOn(id string) {
	if d.opt.OffDir == "" {
		return
	}
	if err := os.RemoveAll(filepath.Join(d.opt.OffDir, id)); err != nil {
		d.log.Warn("that a container was switched off cannot be forgotten", "container", id, "err", err)
	}
}

// clearOff forgets the containers that have gone while no agent ran.
func (d *Discoverer) clearOff() {
	entries, err := os.ReadDir(d.opt.OffDir)
	if err != nil {
		return // there is none
	}
	for _, e := range entries {
		_, listed := d.listed[e.Name()]
		if d.files.known[e.Name()] == nil && !listed && isID(e.Name()) {
			d.switchedOn(e.Name())
		}
	}
}

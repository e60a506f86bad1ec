package discover

import (
	"maps"
	"time"

	"mesoscope/mesos"
)

// enrich adds to c what Mesos and Marathon know of it, and decides whether its
// lines wait for that.
func (d *Discoverer) enrich(c *Container) {
	old, before := d.joined[c.ID]
	if !before && d.opt.Recall != nil {
		old, _ = d.opt.Recall(c.ID)
	}
	c.remember(old)
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
	if c.ofMesos() {
		d.joined[c.ID] = Container{Mesos: c.Mesos, Marathon: c.Marathon, From: mesosFacts(c.From)}
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
// Mesos may know more of it then.
func (d *Discoverer) wait(c *Container) {
	if !d.mesos.expected() || !c.ofMesos() || c.joined() {
		return
	}
	since, seen := d.since[c.ID]
	if !seen {
		since = time.Now()
		d.since[c.ID] = since
	}
	if time.Since(since) < mesosGrace {
		c.Waiting = true
		d.again[c.ID] = true
		d.mesos.ask()
	}
}

// takeState takes over a new state of the Mesos agent.
func (d *Discoverer) takeState(s *mesos.State) {
	d.tasks = newDirectoryOfTasks(s)
	for _, e := range s.Executors {
		if e.Framework.Name != "" {
			d.frameworks[e.Framework.ID] = e.Framework.Name
		}
	}
	d.touchTasks()
}

// touchTasks builds those containers again that Mesos or Marathon may know.
func (d *Discoverer) touchTasks() {
	for id := range maps.Clone(d.joined) {
		d.touch(id)
	}
}

// forget drops what was known of a container that has gone.
func (d *Discoverer) forget(id string) {
	delete(d.joined, id)
	delete(d.since, id)
}

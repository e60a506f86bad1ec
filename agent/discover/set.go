package discover

import (
	"cmp"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"time"
)

// lookAll reads the whole folder.
func (d *Discoverer) lookAll() {
	if d.watch != nil {
		_ = d.watch.watchRoot(d.files.dir) // before the look, or a container may come between the two; an error shows there too
	}
	changed, err := d.files.lookAll()
	if err != nil {
		d.m.errors.WithLabelValues("files").Inc()
		d.filesOK = false
		d.once("files", func() {
			d.log.Warn("docker's containers folder cannot be read; looking again every 5 s, what was known stays",
				"folder", d.files.dir, "socket", d.opt.Docker.Socket, "err", err)
		})
		return
	}
	if d.said["files"] {
		delete(d.said, "files")
		d.log.Info("docker's containers folder is there", "folder", d.files.dir)
	}
	if d.filesOK, d.answered = true, true; len(d.set) == 0 {
		d.clearOff()
	}
	for _, id := range changed {
		d.touch(id)
		if dir := d.files.known[id]; dir != nil && dir.torn && d.files.look(id) {
			d.touch(id) // see lookAt
		}
	}
	if d.back != nil {
		for _, id := range d.back.ids() {
			d.touch(id)
		}
	}
}

func (d *Discoverer) lookAt(id string) {
	known := d.files.known[id] != nil
	if d.filesOK {
		d.files.look(id)
	}
	d.touch(id)
	// Only now is a new directory watched. What Docker put there in between was
	// seen by nobody.
	if d.filesOK && !known && d.files.look(id) {
		d.touch(id)
	}
}

func (d *Discoverer) lookAgain() {
	ids := d.again
	d.again = make(map[string]bool)
	for _, id := range slices.Concat(d.files.torn(), d.askOn()) {
		ids[id] = true
	}
	for id := range ids {
		d.lookAt(id)
	}
}

// take replaces what the API said.
func (d *Discoverer) take(list map[string]Container) {
	old := d.listed
	d.listed, d.answered = list, true
	for id := range old {
		if _, still := list[id]; !still {
			d.touch(id)
		}
	}
	for id, c := range list {
		if before, had := old[id]; !had || !reflect.DeepEqual(before, c) {
			d.touch(id)
		}
	}
	if v := d.engine.Load(); v != nil && *v != d.version {
		d.version = *v // what happens to logs depends on it
		for _, id := range slices.Collect(maps.Keys(d.set)) {
			d.touch(id)
		}
	}
}

// touch builds the Container again from all sources and notes whether it
// differs from the one in the set.
func (d *Discoverer) touch(id string) {
	c, why := d.build(id)
	d.mu.Lock()
	if why.Rule != "" {
		d.excluded[id] = why
	} else {
		delete(d.excluded, id)
	}
	d.mu.Unlock()
	old, had := d.set[id]
	switch {
	case c.ID == "" && had:
		delete(d.set, id)
		d.dirty = true
		if why.Rule == "" {
			d.forget(id)
		}
	case c.ID == "" && why.Rule == "":
		d.forget(id)
	case c.ID != "" && (!had || !reflect.DeepEqual(old, c)):
		d.set[id] = c
		d.dirty = true
	}
}

// build merges what the sources say of one container. The zero Container says
// that it has gone, or why it is excluded.
func (d *Discoverer) build(id string) (c Container, _ Excluded) {
	if d.boxes != nil {
		if box, ok := d.boxes.known[id]; ok {
			return d.buildSandbox(id, box)
		}
	}
	dir := d.files.known[id]
	listed, isListed := d.listed[id]
	switch {
	case dir != nil:
		d.onDisk[id] = true
		c = dir.c
		if isListed {
			c = merge(c, listed)
		}
		if d.watch != nil {
			if err := d.watch.watchContainer(id, filepath.Join(d.files.dir, id)); err != nil {
				d.m.errors.WithLabelValues("watch").Inc()
				d.log.Warn("changes of containers are seen late, up to 30 s; raise fs.inotify.max_user_watches", "err", err)
			}
		}
	case isListed && !d.onDisk[id]: // the folder is out of reach; else the directory's end is the container's
		c = listed
	default:
		if !isListed {
			delete(d.onDisk, id)
		}
		if d.back == nil {
			return Container{}, Excluded{}
		}
		c, _ = d.back.leftover(id)
		return c, Excluded{}
	}
	d.enrich(&c)
	if rule := d.excludedBy(&c); rule != "" {
		if d.back != nil {
			d.back.drop(id)
		}
		if rule == disabledRule {
			d.switchedOff(c)
		}
		return Container{}, Excluded{ID: id, Name: c.Name, Rule: rule, Of: c}
	}
	if d.Excludes(id) {
		d.switchedOn(id)
	}
	if c.Name == "" && dir != nil && time.Since(dir.first) < nameGrace {
		d.again[id] = true
		c.Waiting = true // a name or a label may exclude it
	}
	d.place(&c, dir != nil)
	c.Lossy = lossy(&c, d.version)
	return c, Excluded{}
}

func (d *Discoverer) excludedBy(c *Container) string {
	switch {
	case d.self.is(c) && !c.enabled():
		return selfRule
	case c.pause():
		return pauseRule
	case c.repeats():
		return executorRule
	case c.disabled():
		return disabledRule
	}
	for _, r := range d.rules {
		if r.matches(c) {
			return r.text
		}
	}
	return ""
}

// whole is the set to send.
func (d *Discoverer) whole() []Container {
	all := make([]Container, 0, len(d.set))
	for _, c := range d.set {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b Container) int { return cmp.Compare(a.ID, b.ID) })
	d.m.containers.Set(float64(len(all)))
	d.m.countLossy(d.set)
	if d.apps != nil {
		d.apps.only(d.running())
	}
	return all
}

// once runs say the first time that it is called for the key.
func (d *Discoverer) once(key string, say func()) {
	if !d.said[key] {
		d.said[key] = true
		say()
	}
}

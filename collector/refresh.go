package collector

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"time"

	"mesoscope/checks/schedule"
	"mesoscope/collector/check"
	"mesoscope/collector/declare"
	"mesoscope/collector/state"
	"mesoscope/collector/target"
)

// seen is an instance and which checks were declared of it, so that this is
// done again only if it has changed. The checks themselves are in entries.
type seen struct {
	instance target.Instance
	ids      []string
	findings []finding
}

// appSeen is an app and who is told about it.
type appSeen struct {
	target.App
	owner check.Owner
}

// A finding is a declaration that cannot be used.
type finding struct{ app, host, check, text string }

// overlayFile is checks.yml, of which the last good form counts.
type overlayFile struct {
	path, stamp string
	good        *declare.Overlay
	problem     string // of the newest form
}

func (f *overlayFile) moved() bool { return f.path != "" && f.stamp != stamp(f.path) }

// read takes the file again if it has changed.
func (f *overlayFile) read() (changed bool, err error) {
	if !f.moved() {
		return false, nil
	}
	f.stamp = stamp(f.path)
	o, err := declare.ReadOverlay(f.path)
	if err != nil {
		f.problem = err.Error()
		return false, err
	}
	f.good, f.problem = o, ""
	return true, nil
}

// stamp changes when a file does.
func stamp(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return "none"
	}
	return fmt.Sprint(info.ModTime().UnixNano(), info.Size())
}

// refresh makes what is found and declared now the checks that run.
func (c *Collector) refresh(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.finder == nil {
		return
	}
	changed, err := c.file.read()
	switch {
	case err != nil:
		c.log.Error("checks.yml is bad; the last good one stays in force", "error", err)
	case changed:
		c.log.Info("checks.yml is read", "file", c.file.path)
		c.anew = true
	}
	c.secrets = c.secretStamps()
	set, sources, ready := c.finder.All()
	c.ready = c.ready || ready || len(set.Instances) > 0
	if !ready {
		keepOld(&set, c.targets, sources)
	}
	c.targets, c.found = set, true
	o := c.setup.Declare
	o.Overlay, o.More = c.file.good, c.overrides.entries()
	c.declare(&o, set, now)
}

// declare makes entries, states and jobs of all instances.
func (c *Collector) declare(o *declare.Options, set target.Set, now time.Time) {
	c.findings = nil
	var all []declare.Check
	groups := map[string]string{}
	run := func(instance string, d declare.Check) {
		groups[instance] = d.App + "\x00" + d.Host
		all = append(all, d)
	}
	take := func(i target.Instance, list []declare.Declared) (ids []string, findings []finding) {
		for _, d := range list {
			switch {
			case d.Problem != "":
				findings = append(findings, finding{i.App, i.Host, d.Name, d.Problem})
			case !d.Off:
				ids = append(ids, d.Check.ID)
				run(i.ID, d.Check)
			}
		}
		c.findings = append(c.findings, findings...)
		return ids, findings
	}
	next := make(map[string]*seen, len(set.Instances))
	hosts := map[string]bool{}
	for _, h := range set.Hosts {
		hosts[h] = true
	}
	for _, i := range set.Instances {
		hosts[i.Host] = true
		s := c.seen[i.ID]
		if s != nil && !c.anew && reflect.DeepEqual(s.instance, i) {
			c.findings = append(c.findings, s.findings...)
			for _, id := range s.ids {
				run(i.ID, c.entries[id].declared())
			}
			next[i.ID] = s
			continue
		}
		s = &seen{instance: i}
		declared, problems := o.Instance(i)
		s.ids, s.findings = take(i, declared)
		for _, p := range problems {
			f := finding{i.App, i.Host, "", p.Where + ": " + p.Text}
			s.findings, c.findings = append(s.findings, f), append(c.findings, f)
		}
		next[i.ID] = s
	}
	c.seen, c.anew = next, false
	if o.Overlay != nil {
		for _, e := range o.Overlay.Hosts {
			if !wild(e.Pattern) {
				hosts[e.Pattern] = true
			}
		}
	}
	for _, h := range slices.Sorted(maps.Keys(hosts)) {
		take(target.Instance{ID: declare.HostInstance(h), Host: h}, o.Hosts(h))
	}
	for _, s := range o.Static() {
		take(s.Instance, []declare.Declared{s.Declared})
	}
	c.apps = make(map[string]appSeen, len(set.Apps))
	for _, a := range set.Apps {
		c.apps[a.Framework+"\x00"+a.ID] = appSeen{a, o.Owner(a.ID, a.Labels)}
	}
	c.enter(all, groups, now)
}

func wild(pattern string) bool { return slices.Contains([]byte(pattern), '*') }

// enter makes the checks that run these.
func (c *Collector) enter(all []declare.Check, groups map[string]string, now time.Time) {
	slots := c.book.Slots(groups, now)
	rules := make(map[string]state.Rule, len(all))
	entries := make(map[string]*entry, len(all))
	jobs := make([]schedule.Job, 0, len(all))
	targets := make(map[string]string, len(all))
	for _, d := range all {
		d.Slot = slots[instanceOf(d.ID)]
		e := c.entries[d.ID]
		if e == nil {
			e = &entry{id: d.ID}
		}
		e.set(d, c.labelsOf(d.Definition))
		entries[d.ID] = e
		rules[d.ID], targets[d.ID] = d.Rule, d.Run.Address
		jobs = append(jobs, c.job(e, d.Definition))
	}
	c.book.Set(rules, now)
	for id, e := range entries {
		if st, ok := c.book.Get(id); ok && c.entries[id] == nil {
			e.mu.Lock()
			e.event.State, e.event.At = st, st.Since
			e.mu.Unlock()
		}
	}
	c.entries = entries
	c.order = slices.SortedFunc(maps.Values(entries), func(a, b *entry) int { return cmp.Compare(a.id, b.id) })
	c.scheduler.Set(jobs)
	tight := readRoom("/proc/sys/net").tooTight(jobs, targets)
	if tight != "" && c.tight == "" {
		c.log.Warn("the kernel has too little room for so many checks", "why", tight)
	}
	c.tight = tight
}

// instanceOf is the part of a check's id that names its instance.
func instanceOf(id string) string {
	for i := len(id) - 1; i >= 0; i-- {
		if id[i] == '#' {
			return id[:i]
		}
	}
	return id
}

// Apps are all apps that discovery knows, by id.
func (c *Collector) Apps() []check.App {
	c.mu.Lock()
	order, apps := c.order, c.apps
	running := map[string]int{}
	for _, i := range c.targets.Instances {
		running[i.Framework+"\x00"+i.App]++
	}
	c.mu.Unlock()
	bad := map[string]map[string]bool{} // by app: the instances with a check that is CRITICAL
	for _, e := range order {
		e.mu.Lock()
		critical, key := e.event.State.Status == state.Critical, e.event.Framework+"\x00"+e.event.App
		e.mu.Unlock()
		if critical {
			if bad[key] == nil {
				bad[key] = map[string]bool{}
			}
			bad[key][instanceOf(e.id)] = true
		}
	}
	out := make([]check.App, 0, len(apps))
	for key, a := range apps {
		out = append(out, check.App{ID: a.ID, Framework: a.Framework, Owner: a.owner, Expected: a.Expected, Running: running[key],
			Reachable: running[key] - len(bad[key]), Minimum: a.Minimum})
	}
	slices.SortFunc(out, func(a, b check.App) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Framework, b.Framework))
	})
	return out
}

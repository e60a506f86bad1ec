package collector

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"mesoscope/collector/check"
	"mesoscope/collector/declare"
	"mesoscope/collector/state"
	"mesoscope/collector/status"
	"mesoscope/collector/target"
	"mesoscope/internal/version"
)

func (c *Collector) cluster() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.setup.Declare.Cluster
}

// badness orders what must be seen first.
func badness(s state.Status) int {
	return [...]int{state.Critical: 0, state.Warning: 1, state.Unknown: 2, state.Pending: 3, state.OK: 4}[s]
}

// Checks are all checks whose app matches a pattern ("" = all), the worst
// first, of equal ones those that have been so for longest.
func (c *Collector) Checks(app string) []status.Check {
	list := []status.Check{}
	for _, e := range c.Events() {
		if app == "" || declare.Match(app, e.App) {
			list = append(list, view(e))
		}
	}
	slices.SortStableFunc(list, func(a, b status.Check) int {
		return cmp.Or(cmp.Compare(badness(a.Status), badness(b.Status)), a.Since.Compare(b.Since), cmp.Compare(a.ID, b.ID))
	})
	return list
}

func view(e check.Event) status.Check {
	v := status.Check{
		ID: e.ID, Name: e.Name, Kind: e.Kind, App: e.App, Framework: e.Framework, Host: e.Host, Slot: e.Slot, Task: e.Task, Target: e.Target, Team: e.Owner.Team,
		Status: e.State.Status, Previous: e.State.Previous, Since: e.State.Since, FirstBad: e.State.FirstBad, LastGood: e.State.LastGood, Last: e.State.Last,
		Text: e.Result.Text, DurationMS: float64(e.Result.Duration.Microseconds()) / 1000,
		Flapping: e.State.Flapping, Stale: e.State.Stale, Guessed: e.Guessed, From: e.From,
	}
	if e.Result.Duration > 0 {
		v.Result = e.Result.State.String()
	}
	if e.State.Stale {
		v.Text = fmt.Sprintf("no result since %s; the last one: %s", e.State.Last.UTC().Format(time.RFC3339), v.Text)
	}
	return v
}

// Status is how the collector is.
func (c *Collector) Status() status.Status {
	c.mu.Lock()
	st := status.Status{
		Kind: status.Kind, Version: version.Version, Node: c.o.Vantage, Cluster: c.setup.Declare.Cluster, UptimeSeconds: time.Since(c.started).Seconds(),
		By: map[string]int{}, Problems: []string{}, Findings: []status.Finding{}, Apps: []status.App{},
	}
	if c.file.problem != "" {
		st.Problems = append(st.Problems, "checks.yml is bad, the last good one is in force: "+c.file.problem)
	}
	if c.tight != "" {
		st.Problems = append(st.Problems, c.tight)
	}
	findings := c.findings
	c.mu.Unlock()
	st.Sources = c.Sources()
	for _, s := range st.Sources {
		switch {
		case s.Stale:
			st.Problems = append(st.Problems, fmt.Sprintf("%s fails, its %d targets are those of %s: %s", s.Source, s.Instances, s.Good.UTC().Format(time.RFC3339), s.Error))
		case s.Error != "":
			st.Problems = append(st.Problems, fmt.Sprintf("%s has not answered yet: %s", s.Source, s.Error))
		}
	}
	s := c.scheduler.Stats()
	if s.Hung > 0 {
		st.Problems = append(st.Problems, fmt.Sprintf("%d checks hang and have been given up", s.Hung))
	}
	if n := c.changes.Lost(); n > 0 {
		st.Problems = append(st.Problems, fmt.Sprintf("%d changes were lost because an output is too slow", n))
	}
	for _, e := range c.Events() {
		st.Checks++
		st.By[e.State.Status.String()]++
	}
	for _, a := range c.Apps() {
		if a.Running < a.Expected || a.Reachable < a.Running {
			st.Apps = append(st.Apps, status.App{ID: a.ID, Framework: a.Framework, Expected: a.Expected, Running: a.Running, Reachable: a.Reachable})
		}
	}
	of := map[finding]int{}
	for _, f := range findings {
		if f.app != "" {
			f.host = "" // the same for all instances
		}
		if of[f]++; of[f] == 1 {
			st.Findings = append(st.Findings, status.Finding{App: f.app, Host: f.host, Check: f.check, Text: f.text})
		}
	}
	for i, f := range st.Findings {
		st.Findings[i].Instances = of[finding{f.App, f.Host, f.Check, f.Text}]
	}
	return st
}

// Explain says of the checks of apps or hosts that a pattern matches where each
// value comes from.
func (c *Collector) Explain(pattern string) []status.Explained {
	type key struct{ app, host, check, problem string }
	worst := map[string]state.Status{}
	for _, e := range c.Events() {
		worst[e.ID] = e.State.Status
	}
	c.mu.Lock()
	o := c.setup.Declare
	o.Overlay, o.More = c.file.good, c.overrides.entries()
	instances, others := c.targets.Instances, c.targets.Hosts
	c.mu.Unlock()
	o = o.WithValues()
	at := map[key]int{}
	list := []status.Explained{}
	add := func(i target.Instance, d declare.Declared) {
		k := key{i.App, "", d.Name, d.Problem}
		if i.App == "" {
			k.host = i.Host
		}
		st := "refused"
		switch {
		case d.Off:
			st = "off"
		case d.Problem == "":
			st = worst[d.Check.ID].String()
		}
		n, there := at[k]
		if !there {
			n = len(list)
			at[k] = n
			list = append(list, status.Explained{App: k.app, Host: k.host, Check: d.Name, Status: st, Problem: d.Problem, Values: d.Values})
		}
		e := &list[n]
		e.Instances++
		var a, b state.Status
		if a.UnmarshalText([]byte(e.Status)) == nil && b.UnmarshalText([]byte(st)) == nil && badness(b) < badness(a) {
			e.Status = st
		}
	}
	hosts := map[string]bool{}
	for _, h := range others {
		hosts[h] = true
	}
	for _, i := range instances {
		hosts[i.Host] = true
		if !declare.Match(pattern, i.App) {
			continue
		}
		declared, problems := o.Instance(i)
		for _, d := range declared {
			add(i, d)
		}
		for _, p := range problems {
			add(i, declare.Declared{Name: "-", Problem: p.Where + ": " + p.Text})
		}
	}
	for h := range hosts {
		if declare.Match(pattern, h) {
			for _, d := range o.Hosts(h) {
				add(target.Instance{Host: h}, d)
			}
		}
	}
	for _, s := range o.Static() {
		if declare.Match(pattern, s.Instance.App) && s.Instance.App != "" || declare.Match(pattern, s.Name) {
			add(target.Instance{App: s.Instance.App, Host: s.Check.Host}, s.Declared)
		}
	}
	slices.SortStableFunc(list, func(a, b status.Explained) int {
		return cmp.Or(cmp.Compare(a.App, b.App), cmp.Compare(a.Host, b.Host), strings.Compare(a.Check, b.Check))
	})
	return list
}

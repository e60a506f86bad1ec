// Package declare says what is checked of an instance, and how:
//
//	image's name, Marathon's healthChecks, Datadog's labels, mesoscope.check.*, overlay file, overlay API
//	   --one value of one check after another, the later one counts--> values with their origin
//	   --build--> check.Definition and a checks.Target, or what is wrong with it
//
// Labels are written by the owners of apps, who are not trusted: their checks
// reach their own instance and ports only, read no file, and start nothing (see
// trust.go). What is wrong with a check disables that check alone; it is a
// problem to be shown, never an alarm.
package declare

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"mesoscope/checks"
	"mesoscope/collector/check"
	"mesoscope/collector/target"
)

// Options are what the collector's own configuration says. Cluster is part of
// each Definition.
type Options struct {
	Cluster      string
	Overlay      *Overlay // nil: none
	More         []Entry  // of the overlay's API, behind the file
	Credentials  map[string]Credential
	LabelTargets []netip.Prefix // where labels may point to besides their own instance
	ExecAllow    string         // the folder below which programs may be started; "" = none
	ExecUser     string         // whom they run as; "" = as we do

	explain bool // Declared.Values are wanted
}

// A Credential is a name and a password that checks can choose by its name.
type Credential struct {
	Apps         []string // patterns of the apps that may
	Username     string
	PasswordFile string
}

// A Check is what can be run.
type Check struct {
	check.Definition
	Run checks.Target
	// Said, if not nil, is the result: somebody else runs the check.
	Said   *checks.Result
	SaidBy string // the source of targets
}

// A Value is one setting of a check, and who made it.
type Value struct {
	Key   string `json:"key"`
	Value string `json:"value"`
	From  string `json:"from"`
}

// A Declared is a check as it was declared. Exactly one of Off, Problem and
// Check says something.
type Declared struct {
	Name    string
	Off     bool
	Problem string // why it is not run
	Check   Check
	Values  []Value // WithValues: sorted by key
}

// A Problem is a label or an entry that belongs to no check.
type Problem struct {
	Where, Text string
}

// maxChecks bounds what one app can make us do.
const maxChecks = 64

// WithValues are Options that say of each value where it comes from, which
// takes room.
func (o Options) WithValues() Options {
	o.explain = true
	return o
}

// Instance says which checks an instance has, sorted by name. Slots are not set.
func (o *Options) Instance(i target.Instance) ([]Declared, []Problem) {
	d := o.gather(i.App, i)
	if len(d.checks) > maxChecks {
		d.problems = append(d.problems, Problem{i.ID, fmt.Sprintf("it has %d checks, at most %d are run", len(d.checks), maxChecks)})
		return nil, d.problems
	}
	return o.buildAll(d, i), d.problems
}

// Owner is who is told about an app as a whole.
func (o *Options) Owner(app string, labels map[string]string) check.Owner {
	d := o.gather(app, target.Instance{App: app, Labels: labels})
	owner, _ := ownerOf(d.app, nil)
	return owner
}

// gather puts all layers on each other.
func (o *Options) gather(app string, i target.Instance) *declared {
	d := &declared{checks: map[string]values{}, app: values{}}
	d.image(i)
	d.health(i)
	d.datadog(i)
	d.consul(i)
	d.file(i)
	d.labels(i)
	if app != "" {
		if o.Overlay != nil {
			d.entries(o.Overlay.Apps, app)
		}
		d.entries(o.More, app)
	}
	d.dropGeneral()
	d.dropGuesses()
	return d
}

func (o *Options) buildAll(d *declared, i target.Instance) []Declared {
	var out []Declared
	for _, name := range slices.Sorted(maps.Keys(d.checks)) {
		out = append(out, o.build(name, d.checks[name], d.app, i))
	}
	return out
}

// Hosts are the checks that the overlay has for a host.
func (o *Options) Hosts(host string) []Declared {
	if o.Overlay == nil {
		return nil
	}
	d := &declared{checks: map[string]values{}, app: values{}}
	d.entries(o.Overlay.Hosts, host)
	return o.buildAll(d, target.Instance{ID: HostInstance(host), Host: host, Address: host, Trusted: true})
}

// HostInstance is the id that stands for a host among instances.
func HostInstance(host string) string { return "host " + host }

// A StaticCheck is one of the overlay's section static.
type StaticCheck struct {
	Instance target.Instance
	Declared
}

// Static are the checks of the overlay that belong to no instance.
func (o *Options) Static() []StaticCheck {
	if o.Overlay == nil {
		return nil
	}
	var out []StaticCheck
	for _, s := range o.Overlay.Static {
		i := target.Instance{ID: "static " + s.Name, App: s.App, Host: s.Host, Trusted: true, Origin: s.From}
		out = append(out, StaticCheck{i, o.build(s.Name, s.values, values{}, i)})
	}
	return out
}

// declared is what all layers say of one instance.
type declared struct {
	checks   map[string]values
	app      values // ownership of the whole app
	problems []Problem
}

// A value is a setting before it is looked at.
type value struct {
	text    string
	from    string
	trusted bool // it was written by whoever runs the collector
	general bool // it is said of many apps: of those without that check it means nothing
}

// values are the settings of a check by key: kind, path, port, interval, a
// kind's options, expect, expect.2, warning.<metric>, team, …
type values map[string]value

// set makes a later layer's value count. Another kind makes a check another
// one: of the one before only when it runs and who is told stays.
func (d *declared) set(name, key string, v value) {
	c := d.checks[name]
	if c == nil {
		c = values{}
		d.checks[name] = c
	}
	if before, had := c["kind"]; key == "kind" && had && before.text != v.text && v.text != off {
		maps.DeleteFunc(c, func(k string, _ value) bool { return !scheduling[k] && !owning[k] && k != "kind" })
	}
	c[key] = v
}

// off as kind turns a check off.
const off = "off"

// entries applies the overlay's entries that match.
func (d *declared) entries(list []Entry, name string) {
	for _, e := range list {
		if !Match(e.Pattern, name) {
			continue
		}
		maps.Copy(d.app, e.app)
		for _, c := range e.checks {
			if kind, ok := c.values["kind"]; ok { // first, as it may end what others say
				d.set(c.name, "kind", kind)
			}
			for key, v := range c.values {
				v.general = strings.Contains(e.Pattern, "*")
				d.set(c.name, key, v)
			}
		}
	}
}

// dropGeneral removes what would change checks of many apps and has found none
// here.
func (d *declared) dropGeneral() {
	maps.DeleteFunc(d.checks, func(_ string, c values) bool {
		if _, there := c["kind"]; there {
			return false
		}
		for _, v := range c {
			if !v.general {
				return false
			}
		}
		return true
	})
}

// dropGuesses removes what only the image's name suggests where somebody has
// declared a check of that kind.
func (d *declared) dropGuesses() {
	kinds := map[string]bool{}
	for _, c := range d.checks {
		if !c.guessed() {
			kinds[baseKind(c["kind"].text)] = true
		}
	}
	maps.DeleteFunc(d.checks, func(_ string, c values) bool { return c.guessed() && kinds[c["kind"].text] })
}

func (c values) guessed() bool { return strings.HasPrefix(c["kind"].from, fromImage) }

// list is for people and machines that ask where each value comes from.
func (c values) list() []Value {
	var out []Value
	for key, v := range c {
		out = append(out, Value{key, discreet(key, v.text), v.from})
	}
	slices.SortFunc(out, func(a, b Value) int {
		return cmp.Or(cmp.Compare(first(a.Key), first(b.Key)), cmp.Compare(a.Key, b.Key))
	})
	return out
}

// first puts what a check is before how it is done.
func first(key string) int {
	if n := slices.Index([]string{"kind", "target", "path", "port", "port_index", "port_name"}, key); n >= 0 {
		return n
	}
	return 99
}

// Match says whether a pattern with * (any text, slashes too) is about a name.
func Match(pattern, name string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == name
	}
	rest, ok := strings.CutPrefix(name, parts[0])
	if !ok {
		return false
	}
	last := parts[len(parts)-1]
	for _, p := range parts[1 : len(parts)-1] {
		at := strings.Index(rest, p)
		if at < 0 {
			return false
		}
		rest = rest[at+len(p):]
	}
	return strings.HasSuffix(rest, last)
}

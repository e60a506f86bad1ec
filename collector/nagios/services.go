package nagios

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"mesoscope/checks"
	"mesoscope/collector/check"
	"mesoscope/collector/state"
)

// A Service is one check of an app as Nagios sees it: all instances in one.
// Checks of hosts and static ones are services too.
type Service struct {
	Host     string        `json:"host_name"`
	Name     string        `json:"service_description"`
	App      string        `json:"app,omitempty"`
	Check    string        `json:"check"`
	Status   state.Status  `json:"status"` // OK, WARNING, CRITICAL or UNKNOWN
	Text     string        `json:"text"`   // one line
	Long     []string      `json:"long,omitempty"`
	Perfdata string        `json:"perfdata"`
	Team     string        `json:"team,omitempty"`
	Runbook  string        `json:"runbook,omitempty"`
	Interval time.Duration `json:"interval_ns"`
}

// Output is what a plugin prints: the status, the text, numbers, and further
// lines about the worst instances.
func (s Service) Output() string {
	out := fmt.Sprintf("%s: %s | %s", s.Status, s.Text, s.Perfdata)
	if len(s.Long) > 0 {
		out += "\n" + strings.Join(s.Long, "\n")
	}
	return out
}

// escape makes one line of a plugin's output, as Nagios wants passive results.
func escape(output string) string {
	return strings.NewReplacer(`\`, `\\`, "\n", `\n`).Replace(output)
}

// group is what belongs to one service.
type group struct{ app, subject, check string }

func (g group) raw() string { return strings.TrimSpace(g.subject + " " + g.check) }

func services(o Options) []Service {
	apps := map[string]check.App{}
	if o.Apps != nil {
		for a := range o.Apps {
			if b, twice := apps[a.ID]; twice { // two frameworks, one name
				a.Expected, a.Minimum = a.Expected+b.Expected, max(a.Minimum, b.Minimum)
			}
			apps[a.ID] = a
		}
	}
	groups := map[group][]check.Event{}
	if o.Events != nil {
		for e := range o.Events {
			g := group{e.App, cmp.Or(e.App, e.Host), e.Name}
			groups[g] = append(groups[g], e)
		}
	}
	raw := make([]string, 0, len(groups))
	for g := range groups {
		raw = append(raw, g.raw())
	}
	names := Names(raw)
	list := make([]Service, 0, len(groups))
	for g, events := range groups {
		s := judge(events, apps[g.app])
		s.Host, s.Name, s.App, s.Check = clean("mesoscope-"+o.Cluster), names[g.raw()], g.app, g.check
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b Service) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// counts are instances by how they are.
type counts struct{ ok, warning, critical, unknown, pending int }

// judge makes one verdict of all instances. It is critical when none can be
// reached, or fewer than the app's owner wants; a warning when any is bad.
// One that has no verdict yet counts as reachable, as in check.App.
// app is zero for checks that belong to none.
func judge(events []check.Event, app check.App) (s Service) {
	var n counts
	slowest := time.Duration(0)
	for _, e := range events {
		switch e.State.Status {
		case state.OK:
			n.ok++
		case state.Warning:
			n.warning++
		case state.Critical:
			n.critical++
		case state.Pending:
			n.pending++
		default:
			n.unknown++
		}
		slowest = max(slowest, e.Result.Duration)
		s.Interval = max(s.Interval, e.Interval, least)
		s.Team, s.Runbook = cmp.Or(s.Team, e.Owner.Team), cmp.Or(s.Runbook, e.Owner.Runbook)
	}
	expected, need := len(events), 1
	if app.Expected > 0 {
		// Those of a deployment that are too many are no reason to expect more.
		expected = app.Expected
		need = max(need, int(math.Ceil(app.Minimum*float64(expected)-1e-9)))
	}
	reachable := n.ok + n.warning + n.pending
	bad := n.critical + n.warning + n.unknown
	switch {
	case n.unknown == len(events):
		s.Status = state.Unknown
	case reachable == 0 || reachable+n.unknown < need:
		s.Status = state.Critical
	case bad > 0 || reachable < need:
		s.Status = state.Warning
	}
	s.Text = fmt.Sprintf("%d of %d can be reached", reachable, expected)
	if n.pending > 0 {
		s.Text += fmt.Sprintf(", %d without a verdict yet", n.pending)
	}
	s.Perfdata = checks.FormatPerfdata([]checks.Metric{
		{Name: "time", Value: slowest.Seconds(), Unit: "s"}, {Name: "reachable", Value: float64(reachable), Min: "0"},
		{Name: "expected", Value: float64(expected), Min: "0"}, {Name: "bad", Value: float64(bad), Min: "0"},
	})
	s.Long = worst(events)
	if len(s.Long) > 0 {
		s.Text += ": " + s.Long[0] // Nagios makes a colon of a semicolon
	}
	return s
}

// worst are lines about the bad instances, the worst first, at most five.
func worst(events []check.Event) (lines []string) {
	rank := map[state.Status]int{state.Critical: 1, state.Warning: 2, state.Unknown: 3}
	var list []check.Event
	for _, e := range events {
		if e.State.Status.Bad() {
			list = append(list, e)
		}
	}
	slices.SortFunc(list, func(a, b check.Event) int {
		return cmp.Or(cmp.Compare(rank[a.State.Status], rank[b.State.Status]), strings.Compare(a.ID, b.ID))
	})
	for i, e := range list {
		if i == 5 {
			return append(lines, fmt.Sprintf("and %d more", len(list)-i))
		}
		text := oneLine(e.Result.Text)
		if e.State.Stale {
			text = "no result for too long"
		}
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s %s: %s", oneLine(cmp.Or(e.Host, e.Target)), e.State.Status, text)))
	}
	return lines
}

// longest is how much of a text Nagios gets, in bytes.
const longest = 300

// oneLine makes a text safe in front of perfdata: a bar begins that.
func oneLine(s string) string {
	s = strings.Map(func(c rune) rune {
		switch {
		case c == '|':
			return '¦'
		case c < ' ' || c >= 0x7f && c < 0xa0:
			return ' '
		}
		return c
	}, strings.ToValidUTF8(s, "�"))
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > longest {
		s = strings.ToValidUTF8(s[:longest], "") + "…"
	}
	return s
}

package alert

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"mesoscope/checks"
	"mesoscope/collector/check"
	"mesoscope/collector/state"
)

// missing is how long instances that do not run at all may be missing: a
// scheduler that starts one again takes a moment for that.
const missing = time.Minute

const (
	warning  = "warning"
	critical = "critical"
)

// A judge finds out which alerts there should be.
type judge struct {
	Options
	begun          time.Time // the first look of this process
	now, next      time.Time
	known          map[string]*alert    // of the last time
	wanted         map[string]*alert    // of this time
	ended          map[string]*alert    // by what was known before this process
	waiting, still map[string]time.Time // what is bad and no alert yet: of the last and of this time
	troubles       map[string]time.Time // by app: the first bad result of what is critical now
}

func (j *judge) all() {
	j.troubles = map[string]time.Time{}
	if j.Events != nil {
		for e := range j.Events {
			j.event(e)
		}
	}
	if j.Apps != nil {
		for a := range j.Apps {
			j.app(a)
		}
	}
	name := j.Collector // notes must not keep the judge
	notes := func() map[string]string {
		return texts("summary", "Collector "+name+" works and its alerts get through; it is trouble when this one is missing.")
	}
	j.want(&alert{labels: labelled("alertname", Watchdog, "collector", j.Collector), notes: notes, startsAt: j.now})
}

// event judges one check.
func (j *judge) event(e check.Event) {
	s := e.State
	if !s.Status.Bad() {
		j.mended(e)
		return
	}
	if e.Guessed && s.LastGood.IsZero() {
		return // what only the image's name suggests may be no such thing at all
	}
	begin := s.FirstBad
	if begin.IsZero() {
		begin = s.Since // stale while all was well
	}
	for _, severity := range j.severities(e) {
		if severity == critical && e.App != "" {
			if t := j.troubles[e.App]; t.IsZero() || begin.Before(t) {
				j.troubles[e.App] = begin
			}
		}
		j.when(begin, begin.Add(e.Owner.AlertAfter), j.checkAlert(e, severity))
	}
}

// mended ends alerts that the process before this one may have sent.
func (j *judge) mended(e check.Event) {
	s := e.State
	if s.Status != state.OK || !s.Previous.Bad() || s.Since.After(j.begun.Add(young)) || j.now.Sub(s.Since) > resolved {
		return
	}
	for _, severity := range []string{critical, warning} {
		x := j.checkAlert(e, severity)
		x.startsAt, x.endsAt, x.key = s.Since, s.Since, x.labels.key()
		j.ended[x.key] = x
	}
}

// severities are how bad a check is. One that got worse goes on to be a warning
// too, which the critical one inhibits: else its end would be told. And what
// is unknown mends nothing: a critical alert stays until there is an answer.
func (j *judge) severities(e check.Event) []string {
	s := e.State
	switch {
	case s.Status == state.Critical && s.Previous == state.Warning:
		return []string{critical, warning}
	case s.Status == state.Critical:
		return []string{critical}
	case s.Status == state.Unknown && (s.Previous == state.Critical || j.fires(j.checkLabels(e, critical))):
		return []string{critical}
	}
	return []string{warning}
}

func (j *judge) fires(l labels) bool {
	x := j.known[l.key()]
	return x != nil && x.endsAt.IsZero()
}

func (j *judge) checkAlert(e check.Event, severity string) *alert {
	link := ""
	if j.Link != nil {
		link = j.Link(e)
	}
	return &alert{labels: j.checkLabels(e, severity), notes: func() map[string]string { return checkNotes(e, link) }, link: link}
}

func (j *judge) checkLabels(e check.Event, severity string) labels {
	slot := ""
	if e.App != "" {
		slot = strconv.Itoa(e.Slot)
	}
	return labelled("alertname", CheckFailed, "cluster", e.Cluster, "app", e.App, "check", e.Name, "kind", e.Kind, "host", e.Host, "slot", slot,
		"framework", e.Framework, "team", e.Owner.Team, "severity", severity, "page", page(e.Owner, e.Guessed), "realert_every", RealertEvery(e.Owner.RealertEvery))
}

// checkNotes are the annotations of a failed check.
func checkNotes(e check.Event, link string) map[string]string {
	what := cmp.Or(e.App, e.Target)
	if e.Host != "" {
		what += " on " + e.Host
	}
	text := oneLine(e.Result.Text)
	if e.State.Stale {
		text = "no result since " + stamp(e.State.Last)
	}
	var d strings.Builder
	fmt.Fprintf(&d, "%s %s\nnow: %s\n", e.Kind, e.Target, text)
	for _, f := range e.Result.Findings {
		fmt.Fprintf(&d, "%s: %s\n", f.State, oneLine(f.Text))
	}
	fmt.Fprintf(&d, "first bad result: %s\nlast good result: %s\n", stamp(e.State.FirstBad), stamp(e.State.LastGood))
	if e.State.Flapping {
		d.WriteString("it flaps, and counts as bad until it has settled\n")
	}
	if e.From != "" {
		fmt.Fprintf(&d, "declared by: %s\n", e.From)
	}
	summary := fmt.Sprintf("%s of %s is %s", e.Name, what, e.State.Status)
	if text != "" { // there is none before the first result of a new process
		summary += ": " + text
	}
	return texts("summary", summary,
		"description", strings.TrimSpace(d.String()), "runbook", e.Owner.Runbook, "tip", e.Owner.Tip, "evidence_url", link, "verdict", verdict(e), "task_id", e.Task)
}

// verdict is why, in a word.
func verdict(e check.Event) string {
	switch {
	case e.State.Stale:
		return "stale"
	case e.Result.State != checks.OK && len(e.Result.Findings) > 0:
		return e.Result.Findings[0].Signal
	case e.State.Flapping:
		return "flapping"
	}
	return ""
}

// app judges one app. It is degraded when fewer of its instances than its owner
// wants can be reached, and down when none can.
func (j *judge) app(a check.App) {
	if a.Expected <= 0 {
		return
	}
	need := int(math.Ceil(a.Minimum*float64(a.Expected) - 1e-9))
	// Instances that do not run may only be on their way. Checks have said their
	// own bad word only after several results.
	failing := max(a.Running-a.Reachable, 0)
	switch {
	case a.Reachable <= 0:
		j.appAlert(a, need, AppDown, failing > 0 && failing >= a.Running)
		if x := j.appLabels(a, AppDegraded); j.fires(x) {
			j.appAlert(a, need, AppDegraded, true) // else its end would be told
		}
	case a.Reachable < need:
		j.appAlert(a, need, AppDegraded, a.Expected-failing < need)
	}
}

// appAlert wants an alert of an app. sure says that checks alone are reason
// enough.
func (j *judge) appAlert(a check.App, need int, name string, sure bool) {
	x := &alert{labels: j.appLabels(a, name), notes: func() map[string]string {
		return texts("summary", fmt.Sprintf("%s: %d of %d instances can be reached, %d run", a.ID, a.Reachable, a.Expected, a.Running),
			"description", fmt.Sprintf("At least %d of %d have to be reachable.", max(need, 1), a.Expected),
			"runbook", a.Owner.Runbook, "tip", a.Owner.Tip)
	}}
	key, hold := x.labels.key(), missing
	if sure {
		hold = 0
	}
	begin, known := j.waiting[key]
	if !known {
		begin = j.now
		if t := j.troubles[a.ID]; sure && !t.IsZero() {
			begin = t
		}
	}
	j.still[key] = begin
	j.when(begin, begin.Add(max(hold, a.Owner.AlertAfter)), x)
}

func (j *judge) appLabels(a check.App, name string) labels {
	return labelled("alertname", name, "cluster", j.Cluster, "app", a.ID, "framework", a.Framework, "team", a.Owner.Team,
		"severity", critical, "page", page(a.Owner, false), "realert_every", RealertEvery(a.Owner.RealertEvery))
}

// when wants an alert from a moment on.
func (j *judge) when(begin, due time.Time, x *alert) {
	if j.now.Before(due) && !j.fires(x.labels) {
		if due.Before(j.next) {
			j.next = due
		}
		return
	}
	x.startsAt = begin
	if begin.After(j.now) {
		x.startsAt = j.now // the clock was set back
	}
	j.want(x)
}

// want adds an alert. Should two have the same labels, which is a mistake
// elsewhere, the older one counts.
func (j *judge) want(x *alert) {
	x.key = x.labels.key()
	if was := j.wanted[x.key]; was == nil || x.startsAt.Before(was.startsAt) {
		j.wanted[x.key] = x
	}
}

// page is who is woken.
func page(o check.Owner, guessed bool) string {
	if o.Page == "" && guessed {
		return "false"
	}
	return cmp.Or(o.Page, "true")
}

// realerts are the values of the label realert_every: the shipped
// alertmanager.yml has a route for each.
var realerts = []struct {
	every time.Duration
	label string
}{{15 * time.Minute, "15m"}, {30 * time.Minute, "30m"}, {time.Hour, "1h"}, {4 * time.Hour, "4h"}, {12 * time.Hour, "12h"}, {24 * time.Hour, "24h"}}

// RealertEvery rounds up to an interval that there is a route for; what is
// longer than all becomes the longest. 0 is "", the route's own.
func RealertEvery(d time.Duration) string {
	if d <= 0 {
		return ""
	}
	for _, r := range realerts {
		if d <= r.every {
			return r.label
		}
	}
	return realerts[len(realerts)-1].label
}

// labelled are labels of names and values.
func labelled(pairs ...string) (l labels) {
	next := 0 // they mostly come in order
	for i := 0; i < len(pairs); i += 2 {
		for LabelNames[next%len(l)] != pairs[i] {
			next++
		}
		l[next%len(l)] = strings.ToValidUTF8(pairs[i+1], "_")
	}
	return l
}

// texts makes a map of names and values, without those that are empty.
func texts(pairs ...string) map[string]string {
	m := make(map[string]string, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			m[pairs[i]] = strings.ToValidUTF8(pairs[i+1], "�")
		}
	}
	return m
}

// longest is how much of a text goes into an annotation.
const longest = 1000

func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > longest {
		s = strings.ToValidUTF8(s[:longest], "") + "…"
	}
	return s
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format(time.RFC3339)
}

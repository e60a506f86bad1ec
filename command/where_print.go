package command

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// whereText is a sentence that answers the question, and a table of the
// instances, with the last error of each below it.
func whereText(list []*found, hidden int, now time.Time, color bool) string {
	var b strings.Builder
	apps := map[string][]*found{}
	var names []string
	for _, f := range list {
		if apps[f.App] == nil {
			names = append(names, f.App)
		}
		apps[f.App] = append(apps[f.App], f)
	}
	for _, name := range names {
		fmt.Fprintf(&b, "%s %s\n", clean(name), placesText(apps[name]))
	}
	b.WriteByte('\n')
	g := grid{right: []bool{false, false, false, false, false, false, false, true, true}}
	var head []gridCell
	for _, h := range []string{"HOST", "TASK", "CONTAINER", "STATE", "SINCE", "VERSION", "PORTS", "LINES/s", "LAST LINE"} {
		c := gridCell{text: h}
		if color {
			c.color = dim
		}
		head = append(head, c)
	}
	g.add(head...)
	for _, f := range list {
		ports := strings.Join(f.Ports, " ")
		since := clock(f.Since)
		if f.Since.IsZero() && !f.FirstLine.IsZero() {
			since = "≤ " + clock(f.FirstLine) // it was there when it printed that
		}
		host := gridCell{text: cell(f.Node)}
		if color {
			host.color = blue
		}
		g.add(host, gridCell{text: bothEnds(orDash(f.Task), 40)}, gridCell{text: bothEnds(orDash(cmp.Or(f.Container, f.ID)), 24)}, gridCell{text: cell(f.State)},
			gridCell{text: since}, gridCell{text: cell(f.Version)}, gridCell{text: cell(ports)}, gridCell{text: rate(f.Lines)}, gridCell{text: past(f.LastLine, now)})
	}
	var table strings.Builder
	g.write(&table)
	rows := strings.SplitAfter(strings.TrimSuffix(table.String(), "\n"), "\n")
	b.WriteString(rows[0])
	for i, f := range list {
		b.WriteString(strings.TrimSuffix(rows[i+1], "\n") + "\n")
		if e := f.LastError; e != nil {
			text := fmt.Sprintf("  error %s: %s", past(e.Time, now), short(clean(e.Message), 120))
			if color {
				text = red + text + reset
			}
			b.WriteString(text + "\n")
		}
	}
	if hidden > 0 {
		fmt.Fprintf(&b, "… and %s that ended; --all shows them\n", many(hidden, "instance"))
	}
	return b.String()
}

// placesText says where the instances of one app are.
func placesText(list []*found) string {
	var running, ended []*found
	for _, f := range list {
		if f.ended() {
			ended = append(ended, f)
		} else {
			running = append(running, f)
		}
	}
	if len(running) == 0 {
		return "does not run; it was on " + hostsText(ended)
	}
	return "is on " + hostsText(running)
}

func hostsText(list []*found) string {
	n := map[string]int{}
	var hosts []string
	for _, f := range list {
		host := cmp.Or(clean(f.Node), "an unknown host")
		if n[host]++; n[host] == 1 {
			hosts = append(hosts, host)
		}
	}
	slices.Sort(hosts)
	for i, h := range hosts {
		if n[h] > 1 {
			hosts[i] = fmt.Sprintf("%s (%d)", h, n[h])
		}
	}
	return strings.Join(hosts, ", ")
}

// orDash is cell for a text that is cut elsewhere.
func orDash(s string) string { return cmp.Or(clean(s), "-") }

// clock is a time to the second.
func clock(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format(time.DateTime)
}

// past is how long ago a time was.
func past(t, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return ago(max(0, now.Sub(t).Seconds())) + " ago"
}

package command

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"mesoscope/agent/status"
)

// maxRows is how many sources are shown without --all: a screen.
const maxRows = 20

// A report is what one process said about itself.
type report struct {
	url     string
	Status  status.Status
	Sources []status.Source
	checks  *checkReport // of a standalone, which checks as well; else nil
}

// problems are all the things that are wrong, the process' own words first.
func (r *report) problems() []string {
	out := slices.Clone(r.Status.Problems)
	if r.checks != nil {
		out = append(out, r.checks.Status.Problems...)
	}
	add := func(s string) {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	if o := r.Status.Output; o.State == status.OutputPaused && len(out) == 0 {
		since := ""
		if !o.Since.IsZero() {
			since = " since " + o.Since.Local().Format(time.DateTime)
		}
		add(fmt.Sprintf("output %s is paused%s: %s", o.Kind, since, o.PausedReason))
	}
	if h := r.Status.Hold; h.Problem != "" && !slices.Contains(out, h.Problem) {
		add("hold: " + h.Problem)
	}
	for _, s := range r.Sources {
		if s.LastError != "" {
			add(fmt.Sprintf("%s %s: %s", cmp.Or(s.Container, s.ID), s.Stream, s.LastError))
		}
		if s.Blocked != "" {
			add(fmt.Sprintf("%s %s: %s", cmp.Or(s.Container, s.ID), s.Stream, s.Blocked))
		}
	}
	return out
}

func (r *report) bad() bool { return len(r.problems()) > 0 || r.checks != nil && r.checks.bad() }

// json prints one object a line.
func (r *report) json(w io.Writer) error {
	out := json.NewEncoder(w)
	if err := out.Encode(map[string]any{"status": r.Status}); err != nil {
		return err
	}
	for _, s := range r.Sources {
		if err := out.Encode(map[string]any{"source": s}); err != nil {
			return err
		}
	}
	if r.checks == nil {
		return nil
	}
	if err := out.Encode(map[string]any{"collector": r.checks.Status}); err != nil {
		return err
	}
	for _, c := range r.checks.Checks {
		if err := out.Encode(map[string]any{"check": c}); err != nil {
			return err
		}
	}
	return nil
}

// text prints the calm table.
func (r *report) text(w io.Writer, all bool) error {
	var b strings.Builder
	s := r.Status
	fmt.Fprintf(&b, "mesoscope %s on %s (%s), up %s\n", clean(s.Version), clean(s.Node), r.url, ago(s.UptimeSeconds))
	for _, p := range r.problems() {
		fmt.Fprintf(&b, "  ! %s\n", clean(p))
	}
	if r.checks != nil && r.checks.Status.Checks+len(r.checks.Status.Findings) > 0 {
		b.WriteString("\n")
		r.checks.body(&b, all)
	}
	fmt.Fprintf(&b, "\noutput  %s, %s, %s under way\n", clean(s.Output.Kind), clean(s.Output.State), size(s.Output.InFlightBytes))
	answers(&b, s.Output.Answers)
	for _, e := range s.Output.LastErrors {
		if e.Answer && len(s.Output.Answers) > 0 {
			continue
		}
		fmt.Fprintf(&b, "        %s × %s, last %s: %s\n", count(e.Count), clean(e.Reason), e.Last.Local().Format(time.DateTime), short(clean(e.Example), 120))
	}
	unstored(&b, s.Output.DeadLetters)
	if s.Hold.Dir != "" {
		fmt.Fprintf(&b, "hold    %s, %s, %s%s\n", clean(s.Hold.Dir), clean(s.Hold.State), size(s.Hold.Bytes), fullIn(s.Hold))
	}
	c := s.Counts
	fmt.Fprintf(&b, "lines   %s read, %s delivered, %s duplicate, %s dropped%s, %s refused%s\n\n",
		count(c.LinesRead), count(c.LinesDelivered), count(c.LinesDuplicate),
		count(sum(c.Dropped)), reasons(c.Dropped), count(sum(c.Refused)), reasons(c.Refused))
	r.table(&b, all)
	_, err := io.WriteString(w, b.String())
	return err
}

// answers prints how the store answered to lines, a late case below each kind.
func answers(b *strings.Builder, list []status.Answer) {
	if len(list) == 0 {
		return
	}
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for _, a := range list {
		fmt.Fprintf(t, "        %s\t× %s\t%s\tlast %s\n", count(a.Lines), clean(a.Answer), clean(a.Outcome), a.Last.Local().Format(time.DateTime))
		if a.Example != "" {
			fmt.Fprintf(t, "          %s\n", short(clean(a.Example), 120))
		}
	}
	t.Flush()
}

// unstored prints what could not be stored.
func unstored(b *strings.Builder, d *status.DeadLetters) {
	if d == nil {
		return
	}
	fmt.Fprintf(b, "dead    %s, %s in %s", many(d.Count, "dead letter"), size(d.Bytes), clean(d.Dir))
	if d.Count > 0 {
		fmt.Fprintf(b, ", given up from %s to %s", d.Oldest.Local().Format(time.DateTime), d.Newest.Local().Format(time.DateTime))
	}
	fmt.Fprintf(b, "\n        newest: %s\n        `%s` shows them\n", short(clean(d.Reason), 120), clean(d.Command))
}

// table prints the sources, the worst first, and a summary line.
func (r *report) table(b *strings.Builder, all bool) {
	sources := slices.Clone(r.Sources)
	slices.SortFunc(sources, func(x, y status.Source) int {
		return cmp.Or(
			cmp.Compare(y.LagBytes, x.LagBytes), cmp.Compare(y.LagSeconds, x.LagSeconds),
			cmp.Compare(y.LastError, x.LastError), cmp.Compare(x.Container, y.Container), cmp.Compare(x.ID, y.ID))
	})
	shown := sources
	if !all && len(shown) > maxRows {
		shown = shown[:maxRows]
	}
	if len(shown) > 0 {
		t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "CONTAINER\tSERVICE\tSTREAM\tBEHIND\t\tSTATE\tDRIVER\tGUARANTEE")
		for _, s := range shown {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", cell(cmp.Or(s.Container, s.ID)), cell(s.Service), cell(s.Stream),
				size(s.LagBytes), lag(s), cell(s.State), cell(s.Driver), cell(s.Guarantee))
		}
		t.Flush()
	}
	if n := len(sources) - len(shown); n > 0 {
		fmt.Fprintf(b, "… and %s more; --all shows them\n", count(int64(n)))
	}
	var behind, bytes int64
	var seconds float64
	for _, s := range sources {
		if s.LagBytes > 0 {
			behind++
			bytes += s.LagBytes
			seconds = max(seconds, s.LagSeconds)
		}
	}
	total := count(int64(len(sources))) + " sources"
	if len(sources) == 1 {
		total = "1 source"
	}
	switch {
	case len(sources) == 0:
		b.WriteString("no sources: no container is followed\n")
	case behind == 0:
		fmt.Fprintf(b, "%s, all up to date\n", total)
	default:
		fmt.Fprintf(b, "%s, %s behind: %s, at most %s\n", total, count(behind), size(bytes), ago(seconds))
	}
}

// fullIn says when the hold folder is full, for behind its size.
func fullIn(h status.Hold) string {
	if h.FullSeconds == nil || *h.FullSeconds == 0 {
		return ""
	}
	return ", full in " + ago(*h.FullSeconds)
}

func lag(s status.Source) string {
	if s.LagBytes == 0 && s.LagSeconds < 1 {
		return ""
	}
	return ago(s.LagSeconds)
}

// cell is a text for a column.
func cell(s string) string {
	if s == "" {
		return "-"
	}
	return short(clean(s), 40)
}

// short cuts s to at most n characters.
func short(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// size is a number of bytes with three digits.
func size(n int64) string {
	f, units := float64(n), []string{"B", "KiB", "MiB", "GiB", "TiB"}
	for len(units) > 1 && f >= 1000 {
		f, units = f/1024, units[1:]
	}
	if f == float64(int64(f)) || f >= 100 {
		return fmt.Sprintf("%.0f %s", f, units[0])
	}
	return fmt.Sprintf("%.1f %s", f, units[0])
}

// count is a number with commas between the thousands.
func count(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// ago is a time span with its two largest parts.
func ago(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d < 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d < time.Hour:
		d = d.Round(time.Second)
		if d < time.Minute {
			return d.String()
		}
		return fmt.Sprintf("%dm%ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%dh", int(d.Hours())/24, int(d.Hours())%24)
}

func sum(m map[string]int64) (n int64) {
	for _, v := range m {
		n += v
	}
	return n
}

// reasons lists counts by reason, for behind their sum.
func reasons(m map[string]int64) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if m[k] != 0 {
			parts = append(parts, clean(k)+" "+count(m[k]))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

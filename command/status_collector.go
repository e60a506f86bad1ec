package command

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"mesoscope/collector/state"
	"mesoscope/collector/status"
)

// A checkReport is what a collector said about itself and its checks.
type checkReport struct {
	url    string
	Status status.Status
	Checks []status.Check // the worst first
}

// bad says whether somebody should look.
func (r *checkReport) bad() bool {
	for _, c := range r.Checks {
		if c.Status.Bad() {
			return true
		}
	}
	return len(r.Status.Problems)+len(r.Status.Findings) > 0
}

// json prints one object a line.
func (r *checkReport) json(w io.Writer) error {
	out := json.NewEncoder(w)
	if err := out.Encode(map[string]any{"status": r.Status}); err != nil {
		return err
	}
	for _, c := range r.Checks {
		if err := out.Encode(map[string]any{"check": c}); err != nil {
			return err
		}
	}
	return nil
}

// text prints what is red first, since when, with the last result.
func (r *checkReport) text(w io.Writer, all bool) error {
	var b strings.Builder
	s := r.Status
	fmt.Fprintf(&b, "mesoscope %s, collector of %s on %s (%s), up %s\n", clean(s.Version), clean(s.Cluster), clean(s.Node), r.url, ago(s.UptimeSeconds))
	for _, p := range s.Problems {
		fmt.Fprintf(&b, "  ! %s\n", clean(p))
	}
	b.WriteString("\n")
	r.body(&b, all)
	_, err := io.WriteString(w, b.String())
	return err
}

// body is what stands below the collector's own problems.
func (r *checkReport) body(b *strings.Builder, all bool) {
	s := r.Status
	r.table(b, all)
	for i, a := range s.Apps {
		if i == maxRows && !all {
			fmt.Fprintf(b, "… and %s more apps; --all shows them\n", count(int64(len(s.Apps)-i)))
			break
		}
		fmt.Fprintf(b, "app     %s: %d of %d instances run, %d can be reached\n", clean(a.ID), a.Running, a.Expected, a.Reachable)
	}
	for i, f := range s.Findings {
		if i == maxRows && !all {
			fmt.Fprintf(b, "… and %s more; --all shows them\n", count(int64(len(s.Findings)-i)))
			break
		}
		whose := f.App
		if whose == "" {
			whose = f.Host
		}
		fmt.Fprintf(b, "refused %s %s: %s\n", clean(whose), clean(f.Check), short(clean(f.Text), 200))
	}
	for _, s := range s.Sources {
		state := "answers"
		if s.Error != "" {
			state = "fails: " + short(clean(s.Error), 120)
		}
		fmt.Fprintf(b, "source  %s: %s, %s\n", clean(s.Source), many(s.Instances, "instance"), state)
	}
}

// table prints what is not OK, or all.
func (r *checkReport) table(b *strings.Builder, all bool) {
	shown := r.Checks
	if !all {
		for i, c := range shown {
			if !c.Status.Bad() {
				shown = shown[:i]
				break
			}
		}
		shown = shown[:min(len(shown), maxRows)]
	}
	bad := 0
	for _, c := range r.Checks {
		if c.Status.Bad() {
			bad++
		}
	}
	if len(shown) > 0 {
		t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "STATUS\tAPP\tCHECK\tHOST\tSINCE\tTEAM\tLAST RESULT")
		for _, c := range shown {
			since := c.Since
			if c.Status.Bad() && !c.FirstBad.IsZero() {
				since = c.FirstBad
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", c.Status, cell(c.App), cell(c.Name), cell(c.Host), ago(time.Since(since).Seconds()), cell(c.Team), short(clean(c.Text), 120))
		}
		t.Flush()
	}
	if n := bad - len(shown); n > 0 {
		fmt.Fprintf(b, "… and %s more; --all shows them\n", count(int64(n)))
	}
	by := ""
	for s := state.OK; s <= state.Pending; s++ {
		if n := r.Status.By[s.String()]; n > 0 {
			by += fmt.Sprintf(", %s %s", count(int64(n)), s)
		}
	}
	fmt.Fprintf(b, "%s%s\n", many(r.Status.Checks, "check"), by)
}

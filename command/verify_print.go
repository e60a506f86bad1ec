package command

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// A verdict is what is said about all that was asked for.
type verdict struct {
	Verdict  string `json:"verdict"`
	Files    int    `json:"files"` // log files, by stream
	Lines    int64  `json:"lines"` // by the receipts
	Stored   int64  `json:"stored"`
	Missing  int64  `json:"missing"`
	Doubled  int64  `json:"doubled"`
	Unbooked int64  `json:"unbooked"`
	Expired  int64  `json:"expired"`
	Gaps     int    `json:"gaps"`

	verdicts map[string]int
}

// summarize takes the worst verdict of all. Where nothing was found nothing is
// proven.
func summarize(findings []finding) verdict {
	s := verdict{Verdict: verdictUnproven, verdicts: map[string]int{}}
	worst := -1
	for _, f := range findings {
		s.verdicts[f.Verdict]++
		worst = max(worst, slices.Index(badness, f.Verdict))
		if f.Verdict == verdictGap {
			s.Gaps++
			continue
		}
		s.Files++
		if f.Lines != nil {
			s.Lines += *f.Lines
		}
		s.Stored += f.Stored
		s.Missing += f.Missing.count()
		s.Doubled += f.Doubled.count()
		s.Unbooked += f.Unbooked.count()
		s.Expired += f.Expired.count()
	}
	if worst >= 0 {
		s.Verdict = badness[worst]
	}
	return s
}

func sortFindings(list []finding) {
	slices.SortFunc(list, func(a, b finding) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Container, b.Container), a.First.Compare(b.First),
			cmp.Compare(a.Generation, b.Generation), cmp.Compare(b.Stream, a.Stream), cmp.Compare(a.Reason, b.Reason))
	})
}

func printVerdictJSON(out io.Writer, findings []finding, total verdict) error {
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	for _, f := range findings {
		if err := e.Encode(f); err != nil {
			return err
		}
	}
	return e.Encode(total)
}

func printVerdict(out io.Writer, findings []finding, total verdict, utc bool) error {
	if len(findings) == 0 {
		_, err := fmt.Fprintln(out, verdictUnproven+": no lines and no receipts of that in this time. A longer time, or another name? `mesoscope logs` with the same flags shows what there is.")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "CONTAINER\tSTREAM\tFILE\tPERIOD\tLINES\tSTORED\tVERDICT")
	for _, f := range findings {
		lines, stored, verdict := "-", "-", f.Verdict
		if f.Lines != nil {
			lines = count(*f.Lines)
		}
		if f.Verdict != verdictGap {
			stored = count(f.Stored)
		}
		if f.Reason != "" {
			verdict += ": " + f.Reason
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", clean(f.who()), cmp.Or(clean(f.Stream), "-"), clean(f.file()), period(f.First, f.Last, utc), lines, stored, clean(verdict))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "\n%s\n", total)
	return err
}

// file is short enough for a column: json-files are named after the container's
// 64 digits, which say nothing new.
func (f finding) file() string {
	name := filepath.Base(f.Path)
	if f.Path == "" || f.Container != "" && strings.HasPrefix(name, f.Container) {
		return f.Generation
	}
	return name + " " + f.Generation
}

// period is from when to when, the day once if it is the same.
func period(first, last time.Time, utc bool) string {
	if first.IsZero() {
		return "-"
	}
	if utc {
		first, last = first.UTC(), last.UTC()
	} else {
		first, last = first.Local(), last.Local()
	}
	const day, clock = "2006-01-02", "15:04:05"
	if first.Format(day) == last.Format(day) {
		return first.Format(day+" "+clock) + " - " + last.Format(clock)
	}
	return first.Format(day+" "+clock) + " - " + last.Format(day+" "+clock)
}

// String is the last line of the text.
func (s verdict) String() string {
	files := many(s.Files, "log file")
	if s.Verdict == verdictComplete {
		return fmt.Sprintf("%s: %s, %s lines, each is stored once or booked otherwise.", s.Verdict, files, count(s.Lines))
	}
	var parts []string
	for _, n := range []struct {
		lines int64
		what  string
	}{{s.Missing, "missing"}, {s.Doubled, "doubled"}, {s.Unbooked, "not in the receipts"}, {s.Expired, "deleted by retention"}} {
		if n.lines > 0 {
			parts = append(parts, fmt.Sprintf("%s %s", count(n.lines), n.what))
		}
	}
	text := fmt.Sprintf("%s: %s, %s lines booked, %s stored", s.Verdict, files, count(s.Lines), count(s.Stored))
	if len(parts) > 0 {
		text += "; " + strings.Join(parts, ", ")
	}
	var verdicts []string
	for _, v := range badness {
		if n := s.verdicts[v]; n > 0 {
			verdicts = append(verdicts, fmt.Sprintf("%d %s", n, v))
		}
	}
	return text + " (" + strings.Join(verdicts, ", ") + ")."
}

func many(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

package command

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"mesoscope/receipt"
	"mesoscope/search"
)

// The verdicts, from the best to the worst.
const (
	verdictComplete   = "COMPLETE"   // every line is there once, or the receipt says why not
	verdictOpen       = "OPEN"       // so far; the file is still being written
	verdictNoReceipt  = "NO RECEIPT" // the agent has not booked the file yet
	verdictUnproven   = "UNPROVEN"   // nothing is missing that anybody knows of
	verdictExpired    = "EXPIRED"    // what is missing was deleted by the store's retention
	verdictGap        = "GAP"        // bytes were lost before they could be read
	verdictIncomplete = "INCOMPLETE" // lines are missing, stored too often, or not booked
)

var badness = []string{verdictComplete, verdictOpen, verdictNoReceipt, verdictUnproven, verdictExpired, verdictGap, verdictIncomplete}

// A finding is the verdict about one log file and stream, and with Output json
// one line.
type finding struct {
	Verdict string `json:"verdict"`
	Reason  string `json:"reason,omitempty"`
	search.Key
	Name     string    `json:"name"`
	Path     string    `json:"path"`
	First    time.Time `json:"first,omitzero"` // of the file's lines
	Last     time.Time `json:"last,omitzero"`
	Revision int       `json:"revision,omitempty"` // of the receipt
	Lines    *int64    `json:"lines,omitempty"`    // by the receipt; nil: there is none
	Stored   int64     `json:"stored"`             // documents
	Missing  spans     `json:"missing,omitempty"`
	Doubled  spans     `json:"doubled,omitempty"`  // stored twice or more, unknown to the receipt
	Unbooked spans     `json:"unbooked,omitempty"` // stored, though the receipt ends before
	Expired  spans     `json:"expired,omitempty"`  // deleted by retention
	Known    []known   `json:"known,omitempty"`    // lines that are not stored once, as the receipt says
	stale    bool
}

// A known is how many lines of a file ended otherwise.
type known struct {
	Why   string `json:"why"`
	Lines int64  `json:"lines"`
}

// A span is consecutive line numbers, both ends included.
type span struct {
	First int64 `json:"first"`
	Last  int64 `json:"last"`
}

type spans []span

func (s *spans) add(first, last int64) {
	if n := len(*s); n > 0 && (*s)[n-1].Last+1 == first {
		(*s)[n-1].Last = last
		return
	}
	*s = append(*s, span{first, last})
}

func (s spans) count() (n int64) {
	for _, r := range s {
		n += r.Last - r.First + 1
	}
	return n
}

// mostSpans is how many spans a line of text names.
const mostSpans = 20

func (s spans) String() string {
	var out []string
	for i, r := range s {
		if i == mostSpans {
			out = append(out, fmt.Sprintf("and %d more ranges", len(s)-mostSpans))
			break
		}
		if r.First == r.Last {
			out = append(out, strconv.FormatInt(r.First, 10))
		} else {
			out = append(out, fmt.Sprintf("%d-%d", r.First, r.Last))
		}
	}
	return strings.Join(out, ", ")
}

// A piece is lines that are stored equally often and of which the receipt says
// the same.
type piece struct {
	span
	copies int64
	why    string
}

// pieces cuts the numbers 1 to end where t or ranges say something else.
func pieces(end int64, ranges []receipt.Range, t search.Tally) (out []piece) {
	edges := []int64{1, end + 1}
	mark := func(first, last int64) { edges = append(edges, min(max(first, 1), end+1), min(max(last+1, 1), end+1)) }
	for _, r := range ranges {
		mark(r.First, r.Last)
	}
	for _, r := range t.Runs {
		mark(r.First, r.Last)
	}
	slices.Sort(edges)
	edges = slices.Compact(edges)
	ranges = slices.SortedFunc(slices.Values(ranges), func(a, b receipt.Range) int { return cmp.Compare(a.First, b.First) })
	runs := t.Runs
	for i := 0; i+1 < len(edges); i++ {
		p := piece{span: span{edges[i], edges[i+1] - 1}}
		for len(runs) > 0 && runs[0].Last < p.First {
			runs = runs[1:]
		}
		if len(runs) > 0 && runs[0].First <= p.First {
			p.copies = runs[0].Copies
		}
		for len(ranges) > 0 && ranges[0].Last < p.First {
			ranges = ranges[1:]
		}
		if len(ranges) > 0 && ranges[0].First <= p.First {
			p.why = ranges[0].Why
		}
		out = append(out, p)
	}
	return out
}

const doubledByRollover = "doubled" // a Range's Why

// compare holds what the store has against the newest receipt of a file. times
// are those of some lines. since and until are the time that was asked for; until
// may be zero: as far as it is booked.
func compare(f finding, r receipt.Receipt, t search.Tally, times []anchor, since, until time.Time) finding {
	f.Revision, f.Lines, f.Stored, f.stale = r.Revision, &r.Lines.Total, t.Lines, t.Stale
	f.First, f.Last = r.First, r.Last
	settled := r.Lines.Total - r.Lines.Pending
	counted := map[string]int64{}
	var back, unlistedAbsent, unlistedDoubled int64
	unlistedAbsent = r.Lines.Quarantined + r.Lines.DeadLettered + r.Lines.DroppedByServer
	unlistedDoubled = r.Lines.Doubled
	for _, p := range pieces(settled, r.Ranges, t) {
		n := p.Last - p.First + 1
		most := int64(1)
		switch p.why {
		case "":
			if p.copies == 0 {
				f.Missing.add(p.First, p.Last)
			}
		case doubledByRollover:
			most = 2
			unlistedDoubled -= n
			counted[p.why] += n
			if p.copies == 0 {
				f.Missing.add(p.First, p.Last)
			}
		default:
			unlistedAbsent -= n
			counted[p.why] += n
			if p.copies > 0 {
				back += n
			}
		}
		if p.copies > most {
			f.Doubled.add(p.First, p.Last)
		}
	}
	for _, run := range t.Runs {
		if run.First < 1 {
			f.Unbooked.add(run.First, min(run.Last, 0))
		}
		if r.Final && run.Last > settled {
			f.Unbooked.add(max(run.First, settled+1), run.Last)
		}
	}
	for _, why := range []string{"quarantined", "dead_lettered", "dropped_by_server", doubledByRollover} {
		if counted[why] > 0 {
			f.Known = append(f.Known, known{why, counted[why]})
		}
	}
	f.expire(t, slices.Concat(times, anchors(r)))
	f.judge(r, since, until, settled, unlistedAbsent, unlistedDoubled)
	f.notes(r, back)
	f.noteClosed(t)
	return f
}

func (f *finding) judge(r receipt.Receipt, since, until time.Time, settled, unlistedAbsent, unlistedDoubled int64) {
	l, b := r.Lines, r.Bytes
	agree := r.MoreRanges > 0 && len(f.Unbooked) == 0 && f.Missing.count() == unlistedAbsent && f.Doubled.count() == unlistedDoubled
	switch {
	case len(f.Missing)+len(f.Doubled)+len(f.Unbooked) > 0 && !agree:
		f.Verdict = verdictIncomplete
		f.Reason = f.faults()
	case len(f.Expired) > 0:
		f.Verdict, f.Reason = verdictExpired, fmt.Sprintf("the store's retention deleted %s", f.Expired)
	case r.MoreRanges > 0:
		f.Verdict = verdictUnproven
		f.Reason = fmt.Sprintf("%s more ranges of lines had no room in the receipt, so their numbers are not known; the counts agree", count(int64(r.MoreRanges)))
	case l.Total != l.Delivered+l.Duplicate+l.Quarantined+l.DeadLettered+l.DroppedByServer+l.Doubled+l.Pending,
		b.Size != b.Delivered+b.Duplicate+b.Quarantined+b.DeadLettered+b.DroppedByServer+b.Doubled+b.Truncated+b.OtherStream+b.Garbage+b.Gap+b.Pending,
		r.Final && (l.Pending > 0 || b.Pending > 0):
		f.Verdict, f.Reason = verdictUnproven, "the receipt's own numbers do not add up; please report this"
	case r.Unproven != "":
		f.Verdict, f.Reason = verdictUnproven, r.Unproven
	case r.Final:
		f.Verdict = verdictComplete
	case !until.IsZero() && !r.Last.IsZero() && !r.Last.Before(until):
		f.Verdict, f.Reason = verdictComplete, "still written; booked beyond the time asked for"
	case settled == 0:
		f.Verdict, f.Reason = verdictOpen, "no line is booked yet"
	case until.IsZero() && r.Last.After(since):
		f.Verdict, f.Reason = verdictComplete, fmt.Sprintf("still written; complete up to line %d, newer lines are not booked yet", settled)
	default:
		f.Verdict, f.Reason = verdictOpen, fmt.Sprintf("complete up to line %d, newer lines are not booked yet", settled)
	}
}

// faults names the lines.
func (f *finding) faults() string {
	var faults []string
	for _, s := range []struct {
		what  string
		lines spans
	}{{"missing", f.Missing}, {"doubled", f.Doubled}, {"not in the receipt", f.Unbooked}} {
		if len(s.lines) > 0 {
			faults = append(faults, s.what+" "+s.lines.String())
		}
	}
	return strings.Join(faults, "; ")
}

// notes adds to the reason what is booked and what nobody needs to act upon.
func (f *finding) notes(r receipt.Receipt, back int64) {
	var notes []string
	if f.Reason != "" {
		notes = append(notes, f.Reason)
	}
	for _, k := range f.Known {
		notes = append(notes, fmt.Sprintf("%s %s", count(k.Lines), strings.ReplaceAll(k.Why, "_", " ")))
	}
	if back > 0 {
		notes = append(notes, fmt.Sprintf("%s of these stored since", count(back)))
	}
	if r.Bytes.Truncated > 0 {
		notes = append(notes, fmt.Sprintf("%s bytes of long lines cut off", count(r.Bytes.Truncated)))
	}
	if r.Bytes.Garbage > 0 {
		notes = append(notes, fmt.Sprintf("%s bytes in the file are no entries", count(r.Bytes.Garbage)))
	}
	f.Reason = strings.Join(notes, "; ")
}

// noteClosed says where missing lines may be.
func (f *finding) noteClosed(t search.Tally) {
	if len(f.Missing) > 0 && len(t.Closed) > 0 {
		f.Reason += fmt.Sprintf("; the closed index %s may hold them, nobody can look into it", strings.Join(t.Closed, ", "))
	}
}

// unreceipted is the finding about lines of a file of which there is no receipt.
func unreceipted(f finding, t search.Tally) finding {
	f.Verdict, f.Stored, f.stale = verdictNoReceipt, t.Lines, t.Stale
	if len(t.Runs) == 0 {
		f.Reason = "the lines have gone since"
		return f
	}
	first, last := t.Runs[0].First, t.Runs[len(t.Runs)-1].Last
	for _, p := range pieces(last, nil, t) {
		switch {
		case p.copies == 0 && p.Last < first && !t.Expired.IsZero():
			f.Expired.add(p.First, p.Last)
		case p.copies == 0:
			f.Missing.add(p.First, p.Last)
		case p.copies > 1:
			f.Doubled.add(p.First, p.Last)
		}
	}
	f.Reason = "not booked yet; "
	if faults := f.faults(); faults != "" {
		f.Reason += faults
	} else {
		f.Reason += fmt.Sprintf("lines %d-%d without a break", first, last)
	}
	if len(f.Expired) > 0 {
		f.Reason += fmt.Sprintf("; the store's retention may have deleted %s", f.Expired)
	}
	f.noteClosed(t)
	return f
}

// gapFinding is the finding about bytes that were lost.
func gapFinding(f finding, g receipt.Gap) finding {
	many := "an unknown number of bytes"
	if g.Bytes > 0 {
		many = "at least " + count(g.Bytes) + " bytes"
	}
	f.Verdict, f.Reason = verdictGap, fmt.Sprintf("%s lost from offset %d: %s", many, g.From, g.Reason)
	return f
}

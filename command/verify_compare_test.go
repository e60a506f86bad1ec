package command

import (
	"slices"
	"strings"
	"testing"
	"time"

	"mesoscope/receipt"
	"mesoscope/search"
)

var (
	verifyBegin = time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
	verifyEnd   = verifyBegin.Add(time.Hour)
)

// booking is a final receipt of n lines that adds up; change makes it another.
func booking(n int64, change func(*receipt.Receipt)) receipt.Receipt {
	r := receipt.Receipt{Revision: 1, Final: true, First: verifyBegin, Last: verifyEnd}
	r.Lines.Total = n
	if change != nil {
		change(&r)
	}
	l := &r.Lines
	l.Delivered = l.Total - l.Duplicate - l.Quarantined - l.DeadLettered - l.DroppedByServer - l.Doubled - l.Pending
	r.Bytes.Delivered += 100 * l.Delivered
	b := r.Bytes
	r.Bytes.Size = b.Delivered + b.Truncated + b.Garbage + b.Gap + b.Pending
	return r
}

// tallied makes a tally of first, last, copies.
func tallied(list ...int64) (t search.Tally) {
	for c := range slices.Chunk(list, 3) {
		t.Runs = append(t.Runs, search.Run{First: c[0], Last: c[1], Copies: c[2]})
		t.Lines += (c[1] - c[0] + 1) * c[2]
	}
	return t
}

func TestCompare(t *testing.T) {
	open := func(r *receipt.Receipt) { r.Final, r.Lines.Pending = false, 2 }
	lost := func(r *receipt.Receipt) {
		r.Lines.Quarantined, r.Lines.DeadLettered, r.Lines.DroppedByServer = 1, 2, 1
		r.Ranges = []receipt.Range{{First: 1, Last: 1, Why: "quarantined"}, {First: 4, Last: 5, Why: "dead_lettered"}, {First: 10, Last: 10, Why: "dropped_by_server"}}
	}
	doubled := func(r *receipt.Receipt) {
		r.Lines.Doubled, r.Ranges = 2, []receipt.Range{{First: 3, Last: 4, Why: "doubled"}}
	}
	full := func(r *receipt.Receipt) {
		r.Lines.DeadLettered, r.MoreRanges, r.Ranges = 3, 1, []receipt.Range{{First: 2, Last: 2, Why: "dead_lettered"}}
	}
	retained := func(d time.Duration, t search.Tally) search.Tally {
		t.Expired = verifyBegin.Add(d)
		return t
	}
	minute := func(n int) time.Time { return verifyBegin.Add(time.Duration(n) * time.Minute) }
	for _, c := range []struct {
		name    string
		receipt receipt.Receipt
		tally   search.Tally
		verdict string
		reason  string
		times   []anchor
	}{
		{"all there", booking(10, nil), tallied(1, 10, 1), verdictComplete, "", nil},
		{"nothing to be there", booking(0, nil), tallied(), verdictComplete, "", nil},
		{"missing at the begin", booking(10, nil), tallied(3, 10, 1), verdictIncomplete, "missing 1-2", nil},
		{"missing in the middle", booking(50, nil), tallied(1, 16, 1, 20, 39, 1, 41, 50, 1), verdictIncomplete, "missing 17-19, 40", nil},
		{"missing at the end", booking(10, nil), tallied(1, 9, 1), verdictIncomplete, "missing 10", nil},
		{"all missing", booking(10, nil), tallied(), verdictIncomplete, "missing 1-10", nil},
		{"doubled", booking(10, nil), tallied(1, 6, 1, 7, 7, 2, 8, 10, 1), verdictIncomplete, "doubled 7", nil},
		{"one missing and one doubled", booking(10, nil), tallied(1, 6, 1, 7, 7, 2, 9, 10, 1), verdictIncomplete, "missing 8; doubled 7", nil},
		{"more than booked", booking(10, nil), tallied(0, 12, 1), verdictIncomplete, "not in the receipt 0, 11-12", nil},
		{"booked otherwise", booking(10, lost), tallied(2, 3, 1, 6, 9, 1), verdictComplete, "1 quarantined; 2 dead lettered; 1 dropped by server", nil},
		{"replayed since", booking(10, lost), tallied(2, 9, 1), verdictComplete, "1 quarantined; 2 dead lettered; 1 dropped by server; 2 of these stored since", nil},
		{"replayed twice", booking(10, lost), tallied(2, 3, 1, 4, 4, 2, 5, 9, 1), verdictIncomplete, "doubled 4", nil},
		{"missing beside", booking(10, lost), tallied(2, 3, 1, 7, 9, 1), verdictIncomplete, "missing 6", nil},
		{"known doubled", booking(10, doubled), tallied(1, 2, 1, 3, 4, 2, 5, 10, 1), verdictComplete, "2 doubled", nil},
		{"known doubled, one copy deleted", booking(10, doubled), tallied(1, 3, 1, 4, 4, 2, 5, 10, 1), verdictComplete, "2 doubled", nil},
		{"known doubled, both copies gone", booking(10, doubled), tallied(1, 2, 1, 4, 4, 2, 5, 10, 1), verdictIncomplete, "missing 3", nil},
		{"known doubled is there thrice", booking(10, doubled), tallied(1, 2, 1, 3, 3, 3, 4, 4, 2, 5, 10, 1), verdictIncomplete, "doubled 3", nil},
		{"open", booking(10, open), tallied(1, 8, 1), verdictComplete, "complete up to line 8, newer lines are not booked yet", nil},
		{"open, newer ones there", booking(10, open), tallied(1, 99, 1), verdictComplete, "complete up to line 8", nil},
		{"open, not settled ones doubled", booking(10, open), tallied(1, 8, 1, 9, 9, 2), verdictComplete, "complete up to line 8", nil},
		{"open and missing", booking(10, open), tallied(1, 7, 1, 9, 10, 1), verdictIncomplete, "missing 8", nil},
		{"open without a line", booking(2, open), tallied(), verdictOpen, "no line is booked yet", nil},
		{"unproven", booking(10, func(r *receipt.Receipt) { r.Unproven = "no agent ran from 9 to 10" }), tallied(1, 10, 1), verdictUnproven, "no agent ran from 9 to 10", nil},
		{"unproven and missing", booking(10, func(r *receipt.Receipt) { r.Unproven = "x" }), tallied(1, 9, 1), verdictIncomplete, "missing 10", nil},
		{"does not add up", func() receipt.Receipt { r := booking(10, nil); r.Lines.Delivered--; return r }(), tallied(1, 10, 1), verdictUnproven, "do not add up", nil},
		{"bytes do not add up", func() receipt.Receipt { r := booking(10, nil); r.Bytes.Size++; return r }(), tallied(1, 10, 1), verdictUnproven, "do not add up", nil},
		{"final with pending lines", booking(10, func(r *receipt.Receipt) { r.Lines.Pending = 1 }), tallied(1, 9, 1), verdictUnproven, "do not add up", nil},
		{"too many ranges", booking(10, full), tallied(1, 1, 1, 3, 3, 1, 6, 10, 1), verdictUnproven, "1 more ranges of lines had no room", nil},
		{"too many ranges, and missing", booking(10, full), tallied(1, 1, 1, 3, 3, 1, 7, 10, 1), verdictIncomplete, "missing 4-6", nil},
		{"cut lines", booking(10, func(r *receipt.Receipt) { r.Bytes.Truncated = 4096; r.Bytes.Garbage = 12 }), tallied(1, 10, 1), verdictComplete, "4,096 bytes of long lines cut off; 12 bytes in the file are no entries", nil},
		{"all deleted", booking(10, nil), retained(2*time.Hour, tallied()), verdictExpired, "retention deleted 1-10", nil},
		{"all missing, but all younger than the first", booking(10, nil), retained(time.Minute, tallied()), verdictIncomplete, "missing 2-10", nil},
		{"all missing, half of it old by an earlier receipt", booking(10, nil), retained(time.Minute, tallied()), verdictIncomplete, "missing 6-10", []anchor{{5, minute(1)}, {8, minute(2)}}},
		{"nothing is as old as what was deleted", booking(10, nil), retained(-time.Minute, tallied(2, 10, 1)), verdictIncomplete, "missing 1", nil},
		{"the begin deleted", booking(10, nil), retained(time.Minute, tallied(4, 10, 1)), verdictExpired, "retention deleted 1-3", []anchor{{4, minute(2)}}},
		{"the begin deleted, but for what came late", booking(10, nil), retained(time.Minute, tallied(2, 2, 1, 6, 10, 1)), verdictExpired, "retention deleted 1, 3-5", []anchor{{2, minute(0)}, {6, minute(2)}}},
		{"the begin deleted, with a dead letter in it", booking(10, func(r *receipt.Receipt) {
			r.Lines.DeadLettered, r.Ranges = 2, []receipt.Range{{First: 2, Last: 3, Why: "dead_lettered"}}
		}), retained(time.Minute, tallied(4, 10, 1)), verdictExpired, "retention deleted 1; 2 dead lettered", []anchor{{4, minute(2)}}},
		{"the begin deleted and one lost", booking(10, nil), retained(time.Minute, tallied(4, 6, 1, 8, 10, 1)), verdictIncomplete, "missing 7", []anchor{{4, minute(2)}}},
		{"an old one lost beside deleted ones", booking(10, nil), retained(30*time.Minute, tallied(1, 4, 1, 6, 10, 1)), verdictExpired, "retention deleted 5", []anchor{{4, minute(10)}, {6, minute(40)}}},
		{"missing beside a closed index", booking(10, nil), func() search.Tally { t := tallied(1, 4, 1, 6, 10, 1); t.Closed = []string{"old"}; return t }(), verdictIncomplete, "missing 5; the closed index old may hold them", nil},
	} {
		f := compare(finding{}, c.receipt, c.tally, c.times, time.Time{}, time.Time{})
		if f.Verdict != c.verdict || !strings.Contains(f.Reason, c.reason) || c.reason == "" && f.Reason != "" {
			t.Errorf("%s: %s: %q, want %s: %q", c.name, f.Verdict, f.Reason, c.verdict, c.reason)
		}
		if *f.Lines != c.receipt.Lines.Total || f.Stored != c.tally.Lines {
			t.Errorf("%s: %d lines, %d stored", c.name, *f.Lines, f.Stored)
		}
	}
	// An open file is complete as far as somebody asked, once it is booked so far.
	r := booking(10, open)
	for until, want := range map[time.Time]string{verifyEnd: verdictComplete, verifyEnd.Add(1): verdictOpen} {
		if f := compare(finding{}, r, tallied(1, 8, 1), nil, time.Time{}, until); f.Verdict != want {
			t.Errorf("until %s: %s, want %s", until, f.Verdict, want)
		}
	}
	if f := compare(finding{}, r, tallied(1, 7, 1), nil, time.Time{}, verifyEnd); f.Verdict != verdictIncomplete {
		t.Errorf("a line is missing: %s", f.Verdict)
	}
}

func TestUnreceipted(t *testing.T) {
	for _, c := range []struct {
		tally  search.Tally
		reason string
	}{
		{tallied(1, 10, 1), "lines 1-10 without a break"},
		{tallied(1, 4, 1, 6, 10, 1), "missing 5"},
		{tallied(3, 10, 1), "missing 1-2"},
		{tallied(1, 4, 1, 5, 5, 2), "doubled 5"},
		{tallied(), "have gone since"},
		{func() search.Tally { t := tallied(3, 10, 1); t.Expired = verifyEnd; return t }(), "lines 3-10 without a break; the store's retention may have deleted 1-2"},
	} {
		if f := unreceipted(finding{}, c.tally); f.Verdict != verdictNoReceipt || !strings.Contains(f.Reason, c.reason) {
			t.Errorf("%s: %q, want %q", f.Verdict, f.Reason, c.reason)
		}
	}
}

func TestSummary(t *testing.T) {
	n := int64(10)
	for _, c := range []struct {
		findings []finding
		want     string
	}{
		{nil, "UNPROVEN: 0 log files, 0 lines booked, 0 stored ()."},
		{[]finding{{Verdict: verdictComplete, Lines: &n, Stored: 10}}, "COMPLETE: 1 log file, 10 lines, each is stored once or booked otherwise."},
		{[]finding{{Verdict: verdictComplete, Lines: &n, Stored: 10}, {Verdict: verdictIncomplete, Lines: &n, Stored: 9, Missing: spans{{1, 2}}, Doubled: spans{{4, 4}}}, {Verdict: verdictGap}},
			"INCOMPLETE: 2 log files, 20 lines booked, 19 stored; 2 missing, 1 doubled (1 COMPLETE, 1 GAP, 1 INCOMPLETE)."},
	} {
		if got := summarize(c.findings).String(); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
	for _, worse := range badness[1:] {
		if s := summarize([]finding{{Verdict: worse}, {Verdict: verdictComplete}}); s.Verdict != worse {
			t.Errorf("%s beside a complete one: %s", worse, s.Verdict)
		}
	}
	many := make(spans, 25)
	for i := range many {
		many[i] = span{int64(i) * 3, int64(i) * 3}
	}
	if s := many.String(); !strings.HasSuffix(s, "57, and 5 more ranges") {
		t.Error(s)
	}
}

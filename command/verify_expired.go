package command

import (
	"context"
	"encoding/json"
	"time"

	"mesoscope/receipt"
	"mesoscope/search"
)

// Retention deletes by time, and lines are missing by number. What joins both:
// a file's lines are in the order of their times, and of some numbers the time
// is known. From all revisions of the receipt (so many lines were booked, the
// last one of that time), and from the lines that are left on both sides of the
// time up to which was deleted.

// An anchor is the time of a line.
type anchor struct {
	line int64
	at   time.Time
}

// anchors are what a receipt says about times.
func anchors(r receipt.Receipt) (out []anchor) {
	if settled := r.Lines.Total - r.Lines.Pending; settled > 0 && !r.First.IsZero() {
		out = append(out, anchor{1, r.First}, anchor{settled, r.Last})
	}
	return out
}

// left asks for the lines of a file that are stored next to the time up to which
// retention has deleted: the last one that is as old, and the first younger one.
func left(ctx context.Context, store search.Store, k search.Key, expired time.Time) (out []anchor, err error) {
	file := search.And(search.Term("container.id", k.Container), search.Term("log.file.generation", k.Generation),
		search.Term("stream", k.Stream), search.Exists("event.sequence"))
	for _, r := range []search.Request{
		{Query: file, Until: expired.Add(1), Newest: true, Limit: 1},
		{Query: file, Since: expired.Add(1), Limit: 1},
	} {
		res, err := store.Search(ctx, r)
		if err != nil {
			return nil, err
		}
		for _, line := range res.Lines {
			var d struct {
				Time  time.Time `json:"@timestamp"`
				Event struct {
					Sequence int64 `json:"sequence"`
				} `json:"event"`
			}
			if json.Unmarshal(line.Doc, &d) == nil {
				out = append(out, anchor{d.Event.Sequence, d.Time})
			}
		}
	}
	return out, nil
}

// expire moves the missing lines that retention may have deleted. Those between
// the last known old one and the first known young one may be as well if that
// one is stored: retention leaves nothing before the first line that it leaves.
func (f *finding) expire(t search.Tally, times []anchor) {
	if t.Expired.IsZero() || len(f.Missing) == 0 {
		return
	}
	old, young := int64(0), int64(1<<62)
	for _, a := range times {
		if a.at.After(t.Expired) {
			young = min(young, a.line)
		} else {
			old = max(old, a.line)
		}
	}
	if old == 0 {
		return // no line is that old
	}
	missing := f.Missing
	f.Missing = nil
	split := func(first, last int64, into *spans) {
		if first <= last {
			into.add(first, last)
		}
	}
	end := min(old, young-1)
	if isStored(t, young) {
		end = young - 1
	}
	for _, s := range missing {
		split(s.First, min(s.Last, end), &f.Expired)
		split(max(s.First, end+1), s.Last, &f.Missing)
	}
}

func isStored(t search.Tally, line int64) bool {
	for _, r := range t.Runs {
		if r.First <= line && line <= r.Last {
			return true
		}
	}
	return false
}

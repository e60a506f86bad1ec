package tail

import (
	"bytes"
	"slices"
	"strconv"
	"time"

	"mesoscope/receipt"
	"mesoscope/record"
)

// The books say what became of each line and byte of a generation, stream by
// stream. How many there are follows from the bytes and stands in Position;
// what the sink said of those that did not simply end as delivered is booked
// here, and only when the settled prefix passes them, so that position and book
// always belong together, also in the checkpoint.

// An oddity is a line that did not simply end as delivered.
type oddity struct {
	generation int64 // where it began
	sequence   int64 // 0: only a part of a line that began elsewhere
	bytes      int64 // of it in this generation
	outcome    record.Outcome
}

// A tally is a number of lines and the bytes that they lie in.
type tally struct {
	Lines int64 `json:"n,omitempty"`
	Bytes int64 `json:"b,omitempty"`
}

// A book is what happened to the settled lines of one stream in one generation
// that were not simply delivered.
type book struct {
	Tallies [5]tally        `json:"t"` // by record.Outcome-1
	Ranges  []receipt.Range `json:"r,omitempty"`
	More    int             `json:"more,omitempty"`
}

var outcomeNames = [...]string{
	record.Quarantined: "quarantined", record.DeadLettered: "dead_lettered", record.DroppedByServer: "dropped_by_server", record.Doubled: "doubled",
}

func (b *book) add(o oddity) {
	t := &b.Tallies[o.outcome-1]
	t.Bytes += o.bytes
	if o.sequence == 0 {
		return
	}
	t.Lines++
	if o.outcome == record.Duplicate {
		return // it is there once, as it should be
	}
	why := outcomeNames[o.outcome]
	for i := range b.Ranges {
		if r := &b.Ranges[i]; r.Why == why && r.Last+1 == o.sequence {
			r.Last = o.sequence
			return
		}
	}
	if len(b.Ranges) >= receipt.MostRanges {
		b.More++
		return
	}
	b.Ranges = append(b.Ranges, receipt.Range{First: o.sequence, Last: o.sequence, Why: why})
}

// clone is a book that does not change with b.
func (b book) clone() book {
	b.Ranges = slices.Clone(b.Ranges)
	return b
}

// oddities are what the marks of a flight say, in the order of its lines.
func (fl *flight) oddities() []oddity {
	marks := fl.Marks()
	if len(marks) == 0 {
		return nil
	}
	slices.SortFunc(marks, func(a, b record.Mark) int { return int(a.Item) - int(b.Item) })
	odd := make([]oddity, 0, len(marks))
	for _, m := range marks {
		i := int(m.Item)
		o := oddity{generation: fl.generation, sequence: sequenceOf(fl.Own(i)), bytes: int64(fl.Items[i].Source), outcome: m.Outcome}
		if i == 0 && len(fl.carried) > 0 {
			// Each byte is booked where it lies, the line where it began.
			rest := o
			rest.sequence = 0
			for n, p := range fl.carried {
				rest.bytes -= p.bytes
				o.generation, o.bytes = p.generation, p.bytes
				if n > 0 {
					o.sequence = 0
				}
				odd = append(odd, o)
			}
			odd = append(odd, rest)
			continue
		}
		odd = append(odd, o)
	}
	return odd
}

var sequenceKey = []byte(`"event":{"sequence":`)

// sequenceOf reads event.sequence out of a document that the pipeline wrote.
// The key cannot stand in a message, where its quotes would be escaped.
func sequenceOf(own []byte) (n int64) {
	at := bytes.LastIndex(own, sequenceKey)
	if at < 0 {
		return 0
	}
	digits := own[at+len(sequenceKey):]
	end := 0
	for end < len(digits) && digits[end] >= '0' && digits[end] <= '9' {
		end++
	}
	n, _ = strconv.ParseInt(string(digits[:end]), 10, 64) // digits only
	return n
}

// enterBooks books what the settled prefix of stream k has just passed.
func (s *source) enterBooks(k int, odd []oddity) {
	for _, o := range odd {
		if g := s.find(func(g *generation) bool { return g.N == o.generation }); g != nil {
			g.Books[k].add(o)
		}
	}
}

// receipt says how far stream k of g is settled, and what became of it. false:
// there is nothing to say.
func (s *source) receipt(g *generation, k int) (r receipt.Receipt, ok bool) {
	end := s.ledgers[k].settled
	r.Final = g.closed(k, end)
	switch {
	case r.Final, end.Generation > g.N:
		end = g.End[k]
	case end.Generation < g.N:
		return r, false
	}
	size, missing := end.Offset, int64(0)
	if r.Final && g.Lost {
		missing = max(0, g.LostSize-end.Offset)
		size += missing
	}
	b := &g.Books[k]
	t := func(o record.Outcome) tally { return b.Tallies[o-1] }
	r.Unproven = g.Doubt
	r.Lines = receipt.Lines{
		Total: end.Lines, Duplicate: t(record.Duplicate).Lines, Quarantined: t(record.Quarantined).Lines,
		DeadLettered: t(record.DeadLettered).Lines, DroppedByServer: t(record.DroppedByServer).Lines, Doubled: t(record.Doubled).Lines,
	}
	l := r.Lines
	r.Lines.Delivered = l.Total - l.Duplicate - l.Quarantined - l.DeadLettered - l.DroppedByServer - l.Doubled
	r.Bytes = receipt.Bytes{
		Size: size, Duplicate: t(record.Duplicate).Bytes, Quarantined: t(record.Quarantined).Bytes,
		DeadLettered: t(record.DeadLettered).Bytes, DroppedByServer: t(record.DroppedByServer).Bytes, Doubled: t(record.Doubled).Bytes,
		Truncated: end.Passed, Garbage: end.Garbage + g.From, Gap: missing,
	}
	n := r.Bytes
	r.Bytes.Delivered = end.Own - n.Duplicate - n.Quarantined - n.DeadLettered - n.DroppedByServer - n.Doubled
	r.Bytes.OtherStream = size - end.Own - end.Passed - n.Garbage - n.Gap
	if g.First[k] != 0 {
		r.First, r.Last = time.Unix(0, g.First[k]).UTC(), time.Unix(0, max(end.LastNanos, g.First[k])).UTC()
	}
	r.Ranges, r.MoreRanges = b.Ranges, b.More
	for _, p := range g.Gaps {
		r.Gaps = append(r.Gaps, p.Gap)
	}
	return r, true
}

// closed says whether End[k] is the last word about g: the file has its end, and
// all before it is settled. That it was read to there is not enough: the agent
// may have been killed before the last answers.
func (g *generation) closed(k int, settled Position) bool {
	return g.End[k].Generation == g.N && (settled.Generation > g.N || g.Closed && !settled.before(g.End[k]))
}

// silent says whether there is nothing to book about stream k of g: a container
// that never writes to stderr gets no receipts for that. What belongs to no
// stream is booked with stdout, or with the only one that a raw log is of.
func (s *source) silent(g *generation, k int) bool {
	if s.unwanted(k) {
		return true
	}
	if e := g.End[k]; g.First[k] != 0 || e.Lines+e.Own+e.Passed > 0 {
		return false
	}
	main := s.target.Format.main()
	return k != main || g.First[1-main] != 0 || g.End[0].Garbage == 0 && len(g.Gaps) == 0 && g.Doubt == ""
}

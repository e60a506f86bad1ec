package tail

import (
	"fmt"
	"time"

	"mesoscope/record"
)

// A Position is a place in the chain of generations of one container, seen by
// one stream: all entries of the stream before it are done.
type Position struct {
	Generation int64 `json:"n"`             // ordinal
	Offset     int64 `json:"off"`           // in the uncompressed file
	Lines      int64 `json:"lines"`         // lines of the stream that began before Offset in this generation
	Cut        int64 `json:"cut,omitempty"` // time (ns) of a line that was sent at its cap and goes on here
	In         int   `json:"in,omitempty"`  // stream, counted from 1, of the line that goes on here, if it is the other one's
	// What lies before Offset in this generation, for the books. It follows
	// from the bytes alone, so it is the same however often they are read.
	Own       int64 `json:"own,omitempty"`     // bytes of the stream's entries, but for Passed
	Passed    int64 `json:"passed,omitempty"`  // bytes of the stream's lines beyond their cap
	Garbage   int64 `json:"garbage,omitempty"` // bytes that are no entries, of no stream
	LastNanos int64 `json:"last,omitempty"`    // time of the line that began last
}

func (p Position) before(q Position) bool {
	return p.Generation < q.Generation || p.Generation == q.Generation && p.Offset < q.Offset
}

// lower is the place before which both streams are done.
func lower(streams [2]Position) Position {
	if streams[1].before(streams[0]) {
		return streams[1]
	}
	return streams[0]
}

// later is the one of two places that lies behind the other.
func later(p, q Position) Position {
	if p.before(q) {
		return q
	}
	return p
}

// A flight is a batch on its way through a sink.
type flight struct {
	record.Batch
	source *source
	stream int
	epoch  int // of the source when it was handed over
	slot   *slot
	bytes  int64 // what it counts against the memory limit
	// generation is where its lines lie. The first of them may have begun in
	// earlier ones: carried says what of it lies where.
	generation int64
	carried    []part
}

// A part is what of a line lies in an earlier generation than its end.
type part struct{ generation, bytes int64 }

// A slot is the place of a flight in its ledger. It outlives the flight, whose
// memory is used again as soon as it has landed.
type slot struct {
	end    Position // what is done when this flight and all before it are settled
	landed bool
	since  time.Time // when it was handed over
	odd    []oddity  // what did not simply end as delivered
}

// A ledger keeps the flights of one stream in order. Flights land in any
// order; only the prefix that has landed counts as settled.
type ledger struct {
	flights []*slot
	settled Position // end of the prefix that has landed
	scanned Position // up to here everything is in a flight, or there was nothing
}

// begin notes that a flight is about to be handed to the sink.
func (l *ledger) begin(end Position, now time.Time) *slot {
	if end.before(l.scanned) {
		panic(fmt.Sprintf("BUG: tail: flight to %+v after scanning to %+v", end, l.scanned))
	}
	s := &slot{end: end, since: now}
	l.flights = append(l.flights, s)
	l.scanned = end
	return s
}

// scan notes that there is nothing of the stream between the last flight and p.
func (l *ledger) scan(p Position) {
	if p.before(l.scanned) {
		panic(fmt.Sprintf("BUG: tail: scanned %+v after %+v", p, l.scanned))
	}
	l.scanned = p
	if len(l.flights) == 0 {
		l.settled = p
	}
}

// land notes that the flight of s is settled, moves the prefix, and gives what
// the flights that it now covers have to book.
func (l *ledger) land(s *slot) (odd []oddity) {
	s.landed = true
	n := 0
	for n < len(l.flights) && l.flights[n].landed {
		l.settled = l.flights[n].end
		odd = append(odd, l.flights[n].odd...)
		n++
	}
	if n > 0 {
		rest := copy(l.flights, l.flights[n:])
		clear(l.flights[rest:])
		l.flights = l.flights[:rest]
	}
	if len(l.flights) == 0 {
		l.settled = l.scanned
	}
	return odd
}

// start puts an empty ledger at p.
func (l *ledger) start(p Position) { l.flights, l.settled, l.scanned = nil, p, p }

package tail

import (
	"fmt"

	"mesoscope/record"
)

// A Position is a place in the chain of generations of one container, seen by
// one stream: all entries of the stream before it are done.
type Position struct {
	Generation int64 `json:"n"`             // ordinal
	Offset     int64 `json:"off"`           // in the uncompressed file
	Lines      int64 `json:"lines"`         // lines of the stream that began before Offset in this generation
	Cut        int64 `json:"cut,omitempty"` // time (ns) of a line that was sent at its cap and goes on here
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

// A flight is a batch on its way through a sink.
type flight struct {
	record.Batch
	source *source
	stream int
	slot   *slot
	bytes  int64 // what it counts against the memory limit
}

// A slot is the place of a flight in its ledger. It outlives the flight, whose
// memory is used again as soon as it has landed.
type slot struct {
	end    Position // what is done when this flight and all before it are settled
	landed bool
}

// A ledger keeps the flights of one stream in order. Flights land in any
// order; only the prefix that has landed counts as settled.
type ledger struct {
	flights []*slot
	settled Position // end of the prefix that has landed
	scanned Position // up to here everything is in a flight, or there was nothing
}

// begin notes that a flight is about to be handed to the sink.
func (l *ledger) begin(end Position) *slot {
	if end.before(l.scanned) {
		panic(fmt.Sprintf("BUG: tail: flight to %+v after scanning to %+v", end, l.scanned))
	}
	s := &slot{end: end}
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

// land notes that the flight of s is settled, and moves the prefix.
func (l *ledger) land(s *slot) {
	s.landed = true
	n := 0
	for n < len(l.flights) && l.flights[n].landed {
		l.settled = l.flights[n].end
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
}

// start puts an empty ledger at p.
func (l *ledger) start(p Position) { l.settled, l.scanned = p, p }

package search

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// An Auditor says exactly which lines a store holds, for `mesoscope verify`.
// Both methods know all that was stored before they were called.
type Auditor interface {
	// Generations lists the log files, by stream, of which lines match r's
	// Query, Since and Until; in order of container, time and stream.
	Generations(ctx context.Context, r Request) ([]Generation, error)
	// Tally counts the lines of each of keys, whatever their time.
	Tally(ctx context.Context, keys []Key) ([]Tally, error)
}

// An AuditStore is both. The stores of this package are.
type AuditStore interface {
	Store
	Auditor
}

// A Key names a log file and stream: event.sequence numbers its lines from 1.
type Key struct {
	Container  string `json:"container"`  // container.id
	Generation string `json:"generation"` // log.file.generation
	Stream     string `json:"stream"`
}

// A Generation is what is known of a Key from its lines.
type Generation struct {
	Key
	Name  string    `json:"name"` // container.name
	Path  string    `json:"path"` // log.file.path
	First time.Time `json:"first"`
	Last  time.Time `json:"last"` // of the lines that were asked for
}

// A Tally says how often each line of a Key is stored.
type Tally struct {
	Lines int64 `json:"lines"` // documents
	// Runs say how often by event.sequence, in order. What is in no run is not
	// stored.
	Runs []Run `json:"runs"`
	// Expired is up to which time the store's retention may have deleted lines
	// of this Key; zero: it has deleted none.
	Expired time.Time `json:"expired,omitzero"`
	// Closed are indices that somebody has closed: what they hold is not counted.
	Closed []string `json:"closed,omitempty"`
	// Stale says that lines of the last seconds may be stored and not be seen
	// yet, because these credentials may not refresh the store.
	Stale bool `json:"stale,omitempty"`
}

// A Run is consecutive numbers, both ends included, each stored Copies times.
type Run struct {
	First  int64 `json:"first"`
	Last   int64 `json:"last"`
	Copies int64 `json:"copies"`
}

// runs collects Runs in order.
type runs []Run

// add appends a run behind all others, joined with the last one where they say
// the same.
func (r *runs) add(first, last, copies int64) {
	if n := len(*r); n > 0 && (*r)[n-1].Last+1 == first && (*r)[n-1].Copies == copies {
		(*r)[n-1].Last = last
		return
	}
	*r = append(*r, Run{first, last, copies})
}

// A counter counts numbers that come in any order, though mostly ascending.
type counter struct {
	lines     int64
	ascending runs
	rest      []int64
}

func (c *counter) count(n int64) {
	c.lines++
	if len(c.ascending) > 0 && n <= c.ascending[len(c.ascending)-1].Last {
		c.rest = append(c.rest, n)
		return
	}
	c.ascending.add(n, n, 1)
}

// tally is the result: a sweep over where runs begin and end.
func (c *counter) tally() Tally {
	if len(c.rest) == 0 {
		return Tally{Lines: c.lines, Runs: c.ascending}
	}
	type edge struct{ at, step int64 }
	edges := make([]edge, 0, 2*(len(c.ascending)+len(c.rest)))
	for _, r := range c.ascending {
		edges = append(edges, edge{r.First, 1}, edge{r.Last + 1, -1})
	}
	for _, n := range c.rest {
		edges = append(edges, edge{n, 1}, edge{n + 1, -1})
	}
	slices.SortFunc(edges, func(a, b edge) int { return cmp.Compare(a.at, b.at) })
	var out runs
	copies, from := int64(0), int64(0)
	for i, e := range edges {
		if i > 0 && e.at > from && copies > 0 {
			out.add(from, e.at-1, copies)
		}
		copies, from = copies+e.step, e.at
	}
	return Tally{Lines: c.lines, Runs: out}
}

func sortGenerations(list []Generation) {
	slices.SortFunc(list, func(a, b Generation) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Container, b.Container), a.First.Compare(b.First), cmp.Compare(a.Generation, b.Generation), cmp.Compare(a.Stream, b.Stream))
	})
}

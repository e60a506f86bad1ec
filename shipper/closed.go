package shipper

import (
	"log/slog"
	"slices"
	"strings"
	"time"
)

// Nobody can say what a closed index holds: a look-up of it ends with
// index_closed_exception, and searches leave it out. Somebody who changes its
// settings opens it again at once, so lines that it may hold wait for a while.
// Somebody who has put it away does not, and then lines must not wait for ever:
// the index is as good as deleted, and they are sent again. Should it be opened
// once more, those that it held are there twice; so they are counted and said.

// closedFor is how long lines wait for a closed index to be opened.
// Shorter in a test with a real server.
var closedFor = 2 * time.Minute

// noteClosed keeps since when indices are closed.
func (a *assembler) noteClosed(q *inquiry, now time.Time) {
	for _, index := range q.places {
		_, known := a.shut[index]
		switch closed := slices.Contains(q.closed, index); {
		case closed && !known:
			a.shut[index] = now
		case !closed && known && q.fates != nil && slices.Contains(q.fates, isMissing): // it was looked into
			delete(a.shut, index)
		}
	}
}

// awaitClosed says whether one of the closed indices may still be opened.
func (a *assembler) awaitClosed(q *inquiry, now time.Time) bool {
	return slices.ContainsFunc(q.closed, func(index string) bool { return now.Sub(a.shut[index]) < closedFor })
}

// sayClosed counts lines that are sent again although a closed index may hold
// them.
func (a *assembler) sayClosed(q *inquiry) {
	if len(q.closed) == 0 {
		return
	}
	n := 0
	for _, f := range q.fates {
		if f == isMissing {
			n++
		}
	}
	a.metrics.unchecked.Add(float64(n))
	a.problems.note(slog.LevelWarn, n, "lines that may be stored in a closed index are sent again: if it is opened, they can be there twice", strings.Join(q.closed, ", "), "index", q.b.lane.index)
}

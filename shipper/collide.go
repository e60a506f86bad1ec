package shipper

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"time"

	"mesoscope/record"
)

// A 409 for an id that was never sent means one of two things: the line is
// there because somebody sent it before and does not know it any more (a lost
// checkpoint, two agents on one log), or another line has this id. The second
// would be lost silently if it was taken for the first, so both are compared.

// comparable are the members that say which line a document is. All of the same
// line's copies agree in them, in whatever form they are stored.
var identity = [][]string{
	{"container", "id"}, {"log", "file", "generation"}, {"log", "offset"}, {"event", "sequence"}, {"stream"},
}

// compare gets what is stored under the ids of the bulk and compares.
func (k *asker) compare(ctx context.Context, q *inquiry) error {
	names := make([]string, len(identity))
	for i, path := range identity {
		names[i] = strings.Join(path, ".")
	}
	source := "_source_includes=" + strings.Join(names, ",")
	q.fates = make([]fate, q.b.items)
	for from := 0; from < q.b.items; from += mostDocs {
		to := min(from+mostDocs, q.b.items)
		wishes := make([]wish, 0, to-from)
		for n := from; n < to; n++ {
			r := q.b.at(n)
			wishes = append(wishes, wish{r.where, string(r.p.batch.ID(r.i))})
		}
		docs, err := k.mget(ctx, q, source, wishes)
		if err != nil {
			return err
		}
		for n, d := range docs {
			if d.Found {
				r := q.b.at(from + n)
				q.fates[from+n] = sameLine(r.p.batch.Doc(r.i), d.Source)
			}
		}
	}
	return nil
}

// sameLine compares our document with the one in the store.
func sameLine(ours, theirs []byte) fate {
	var a, b map[string]json.RawMessage
	if json.Unmarshal(ours, &a) != nil || json.Unmarshal(theirs, &b) != nil {
		return isBlank
	}
	f := isBlank
	for _, path := range identity {
		x, ok := lookup(a, path)
		y, too := lookup(b, path)
		if !ok || !too {
			continue
		}
		if !bytes.Equal(bytes.TrimSpace(x), bytes.TrimSpace(y)) {
			return isOther
		}
		f = isThere
	}
	return f
}

// applySame ends the items, or makes dead letters of those that collided.
func (a *assembler) applySame(q *inquiry, now time.Time) {
	l, known := q.b.lane, 0
	for i, r := range q.b.retries {
		switch q.fates[i] {
		case isMissing: // deleted between the two answers
			r.since, r.attempts, r.due = r.where, r.attempts+1, now
			l.pushRetry(r)
		case isOther:
			a.metrics.collided.Inc()
			o := oddItem{status: 409, typ: "id_collision", reason: "another line has the same _id in " + r.where}
			a.problems.note(slog.LevelError, 1, "two different lines have the same _id: the second one goes into the dead-letter file; please report this", string(r.p.batch.ID(r.i)), "index", l.index)
			a.bequeath(l, r, o, now)
		default:
			known++
			a.mark(r.p, r.i, record.Duplicate)
			a.closeItem(r)
		}
	}
	if known > 0 {
		a.problems.note(slog.LevelWarn, known, "lines that were never sent by this agent, as far as it knows, are stored already: they are not stored twice (was its data_dir lost, or does another agent read the same logs?)", "", "index", l.index)
	}
	a.freeBulk(q.b)
}

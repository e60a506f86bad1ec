package shipper

import (
	"log/slog"
	"net/http"
	"slices"
	"time"

	"mesoscope/record"
)

// A data stream's ids are unique within one backing index only, so an item that
// may be stored already must not simply be sent again: after a rollover it would
// be there twice. Such an item has a since, and goes this way:
//
//	doubts -> an inquiry (lookup.go): are the earlier requests dead? which
//	backing indices are there since? what of the bulk do they hold?
//	-> what was found is final; the rest is sent, and an answer that names
//	another index than the question did is looked into once more.
//
// In the usual case the write index is the only one since, and `create` finds
// the duplicates by itself: then nothing is looked up.

// A question is what an inquiry is to find out about the items of a bulk.
type question uint8

const (
	mayBeThere question = iota // before they go again: which are stored already?
	isTwice                    // they landed in another index than expected: are they in an older one as well?
	isSame                     // 409 for an id that was never sent: is that our line?
	whereWrite                 // no items: which index is written to?
)

const (
	askers = 2 // questions under way
	// A request is asked for only so long after its end: until then it may be
	// on its way still, in a proxy or in the kernel's buffers.
	ghostGrace = time.Second
	// Without the right to see tasks a request is taken for dead so long after
	// the server's own limit.
	ghostMargin = 15 * time.Second
	// What was forbidden is tried again after this time.
	deniedFor = 15 * time.Minute
)

// A ghost is a request that had no answer: the server may still work on it.
type ghost struct {
	id    string // X-Opaque-Id
	lane  *lane
	ended time.Time
}

// doubt notes that a bulk was sent and nobody knows what became of it.
func (a *assembler) doubt(b *bulk, now time.Time) {
	if !b.answer.unsure() {
		return
	}
	into := b.into
	if into == "" {
		into = record.Unknown
	}
	b.since = older(b.since, into)
	for i := range b.retries {
		b.retries[i].since = b.since
	}
	if b.answer.err != nil {
		a.ghosts = append(a.ghosts, ghost{b.answer.opaqueID, b.lane, now})
	}
}

// unsure says whether the request may have stored something although it did not
// end well.
func (ans *answer) unsure() bool {
	if ans.err != nil {
		return ans.began
	}
	return ans.status >= http.StatusInternalServerError && ans.typ != "cluster_block_exception"
}

// ready puts a bulk where it waits for a sender, or, if something of it may be
// stored already, where it is asked about first.
func (a *assembler) ready(b *bulk) {
	l := b.lane
	if b.since == "" {
		l.queue = append(l.queue, b)
		return
	}
	b.asks, b.looked, b.tries, b.due, b.expect = mayBeThere, false, 0, time.Time{}, nil
	l.doubts = append(l.doubts, b)
}

// question puts items aside about which something is to be found out.
func (a *assembler) question(l *lane, what question, items []retry) {
	for len(items) > 0 {
		b := a.newBulk(l)
		n := 0
		for n < len(items) && n < retryItems && items[n].since == items[0].since {
			b.addRetry(items[n])
			n++
		}
		b.asks = what
		l.doubts = append(l.doubts, b)
		items = items[n:]
	}
}

// inquire hands questions to free askers, one for each lane at a time.
func (a *assembler) inquire(now time.Time) {
	if now.Before(a.pace.notBefore) {
		return
	}
	if a.asking < askers {
		if stream := a.wantedStream(); stream != "" && !a.isDenied(callResolve, stream, now) {
			a.ask(&inquiry{what: whereWrite, streams: []string{stream}})
		}
	}
	for _, l := range a.order {
		for a.asking < askers && !l.asking {
			i := slices.IndexFunc(l.doubts, func(b *bulk) bool { return !b.due.After(now) })
			if i < 0 {
				break
			}
			b := l.doubts[i]
			if b.asks == mayBeThere {
				if b.due = a.alive(l, now); b.due.After(now) {
					if a.isDenied(callTasks, "", now) { // it is a long time
						a.rest(l, "a request that was cut may still be at work", "", now)
						a.tidy(l, now)
					}
					continue
				}
			}
			l.doubts = slices.Delete(l.doubts, i, i+1)
			a.askAbout(b, now)
		}
	}
}

// alive is when the requests that may have put something can be asked for, or
// taken for dead.
func (a *assembler) alive(l *lane, now time.Time) (due time.Time) {
	wait := ghostGrace
	if a.isDenied(callTasks, "", now) {
		wait = a.waits + ghostMargin
	}
	due = now
	if !a.eldersGone {
		due = a.started.Add(wait)
	}
	for _, g := range a.ghosts {
		if t := g.ended.Add(wait); g.lane == l && t.After(due) {
			due = t
		}
	}
	return due
}

// A right is what the credentials may lack: a call, for one data stream.
type right struct{ call, stream string }

func (a *assembler) isDenied(call, stream string, now time.Time) bool {
	since, denied := a.denied[right{call, stream}]
	return denied && now.Sub(since) < deniedFor
}

func (a *assembler) askAbout(b *bulk, now time.Time) {
	l := b.lane
	if a.isDenied(callMget, l.index, now) || a.isDenied(callResolve, l.index, now) || a.isDenied(callSearch, l.index, now) {
		a.unasked(b, now)
		return
	}
	q := &inquiry{what: b.asks, b: b, streams: append([]string{l.index}, l.targets...)}
	if b.since != record.Unknown {
		if s := streamOf(b.since); !slices.Contains(q.streams, s) {
			q.streams = append(q.streams, s)
		}
	}
	if b.asks == mayBeThere {
		ours := func(g ghost) bool { return g.lane == l }
		if a.isDenied(callTasks, "", now) { // all have waited long enough, see alive
			a.ghosts, a.eldersGone = slices.DeleteFunc(a.ghosts, ours), true
		} else {
			q.ghosts, q.elders = slices.DeleteFunc(slices.Clone(a.ghosts), func(g ghost) bool { return !ours(g) }), !a.eldersGone
		}
	}
	l.asking = true
	a.ask(q)
}

func (a *assembler) ask(q *inquiry) {
	a.asking++
	a.asks <- q // has room for as many as there are askers
}

// unasked goes on as if the question did not exist: `create` and 409 within the
// write index are all that protects from doubles.
func (a *assembler) unasked(b *bulk, now time.Time) {
	a.sayOnce(lacksLookup)
	l := b.lane
	if b.asks == mayBeThere {
		b.looked, b.expect = true, nil
		if b.last != nil {
			a.giveUpBulk(b, *b.last, now)
			return
		}
		l.queue = append([]*bulk{b}, l.queue...)
		return
	}
	for _, r := range b.retries {
		if !r.wrote {
			a.mark(r.p, r.i, record.Duplicate)
		}
		a.closeItem(r)
	}
	a.countStored(b.retries)
	a.freeBulk(b)
}

// closeItem counts an item that was asked about as final.
func (a *assembler) closeItem(r retry) {
	a.noteForm(r)
	a.unpin(r.p)
	a.final(r.p, 1)
}

// countStored counts the items that turned out to be stored by their last
// attempt.
func (a *assembler) countStored(items []retry) {
	n := 0
	for _, r := range items {
		if r.wrote {
			n++
		}
	}
	a.metrics.delivered.Add(float64(n))
}

// hear applies the answer to a question.
func (a *assembler) hear(q *inquiry) {
	now := time.Now()
	a.asking--
	for stream, index := range q.writes {
		a.learned(stream, index)
	}
	if q.seen { // what was asked for and is not listed is dead
		a.ghosts = slices.DeleteFunc(a.ghosts, func(g ghost) bool {
			return slices.Contains(q.ghosts, g) && !slices.Contains(q.living, g.id)
		})
		a.eldersGone = a.eldersGone || q.elders && q.living == nil
	}
	for call := range q.denied {
		a.forbidden(q, call, now)
	}
	a.metrics.questions.WithLabelValues(q.what.String(), q.result()).Inc()
	b := q.b
	if b == nil {
		return
	}
	a.noteClosed(q, now)
	l := b.lane
	l.asking = false
	switch {
	case q.unauthorized:
		a.credentialsRefused(l, q.err, now)
		a.askLater(b, now)
	case q.err != nil && !a.down.IsZero(): // that is said already
		a.askLater(b, now)
	case q.err != nil:
		a.problems.note(slog.LevelWarn, 1, "cannot find out whether lines that are sent again are stored already; asking again", q.err.Error(), "index", l.index)
		a.askLater(b, now)
		a.rest(l, q.err.Error(), "", now)
	case len(q.living) > 0:
		a.problems.note(slog.LevelInfo, 1, "Elasticsearch still works on a request that was cut; its lines wait until that is done", q.living[0], "index", l.index)
		a.askLater(b, now)
		a.rest(l, "a request that was cut is still at work", q.living[0], now)
	case q.denied[callMget] || q.denied[callResolve] || q.denied[callSearch]:
		a.unasked(b, now)
	case q.denied[callTasks]:
		b.due = now
		l.doubts = append([]*bulk{b}, l.doubts...)
	case b.asks == mayBeThere && a.awaitClosed(q, now):
		a.problems.note(slog.LevelInfo, 1, "an index that may hold lines that are sent again is closed; they wait a little in case it is opened", q.closed[0], "index", l.index)
		a.askLater(b, now)
		a.rest(l, "index_closed_exception", q.closed[0], now)
	case b.asks == isSame:
		a.applySame(q, now)
	case b.asks == isTwice:
		a.applyTwice(q)
	default:
		a.sayClosed(q)
		a.applyThere(q, now)
	}
	a.tidy(l, now)
}

func (a *assembler) askLater(b *bulk, now time.Time) {
	b.tries++
	b.due = now.Add(itemBackoff.After(b.tries))
	b.lane.doubts = append([]*bulk{b}, b.lane.doubts...)
}

// forbidden says once what we may not do, and what follows from it.
func (a *assembler) forbidden(q *inquiry, call string, now time.Time) {
	if call == callTasks {
		a.denied[right{call, ""}] = now
	} else if q.b == nil {
		a.denied[right{call, q.streams[0]}] = now
		return // it is said when it matters
	} else {
		a.denied[right{call, q.b.lane.index}] = now
	}
	a.sayOnce(deniedText[call])
}

func (a *assembler) sayOnce(text string) {
	if !a.said[text] {
		a.said[text] = true
		a.problems.note(slog.LevelWarn, 1, text, "")
	}
}

// lacksLookup: the two rights that go together.
const lacksLookup = "these credentials may not look up what is stored already (index privileges read and view_index_metadata on logs-mesos*): " +
	"a line that is sent again can be stored twice if the data stream rolls over in between. Grant them for exactly once"

var deniedText = map[string]string{
	callTasks: "these credentials may not see which requests Elasticsearch still works on (cluster privilege monitor): " +
		"after a cut request its lines are sent again only when the server's own time limit has passed",
	callResolve: lacksLookup,
	callMget:    lacksLookup,
	callSearch:  lacksLookup,
	callRefresh: "these credentials may not refresh an index (index privilege maintenance): with output.elasticsearch.ids: auto, " +
		"lines that were stored within the last refresh interval are not found, and can be stored twice when they are sent again",
	callDelete: "these credentials may not delete the newer one of two copies of a line (index privilege delete): " +
		"lines that a rollover doubled stay so, and are counted as doubled",
}

// mark notes what became of an item and counts it.
func (a *assembler) mark(p *pending, i int, o record.Outcome) {
	p.batch.Mark(i, o)
	switch o {
	case record.Duplicate:
		a.metrics.duplicate.Inc()
	case record.Doubled:
		a.metrics.doubled.Inc()
	}
}

// outcome is how an item ends about which f was found.
func (a *assembler) outcome(f fate, q *inquiry) record.Outcome {
	switch f {
	case isMended:
		a.metrics.mended.Inc()
	case isDoubled:
		a.problems.note(slog.LevelWarn, 1, "lines are stored twice, because the data stream rolled over between two attempts", "", "index", q.b.lane.index)
		return record.Doubled
	}
	return record.Duplicate
}

// applyThere ends the items that were found and lets the others go.
func (a *assembler) applyThere(q *inquiry, now time.Time) {
	b := q.b
	b.looked, b.expect = true, q.expect
	if !slices.ContainsFunc(q.fates, func(f fate) bool { return f != isMissing }) {
		if b.last != nil {
			a.giveUpBulk(b, *b.last, now)
			return
		}
		b.lane.queue = append([]*bulk{b}, b.lane.queue...)
		return
	}
	rest := a.newBulk(b.lane)
	rest.first, rest.firstSent, rest.attempts, rest.since, rest.expect, rest.probe, rest.looked = b.first, b.firstSent, b.attempts, b.since, b.expect, b.probe, true
	n := 0
	for _, s := range b.spans {
		from := s.from
		for i := s.from; i < s.to; i++ {
			if f := q.fates[n]; f != isMissing {
				a.mark(s.p, i, a.outcome(f, q))
				if from < i {
					rest.add(span{s.p, from, i}, len(s.p.entries(from, i)))
				}
				from = i + 1
			}
			n++
		}
		if from < s.to {
			rest.add(span{s.p, from, s.to}, len(s.p.entries(from, s.to)))
		}
	}
	for i, r := range b.retries {
		if f := q.fates[i]; f != isMissing {
			a.mark(r.p, r.i, a.outcome(f, q))
			a.closeItem(r)
		} else {
			rest.addRetry(r)
		}
	}
	n = 0
	for _, s := range b.spans { // marks come before the end
		there := 0
		for range s.to - s.from {
			if q.fates[n] != isMissing {
				there++
			}
			n++
		}
		if there > 0 {
			a.final(s.p, there)
		}
	}
	if rest.items > 0 {
		b.lane.queue = append([]*bulk{rest}, b.lane.queue...)
	} else {
		a.freeBulk(rest)
	}
	a.freeBulk(b)
}

// applyTwice ends items that landed in an index that was not expected.
func (a *assembler) applyTwice(q *inquiry) {
	single := 0
	for i, r := range q.b.retries {
		switch f := q.fates[i]; {
		case f == isMended || f == isDoubled:
			a.mark(r.p, r.i, a.outcome(f, q))
		case !r.wrote:
			a.mark(r.p, r.i, record.Duplicate)
		default:
			single++
		}
		a.closeItem(r)
	}
	a.metrics.delivered.Add(float64(single))
	a.freeBulk(q.b)
}

// String is what a bulk is asked about, for a metric.
func (w question) String() string {
	return [...]string{mayBeThere: "before_resend", isTwice: "after_rollover", isSame: "conflict", whereWrite: "write_index"}[w]
}

// result is how the question ended, for a metric.
func (q *inquiry) result() string {
	switch {
	case q.err != nil:
		return "failed"
	case len(q.denied) > 0:
		return "denied"
	case len(q.living) > 0:
		return "too_early"
	case len(q.closed) > 0:
		return "closed"
	}
	return "answered"
}

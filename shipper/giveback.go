package shipper

import (
	"time"

	"mesoscope/record"
)

// A paused lane keeps one batch, to ask with, and gives all others back: their
// lines wait in their files, where they cost nothing, and not in memory, where
// they would take it from the other lanes. What of a returned batch is stored
// already is found when it comes again with Since set.

// Takes says whether batches for a data stream are wanted: false while it is
// paused, when all but one are given back at once. It may be called at any time
// by any goroutine.
func (e *Elasticsearch) Takes(dataStream string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return !e.closed[dataStream]
}

// gate opens or closes a lane for Takes: a paused one is open only while it has
// nothing to ask with.
func (a *assembler) gate(l *lane) {
	closed := l.paused() && l.kept != nil
	a.mu.Lock()
	defer a.mu.Unlock()
	if closed {
		a.closed[l.index] = true
	} else {
		delete(a.closed, l.index)
	}
}

// takeAsker takes a batch into a paused lane if that has none to ask with.
func (a *assembler) takeAsker(l *lane, b *record.Batch) bool {
	if l.kept != nil {
		return false
	}
	p := a.newPending(l, b)
	a.keep(p, 0, b.Len(), b.Since)
	return true
}

// keep makes p the batch that its lane asks with.
func (a *assembler) keep(p *pending, from, to int, since string) {
	l := p.lane
	if l.kept == nil {
		l.kept = p
		a.gate(l)
	}
	for i := from; i < to; i++ {
		a.pin(p)
		l.pushRetry(retry{p: p, i: i, since: since})
	}
}

// tidy is for a lane about which something was heard: while it is paused it
// keeps one batch only, and a pause without anything to ask with is no pause:
// the next batch finds out.
func (a *assembler) tidy(l *lane, now time.Time) {
	if !l.paused() {
		return
	}
	a.giveBack(l)
	if l.flying == 0 && !l.asking && len(l.retries)+len(l.queue)+len(l.doubts) == 0 && l.fill == nil && l.old == nil {
		a.resume(l, now)
	}
}

// giveBack gives back what waits in a paused lane. While the input is closed
// nobody would send it again, so everything stays.
func (a *assembler) giveBack(l *lane) {
	if a.drain {
		return
	}
	old := l.retries
	l.retries = nil
	for _, r := range old {
		a.keepOrDrop(r)
	}
	clear(old)
	bulks := append(append(l.queue, l.doubts...), l.old, l.fill)
	l.queue, l.doubts, l.old, l.fill = nil, nil, nil, nil
	for _, b := range bulks {
		switch {
		case b == nil:
		case b.probe && b.looked: // it is about to ask
			l.queue = append(l.queue, b)
		case b.probe && b.asks == mayBeThere:
			l.doubts = append(l.doubts, b)
		default:
			a.letGo(b)
		}
	}
}

func (a *assembler) keepOrDrop(r retry) {
	l := r.p.lane
	if l.kept == nil {
		l.kept = r.p
		a.gate(l)
	}
	if r.p == l.kept {
		r.where, r.wrote = "", false
		l.pushRetry(r)
		return
	}
	a.unpin(r.p)
	a.drop(r.p, 1)
}

func (a *assembler) letGo(b *bulk) {
	for _, r := range b.retries {
		a.keepOrDrop(r)
	}
	for _, s := range b.spans {
		if l := b.lane; l.kept == nil || s.p == l.kept {
			a.keep(s.p, s.from, s.to, b.since)
		} else {
			a.drop(s.p, s.to-s.from)
		}
	}
	a.freeBulk(b)
}

// relieve pauses a lane of which too much is refused while other lanes work: it
// would take the memory from them.
func (a *assembler) relieve(l *lane, o oddItem, now time.Time) {
	if l.paused() || l.stuck() <= a.memory/8 {
		return
	}
	for _, other := range a.order {
		if other != l && !other.stored.IsZero() && now.Sub(other.stored) < othersSucceed {
			a.pauseLane(l, "overload", o.typ, o.reason, now)
			return
		}
	}
}

// rest pauses a lane of which too much waits for an answer about what is stored
// already. Others may not have come to anything yet, because it is all that was
// read.
func (a *assembler) rest(l *lane, why, example string, now time.Time) {
	if !l.paused() && l.stuck() > a.memory/8 {
		a.pauseLane(l, "unanswered", why, example, now)
	}
}

// credentialsRefused pauses a lane because a question about it was answered
// with 401: what is to be sent would be as well.
func (a *assembler) credentialsRefused(l *lane, err error, now time.Time) {
	a.readCredentials()
	a.pauseLane(l, "denied", err.Error(), "", now)
}

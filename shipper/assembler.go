package shipper

import (
	"context"
	"errors"
	"time"

	"mesoscope/internal/backoff"
	"mesoscope/record"
)

// The assembler owns all state of a Run.
type assembler struct {
	*Elasticsearch
	in      <-chan *record.Batch
	lanes   map[string]*lane
	order   []*lane // in turn
	turn    int
	pace    pace
	bulkMax int // bytes before compression; less than configured after a 413

	work, done chan *bulk
	flying     int
	drain      bool // in is closed

	run        string // begins the X-Opaque-Id of this run's bulks
	elders     string // and of any run's; "" = those of earlier runs cannot be told
	asks, told chan *inquiry
	asking     int // questions under way
	started    time.Time
	eldersGone bool
	ghosts     []ghost
	denied     map[right]time.Time  // what we may not do, and since when
	said       map[string]bool      // what is said once
	shut       map[string]time.Time // closed indices, and since when they are seen so

	tally     tally     // of the answers
	unsettled int       // batches
	held      int       // bytes of them
	graves    []deadRow // dead letters that are not on the disk yet
	graveDue  time.Time
	down      time.Time // since when nothing is answered; zero = it is
	lastGood  time.Time // when any bulk was answered with 200 last

	freeBulks   []*bulk
	freePending []*pending
}

var (
	wholeBackoff = backoff.Exponential{First: 200 * time.Millisecond, Max: 30 * time.Second}
	itemBackoff  = backoff.Exponential{First: 200 * time.Millisecond, Max: 30 * time.Second}
	pauseBackoff = backoff.Exponential{First: time.Second, Max: 30 * time.Second}
)

func newAssembler(e *Elasticsearch, in <-chan *record.Batch, run string) *assembler {
	a := &assembler{
		Elasticsearch: e,
		in:            in,
		lanes:         map[string]*lane{},
		pace:          newPace(time.Duration(e.cfg.FlushInterval), e.cfg.Workers),
		bulkMax:       int(e.cfg.BulkMaxBytes),
		work:          make(chan *bulk, e.cfg.Workers),
		done:          make(chan *bulk, e.cfg.Workers),
		run:           "mesoscope-" + run,
		asks:          make(chan *inquiry, askers),
		told:          make(chan *inquiry, askers),
		started:       time.Now(),
		denied:        map[right]time.Time{},
		said:          map[string]bool{},
		shut:          map[string]time.Time{},
	}
	if e.name != "" {
		a.run, a.elders = e.name+"-"+run, e.name+"-"
	}
	a.eldersGone = a.elders == ""
	return a
}

func (a *assembler) loop(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		now := time.Now()
		a.bury(now)
		a.dispatch(now)
		a.inquire(now)
		if a.drain && a.unsettled == 0 {
			return nil
		}
		timer.Reset(a.sleep(now))
		in := a.in
		if a.drain || !a.mayRead() {
			in = nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case b, ok := <-in:
			if !ok {
				a.drain = true
				continue
			}
			a.take(b)
		case b := <-a.done:
			if ctx.Err() != nil {
				return ctx.Err()
			}
			a.settleBulk(b)
			a.publish()
		case q := <-a.told:
			if ctx.Err() != nil {
				return ctx.Err()
			}
			a.hear(q)
			a.publish()
		case <-a.wanting:
		case <-timer.C:
		}
	}
}

// mayRead is the back-pressure: no new batch while a full bulk waits for a
// sender, or while what was refused or is doubtful holds its share of the
// memory. Then the channel fills up and the files wait on their disk. Paused
// lanes keep next to nothing, see giveBack, and so never stop the others.
func (a *assembler) mayRead() bool {
	stuck := 0
	for _, l := range a.order {
		if l.paused() {
			continue
		}
		if len(l.queue) > 0 {
			return false
		}
		stuck += l.stuck()
	}
	return stuck < a.memory/4
}

func (a *assembler) lane(index string) *lane {
	l := a.lanes[index]
	if l == nil {
		l = &lane{index: index, noted: map[string]bool{}, backing: a.WriteIndex(index)}
		a.lanes[index] = l
		a.order = append(a.order, l)
	}
	return l
}

// take puts a batch into the bulk of its index.
func (a *assembler) take(b *record.Batch) {
	if b.Len() == 0 {
		b.Settle()
		return
	}
	l := a.lane(b.Stream.Index)
	if l.paused() && !a.takeAsker(l, b) {
		a.metrics.returned.WithLabelValues(l.pause.reason).Add(float64(b.Len()))
		b.Return()
		return
	} else if l.paused() {
		return
	}
	p := a.newPending(l, b)
	fill := l.open(b.Since)
	for from := 0; from < b.Len(); {
		to, bytes := b.Len(), len(p.entries(from, b.Len()))
		if *fill == nil {
			*fill = a.newBulk(l)
			(*fill).first = time.Now()
		}
		(*fill).since = older((*fill).since, b.Since)
		if room := a.bulkMax - (*fill).bytes; bytes > room {
			to, bytes = p.fit(from, room)
			if to == from && (*fill).items == 0 {
				to++ // alone too large: let Elasticsearch say so
				bytes = len(p.entries(from, to))
			}
		}
		if to > from {
			(*fill).add(span{p, from, to}, bytes)
		}
		if from = to; from < b.Len() || (*fill).bytes >= a.bulkMax {
			a.ready(*fill)
			*fill = nil
		}
	}
}

// fit is how many items from from on have at most room bytes.
func (p *pending) fit(from, room int) (to, bytes int) {
	for to = from; to < p.batch.Len(); to++ {
		n := len(p.batch.Entry(to))
		if bytes+n > room {
			break
		}
		bytes += n
	}
	return to, bytes
}

// dispatch hands bulks to free senders.
func (a *assembler) dispatch(now time.Time) {
	for a.pace.room(a.flying) && !now.Before(a.pace.notBefore) {
		b := a.pick(now)
		if b == nil {
			return
		}
		if b.attempts == 0 {
			b.firstSent = now
		}
		b.into = b.lane.backing
		b.sent = now
		b.attempts++
		b.lane.flying++
		a.flying++
		a.metrics.inFlight.Inc()
		a.work <- b // has room for as many as there are senders
		a.publish()
	}
}

// pick chooses the next bulk, index after index in turn.
func (a *assembler) pick(now time.Time) *bulk {
	for range a.order {
		l := a.order[a.turn%len(a.order)]
		a.turn++
		if b := a.pickFrom(l, now); b != nil {
			return b
		}
	}
	return nil
}

func (a *assembler) pickFrom(l *lane, now time.Time) *bulk {
	most, probe := max(a.bulkMax/4, 1), false
	if l.paused() {
		if l.flying > 0 || l.asking || now.Before(l.pause.until) {
			return nil
		}
		most, probe = 1, true // as little as possible to ask with
		if len(l.queue) == 0 && len(l.doubts) > 0 {
			return nil // it is looked up before it asks
		}
	}
	if probe && len(l.queue) > 0 {
		return l.next(true)
	}
	for len(l.retries) > 0 && (probe || !l.nextDue.After(now)) {
		b := a.newBulk(l)
		b.first, b.probe = now, probe
		if probe { // what waits for the pause's end has no time of its own
			b.addRetry(l.retries[0])
			l.retries = append(l.retries[:0], l.retries[1:]...)
		} else {
			l.takeRetries(now, b, retryItems, most)
		}
		switch {
		case b.items == 0:
			a.freeBulk(b)
		case b.since == "":
			return b
		default:
			a.ready(b)
			if probe {
				return nil
			}
		}
	}
	if len(l.queue) > 0 {
		return l.next(false)
	}
	for _, fill := range []**bulk{&l.old, &l.fill} {
		b := *fill
		if b == nil || !a.drain && !probe && a.pace.due(b.first, a.flying).After(now) {
			continue
		}
		*fill = nil
		b.probe = probe
		if b.since == "" {
			return b
		}
		a.ready(b)
		if probe {
			return nil
		}
	}
	return nil
}

// retryItems limits the bulks of items that were refused before.
const retryItems = 2000

// sleep is how long nothing needs to be done unless somebody reports.
func (a *assembler) sleep(now time.Time) time.Duration {
	next := now.Add(time.Hour)
	at := func(t time.Time) {
		if t.Before(next) {
			next = t
		}
	}
	room := a.pace.room(a.flying)
	for _, l := range a.order {
		if !l.asking && a.asking < askers {
			for _, b := range l.doubts {
				at(b.due)
			}
		}
		switch {
		case !room:
		case l.paused():
			if l.flying == 0 && !l.asking && (len(l.queue) > 0 || len(l.doubts) == 0 && (len(l.retries) > 0 || l.fill != nil || l.old != nil)) {
				at(l.pause.until)
			}
		case len(l.queue) > 0:
			at(now)
		default:
			if len(l.retries) > 0 {
				at(l.nextDue)
			}
			for _, b := range []*bulk{l.old, l.fill} {
				if b != nil {
					at(a.pace.due(b.first, a.flying))
				}
			}
		}
	}
	// What waits for the cluster waits for this as well.
	if a.pace.notBefore.After(next) {
		next = a.pace.notBefore
	}
	if len(a.graves) > 0 {
		at(a.graveDue)
	}
	return max(next.Sub(now), 0)
}

func (a *assembler) newPending(l *lane, b *record.Batch) *pending {
	a.unsettled++
	a.held += len(b.Body)
	p := &pending{}
	if n := len(a.freePending); n > 0 {
		p = a.freePending[n-1]
		a.freePending = a.freePending[:n-1]
	}
	*p = pending{lane: l, batch: b, left: b.Len()}
	return p
}

func (a *assembler) newBulk(l *lane) *bulk {
	n := len(a.freeBulks)
	if n == 0 {
		return &bulk{lane: l}
	}
	b := a.freeBulks[n-1]
	a.freeBulks = a.freeBulks[:n-1]
	*b = bulk{lane: l, spans: b.spans[:0], retries: b.retries[:0], answer: answer{odd: b.answer.odd[:0]}}
	return b
}

func (a *assembler) freeBulk(b *bulk) {
	clear(b.spans)
	clear(b.retries)
	clear(b.answer.odd)
	a.freeBulks = append(a.freeBulks, b)
}

// final counts n final answers for the batch and ends it with the last one.
func (a *assembler) final(p *pending, n int) {
	p.left -= n
	if p.left > 0 {
		return
	}
	a.unsettled--
	a.held -= len(p.batch.Body)
	b, l, gone := p.batch, p.lane, p.gone
	*p = pending{}
	a.freePending = append(a.freePending, p)
	if l.kept == p {
		l.kept = nil
		a.gate(l)
	}
	if gone > 0 {
		b.Return()
	} else {
		b.Settle()
	}
}

// drop lets n items of a batch go: it will be returned.
func (a *assembler) drop(p *pending, n int) {
	a.metrics.returned.WithLabelValues(p.lane.pause.reason).Add(float64(n))
	p.gone += n
	a.final(p, n)
}

// pin notes that an item of the batch waits for another attempt, unpin that it
// does not any more.
func (a *assembler) pin(p *pending) {
	if p.again++; p.again == 1 {
		p.lane.pinned += len(p.batch.Body)
	}
	a.metrics.retrying.Inc()
}

func (a *assembler) unpin(p *pending) {
	if p.again--; p.again == 0 {
		p.lane.pinned -= len(p.batch.Body)
	}
	a.metrics.retrying.Dec()
}

var errNoDeadLetters = errors.New("no dead-letter folder is configured")

package shipper

import (
	"slices"
	"time"

	"mesoscope/record"
)

// A pending is a batch that is not settled yet.
type pending struct {
	batch *record.Batch
	left  int // items without a final answer
	again int // of these, items that were refused and wait for another attempt
}

// entries are the bytes of the items from to to (exclusive) with their action
// lines: one piece of the batch's body.
func (p *pending) entries(from, to int) []byte {
	begin := uint32(0)
	if from > 0 {
		begin = p.batch.Items[from-1].End
	}
	return p.batch.Body[begin:p.batch.Items[to-1].End]
}

// A span is a run of items of one batch.
type span struct {
	p        *pending
	from, to int
}

// A retry is one item that was refused and is sent again.
type retry struct {
	p        *pending
	i        int
	form     form
	attempts int       // refusals so far
	since    time.Time // since when it is refused while others succeed
	due      time.Time
	status   int // of the last refusal
	same     int // how often in a row while others succeeded
}

// A bulk is the content of one _bulk request: spans of batches, or, when it
// repeats refused items, retries. It holds no bytes of its own.
type bulk struct {
	lane    *lane
	spans   []span
	retries []retry
	items   int
	bytes   int       // before compression
	first   time.Time // when the first line came
	probe   bool      // asks whether a paused destination is back

	attempts  int // requests made with it
	firstSent time.Time
	sent      time.Time
	due       time.Time // not to be sent before

	answer answer
}

// at is item n of the bulk.
func (b *bulk) at(n int) retry {
	if len(b.retries) > 0 {
		return b.retries[n]
	}
	for _, s := range b.spans {
		if n < s.to-s.from {
			return retry{p: s.p, i: s.from + n}
		}
		n -= s.to - s.from
	}
	panic("BUG: shipper: item beyond the bulk's end")
}

func (b *bulk) add(s span, bytes int) {
	b.spans = append(b.spans, s)
	b.items += s.to - s.from
	b.bytes += bytes
}

func (b *bulk) addRetry(r retry) {
	b.retries = append(b.retries, r)
	b.items++
	b.bytes += len(r.p.batch.Entry(r.i))
}

// split moves the second half of the items to into, an empty bulk.
func (b *bulk) split(into *bulk) {
	into.lane, into.first, into.firstSent, into.attempts = b.lane, b.first, b.firstSent, b.attempts
	half := b.items / 2
	if len(b.retries) > 0 {
		old := slices.Clone(b.retries)
		b.retries, b.items, b.bytes = b.retries[:0], 0, 0
		for n, r := range old {
			if n < half {
				b.addRetry(r)
			} else {
				into.addRetry(r)
			}
		}
		return
	}
	old := slices.Clone(b.spans)
	b.spans, b.items, b.bytes = b.spans[:0], 0, 0
	for _, s := range old {
		cut := min(max(s.from+half-b.items, s.from), s.to)
		if s.from < cut {
			b.add(span{s.p, s.from, cut}, len(s.p.entries(s.from, cut)))
		}
		if cut < s.to {
			into.add(span{s.p, cut, s.to}, len(s.p.entries(cut, s.to)))
		}
	}
}

// A lane is one destination, a data stream: what waits for it, and how it is.
type lane struct {
	index string
	fill  *bulk   // takes new batches; nil if nothing waits
	queue []*bulk // full bulks, and bulks that got no answer and go again
	// retries are single items that go again, in bulks of their own, so that
	// one refused item does not hold up the others.
	retries []retry
	nextDue time.Time // the earliest due of retries
	flying  int       // bulks under way

	stored  time.Time // when an item was stored last
	backing string    // the backing index that took the last item
	noted   map[string]bool

	pause pause
}

// A pause says that a destination takes nothing for a reason that only a
// person or time mends. Meanwhile one small bulk after the other asks whether
// it is over.
type pause struct {
	reason  string // "" = not paused; a metric's label: disk, blocked, denied, missing, refused
	message string
	since   time.Time
	until   time.Time // when to ask again
	asked   int
}

func (l *lane) paused() bool { return l.pause.reason != "" }

// waiting are the bytes that the lane holds besides what is under way.
func (l *lane) waiting() (n int) {
	if l.fill != nil {
		n += l.fill.bytes
	}
	for _, b := range l.queue {
		n += b.bytes
	}
	return n
}

// pushRetry adds an item that goes again at r.due.
func (l *lane) pushRetry(r retry) {
	if len(l.retries) == 0 || r.due.Before(l.nextDue) {
		l.nextDue = r.due
	}
	l.retries = append(l.retries, r)
}

// takeRetries moves items that are due into b, at most items of them and bytes.
func (l *lane) takeRetries(now time.Time, b *bulk, items, bytes int) {
	keep := l.retries[:0]
	for _, r := range l.retries {
		if b.items < items && (b.items == 0 || b.bytes < bytes) && !r.due.After(now) {
			b.addRetry(r)
			continue
		}
		if len(keep) == 0 || r.due.Before(l.nextDue) {
			l.nextDue = r.due
		}
		keep = append(keep, r)
	}
	clear(l.retries[len(keep):])
	l.retries = keep
}

// dueQueue takes the first bulk of the queue that may go.
func (l *lane) dueQueue(now time.Time) *bulk {
	for i, b := range l.queue {
		if !b.due.After(now) {
			l.queue = slices.Delete(l.queue, i, i+1)
			return b
		}
	}
	return nil
}

package shipper

import (
	"slices"
	"time"

	"mesoscope/record"
)

// A pending is a batch that is not settled yet.
type pending struct {
	lane  *lane
	batch *record.Batch
	left  int // items that we hold: without a final answer
	again int // of these, items that were refused or are asked about
	gone  int // items that were let go: the batch is returned in the end
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
	refused  time.Time // since when it is, while others succeed
	due      time.Time
	status   int // of the last refusal
	same     int // how often in a row while others succeeded
	// since is the oldest backing index into which an earlier attempt can have
	// put the item without our knowledge; "" = none can.
	since string
	where string // for items that are asked about: the index that their answer named
	wrote bool   // and whether that answer was 201
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
	// since: as that of a retry, for all items. A bulk that has one is asked
	// about before it is sent, see resend.go.
	since  string
	expect []string // then: the only indices that an item can land in, or the answer is looked into; nil = any
	asks   question
	looked bool     // the question was answered, or may not be asked
	last   *oddItem // the item is given up for this unless it is found
	tries  int      // questions that were not answered
	probe  bool     // asks whether a paused destination is back

	attempts  int // requests made with it
	firstSent time.Time
	sent      time.Time
	into      string    // the lane's backing index at that moment
	due       time.Time // for doubts: not to be asked before

	answer answer
}

// at is item n of the bulk.
func (b *bulk) at(n int) retry {
	if len(b.retries) > 0 {
		return b.retries[n]
	}
	for _, s := range b.spans {
		if n < s.to-s.from {
			return retry{p: s.p, i: s.from + n, since: b.since}
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
	b.since = r.since // see takeRetries: all have the same
	b.retries = append(b.retries, r)
	b.items++
	b.bytes += len(r.p.batch.Entry(r.i))
}

// split moves the second half of the items to into, an empty bulk.
func (b *bulk) split(into *bulk) {
	into.lane, into.first, into.firstSent, into.attempts, into.since = b.lane, b.first, b.firstSent, b.attempts, b.since
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
	old   *bulk   // takes batches that may have been sent before
	queue []*bulk // may be sent as they are
	// doubts are bulks of which something may be stored already: they are asked
	// about first, one after the other.
	doubts []*bulk
	asking bool
	// retries are single items that go again, in bulks of their own, so that
	// one refused item does not hold up the others.
	retries []retry
	nextDue time.Time // the earliest due of retries
	flying  int       // bulks under way
	pinned  int       // bytes of batches with an item in retries, or asked about

	stored  time.Time // when an item was stored last
	backing string    // the backing index that took the last item
	noted   map[string]bool
	targets []string // data streams that the server reroutes to

	pause pause
	kept  *pending // of a paused lane: the batch to ask with
}

// A pause says that a destination takes nothing for a reason that only a
// person or time mends. Meanwhile one small bulk after the other asks whether
// it is over.
type pause struct {
	reason  string // "" = not paused; a metric's label: disk, blocked, denied, missing, refused, overload, unanswered
	message string
	since   time.Time
	until   time.Time // when to ask again
	asked   int
}

func (l *lane) paused() bool { return l.pause.reason != "" }

// open is where batches with this Since go.
func (l *lane) open(since string) **bulk {
	if since == "" {
		return &l.fill
	}
	return &l.old
}

// next takes the first bulk of the queue.
func (l *lane) next(probe bool) *bulk {
	b := l.queue[0]
	b.probe = probe
	l.queue = slices.Delete(l.queue, 0, 1)
	return b
}

// stuck are the bytes that wait for more than a sender.
func (l *lane) stuck() int {
	n := l.pinned
	for _, b := range l.doubts {
		if len(b.retries) == 0 {
			n += b.bytes
		}
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

// takeRetries moves items that are due into b, at most items of them and bytes,
// all with the same since.
func (l *lane) takeRetries(now time.Time, b *bulk, items, bytes int) {
	keep := l.retries[:0]
	for _, r := range l.retries {
		if b.items < items && (b.items == 0 || b.bytes < bytes && r.since == b.since) && !r.due.After(now) {
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

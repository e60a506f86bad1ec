package shipper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/elastic/go-elasticsearch/v8"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"mesoscope/config"
	"mesoscope/internal/backoff"
	"mesoscope/record"
)

// Elasticsearch is the sink for a cluster. See the package for the way of the
// data.
type Elasticsearch struct {
	cfg       config.Elasticsearch
	log       *slog.Logger
	reg       prometheus.Registerer
	transport http.RoundTripper
	dead      *DeadLetters
	memory    int
	timeout   time.Duration // of a request
	waits     time.Duration // that the server may wait for shards

	client   atomic.Pointer[elasticsearch.Client]
	metrics  *metrics
	problems *problems

	mu     sync.Mutex
	status Status
}

// An Option changes what NewElasticsearch takes as given.
type Option func(*Elasticsearch)

// WithLogger sets where the sink speaks; default slog.Default().
func WithLogger(l *slog.Logger) Option { return func(e *Elasticsearch) { e.log = l } }

// WithRegisterer sets where the metrics are registered; default nowhere.
func WithRegisterer(r prometheus.Registerer) Option { return func(e *Elasticsearch) { e.reg = r } }

// WithMemoryLimit sets the bytes that the whole process may use; items that
// wait for another attempt hold at most a quarter of it. Default 256 MiB.
func WithMemoryLimit(bytes int64) Option { return func(e *Elasticsearch) { e.memory = int(bytes) } }

// WithDeadLetters sets where documents go that cannot be stored. Without it
// they are kept in memory and tried again, which in the end stops the sink:
// nothing is dropped.
func WithDeadLetters(d *DeadLetters) Option { return func(e *Elasticsearch) { e.dead = d } }

// WithTransport replaces the network, for tests.
func WithTransport(t http.RoundTripper) Option {
	return func(e *Elasticsearch) { e.transport = bodyRounder{t} }
}

// WithTimeout sets how long a bulk request may take; default 90 s, of which the
// server may wait 30 s for shards.
func WithTimeout(d time.Duration) Option {
	return func(e *Elasticsearch) { e.timeout, e.waits = d, min(e.waits, d/2) }
}

// NewElasticsearch prepares a sink; nothing is sent before Run. The error says
// which key of the configuration is wrong.
func NewElasticsearch(cfg config.Elasticsearch, opts ...Option) (*Elasticsearch, error) {
	e := &Elasticsearch{cfg: cfg, log: slog.Default(), memory: 256 << 20, timeout: 90 * time.Second, waits: 30 * time.Second}
	for _, o := range opts {
		o(e)
	}
	if cfg.BulkMaxBytes <= 0 || cfg.Workers <= 0 || cfg.FlushInterval <= 0 {
		return nil, fmt.Errorf("output.elasticsearch: bulk_max_bytes, workers and flush_interval must be more than 0")
	}
	if e.transport == nil {
		t, err := newTransport(cfg)
		if err != nil {
			return nil, err
		}
		e.transport = t
	}
	if err := e.reopen(); err != nil {
		return nil, err
	}
	if _, err := newSender(e.client.Load, "", cfg.CompressionLevel, 0, 0); err != nil {
		return nil, err
	}
	e.metrics = newMetrics(e.reg)
	e.problems = &problems{log: e.log, known: map[string]*spoken{}}
	e.status.State = StateIdle
	return e, nil
}

// reopen reads the credentials again and makes a new client of them: somebody
// may have changed the file because we were refused.
func (e *Elasticsearch) reopen() error {
	c, err := newClient(e.cfg, e.transport)
	if err != nil {
		return err
	}
	e.client.Store(c)
	return nil
}

// Run sends what comes from in until in is closed and everything is settled
// (then it returns nil), or until ctx ends (then it returns its error at once;
// batches without a final answer stay unsettled and are read again after a
// restart). It must not be called twice at the same time.
func (e *Elasticsearch) Run(ctx context.Context, in <-chan *record.Batch) error {
	ctx, cancel := context.WithCancel(ctx)
	a := &assembler{
		Elasticsearch: e,
		in:            in,
		lanes:         map[string]*lane{},
		pace:          newPace(time.Duration(e.cfg.FlushInterval), e.cfg.Workers),
		bulkMax:       int(e.cfg.BulkMaxBytes),
		work:          make(chan *bulk, e.cfg.Workers),
		done:          make(chan *bulk, e.cfg.Workers),
	}
	run := "mesoscope-" + uuid.NewString()
	var senders sync.WaitGroup
	for n := range e.cfg.Workers {
		s, err := newSender(e.client.Load, fmt.Sprintf("%s-%d", run, n), e.cfg.CompressionLevel, e.timeout, e.waits)
		if err != nil {
			cancel()
			return err
		}
		senders.Go(func() {
			for b := range a.work {
				s.send(ctx, b)
				a.done <- b
			}
		})
	}
	err := a.run(ctx)
	cancel()
	close(a.work)
	senders.Wait()
	e.mu.Lock()
	e.status.State, e.status.Bulks, e.status.Bytes = StateStopped, 0, 0
	e.mu.Unlock()
	return err
}

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

	unsettled int       // batches
	held      int       // bytes of them
	pinned    int       // of these, bytes of batches with a refused item
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

func (a *assembler) run(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		now := time.Now()
		a.bury(now)
		a.dispatch(now)
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
		case <-timer.C:
		}
	}
}

// mayRead is the back-pressure: no new batch while a full bulk waits for a
// sender, or while refused and paused items hold their share of the memory.
// Then the channel fills up and the files wait on their disk.
func (a *assembler) mayRead() bool {
	stuck := a.pinned
	for _, l := range a.order {
		if l.paused() {
			stuck += l.waiting()
		} else if len(l.queue) > 0 {
			return false
		}
	}
	return stuck < a.memory/4
}

// take puts a batch into the bulk of its index.
func (a *assembler) take(b *record.Batch) {
	if b.Len() == 0 {
		b.Settle()
		return
	}
	l := a.lanes[b.Stream.Index]
	if l == nil {
		l = &lane{index: b.Stream.Index, noted: map[string]bool{}}
		a.lanes[l.index] = l
		a.order = append(a.order, l)
	}
	p := a.newPending(b)
	a.unsettled++
	a.held += len(b.Body)
	for from := 0; from < b.Len(); {
		to, bytes := b.Len(), len(p.entries(from, b.Len()))
		if l.fill == nil {
			l.fill = a.newBulk(l)
			l.fill.first = time.Now()
		}
		if room := a.bulkMax - l.fill.bytes; bytes > room {
			to, bytes = p.fit(from, room)
			if to == from && l.fill.items == 0 {
				to++ // alone too large: let Elasticsearch say so
				bytes = len(p.entries(from, to))
			}
		}
		if to > from {
			l.fill.add(span{p, from, to}, bytes)
		}
		if from = to; from < b.Len() || l.fill.bytes >= a.bulkMax {
			l.queue = append(l.queue, l.fill)
			l.fill = nil
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
		if l.flying > 0 || now.Before(l.pause.until) {
			return nil
		}
		most, probe = 1, true // as little as possible to ask with
	}
	if len(l.retries) > 0 && (probe || !l.nextDue.After(now)) {
		b := a.newBulk(l)
		b.first, b.probe = now, probe
		if probe { // what waits for the pause's end has no time of its own
			b.addRetry(l.retries[0])
			l.retries = append(l.retries[:0], l.retries[1:]...)
		} else {
			l.takeRetries(now, b, retryItems, most)
		}
		if b.items > 0 {
			return b
		}
		a.freeBulk(b)
	}
	b := l.dueQueue(now)
	if b == nil && l.fill != nil && (a.drain || probe || !a.pace.due(l.fill.first, a.flying).After(now)) {
		b, l.fill = l.fill, nil
	}
	if b != nil {
		b.probe = probe
	}
	return b
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
	if len(a.graves) > 0 {
		at(a.graveDue)
	}
	if a.pace.room(a.flying) {
		for _, l := range a.order {
			if l.paused() {
				if l.flying == 0 && (len(l.retries) > 0 || len(l.queue) > 0 || l.fill != nil) {
					at(l.pause.until)
				}
				continue
			}
			if len(l.retries) > 0 {
				at(l.nextDue)
			}
			for _, b := range l.queue {
				at(b.due)
			}
			if l.fill != nil {
				at(a.pace.due(l.fill.first, a.flying))
			}
		}
		if a.pace.notBefore.After(next) {
			next = a.pace.notBefore
		}
	}
	return max(next.Sub(now), 0)
}

func (a *assembler) newPending(b *record.Batch) *pending {
	n := len(a.freePending)
	if n == 0 {
		return &pending{batch: b, left: b.Len()}
	}
	p := a.freePending[n-1]
	a.freePending = a.freePending[:n-1]
	*p = pending{batch: b, left: b.Len()}
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

// stored counts n final answers for the batch and settles it with the last one.
func (a *assembler) final(p *pending, n int) {
	p.left -= n
	if p.left > 0 {
		return
	}
	a.unsettled--
	a.held -= len(p.batch.Body)
	b := p.batch
	p.batch = nil
	a.freePending = append(a.freePending, p)
	b.Settle()
}

// pin notes that an item of the batch waits for another attempt, unpin that it
// does not any more.
func (a *assembler) pin(p *pending) {
	if p.again++; p.again == 1 {
		a.pinned += len(p.batch.Body)
	}
	a.metrics.retrying.Inc()
}

func (a *assembler) unpin(p *pending) {
	if p.again--; p.again == 0 {
		a.pinned -= len(p.batch.Body)
	}
	a.metrics.retrying.Dec()
}

var errNoDeadLetters = errors.New("no dead-letter folder is configured")

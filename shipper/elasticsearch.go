package shipper

import (
	"context"
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

	name string // begins the X-Opaque-Id of all our requests

	client   atomic.Pointer[elasticsearch.Client]
	hosts    *hosts
	metrics  *metrics
	problems *problems

	mu      sync.Mutex
	status  Status
	answers tally
	writes  map[string]string // by data stream: the backing index that took the last item
	wanted  map[string]bool   // data streams whose write index is asked for
	closed  map[string]bool   // data streams that are paused
	wanting chan struct{}     // a token when wanted has more
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

// WithName says who we are: a name that outlives the process and that nobody
// else uses, such as the agent's id. A later run knows by it which requests in
// the server are left from an earlier one, and waits until those are done before
// it looks up what they stored. Without it such requests are taken for done.
func WithName(name string) Option { return func(e *Elasticsearch) { e.name = "mesoscope-" + name } }

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
	e.problems = &problems{log: e.log, known: map[string]*spoken{}}
	e.metrics = newMetrics(e.reg)
	e.hosts = &hosts{next: e.transport, all: len(cfg.Hosts), problems: e.problems, metrics: e.metrics, down: map[string]time.Time{}}
	if err := e.reopen(); err != nil {
		return nil, err
	}
	if _, err := newSender(e.client.Load, "", cfg.CompressionLevel, 0, 0); err != nil {
		return nil, err
	}
	e.writes, e.wanted, e.closed = map[string]string{}, map[string]bool{}, map[string]bool{}
	e.wanting = make(chan struct{}, 1)
	e.status.State = StateIdle
	return e, nil
}

// reopen reads the credentials again and makes a new client of them: somebody
// may have changed the file because we were refused.
func (e *Elasticsearch) reopen() error {
	c, err := newClient(e.cfg, e.hosts)
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
	run := uuid.NewString()[:8]
	a := newAssembler(e, in, run)
	var workers sync.WaitGroup
	for n := range e.cfg.Workers {
		s, err := newSender(e.client.Load, fmt.Sprintf("%s-%d", a.run, n), e.cfg.CompressionLevel, e.timeout, e.waits)
		s.bare = e.cfg.IDs == "auto"
		if err != nil {
			cancel()
			close(a.work)
			workers.Wait()
			return err
		}
		workers.Go(func() {
			for b := range a.work {
				s.send(ctx, b)
				a.done <- b
			}
		})
	}
	for range askers {
		k := asker{client: e.client.Load, name: a.elders, run: a.run, bare: e.cfg.IDs == "auto", limit: min(askTimeout, e.timeout)}
		workers.Go(func() {
			for q := range a.asks {
				k.answer(ctx, q)
				a.told <- q
			}
		})
	}
	// The data stream of the configuration is where nearly all lines go: the
	// first checkpoint shall name its write index.
	e.WriteIndex("logs-" + e.cfg.Dataset + "-" + e.cfg.Namespace)
	err := a.loop(ctx)
	cancel()
	close(a.work)
	close(a.asks)
	workers.Wait()
	e.mu.Lock()
	e.status.State, e.status.Bulks, e.status.Bytes = StateStopped, 0, 0
	e.mu.Unlock()
	return err
}

// Package nagios tells Nagios how the apps of a cluster are. Nagios knows
// services by fixed names and ignores all others, while instances come and go;
// so there is one service for each check of an app, whatever its instances.
//
//	Events, Apps --services--> one Service for each check of an app
//	   --passive results--> the command file, NRDP
//	   --HTTP--> the plugin check_mesoscope, and objects.cfg with all names
package nagios

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mesoscope/collector/check"
	"mesoscope/collector/state"
)

// Options say whose services these are, and who is told.
type Options struct {
	Cluster string
	// Events and Apps are all that this collector answers for at present.
	Events      iter.Seq[check.Event]
	Apps        iter.Seq[check.App]
	CommandFile string // of Nagios; "" = none
	NRDP        string // a URL; "" = none
	Token       string // of NRDP
	Transport   http.RoundTripper
	Registry    prometheus.Registerer // may be nil
	Log         *slog.Logger
}

// Nagios sends passive results, and is an http.Handler (see ServeHTTP).
type Nagios struct {
	o       Options
	mux     *http.ServeMux
	ways    []*way
	metrics *metrics
}

// A taker takes the results of services. It returns how many were taken, and
// never waits for long.
type taker interface {
	take(ctx context.Context, list []Service) (taken int, err error)
}

// New prepares Nagios; Run sends.
func New(o Options) (*Nagios, error) {
	n := &Nagios{o: o, metrics: newMetrics(o.Registry)}
	n.routes()
	if o.CommandFile != "" {
		n.add("command_file", &commandFile{path: o.CommandFile})
	}
	if o.NRDP != "" {
		t, err := newNRDP(o)
		if err != nil {
			return nil, err
		}
		n.add("nrdp", t)
	}
	return n, nil
}

func (n *Nagios) add(name string, t taker) {
	n.metrics.begin(name)
	n.ways = append(n.ways, &way{name: name, taker: t, log: n.o.Log, metrics: n.metrics, changed: make(chan struct{}, 1), sent: map[string]sent{}})
}

// Changed says that a check is otherwise than before. It never blocks.
func (n *Nagios) Changed(check.Event) {
	for _, w := range n.ways {
		select {
		case w.changed <- struct{}{}:
		default:
		}
	}
}

// Run sends the newest result of each service once each interval of its check,
// and at once when it changes, until ctx ends.
func (n *Nagios) Run(ctx context.Context) {
	var group sync.WaitGroup
	for _, w := range n.ways {
		group.Go(func() { w.run(ctx, n.Services) })
	}
	group.Wait()
	<-ctx.Done()
}

// Services are all services as they are now, by name.
func (n *Nagios) Services() []Service { return services(n.o) }

const (
	// least is how often results are sent at most: shorter intervals would tell
	// Nagios nothing that it could show.
	least = 10 * time.Second
	// settle is how long the next look at all checks waits after one.
	settle = time.Second
)

// A way is one place that results go to. One that is away holds up no other.
type way struct {
	name    string
	taker   taker
	log     *slog.Logger
	metrics *metrics
	changed chan struct{}

	sent  map[string]sent // by name of the service
	since time.Time       // results do not get there; zero: they do
}

type sent struct {
	status state.Status
	at     time.Time
}

func (w *way) run(ctx context.Context, list func() []Service) {
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.changed:
		case <-next.C:
		}
		w.round(ctx, list())
		next.Reset(least)
		select {
		case <-ctx.Done():
			return
		case <-time.After(settle):
		}
	}
}

// round sends what is due. What is not taken is due again in the next round,
// with the state that it has then: Nagios stamps results when it gets them, so
// an old one would pass for new.
func (w *way) round(ctx context.Context, list []Service) {
	now := time.Now()
	there := make(map[string]bool, len(list))
	var due []Service
	for _, s := range list {
		there[s.Name] = true
		was, known := w.sent[s.Name]
		if !known || was.status != s.Status || now.Sub(was.at) > s.Interval-least/2 {
			due = append(due, s)
		}
	}
	for name := range w.sent {
		if !there[name] {
			delete(w.sent, name)
		}
	}
	if len(due) == 0 {
		return
	}
	taken, err := w.taker.take(ctx, due)
	for _, s := range due[:taken] {
		w.sent[s.Name] = sent{s.Status, now}
	}
	w.metrics.sent.WithLabelValues(w.name).Add(float64(taken))
	switch {
	case err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()):
	case err != nil:
		w.metrics.failed.WithLabelValues(w.name).Add(float64(len(due) - taken))
		if w.since.IsZero() {
			w.since = now
			w.log.Error("results do not get to Nagios; trying again", "by", w.name, "error", err)
		}
	case !w.since.IsZero():
		w.log.Info("results get to Nagios again", "by", w.name, "after", time.Since(w.since).Round(time.Second))
		w.since = time.Time{}
	}
}

// metrics are those of all ways.
type metrics struct{ sent, failed *prometheus.CounterVec }

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mesoscope_nagios_" + name, Help: help}, []string{"by"})
	}
	m := &metrics{
		sent:   counter("results_total", "Passive results that Nagios took."),
		failed: counter("results_failed_total", "Passive results that Nagios did not take; the next round sends newer ones."),
	}
	if reg != nil {
		reg.MustRegister(m.sent, m.failed)
	}
	return m
}

func (m *metrics) begin(name string) {
	m.sent.WithLabelValues(name)
	m.failed.WithLabelValues(name)
}

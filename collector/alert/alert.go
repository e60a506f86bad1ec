// Package alert makes alerts of checks and apps that are in trouble, and keeps
// every Alertmanager up to date about them.
//
//	Events, Apps --judge--> alerts as they should be --book--> alerts with begin and end
//	   --push, each 30 s and on change--> every Alertmanager
//	   --gauge--> mesoscope_alert{…} 1, for who lets Prometheus make the alerts
//
// Nothing is remembered that a restart could lose: what fires follows from the
// states, and so does since when. An alert is its labels, so these never change
// while it fires; all that may change stands in the annotations.
package alert

import (
	"iter"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mesoscope/collector/check"
)

// The names of alerts.
const (
	CheckFailed = "CheckFailed"
	AppDegraded = "AppDegraded"
	AppDown     = "AppDown"
	Watchdog    = "Watchdog"
)

// LabelNames are all labels that an alert can have, in the order in which
// mesoscope_alert has them.
var LabelNames = [...]string{
	"alertname", "cluster", "app", "check", "kind", "host", "slot", "framework", "team", "severity", "page", "realert_every", "collector",
}

// labels are the values of LabelNames. Those that make no sense for an alert are
// empty, which is the same as absent.
type labels [len(LabelNames)]string

// key is the identity of an alert.
func (l *labels) key() string { return strings.Join(l[:], "\x00") }

// named are those that are there.
func (l *labels) named() map[string]string {
	m := map[string]string{}
	for i, v := range l {
		if v != "" {
			m[LabelNames[i]] = v
		}
	}
	return m
}

// An alert fires or has fired. It is not changed any more once it is in the
// book. A hundred thousand of them are possible, so texts are made when they are
// sent.
type alert struct {
	labels
	key      string
	notes    func() map[string]string // annotations
	startsAt time.Time
	endsAt   time.Time // zero: it fires
	link     string    // where to look, a URL; may be ""
	version  int       // raised at begin and end, which are told at once
}

// Options say whose alerts these are, and who gets them.
type Options struct {
	Cluster   string
	Collector string // the name of this one, for Watchdog
	// Events and Apps are all that this collector answers for at present.
	Events iter.Seq[check.Event]
	Apps   iter.Seq[check.App]
	// Link is where to look at a check, "" if nowhere; nil is nowhere.
	Link func(check.Event) string
	// Alertmanagers are URLs without /api/v2/alerts; all of them get everything.
	// None: there is only the gauge.
	Alertmanagers []string
	// Username and Password are for all of them, as basic authentication; "" is
	// none.
	Username, Password string
	Transport          http.RoundTripper // nil: the network
	Registry           prometheus.Registerer
	Log                *slog.Logger
}

// Alerts are all alerts of one collector. It is a prometheus.Collector of them.
type Alerts struct {
	o       Options
	senders []*sender
	changed chan struct{} // a token: something may be otherwise
	gauge   *prometheus.Desc

	mu      sync.Mutex
	begun   time.Time // the first look
	book    map[string]*alert
	waiting map[string]time.Time // by key: since when something bad is that is no alert yet
}

// New prepares alerts; Run makes them.
func New(o Options) (*Alerts, error) {
	a := &Alerts{
		o: o, changed: make(chan struct{}, 1), book: map[string]*alert{}, waiting: map[string]time.Time{},
		gauge: prometheus.NewDesc("mesoscope_alert", "1 for each alert that fires; the labels are those of the alert.", LabelNames[:], nil),
	}
	m := newMetrics(o.Registry)
	for _, url := range o.Alertmanagers {
		s, err := newSender(url, o, m)
		if err != nil {
			return nil, err
		}
		a.senders = append(a.senders, s)
	}
	if o.Registry != nil {
		o.Registry.MustRegister(a)
	}
	return a, nil
}

// Changed says that a check is otherwise than before. It never blocks.
func (a *Alerts) Changed(check.Event) {
	select {
	case a.changed <- struct{}{}:
	default: // it is to be looked at already
	}
}

// Describe implements prometheus.Collector.
func (a *Alerts) Describe(ch chan<- *prometheus.Desc) { ch <- a.gauge }

// Collect implements prometheus.Collector.
func (a *Alerts) Collect(ch chan<- prometheus.Metric) {
	for _, x := range a.snapshot() {
		if x.endsAt.IsZero() {
			ch <- prometheus.MustNewConstMetric(a.gauge, prometheus.GaugeValue, 1, x.labels[:]...)
		}
	}
}

// snapshot are all alerts, those that have ended lately too, in no order.
func (a *Alerts) snapshot() []*alert {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Collect(maps.Values(a.book))
}

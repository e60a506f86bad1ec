package collector

import (
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mesoscope/checks"
	"mesoscope/checks/schedule"
	"mesoscope/collector/check"
	"mesoscope/collector/state"
)

// labelsOf are the labels of a check's series, as they stand in the text
// format. They say whose check it is, never which task or port: those come and
// go.
func (c *Collector) labelsOf(d check.Definition) string {
	return labels("check", d.Name, "kind", d.Kind, "app", d.App, "host", d.Host, "slot", strconv.Itoa(d.Slot),
		"framework", d.Framework, "cluster", d.Cluster, "team", d.Owner.Team, "vantage", c.o.Vantage)
}

// labelValue escapes as the text format wants it.
var labelValue = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)

func labels(pairs ...string) string {
	var b strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(pairs[i])
		b.WriteString(`="`)
		b.WriteString(labelValue.Replace(strings.ToValidUTF8(pairs[i+1], "\uFFFD")))
		b.WriteByte('"')
	}
	return b.String()
}

// A series is one number of a check, if it has it.
type series struct {
	name, help string
	value      func(e *check.Event) (float64, bool)
}

// perCheck are the series of each check; the first ones have the names that
// blackbox_exporter's have.
var perCheck = []series{
	{"probe_success", "1 if the last run was OK or WARNING", func(e *check.Event) (float64, bool) {
		good := e.Result.State == checks.OK || e.Result.State == checks.Warning
		return number(good && !e.State.Stale), ran(e)
	}},
	{"probe_duration_seconds", "How long the last run took", func(e *check.Event) (float64, bool) {
		return e.Result.Duration.Seconds(), ran(e)
	}},
	{"probe_http_status_code", "The status of the answer, 0 if there was none", func(e *check.Event) (float64, bool) {
		return float64(e.Result.Evidence.Status), ran(e) && e.Kind == "http"
	}},
	{"probe_ssl_earliest_cert_expiry", "When the first certificate of the chain expires, in seconds since 1970", func(e *check.Event) (float64, bool) {
		return float64(e.Result.Evidence.Expires.Unix()), ran(e) && !e.Result.Evidence.Expires.IsZero()
	}},
	{"mesoscope_check_state", "0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN, 4 PENDING", func(e *check.Event) (float64, bool) {
		return float64(e.State.Status), true
	}},
	{"mesoscope_check_last_success_timestamp_seconds", "When it was OK last, in seconds since 1970; 0 if never", func(e *check.Event) (float64, bool) {
		if e.State.LastGood.IsZero() {
			return 0, true
		}
		return float64(e.State.LastGood.UnixMilli()) / 1000, true
	}},
}

// ran says whether there is a result.
func ran(e *check.Event) bool { return e.Result.Duration > 0 }

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// AppendMetrics appends the series of all checks and apps in Prometheus' text
// format. client_golang would take a second for 50,000 checks.
func (c *Collector) AppendMetrics(b []byte) []byte {
	c.mu.Lock()
	order := c.order
	c.mu.Unlock()
	for _, s := range perCheck {
		b = header(b, s.name, s.help)
		for _, e := range order {
			e.mu.Lock()
			v, ok := s.value(&e.event)
			labels := e.labels
			e.mu.Unlock()
			if ok {
				b = sample(b, s.name, labels, v)
			}
		}
	}
	const apps = "mesoscope_app_instances"
	b = header(b, apps, "Instances of an app: expected by its scheduler, running, and reachable: no check of it is CRITICAL")
	cluster := c.cluster()
	for _, a := range c.Apps() {
		for _, n := range []struct {
			state string
			count int
		}{{"expected", a.Expected}, {"running", a.Running}, {"reachable", a.Reachable}} {
			b = sample(b, apps, labels("app", a.ID, "framework", a.Framework, "cluster", cluster, "team", a.Owner.Team, "vantage", c.o.Vantage, "state", n.state), float64(n.count))
		}
	}
	return b
}

func header(b []byte, name, help string) []byte {
	b = append(b, "# HELP "...)
	b = append(b, name...)
	b = append(b, ' ')
	b = append(b, help...)
	b = append(b, "\n# TYPE "...)
	b = append(b, name...)
	return append(b, " gauge\n"...)
}

func sample(b []byte, name, labels string, v float64) []byte {
	b = append(b, name...)
	b = append(b, '{')
	b = append(b, labels...)
	b = append(b, "} "...)
	b = strconv.AppendFloat(b, v, 'g', -1, 64)
	return append(b, '\n')
}

// metrics are those of the collector itself.
type metrics struct {
	c        *Collector
	dropped  *prometheus.CounterVec
	lateness *prometheus.HistogramVec
}

func newMetrics(c *Collector, r prometheus.Registerer) *metrics {
	m := &metrics{c: c,
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mesoscope_collector_results_dropped_total",
			Help: "Results that count no more: of a check that was given up before (late), or is no longer declared (gone)."}, []string{"reason"}),
		lateness: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "mesoscope_collector_lateness_seconds",
			Help: "How long checks waited beyond their turn.", Buckets: []float64{.001, .002, .005, .01, .02, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}}, []string{"class"}),
	}
	for _, reason := range []string{"late", "gone"} {
		m.dropped.WithLabelValues(reason)
	}
	r.MustRegister(m.dropped, m.lateness, m)
	return m
}

func (m *metrics) late(class schedule.Class, d time.Duration) {
	m.lateness.WithLabelValues(class.String()).Observe(d.Seconds())
}

var (
	descChecks   = prometheus.NewDesc("mesoscope_collector_checks", "Checks by status.", []string{"status"}, nil)
	descRunning  = prometheus.NewDesc("mesoscope_collector_running", "Checks under way.", []string{"class"}, nil)
	descWaiting  = prometheus.NewDesc("mesoscope_collector_waiting", "Checks that are due and wait for a slot.", []string{"class"}, nil)
	descStarted  = prometheus.NewDesc("mesoscope_collector_runs_total", "Runs of checks.", []string{"class"}, nil)
	descHung     = prometheus.NewDesc("mesoscope_collector_hung", "Checks that were given up and have not come back.", nil, nil)
	descMissed   = prometheus.NewDesc("mesoscope_collector_missed_total", "Turns left out because the run before was still under way.", nil, nil)
	descGivenUp  = prometheus.NewDesc("mesoscope_collector_given_up_total", "Runs that did not come back behind their timeout.", nil, nil)
	descStale    = prometheus.NewDesc("mesoscope_collector_source_stale", "1 while a source of targets fails and what it found before is used.", []string{"source"}, nil)
	descFound    = prometheus.NewDesc("mesoscope_collector_source_instances", "Instances that a source of targets has found.", []string{"source"}, nil)
	descRefused  = prometheus.NewDesc("mesoscope_collector_refused_checks", "Declarations of checks that cannot be used; mesoscope status says why.", nil, nil)
	descOverlay  = prometheus.NewDesc("mesoscope_collector_checks_file_good", "0 if the newest checks.yml was refused and an older one counts.", nil, nil)
	descNames    = prometheus.NewDesc("mesoscope_collector_names_failing", "Names of targets that the resolver does not find; what it found before is used for 10 minutes.", nil, nil)
	descUnheard  = prometheus.NewDesc("mesoscope_collector_changes_dropped_total", "Changes that outputs were too slow for.", nil, nil)
	descriptions = []*prometheus.Desc{descChecks, descRunning, descWaiting, descStarted, descHung, descMissed, descGivenUp, descStale, descFound, descRefused, descOverlay, descNames, descUnheard}
)

// Describe is for the registry.
func (m *metrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range descriptions {
		out <- d
	}
}

// Collect is for the registry.
func (m *metrics) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	by := map[state.Status]int{}
	for _, e := range m.c.Events() {
		by[e.State.Status]++
	}
	for s := state.OK; s <= state.Pending; s++ {
		gauge(descChecks, float64(by[s]), s.String())
	}
	s := m.c.scheduler.Stats()
	for class := range s.Started {
		name := schedule.Class(class).String()
		gauge(descRunning, float64(s.Running[class]), name)
		gauge(descWaiting, float64(s.Waiting[class]), name)
		counter(descStarted, s.Started[class], name)
	}
	gauge(descHung, float64(s.Hung))
	counter(descMissed, s.Missed)
	counter(descGivenUp, s.GivenUp)
	for _, source := range m.c.Sources() {
		gauge(descStale, number(source.Stale), source.Source)
		gauge(descFound, float64(source.Instances), source.Source)
	}
	m.c.mu.Lock()
	refused, bad := len(m.c.findings), m.c.file.problem != ""
	m.c.mu.Unlock()
	gauge(descRefused, float64(refused))
	gauge(descOverlay, number(!bad))
	gauge(descNames, float64(m.c.names.failing()))
	counter(descUnheard, m.c.changes.Lost())
}

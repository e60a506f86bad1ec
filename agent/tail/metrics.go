package tail

import "github.com/prometheus/client_golang/prometheus"

// metrics are what the readers count. Lines are added per piece, not one by
// one.
type metrics struct {
	lines   [2]prometheus.Counter
	ofMesos prometheus.Counter // lines of executors
	dropped prometheus.Counter // of these, those that nobody wants
	bytes   prometheus.Counter
	garbage prometheus.Counter
	gaps    *prometheus.CounterVec

	receiptsDropped prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, f *Follower) *metrics {
	lines := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "mesoscope_lines_read_total", Help: "Lines read from log files and handed to the output.",
	}, []string{"stream"})
	m := &metrics{
		lines:   [2]prometheus.Counter{lines.WithLabelValues("stdout"), lines.WithLabelValues("stderr")},
		ofMesos: lines.WithLabelValues(ExecutorStream),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mesoscope_executor_lines_dropped_total", Help: "Lines that executors of Mesos printed themselves, dropped because mesos.executor_lines says so.",
		}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mesoscope_bytes_read_total", Help: "Bytes of log files worked off, uncompressed.",
		}),
		garbage: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mesoscope_garbage_bytes_total", Help: "Bytes in log files that are no log entries: NULs after a truncation, torn entries.",
		}),
		gaps: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mesoscope_gaps_total", Help: "Times that lines were lost before they could be read, or may have been (unproven).",
		}, []string{"reason"}),
		receiptsDropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mesoscope_receipts_dropped_total", Help: "Receipts given up because their destination took none for long.",
		}),
	}
	if reg != nil {
		reg.MustRegister(lines, m.dropped, m.bytes, m.garbage, m.gaps, m.receiptsDropped, &sourceMetrics{f: f}, &f.fill)
	}
	return m
}

// read adds what w did since the last call, with a log of that format.
func (m *metrics) read(w *worker, format Format) {
	for k, n := range w.lines {
		switch {
		case n == 0:
		case k == 0 && format == RawExecutor:
			m.ofMesos.Add(float64(n))
		default:
			m.lines[k].Add(float64(n))
		}
	}
	m.dropped.Add(float64(w.dropped))
	m.bytes.Add(float64(w.bytes))
	w.lines, w.bytes, w.dropped = [2]int64{}, 0, 0
}

// sourceMetrics are summed up over the sources when Prometheus asks: a series
// for each container would be without bound.
type sourceMetrics struct{ f *Follower }

var (
	lagBytesDesc   = prometheus.NewDesc("mesoscope_source_lag_bytes", "Bytes of log files that are not settled yet, all sources together.", nil, nil)
	lagSecondsDesc = prometheus.NewDesc("mesoscope_source_lag_seconds", "For how long the source that is furthest behind has not been up to date.", nil, nil)
	sourcesDesc    = prometheus.NewDesc("mesoscope_sources", "Containers by the state of their log.", []string{"state"}, nil)
	holdDesc       = prometheus.NewDesc("mesoscope_hold_bytes", "Bytes of log files that exist only because they are held.", nil, nil)
)

// Describe sends what Collect can send.
func (*sourceMetrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- lagBytesDesc
	ch <- lagSecondsDesc
	ch <- sourcesDesc
	ch <- holdDesc
}

// Collect sums up the sources.
func (m *sourceMetrics) Collect(ch chan<- prometheus.Metric) {
	var bytes int64
	var seconds float64
	states := map[string]int{}
	for _, s := range m.f.Sources() {
		bytes += s.LagBytes
		seconds = max(seconds, s.LagSeconds)
		states[s.State]++
	}
	ch <- prometheus.MustNewConstMetric(lagBytesDesc, prometheus.GaugeValue, float64(bytes))
	ch <- prometheus.MustNewConstMetric(lagSecondsDesc, prometheus.GaugeValue, seconds)
	for _, name := range []string{StateFollowing, StateFailing, StateGone} {
		ch <- prometheus.MustNewConstMetric(sourcesDesc, prometheus.GaugeValue, float64(states[name]), name)
	}
	ch <- prometheus.MustNewConstMetric(holdDesc, prometheus.GaugeValue, float64(m.f.HeldBytes()))
}

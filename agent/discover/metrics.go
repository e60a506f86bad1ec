package discover

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	containers prometheus.Gauge
	lossy      *prometheus.GaugeVec
	errors     *prometheus.CounterVec
	copied     prometheus.Counter
	overlap    prometheus.Counter
	unreadable prometheus.Counter
}

// newMetrics registers with r, which may be nil.
func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		containers: prometheus.NewGauge(prometheus.GaugeOpts{Name: "mesoscope_containers",
			Help: "Containers in the present set, without excluded ones."}),
		lossy: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "mesoscope_containers_source_lossy",
			Help: "Containers of which Docker itself loses lines before anybody can read them, by reason: non-blocking, truncates."}, []string{"reason"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mesoscope_discovery_errors_total",
			Help: "Looks that failed, by source: files, api, inspect, watch, logs, mesos, marathon."}, []string{"source"}),
		copied: prometheus.NewCounter(prometheus.CounterOpts{Name: "mesoscope_api_entries_copied_total",
			Help: "Log entries that were read through the Docker API and written to local copies."}),
		overlap: prometheus.NewCounter(prometheus.CounterOpts{Name: "mesoscope_api_entries_overlap_total",
			Help: "Log entries that the Docker API sent again after a reconnect and that were in the copy already."}),
		unreadable: prometheus.NewCounter(prometheus.CounterOpts{Name: "mesoscope_api_entries_unstamped_total",
			Help: "Log entries from the Docker API without a readable time; copied with the time of the entry before."}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.containers, m.lossy, m.errors, m.copied, m.overlap, m.unreadable} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// countLossy counts the containers of which lines are lost at their source.
func (m *metrics) countLossy(set map[string]Container) {
	n := map[string]int{}
	for _, c := range set {
		n[c.Lossy]++
	}
	for why, reason := range lossyReasons {
		m.lossy.WithLabelValues(reason).Set(float64(n[why]))
	}
}

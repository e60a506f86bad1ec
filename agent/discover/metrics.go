package discover

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	containers prometheus.Gauge
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
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mesoscope_discovery_errors_total",
			Help: "Looks that failed, by source: files, api, inspect, watch, logs."}, []string{"source"}),
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
	for _, c := range []prometheus.Collector{m.containers, m.errors, m.copied, m.overlap, m.unreadable} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

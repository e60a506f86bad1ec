package alert

import "github.com/prometheus/client_golang/prometheus"

// metrics are those of all senders, by Alertmanager.
type metrics struct {
	sent, failed, refused *prometheus.CounterVec
	skew, last            *prometheus.GaugeVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	by := []string{"alertmanager"}
	counter := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mesoscope_alerts_" + name, Help: help}, by)
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "mesoscope_alerts_" + name, Help: help}, by)
	}
	m := &metrics{
		sent:    counter("sent_total", "Alerts that an Alertmanager took, each time that they were sent."),
		failed:  counter("failures_total", "Rounds of sending alerts that failed as a whole and are repeated."),
		refused: counter("refused_total", "Alerts that an Alertmanager refused though they were alone in their request."),
		skew:    gauge("clock_skew_seconds", "How far the clock of an Alertmanager is ahead of ours, 0 if less than 10 s."),
		last:    gauge("last_success_timestamp_seconds", "When an Alertmanager took all that it was sent."),
	}
	if reg != nil {
		reg.MustRegister(m.sent, m.failed, m.refused, m.skew, m.last)
	}
	return m
}

// begin makes the counters of an Alertmanager start at 0.
func (m *metrics) begin(name string) {
	m.sent.WithLabelValues(name)
	m.failed.WithLabelValues(name)
	m.refused.WithLabelValues(name)
	m.skew.WithLabelValues(name)
}

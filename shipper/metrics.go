package shipper

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the sink's numbers. They are increased once a bulk, not a line.
type metrics struct {
	delivered    prometheus.Counter
	duplicate    prometheus.Counter
	doubled      prometheus.Counter
	mended       prometheus.Counter
	unchecked    prometheus.Counter
	collided     prometheus.Counter
	returned     *prometheus.CounterVec // reason
	questions    *prometheus.CounterVec // what, result
	quarantined  prometheus.Counter
	reduced      prometheus.Counter
	truncated    prometheus.Counter
	refused      *prometheus.CounterVec // reason
	dropped      *prometheus.CounterVec // reason
	deadLettered *prometheus.CounterVec // reason
	retried      *prometheus.CounterVec // reason
	changed      *prometheus.CounterVec // what
	hostsDown    prometheus.Gauge
	bulks        *prometheus.CounterVec // result
	bulkSeconds  prometheus.Histogram
	bulkBytes    prometheus.Counter
	sentBytes    prometheus.Counter
	paused       *prometheus.GaugeVec // reason
	inFlight     prometheus.Gauge
	retrying     prometheus.Gauge
	waiting      prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return register(reg, prometheus.NewCounter(prometheus.CounterOpts{Name: "mesoscope_" + name, Help: help}))
	}
	counters := func(name, help, label string) *prometheus.CounterVec {
		return register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mesoscope_" + name, Help: help}, []string{label}))
	}
	gauge := func(name, help string) prometheus.Gauge {
		return register(reg, prometheus.NewGauge(prometheus.GaugeOpts{Name: "mesoscope_" + name, Help: help}))
	}
	return &metrics{
		delivered: counter("lines_delivered_total", "Documents that the store took."),
		duplicate: counter("lines_duplicate_total", "Documents that the store had already (an earlier attempt had arrived)."),
		doubled:   counter("lines_doubled_total", "Documents that are stored twice, because the data stream rolled over between two attempts and the newer copy may not be deleted."),
		mended:    counter("lines_mended_total", "Documents that were stored twice for the same reason, until the newer copy was deleted."),
		unchecked: counter("lines_unchecked_total", "Documents sent again although a closed index may hold them already."),
		collided:  counter("lines_collided_total", "Documents whose _id another line has; they are in the dead-letter file."),
		returned:  counters("lines_returned_total", "Lines given back to their files because their data stream is paused, by why.", "reason"),
		questions: register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mesoscope_lookups_total", Help: "Questions about what is stored already, by occasion and what became of them.",
		}, []string{"what", "result"})),
		quarantined:  counter("lines_quarantined_total", "Documents that Elasticsearch put into the failure store of the data stream."),
		reduced:      counter("lines_reduced_total", "Documents that were refused and then stored in a reduced form."),
		truncated:    counter("lines_truncated_total", "Documents whose message was cut because Elasticsearch found them too large."),
		refused:      counters("lines_refused_total", "Documents that Elasticsearch refused for good as they were sent first.", "reason"),
		dropped:      counters("lines_dropped_total", "Lines that are not in the store, by what dropped them.", "reason"),
		deadLettered: counters("lines_deadlettered_total", "Documents written to the dead-letter file.", "reason"),
		retried:      counters("lines_retried_total", "Documents sent once more, by reason.", "reason"),
		changed:      counters("bulks_changed_total", "Bulks of which the server stored something elsewhere (rerouted) or under another _id (other_id).", "what"),
		hostsDown:    gauge("output_hosts_down", "Hosts of Elasticsearch that did not answer the last request to them."),
		bulks:        counters("bulks_total", "Bulk requests by what became of them.", "result"),
		bulkSeconds: register(reg, prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "mesoscope_bulk_seconds", Help: "Time from sending a bulk to its whole answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 90},
		})),
		bulkBytes: counter("bulk_bytes_total", "Bytes of bulk bodies before compression."),
		sentBytes: counter("bulk_sent_bytes_total", "Bytes of bulk bodies as sent."),
		paused: register(reg, prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "mesoscope_output_paused", Help: "Destinations that are paused, by reason.",
		}, []string{"reason"})),
		inFlight: gauge("bulks_in_flight", "Bulk requests under way."),
		retrying: gauge("lines_retrying", "Documents that wait for another attempt."),
		waiting:  gauge("output_waiting_bytes", "Bytes of batches that are not settled yet."),
	}
}

// register registers c, or gives the collector of the same name that is there
// already: two sinks in one process, or another package with the same family,
// count together. Names with different labels are a mistake and panic.
func register[C prometheus.Collector](reg prometheus.Registerer, c C) C {
	if reg == nil {
		return c
	}
	err := reg.Register(c)
	var are prometheus.AlreadyRegisteredError
	if errors.As(err, &are) {
		if old, ok := are.ExistingCollector.(C); ok {
			return old
		}
	}
	if err != nil {
		panic("BUG: shipper: " + err.Error())
	}
	return c
}

// reasonLabel keeps the number of label values small.
func reasonLabel(errorType string) string {
	switch errorType {
	case "document_parsing_exception", "mapper_parsing_exception", "strict_dynamic_mapping_exception":
		return "mapping"
	case "illegal_argument_exception":
		return "illegal_argument"
	case "es_rejected_execution_exception":
		return "overload"
	case "unavailable_shards_exception", "no_shard_available_action_exception":
		return "unavailable_shards"
	case "cluster_block_exception":
		return "cluster_block"
	case "security_exception":
		return "security"
	case "index_not_found_exception":
		return "index_not_found"
	case "action_request_validation_exception":
		return "validation"
	case "too_large", "unanswered":
		return errorType
	}
	if scriptFault(errorType) {
		return "pipeline"
	}
	return "other"
}

package probe

import (
	"bytes"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A metric is a series' name, what it means, and the names of its labels in
// alphabetical order. All are gauges.
type metric struct {
	name   string
	labels []string
	head   string // the comment lines in front of its samples
}

func newMetric(name, help string, labels ...string) *metric {
	return &metric{name, labels, "# HELP " + name + " " + help + "\n# TYPE " + name + " gauge\n"}
}

// The metrics of all probers.
var (
	successMetric    = newMetric("probe_success", "Displays whether or not the probe was a success")
	durationMetric   = newMetric("probe_duration_seconds", "Returns how long the probe took to complete in seconds")
	lookupMetric     = newMetric("probe_dns_lookup_time_seconds", "Returns the time taken for probe dns lookup in seconds")
	ipProtocolMetric = newMetric("probe_ip_protocol", "Specifies whether probe ip protocol is IP4 or IP6")
	ipHashMetric     = newMetric("probe_ip_addr_hash", "Specifies the hash of IP address. It's useful to detect if the IP address changes.")
	regexMetric      = newMetric("probe_failed_due_to_regex", "Indicates if probe failed due to regex")
)

// A sample is one value of a metric.
type sample struct {
	*metric
	labels string // `{phase="tls"}`, or ""
	value  float64
}

// A sheet is what one probe found out.
type sheet struct {
	samples []sample
	room    [24]sample // of most probes
	log     *slog.Logger
	said    bytes.Buffer // what log has written, if somebody wants to read it
}

// newSheet keeps what is logged only if somebody wants to read it.
func newSheet(debug bool) *sheet {
	s := &sheet{log: silent}
	s.samples = s.room[:0]
	if debug {
		s.log = slog.New(slog.NewTextHandler(&s.said, nil))
	}
	return s
}

var silent = slog.New(slog.DiscardHandler)

// zero shows metrics that have no value yet.
func (s *sheet) zero(metrics ...*metric) {
	for _, m := range metrics {
		s.set(m, 0)
	}
}

func (s *sheet) set(m *metric, value float64, labels ...string) { *s.sample(m, labels) = value }

func (s *sheet) add(m *metric, value float64, labels ...string) { *s.sample(m, labels) += value }

// since adds the time since a moment to a phase.
func (s *sheet) since(m *metric, began time.Time, phase string) {
	s.add(m, time.Since(began).Seconds(), phase)
}

// sample finds the place of a value. There are few of them.
func (s *sheet) sample(m *metric, labels []string) *float64 {
	text := m.format(labels)
	for i := range s.samples {
		if s.samples[i].metric == m && s.samples[i].labels == text {
			return &s.samples[i].value
		}
	}
	s.samples = append(s.samples, sample{m, text, 0})
	return &s.samples[len(s.samples)-1].value
}

var escape = strings.NewReplacer("\\", `\\`, "\n", `\n`, `"`, `\"`)

func (m *metric) format(values []string) string {
	switch {
	case len(values) == 0:
		return ""
	case len(values) == 1 && m.labels[0] == "phase": // a word
		return `{phase="` + values[0] + `"}`
	}
	var b strings.Builder
	for i, v := range values {
		b.WriteString([]string{"{", ","}[min(i, 1)])
		b.WriteString(m.labels[i] + `="`)
		escape.WriteString(&b, strings.ToValidUTF8(v, "\ufffd"))
		b.WriteByte('"')
	}
	b.WriteByte('}')
	return b.String()
}

// contentType is of Prometheus' text format.
const contentType = "text/plain; version=0.0.4; charset=utf-8"

// writeTo writes the samples as Prometheus reads them, sorted by name.
func (s *sheet) writeTo(w io.Writer) {
	slices.SortFunc(s.samples, func(a, b sample) int {
		if a.metric != b.metric {
			return strings.Compare(a.name, b.name)
		}
		return strings.Compare(a.labels, b.labels)
	})
	out := make([]byte, 0, 4096)
	for i, x := range s.samples {
		if i == 0 || s.samples[i-1].metric != x.metric {
			out = append(out, x.head...)
		}
		out = append(out, x.name...)
		out = append(out, x.labels...)
		out = append(out, ' ')
		out = strconv.AppendFloat(out, x.value, 'g', -1, 64)
		out = append(out, '\n')
	}
	_, _ = w.Write(out) // who asked has gone
}

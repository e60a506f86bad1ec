// Package checks asks an application once, in its own protocol, whether it
// works. A kind (http, redis, …) is one file and one entry of Kinds: a Func,
// its options, its metrics with their limits, and the signals that it can find.
//
//	New(kind, address, values) -> Target    options parsed, mistakes named
//	Run(ctx, Target)           -> Result    Func, then limits and conditions
//
// A Func gets a context with a deadline and obeys it, reads at most a bounded
// number of bytes, keeps nothing between two calls (but volume, which remembers
// what hangs), and writes nothing to what it checks unless told to (--canary).
package checks

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Func checks a target once. It never returns an error: what went wrong is a
// Finding of its Result.
type Func func(ctx context.Context, t Target) Result

// A Kind is one protocol.
type Kind struct {
	Summary string   // what it proves, in a few words
	Target  string   // the form of the address, for people
	Example string   // a command line without the program's name
	Options []Option // without those that all kinds have
	Metrics []Limits // what it can measure; nil: whatever the target says
	Signals []Signal // what it can find, besides metrics outside of their limits
	// Arguments: the target is a program, its arguments follow behind "--"
	Arguments bool
	Facts     []string // the placeholders that conditions can use, without brackets
	address   func(string) (string, error)
	check     Func
}

// A Signal is a fault that a kind can tell from others.
type Signal struct {
	Name  string
	State State
	When  string
}

// Limits are a metric's default ranges in Nagios' form; "" is none.
type Limits struct {
	Name, Help        string
	Warning, Critical string
}

// Kinds are all kinds by name.
var Kinds = map[string]Kind{
	"http":          httpKind,
	"tcp":           tcpKind,
	"tls":           tlsKind,
	"dns":           dnsKind,
	"exec":          execKind,
	"redis":         redisKind,
	"zookeeper":     zookeeperKind,
	"elasticsearch": elasticsearchKind,
	"mesos-master":  mesosMasterKind,
	"mesos-agent":   mesosAgentKind,
	"marathon":      marathonKind,
	"docker":        dockerKind,
	"grpc":          grpcKind,
	"mysql":         mysqlKind,
	"postgres":      postgresKind,
	"volume":        volumeKind,
	"kafka":         kafkaKind,
	"cassandra":     cassandraKind,
	"codis":         codisKind,
	"spark":         sparkKind,
	"kubernetes":    kubernetesKind,
	"ceph":          cephKind,
	"chronos":       chronosKind,
}

// Names are the names of all kinds, sorted.
func Names() []string {
	var names []string
	for name := range Kinds {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// A Target is what to check and how; New makes it.
type Target struct {
	Kind    string
	Address string   // complete: with its default port or scheme
	Args    []string // of exec: the program and its arguments
	Timeout time.Duration
	// Confined: somebody else than the user of this program wrote it. A redirect
	// may then only lead to the same host and port.
	Confined bool
	User     string // of exec: whom the program runs as, which needs root; "" = as we do

	values map[string][]any // by option, parsed
}

// timeLimits are those of the metric that every check has.
var timeLimits = Limits{Name: "time", Help: "seconds from the first packet to the verdict"}

// Run checks a target once, within its timeout, and judges the answer.
func Run(ctx context.Context, t Target) Result {
	began := time.Now()
	bounded, cancel := context.WithTimeout(ctx, t.Timeout)
	defer cancel()
	kind := Kinds[t.Kind]
	r := kind.check(bounded, t)
	r.Duration = time.Since(began)
	r.Metrics = slices.Insert(r.Metrics, 0, Metric{Name: "time", Value: r.Duration.Seconds(), Unit: "s"})
	if ctx.Err() != nil { // somebody ended us: that is no verdict about the target
		r.Findings = []Finding{{Signal: "interrupted", State: Unknown, Text: "interrupted before there was an answer"}}
	} else {
		r.judgeMetrics(t, append([]Limits{timeLimits}, kind.Metrics...))
		r.judgeConditions(t)
	}
	r.conclude()
	r.facts = facts{} // the body can be large, and results are kept
	return r
}

// judgeMetrics compares each metric with the limits that the options give, or
// else with those of the kind.
func (r *Result) judgeMetrics(t Target, defaults []Limits) {
	for i := range r.Metrics {
		m := &r.Metrics[i]
		if n := slices.IndexFunc(defaults, func(l Limits) bool { return l.Name == m.Name }); n >= 0 && !m.free {
			m.Warning, m.Critical = defaults[n].Warning, defaults[n].Critical
		}
		judged := !m.foreign
		if l, ok := limitOf(t, "warning", m.Name); ok {
			m.Warning, judged = l, true
		}
		if l, ok := limitOf(t, "critical", m.Name); ok {
			m.Critical, judged = l, true
		}
		if !judged || m.Unset || slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Signal == m.Name }) {
			continue
		}
		for _, l := range []struct {
			state State
			text  string
		}{{Critical, m.Critical}, {Warning, m.Warning}} {
			if limit, err := ParseRange(l.text); err == nil && limit.Alerts(m.Value) {
				text := fmt.Sprintf("%s is %s, outside of %s", m.Name, m.number(), l.text)
				if m.about != "" {
					text = m.about + " (" + text + ")"
				}
				r.find(l.state, m.Name, "%s", text)
				break
			}
		}
	}
}

// limitOf is the range of a metric in the option warning or critical. The last
// one counts.
func limitOf(t Target, option, metric string) (string, bool) {
	for _, l := range slices.Backward(t.values[option]) {
		if l := l.(namedRange); l.name == metric {
			return l.text, true
		}
	}
	return "", false
}

// judgeConditions evaluates --expect. What could not be asked at all is not
// judged, unless the condition is about just that.
func (r *Result) judgeConditions(t Target) {
	if t.asserts("CONNECTED") {
		r.Findings = slices.DeleteFunc(r.Findings, func(f Finding) bool { return f.Signal == "connect" })
	}
	r.facts.responseTime = r.Duration
	broken := slices.ContainsFunc(r.Findings, func(f Finding) bool {
		return f.Signal == "connect" || f.Signal == "timeout" || f.Signal == "cut" || f.Signal == "protocol"
	})
	for _, c := range values[Condition](t, "expect") {
		if broken && !c.Uses("CONNECTED") || !r.facts.connected && !c.Uses("CONNECTED") {
			continue
		}
		if ok, seen := c.holds(&r.facts); !ok {
			r.find(Critical, "expect", "%s does not hold: %s", c, seen)
		}
	}
}

// asserts says whether a condition is about that placeholder.
func (t Target) asserts(placeholder string) bool {
	return slices.ContainsFunc(values[Condition](t, "expect"), func(c Condition) bool { return c.Uses(placeholder) })
}

// conclude makes state and text from the findings: the worst first.
func (r *Result) conclude() {
	slices.SortStableFunc(r.Findings, func(a, b Finding) int { return b.State.rank() - a.State.rank() })
	if len(r.Findings) == 0 {
		if r.Text == "" {
			r.Text = "answers"
		}
		return
	}
	r.State = r.Findings[0].State
	texts := make([]string, len(r.Findings))
	for i, f := range r.Findings {
		texts[i] = f.Text
	}
	r.Text = strings.Join(texts, "; ")
}

// Mistaken is the result of a check that could not be made from its options.
func Mistaken(err error) Result {
	r := Result{}
	r.find(Unknown, "options", "%v", err)
	r.conclude()
	return r
}

// A MistakeError is a wrong option or target.
type MistakeError struct {
	Option string // "--timeout", "TARGET", "KIND"
	Reason string
}

// Error names the option first.
func (m MistakeError) Error() string { return m.Option + ": " + m.Reason }

func mistake(option, format string, args ...any) error {
	return MistakeError{Option: option, Reason: fmt.Sprintf(format, args...)}
}

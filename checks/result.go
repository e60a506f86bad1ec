package checks

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A State is a verdict in Nagios' numbers, which are the exit codes too.
type State int

// The states.
const (
	OK       State = 0
	Warning  State = 1
	Critical State = 2
	Unknown  State = 3
)

// String is the name as Nagios prints it.
func (s State) String() string {
	switch s {
	case OK:
		return "OK"
	case Warning:
		return "WARNING"
	case Critical:
		return "CRITICAL"
	}
	return "UNKNOWN"
}

// MarshalText makes the name the JSON form.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// rank orders states by what a person must see first.
func (s State) rank() int {
	switch s {
	case OK:
		return 0
	case Unknown:
		return 1
	case Warning:
		return 2
	}
	return 3
}

// A Result is what a check found out.
type Result struct {
	State    State         `json:"state"`
	Text     string        `json:"text"`               // one line
	Long     string        `json:"long,omitempty"`     // further lines, of exec
	Findings []Finding     `json:"findings,omitempty"` // empty if all is well; the worst first
	Metrics  []Metric      `json:"metrics,omitempty"`
	Phases   []Phase       `json:"phases,omitempty"` // in the order in which they began
	Evidence Evidence      `json:"evidence"`
	Duration time.Duration `json:"-"`

	facts facts
}

// A Finding is one thing that is wrong.
type Finding struct {
	Signal string `json:"signal"` // a name from the kind's Signals or Metrics, or expect, options, interrupted
	State  State  `json:"state"`
	Text   string `json:"text"`
}

// A Metric is one measured value: Nagios' perfdata.
type Metric struct {
	Name     string  `json:"name"`
	Value    float64 `json:"value"`
	Unit     string  `json:"unit,omitempty"`    // s, %, B, c (a counter) or what a plugin says
	Warning  string  `json:"warning,omitempty"` // ranges in Nagios' form
	Critical string  `json:"critical,omitempty"`
	Min      string  `json:"min,omitempty"`
	Max      string  `json:"max,omitempty"`
	Unset    bool    `json:"unset,omitempty"` // a plugin said U: there is no value

	about   string // what to say if it is outside of its limits
	free    bool   // the kind's limits do not apply to this one
	foreign bool   // a plugin has judged it already
}

// A Phase is a part of the time that a check took.
type Phase struct {
	Name    string  `json:"name"` // resolve connect tls send wait receive
	Seconds float64 `json:"seconds"`
}

// Evidence is what one wants to see of a failed check. It never holds secrets
// of ours; what the target says is cut to a few KiB.
type Evidence struct {
	Address string `json:"address,omitempty"` // IP and port that answered
	Status  int    `json:"status,omitempty"`  // HTTP
	Answer  string `json:"answer,omitempty"`
	// Expires is when the first certificate of the chain does.
	Expires time.Time `json:"expires,omitzero"`
}

// facts are what conditions can ask for.
type facts struct {
	connected     bool
	status        int
	ip            string
	body          []byte
	bodyCut       bool // body is only the beginning
	rcode         string
	responseTime  time.Duration
	certificate   time.Duration // until the first certificate of the chain expires
	decoded       any           // body as JSON
	decodedErr    error
	decodedBefore bool
}

const maxAnswer = 2 << 10 // of evidence

func (r *Result) find(s State, signal, format string, args ...any) {
	r.Findings = append(r.Findings, Finding{Signal: signal, State: s, Text: fmt.Sprintf(format, args...)})
}

// say sets the text for the case that nothing is wrong.
func (r *Result) say(format string, args ...any) { r.Text = fmt.Sprintf(format, args...) }

func (r *Result) measure(name string, value float64, unit string) *Metric {
	r.Metrics = append(r.Metrics, Metric{Name: name, Value: value, Unit: unit})
	return &r.Metrics[len(r.Metrics)-1]
}

// phase adds the time since a moment to a phase.
func (r *Result) phase(name string, since time.Time) {
	r.mergePhases([]Phase{{Name: name, Seconds: time.Since(since).Seconds()}})
}

// mergePhases adds phases to those of the same name.
func (r *Result) mergePhases(phases []Phase) {
	if r.Phases == nil {
		r.Phases = make([]Phase, 0, 6) // all that there are
	}
	for _, p := range phases {
		if i := slices.IndexFunc(r.Phases, func(q Phase) bool { return q.Name == p.Name }); i >= 0 {
			r.Phases[i].Seconds += p.Seconds
		} else {
			r.Phases = append(r.Phases, p)
		}
	}
}

// answer keeps what the target said.
func (r *Result) answer(body []byte) {
	r.facts.body = body
	r.Evidence.Answer = excerpt(body)
}

// excerpt is the beginning of an answer, as valid text.
func excerpt(body []byte) string {
	cut := len(body) > maxAnswer
	if cut {
		body = body[:maxAnswer]
	}
	text := strings.ToValidUTF8(string(body), "�")
	if cut {
		text += "…"
	}
	return text
}

// Line is the result as a Nagios plugin prints it: one line, the perfdata
// behind a bar, then long text. It ends with a newline.
func (r Result) Line(kind string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: %s", strings.ToUpper(kind), r.State, oneLine(r.Text))
	if len(r.Metrics) > 0 {
		b.WriteString(" | ")
		b.WriteString(FormatPerfdata(r.Metrics))
	}
	b.WriteByte('\n')
	if long := strings.TrimSpace(printable(r.Long)); long != "" {
		b.WriteString(long)
		b.WriteByte('\n')
	}
	return b.String()
}

// maxLine keeps the text below what Nagios reads of a plugin with room for perfdata.
const maxLine = 2000

// oneLine makes a text safe in front of perfdata: a bar would begin that.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(printable(s)), " ")
	if len(s) > maxLine {
		s = strings.ToValidUTF8(s[:maxLine], "") + "…"
	}
	return s
}

// printable replaces what would move a terminal's cursor or end the text for
// Nagios: control characters but newlines, and bars.
func printable(s string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c == '|':
			return '¦'
		case c == '\n':
			return c
		case c == '\t':
			return ' '
		case c < ' ' || c >= 0x7f && c < 0xa0:
			return '�'
		}
		return c
	}, strings.ToValidUTF8(s, "�"))
}

// number is a metric's value with its unit.
func (m Metric) number() string {
	if m.Unset {
		return "U"
	}
	return strconv.FormatFloat(m.Value, 'f', -1, 64) + m.Unit
}

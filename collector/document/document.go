// Package document writes each change of a check's status as a document, so
// that what was wrong when can be searched beside the lines of the same app.
//
//	Event --Append--> one document --queue, bounded--> record.Batch --> a sink of shipper
//
// The data stream is logs-mesoscope.check-<namespace>. The id follows from the
// check, the status and since when it has it, so two collectors that see the
// same change write one document. Batches say that they may have been sent
// before; the sink then asks before it writes.
package document

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"mesoscope/checks"
	"mesoscope/collector/check"
	"mesoscope/collector/state"
)

// Dataset is event.dataset of these documents.
const Dataset = "mesoscope.check"

// ID is the _id of the document about an event.
func ID(e check.Event) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%d\x00%s", e.ID, e.State.Since.UnixNano(), e.State.Status))
	return base64.RawURLEncoding.EncodeToString(sum[:20])
}

type named struct {
	ID   string `json:"id,omitempty"`
	Name string `json:"name,omitempty"`
}

type outer[T any] struct {
	Task T `json:"task"`
}

// A document is what stands in the store, but for what all have in common.
type document struct {
	Time    time.Time `json:"@timestamp"`
	Message string    `json:"message"`
	Log     struct {
		Level string `json:"level"`
	} `json:"log"`
	Event struct {
		Kind    string `json:"kind"` // alert: somebody should know; state: it is well or not known yet
		Dataset string `json:"dataset"`
		ID      string `json:"id"`
	} `json:"event"`
	Service      *named        `json:"service,omitempty"`
	Host         *named        `json:"host,omitempty"`
	Container    *named        `json:"container,omitempty"`
	Mesos        *outer[named] `json:"mesos,omitempty"`
	Orchestrator *struct {
		Cluster named `json:"cluster"`
	} `json:"orchestrator,omitempty"`
	Mesoscope struct {
		Check    checkFields    `json:"check"`
		Evidence evidenceFields `json:"evidence"`
	} `json:"mesoscope"`
}

type checkFields struct {
	ID           string       `json:"id"`
	Name         string       `json:"name"`
	Kind         string       `json:"kind"`
	Status       state.Status `json:"status"`
	Previous     state.Status `json:"previous_status"`
	Since        time.Time    `json:"since"`
	FirstBad     time.Time    `json:"first_bad,omitzero"`
	LastGood     time.Time    `json:"last_good,omitzero"`
	Milliseconds int64        `json:"duration_ms"`
	Target       string       `json:"target"`
	Vantage      string       `json:"vantage,omitempty"`
	Verdict      string       `json:"verdict,omitempty"`
	Flapping     bool         `json:"flapping"`
	Stale        bool         `json:"stale"`
	Team         string       `json:"team,omitempty"`
}

// evidenceFields are what the last result showed.
type evidenceFields struct {
	Output   string             `json:"output,omitempty"`
	Long     string             `json:"long,omitempty"`
	Findings []string           `json:"findings,omitempty"`
	Address  string             `json:"address,omitempty"`
	Status   int                `json:"status,omitempty"` // HTTP
	Answer   string             `json:"answer,omitempty"`
	Phases   map[string]float64 `json:"phases,omitempty"` // seconds
}

// longest bounds each text of the evidence, in bytes.
const longest = 4 << 10

// Append appends the members of the document about e, as JSON without braces.
// vantage is the collector that saw it.
func Append(dst []byte, e check.Event, vantage string) ([]byte, error) {
	var d document
	s := e.State
	d.Time, d.Message = s.Since.UTC(), message(e)
	d.Log.Level = level(s.Status)
	d.Event.Kind, d.Event.Dataset, d.Event.ID = "state", Dataset, ID(e)
	if s.Status.Bad() {
		d.Event.Kind = "alert"
	}
	d.Service, d.Host, d.Container = optional(named{Name: e.App}), optional(named{Name: e.Host}), optional(named{ID: e.Container})
	if e.Task != "" {
		d.Mesos = &outer[named]{named{ID: e.Task}}
	}
	if e.Cluster != "" {
		d.Orchestrator = &struct {
			Cluster named `json:"cluster"`
		}{named{Name: e.Cluster}}
	}
	d.Mesoscope.Check = checkFields{
		ID: e.ID, Name: e.Name, Kind: e.Kind, Status: s.Status, Previous: s.Previous, Since: s.Since.UTC(), FirstBad: s.FirstBad.UTC(), LastGood: s.LastGood.UTC(),
		Milliseconds: e.Result.Duration.Round(time.Millisecond).Milliseconds(), Target: e.Target, Vantage: vantage, Verdict: verdict(e), Flapping: s.Flapping, Stale: s.Stale, Team: e.Owner.Team,
	}
	d.Mesoscope.Evidence = evidence(e.Result)
	text, err := json.Marshal(d)
	if err != nil {
		return dst, fmt.Errorf("encode the document of check %s: %w", e.ID, err)
	}
	return append(dst, text[1:len(text)-1]...), nil
}

func optional(n named) *named {
	if n == (named{}) {
		return nil
	}
	return &n
}

func message(e check.Event) string {
	what := cmp.Or(e.App, e.Target)
	if e.Host != "" {
		what += " on " + e.Host
	}
	text := fmt.Sprintf("%s of %s is %s, was %s", e.Name, what, e.State.Status, e.State.Previous)
	if e.State.Stale {
		return text + ": no result for too long"
	}
	if said := strings.Join(strings.Fields(cut(e.Result.Text)), " "); said != "" {
		text += ": " + said
	}
	return text
}

func level(s state.Status) string {
	switch s {
	case state.Critical:
		return "error"
	case state.Warning, state.Unknown:
		return "warn"
	}
	return "info"
}

func verdict(e check.Event) string {
	switch {
	case e.State.Stale:
		return "stale"
	case e.Result.State != checks.OK && len(e.Result.Findings) > 0:
		return e.Result.Findings[0].Signal
	}
	return ""
}

func evidence(r checks.Result) evidenceFields {
	f := evidenceFields{Output: cut(r.Text), Long: cut(r.Long), Address: r.Evidence.Address, Status: r.Evidence.Status, Answer: cut(r.Evidence.Answer)}
	for _, x := range r.Findings {
		f.Findings = append(f.Findings, cut(fmt.Sprintf("%s %s: %s", x.State, x.Signal, x.Text)))
	}
	if len(r.Phases) > 0 {
		f.Phases = make(map[string]float64, len(r.Phases))
	}
	for _, p := range r.Phases {
		f.Phases[p.Name] += p.Seconds
	}
	return f
}

func cut(s string) string {
	s = strings.ToValidUTF8(s, "�")
	if len(s) > longest {
		s = strings.ToValidUTF8(s[:longest], "") + "…"
	}
	return s
}

package shipper

import "time"

// What a sink is doing.
const (
	StateIdle    = "idle"    // nothing waits
	StateSending = "sending" //
	StateWaiting = "waiting" // the last request failed; the next attempt is due soon
	StatePaused  = "paused"  // a destination is paused, see Paused
	StateStopped = "stopped" // Run has returned
)

// Status is a sink at one moment, for `mesoscope status`.
type Status struct {
	State    string    `json:"state"`
	Since    time.Time `json:"since"`            // of State
	Paused   []Paused  `json:"paused,omitempty"` // destinations
	Bulks    int       `json:"bulks"`            // requests under way
	Bytes    int       `json:"bytes"`            // of batches that are not settled
	Retrying int       `json:"retrying"`         // items that wait for another attempt
	Unburied int       `json:"unburied"`         // dead letters that could not be written yet
	Problems []Problem `json:"problems,omitempty"`
	Answers  []Answers `json:"answers,omitempty"` // to lines, since the start
}

// Paused is a destination that takes nothing at the moment.
type Paused struct {
	Index   string    `json:"index"`
	Reason  string    `json:"reason"` // disk, blocked, denied, missing, refused, overload, unanswered
	Message string    `json:"message"`
	Since   time.Time `json:"since"`
	Next    time.Time `json:"next"` // when it is asked again
}

// Status may be called at any time by any goroutine.
func (e *Elasticsearch) Status() Status {
	e.mu.Lock()
	s, answers := e.status, e.answers
	e.mu.Unlock()
	s.Answers = answers.list()
	s.Problems = e.problems.list()
	return s
}

// publish makes the assembler's state visible.
func (a *assembler) publish() {
	s := Status{State: StateIdle, Bulks: a.flying, Bytes: a.held, Unburied: len(a.graves)}
	if a.unsettled > 0 {
		s.State = StateSending
	}
	for _, l := range a.order {
		s.Retrying += len(l.retries)
		if l.paused() {
			p := l.pause
			s.Paused = append(s.Paused, Paused{Index: l.index, Reason: p.reason, Message: p.message, Since: p.since, Next: p.until})
		}
	}
	switch {
	case len(s.Paused) > 0:
		s.State = StatePaused
	case !a.down.IsZero():
		s.State = StateWaiting
	}
	a.metrics.waiting.Set(float64(a.held))
	a.mu.Lock()
	defer a.mu.Unlock()
	s.Since = a.status.Since
	if s.State != a.status.State || s.Since.IsZero() {
		s.Since = time.Now()
	}
	a.status, a.answers = s, a.tally
}

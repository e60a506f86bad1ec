package collector

import (
	"context"
	"fmt"
	"sync"
	"time"

	"mesoscope/checks"
	"mesoscope/checks/schedule"
	"mesoscope/collector/check"
	"mesoscope/collector/declare"
	"mesoscope/collector/state"
)

// An entry is a check that runs.
type entry struct {
	id string

	mu     sync.Mutex
	run    checks.Target
	said   *checks.Result // instead of running it
	saidBy string
	event  check.Event
	labels string // of its series, see labelsOf
	turn   uint64 // counts the runs
	given  uint64 // the last one that did not come back in time
}

// set makes a declaration count for the next run.
func (e *entry) set(c declare.Check, labels string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.run, e.said, e.saidBy, e.event.Definition, e.labels = c.Run, c.Said, c.SaidBy, c.Definition, labels
}

// declared is what was set.
func (e *entry) declared() declare.Check {
	e.mu.Lock()
	defer e.mu.Unlock()
	return declare.Check{Definition: e.event.Definition, Run: e.run, Said: e.said, SaidBy: e.saidBy}
}

// overtime is how long a check may go on behind its timeout, which it should
// obey, before it is given up.
const overtime = 5 * time.Second

// job is how the scheduler knows a check.
func (c *Collector) job(e *entry, d check.Definition) schedule.Job {
	class := schedule.Network
	switch d.Kind {
	case "exec":
		class = schedule.Exec
	case "volume":
		class = schedule.Disk
	}
	return schedule.Job{
		ID: e.id, Every: d.Interval, Limit: d.Timeout + overtime, Class: class, Host: d.Host,
		Run:     func(ctx context.Context) { c.check(ctx, e) },
		GivenUp: func() { c.givenUp(e) },
	}
}

// check runs a check once.
func (c *Collector) check(ctx context.Context, e *entry) {
	e.mu.Lock()
	e.turn++
	turn, run, said, by := e.turn, e.run, e.said, e.saidBy
	e.mu.Unlock()
	var r checks.Result
	switch {
	case said == nil:
		r = c.o.Run(ctx, run)
	case !c.fresh(by, time.Now()):
		return // who says it has not spoken for long: without results the check becomes stale
	default:
		r = *said
	}
	if ctx.Err() != nil {
		return // we end, which says nothing about the target
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.given >= turn {
		c.metrics.dropped.WithLabelValues("late").Inc() // UNKNOWN was said meanwhile
		return
	}
	c.result(e, r, time.Now())
}

// saidFor is how long what a source has said of a check counts.
const saidFor = time.Minute

// fresh says whether a source has answered lately.
func (c *Collector) fresh(source string, now time.Time) bool {
	for _, s := range c.Sources() {
		if s.Source == source {
			return now.Sub(s.Good) <= saidFor
		}
	}
	return false
}

// givenUp is the result of a check that does not come back.
func (c *Collector) givenUp(e *entry) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.given = e.turn
	text := fmt.Sprintf("the check itself hangs: it has not come back %s behind its timeout", overtime)
	c.result(e, checks.Result{State: checks.Unknown, Text: text, Findings: []checks.Finding{{Signal: "hung", State: checks.Unknown, Text: text}},
		Duration: e.run.Timeout + overtime}, time.Now())
}

// result takes in what a run has found out. e is locked.
func (c *Collector) result(e *entry, r checks.Result, now time.Time) {
	st, changed, known := c.book.Observe(e.id, state.Status(r.State), now)
	if !known {
		c.metrics.dropped.WithLabelValues("gone").Inc() // the check is no longer declared
		return
	}
	e.event.State, e.event.Result, e.event.At = st, r, now
	if changed {
		c.changes.push(e.event)
	}
	if r.State == checks.OK { // nobody asks what a good answer was
		e.event.Result.Evidence.Answer = ""
	}
}

// A queue hands changes to the outputs, so that none of them can hold up a
// check.
type queue struct {
	mu      sync.Mutex
	events  []check.Event
	out     []Output
	lost    uint64
	arrived chan struct{}
}

// maxChanges bounds the queue: every check of a large cluster, once. Beyond
// that the oldest are lost, which outputs see in Events.
const maxChanges = 100_000

func newQueue() *queue { return &queue{arrived: make(chan struct{}, 1)} }

func (q *queue) outputs(out []Output) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.out = out
}

func (q *queue) push(e check.Event) {
	q.mu.Lock()
	if len(q.out) > 0 {
		if len(q.events) >= maxChanges {
			q.events = q.events[1:]
			q.lost++
		}
		q.events = append(q.events, e)
	}
	q.mu.Unlock()
	select {
	case q.arrived <- struct{}{}:
	default:
	}
}

func (q *queue) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-q.arrived:
		}
		q.mu.Lock()
		events, out := q.events, q.out
		q.events = nil
		q.mu.Unlock()
		for _, e := range events {
			for _, o := range out {
				o.Changed(e)
			}
		}
	}
}

// Lost is how many changes an output was too slow for.
func (q *queue) Lost() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.lost
}

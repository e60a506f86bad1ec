// Package state makes verdicts of results: what a check's status is, since
// when, and whether that can be relied upon. Status and its history outlive the
// process.
//
//	result -> window of the last results -> N of M -> Status
//	                                     -> share of changes -> flapping
//	no result for too long               -> UNKNOWN, stale
//
// Nothing here knows time but by what it is told, and nothing knows what a
// check does.
package state

import (
	"fmt"
	"time"
)

// A Status is what is known of a check: Nagios' numbers, and Pending.
type Status uint8

// The statuses.
const (
	OK       Status = 0
	Warning  Status = 1
	Critical Status = 2
	Unknown  Status = 3
	Pending  Status = 4 // no verdict yet
)

// String is the name as it stands in documents.
func (s Status) String() string {
	switch s {
	case OK:
		return "OK"
	case Warning:
		return "WARNING"
	case Critical:
		return "CRITICAL"
	case Pending:
		return "PENDING"
	}
	return "UNKNOWN"
}

// MarshalText makes the name the JSON form.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a name.
func (s *Status) UnmarshalText(text []byte) error {
	for v := range Pending + 1 {
		if v.String() == string(text) {
			*s = v
			return nil
		}
	}
	return fmt.Errorf("%q is no status", text)
}

// Bad says whether somebody should know.
func (s Status) Bad() bool { return s == Warning || s == Critical || s == Unknown }

// rank orders statuses by how bad they are; a verdict that is missing is less
// than one that is bad.
func (s Status) rank() uint64 {
	return [...]uint64{OK: 0, Unknown: 1, Warning: 2, Critical: 3, Pending: 0}[s]
}

// byRank is the inverse of rank.
var byRank = [...]Status{OK, Unknown, Warning, Critical}

// A Rule says when results become a verdict.
type Rule struct {
	Fail, Of int           // so many bad results among the last Of make it bad; at most Most
	Pass     int           // so many results in a row that are better make it better
	Grace    time.Duration // bad results before that are no verdict; ended by the first good one
	Expire   time.Duration // without a result for so long nothing is known any more; 0 = never
}

// Most is the largest window, which is also the one that flapping is seen in.
const Most = 21

// Flapping begins when so many percent of the last Most results differ from
// the one before, and ends below the second; Nagios has the same limits.
const (
	flapHigh = 30
	flapLow  = 20
)

// A Check is the state of one check. The zero value is one never seen.
type Check struct {
	Status   Status    `json:"status"`
	Previous Status    `json:"previous"`
	Since    time.Time `json:"since"`              // of Status
	Born     time.Time `json:"born"`               // the first time that it was known
	FirstBad time.Time `json:"first_bad,omitzero"` // of the trouble that it is in, zero if in none
	LastGood time.Time `json:"last_good,omitzero"` // the last result that was OK
	Last     time.Time `json:"last,omitzero"`      // the last result
	Flapping bool      `json:"flapping,omitempty"` // while so, Status does not get better
	Stale    bool      `json:"stale,omitempty"`    // no result for too long; Status is Unknown
	Before   Status    `json:"before,omitempty"`   // Status when it became stale
	History  uint64    `json:"history,omitempty"`  // ranks of the last results, two bits each, the last one lowest
	Results  int       `json:"results,omitempty"`  // how many of them there are, at most Most
}

// newCheck is a check that nobody has a result of.
func newCheck(now time.Time) Check {
	return Check{Status: Pending, Previous: Pending, Since: now, Born: now}
}

// observe takes a result in. It says whether status, flapping or staleness
// have changed.
func (c *Check) observe(s Status, r Rule, now time.Time) (changed bool) {
	c.Last = now
	if c.Stale {
		c.Stale, changed = false, true
		c.become(c.Before, now)
	}
	c.History = c.History<<2&(1<<(2*Most)-1) | s.rank()
	c.Results = min(c.Results+1, Most)
	if s == OK {
		c.LastGood = now
	} else if c.FirstBad.IsZero() {
		c.FirstBad = now
	}
	flapped := c.Flapping
	c.Flapping = c.flaps()
	changed = changed || flapped != c.Flapping
	if next := c.verdict(s, r, now); next != c.Status {
		c.become(next, now)
		changed = true
	}
	if s == OK && c.Status == OK {
		c.FirstBad = time.Time{}
	}
	return changed
}

// verdict is what the status has to be after a result.
func (c *Check) verdict(last Status, r Rule, now time.Time) Status {
	if c.Status == Pending {
		if last == OK {
			return OK
		}
		if now.Sub(c.Born) < r.Grace {
			return Pending
		}
	}
	// never worse by a good result, though older ones may still be in the window
	for rank := last.rank(); rank > c.Status.rank(); rank-- {
		if c.count(r.Of, rank) >= r.Fail {
			return byRank[rank]
		}
	}
	if c.Status == Pending || c.Flapping || c.Results < r.Pass {
		return c.Status
	}
	worst := uint64(0)
	for i := range r.Pass {
		worst = max(worst, c.rank(i))
	}
	if worst < c.Status.rank() {
		return byRank[worst]
	}
	return c.Status
}

// rank is that of the result i turns ago.
func (c *Check) rank(i int) uint64 { return c.History >> (2 * i) & 3 }

// count is how many of the last results are at least so bad.
func (c *Check) count(of int, rank uint64) (n int) {
	for i := range min(of, c.Results) {
		if c.rank(i) >= rank {
			n++
		}
	}
	return n
}

// flaps looks at how often results differ from the one before. Recent changes
// weigh more, from 0.8 to 1.2, as Nagios does it; in whole numbers, so that
// the limits are exact.
func (c *Check) flaps() bool {
	const newest, step, all = 228, 4, 3800 // 1.2 and 0.4/19 of an average weight of 190, twenty times
	if c.Results < Most {
		return false
	}
	share := 0
	for i := range Most - 1 {
		if c.rank(i) != c.rank(i+1) {
			share += newest - step*i
		}
	}
	share *= 100
	return share >= flapHigh*all || c.Flapping && share >= flapLow*all
}

func (c *Check) become(s Status, now time.Time) {
	c.Previous, c.Status, c.Since = c.Status, s, now
}

// expire makes it Unknown if there was no result for too long. since is when
// somebody began to ask for results: a process that was away is no reason.
func (c *Check) expire(r Rule, since, now time.Time) (changed bool) {
	last := c.Last
	if since.After(last) {
		last = since
	}
	if r.Expire <= 0 || c.Stale || now.Sub(last) < r.Expire {
		return false
	}
	c.Stale, c.Before = true, c.Status
	c.become(Unknown, now)
	return true
}

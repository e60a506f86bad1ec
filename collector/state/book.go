package state

import (
	"sync"
	"time"
)

// Remember is how long what is gone is remembered: a check that comes back
// within that time goes on where it was, and a slot is not given to another
// instance. Discovery that fails for a moment then costs nothing.
const Remember = 10 * time.Minute

// A Change is a check whose status, flapping or staleness has changed.
type Change struct {
	ID string
	Check
}

// A Book holds the states of all checks, and the slots of their instances. It
// can be used by several goroutines.
type Book struct {
	mu      sync.Mutex
	checks  map[string]*page
	slots   map[string]*slot // by instance
	journal *journal
}

type page struct {
	Check
	rule  Rule
	since time.Time // asked for, in this process
	gone  time.Time // no longer wanted since; zero = wanted
}

// A slot is the number that tells instances of an app on one host apart.
type slot struct {
	Group string    `json:"group"` // app and host
	Slot  int       `json:"slot"`
	Gone  time.Time `json:"gone,omitzero"`
}

// Set says which checks there are, by id, and forgets those that are gone for
// long.
func (b *Book) Set(rules map[string]Rule, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, r := range rules {
		p := b.checks[id]
		if p == nil {
			p = &page{Check: newCheck(now)}
			b.checks[id] = p
		}
		if p.since.IsZero() || !p.gone.IsZero() {
			p.since, p.gone = now, time.Time{}
		}
		p.rule = r.bounded()
	}
	for id, p := range b.checks {
		if _, ok := rules[id]; ok {
			continue
		}
		if p.gone.IsZero() {
			p.gone = now
		}
		if now.Sub(p.gone) >= Remember {
			delete(b.checks, id)
		}
	}
}

// bounded replaces what makes no sense.
func (r Rule) bounded() Rule {
	r.Of = min(max(r.Of, 1), Most)
	r.Fail = min(max(r.Fail, 1), r.Of)
	r.Pass = min(max(r.Pass, 1), Most)
	return r
}

// Observe takes a result in. known is false for a check that Set has not named
// or that is gone.
func (b *Book) Observe(id string, s Status, now time.Time) (c Check, changed, known bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.checks[id]
	if p == nil || !p.gone.IsZero() {
		return Check{}, false, false
	}
	if changed = p.observe(s, p.rule, now); changed {
		b.journal.check(id, &p.Check)
	}
	return p.Check, changed, true
}

// Expire finds the checks that have become stale.
func (b *Book) Expire(now time.Time) (changes []Change) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, p := range b.checks {
		if p.gone.IsZero() && p.expire(p.rule, p.since, now) {
			b.journal.check(id, &p.Check)
			changes = append(changes, Change{id, p.Check})
		}
	}
	return changes
}

// Get is the state of a check that is wanted.
func (b *Book) Get(id string) (Check, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.checks[id]
	if p == nil || !p.gone.IsZero() {
		return Check{}, false
	}
	return p.Check, true
}

// Slots gives each instance (by id; the value is its app and host) the lowest
// number that is free there, the same as before if it had one.
func (b *Book) Slots(groups map[string]string, now time.Time) map[string]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	taken := map[string]map[int]bool{}
	for id, s := range b.slots {
		group, wanted := groups[id]
		switch {
		case wanted && group != s.Group:
			delete(b.slots, id) // it has moved: a new number there
			continue
		case wanted:
			s.Gone = time.Time{}
		case s.Gone.IsZero():
			s.Gone = now
		case now.Sub(s.Gone) >= Remember:
			delete(b.slots, id)
			continue
		}
		if taken[s.Group] == nil {
			taken[s.Group] = map[int]bool{}
		}
		taken[s.Group][s.Slot] = true
	}
	out := make(map[string]int, len(groups))
	for _, id := range sorted(groups) { // so that two collectors count the same
		s := b.slots[id]
		if s == nil {
			group := groups[id]
			s = &slot{Group: group}
			for taken[group][s.Slot] {
				s.Slot++
			}
			if taken[group] == nil {
				taken[group] = map[int]bool{}
			}
			taken[group][s.Slot] = true
			b.slots[id] = s
			b.journal.slot(id, s)
		}
		out[id] = s.Slot
	}
	return out
}

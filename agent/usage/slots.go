package usage

import (
	"cmp"
	"slices"
	"time"
)

// slotRest is how long the number of an instance that has gone stays free, so
// that one series does not go on with the next instance.
const slotRest = 10 * time.Minute

// An instance is what has a number among its like on this host.
type instance struct{ app, framework string }

// slots number the instances of each app, so that a metric has a series for each
// of them without a label that is new with each task.
type slots struct {
	taken map[instance]map[int]slot
	of    map[string]place // by container id
}

type slot struct {
	id   string    // of the container; "" while it rests
	gone time.Time // since when it rests
}

type place struct {
	instance
	n int
}

func newSlots() *slots { return &slots{taken: map[instance]map[int]slot{}, of: map[string]place{}} }

// assign gives each of the owners a number: the one that it has, or the lowest
// free one. The oldest come first, so that a new process gives the numbers that
// the last one gave, unless older ones have ended meanwhile.
func (s *slots) assign(owners []Owner, now time.Time) {
	present := make(map[string]bool, len(owners))
	for _, o := range owners {
		present[o.ID] = true
		if p, ok := s.of[o.ID]; ok && p.instance != (instance{o.App, o.Framework}) {
			s.release(o.ID, time.Time{}) // whose it is has become known later
		}
	}
	for id := range s.of {
		if !present[id] {
			s.release(id, now)
		}
	}
	for key, numbers := range s.taken {
		for n, t := range numbers {
			if t.id == "" && now.Sub(t.gone) >= slotRest {
				delete(numbers, n)
			}
		}
		if len(numbers) == 0 {
			delete(s.taken, key)
		}
	}
	var fresh []Owner
	for _, o := range owners {
		if _, ok := s.of[o.ID]; !ok {
			fresh = append(fresh, o)
		}
	}
	slices.SortFunc(fresh, func(a, b Owner) int { return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID)) })
	for _, o := range fresh {
		key := instance{o.App, o.Framework}
		numbers := s.taken[key]
		if numbers == nil {
			numbers = map[int]slot{}
			s.taken[key] = numbers
		}
		n := 0
		for _, used := numbers[n]; used; _, used = numbers[n] {
			n++
		}
		numbers[n] = slot{id: o.ID}
		s.of[o.ID] = place{key, n}
	}
}

// release gives a number back; it rests if gone is set.
func (s *slots) release(id string, gone time.Time) {
	p := s.of[id]
	delete(s.of, id)
	if gone.IsZero() {
		delete(s.taken[p.instance], p.n)
		return
	}
	s.taken[p.instance][p.n] = slot{gone: gone}
}

// Package schedule runs many jobs, each at its own interval, with few
// goroutines.
//
//	Set(jobs) -> heap by due time -> dispatcher -> queue of a class -> workers
//
// A job's place within its interval follows from its ID alone, so that load is
// spread evenly and stays where it is over restarts and reloads. A job never
// runs twice at once: what is due while it still runs is missed, and counted.
// How many run at once is bounded for each class and for each host; a job that
// has to wait keeps its turn, and its lateness is measured. One that has not
// come back by its Limit is given up: it loses its slot, so that a hung mount
// or a Func with a bug cannot stop its neighbours.
package schedule

import (
	"container/heap"
	"context"
	"hash/fnv"
	"sync"
	"time"
)

// A Class is a kind of work with a bound of its own.
type Class uint8

// The classes.
const (
	Network Class = iota // waits for another machine
	Exec                 // starts a process
	Disk                 // can hang in the kernel
	classes
)

// String is the name as it stands in metrics.
func (c Class) String() string { return [...]string{"network", "exec", "disk"}[c] }

// A Job is something to do again and again.
type Job struct {
	ID    string        // unique; the phase follows from it
	Every time.Duration // > 0
	Limit time.Duration // after so long it is given up; 0 = never
	Class Class
	Host  string                    // "" counts for no host
	Run   func(ctx context.Context) // obeys ctx, which ends with the scheduler
	// GivenUp, if not nil, is told that Run has not come back by Limit. Run may
	// still come back later; until then the job is not started again.
	GivenUp func()
}

// Options bound a Scheduler. Zero values mean the defaults.
type Options struct {
	Limits  [classes]int                      // jobs at once: 1024 network, 8 exec, 4 disk
	PerHost int                               // jobs at once at one host: 16
	Late    func(c Class, late time.Duration) // is told each start
}

// Stats say how a Scheduler does.
type Stats struct {
	Jobs    int
	Running [classes]int    // now, without those given up
	Waiting [classes]int    // due, but no slot is free
	Hung    int             // given up and not back yet
	Started [classes]uint64 // since the beginning
	Missed  uint64          // turns left out because the one before still ran or waited
	GivenUp uint64
}

// resolution is how exactly a job is started. Coarser means fewer wake-ups.
const resolution = time.Millisecond

// idle is how many workers of a class stay when there is nothing to do.
const idle = 64

// A Scheduler runs jobs from Run until its context ends.
type Scheduler struct {
	o Options

	mu      sync.Mutex
	entries map[string]*entry
	due     dueHeap
	classes [classes]class
	hosts   map[string]*host
	stats   Stats
	ctx     context.Context // nil before Run
	wake    chan struct{}   // the dispatcher should look at the heap
	workers sync.WaitGroup
}

// phase says what an entry does.
type phase uint8

const (
	sleeping phase = iota // in the heap, until it is due
	waiting               // in the queue of its class or of its host
	running               // in the heap, until its limit, if it has one
	hung                  // given up
)

type entry struct {
	job     Job
	phase   phase
	at      time.Time // when it is due, or its limit
	index   int       // in the heap; -1 = not there
	began   time.Time // due time of the turn that waits or runs
	removed bool
	busy    struct { // what the running turn has taken, whatever Set says meanwhile
		class Class
		host  *host
	}
}

type class struct {
	queue  fifo
	parked int // workers that wait for wake
	wake   *sync.Cond
}

type host struct {
	name    string
	running int
	queue   fifo // due, while the host has its fill
}

// New is a Scheduler without jobs.
func New(o Options) *Scheduler {
	for c, n := range [classes]int{1024, 8, 4} {
		if o.Limits[c] <= 0 {
			o.Limits[c] = n
		}
	}
	if o.PerHost <= 0 {
		o.PerHost = 16
	}
	if o.Late == nil {
		o.Late = func(Class, time.Duration) {}
	}
	s := &Scheduler{o: o, entries: map[string]*entry{}, hosts: map[string]*host{}, wake: make(chan struct{}, 1)}
	for c := range s.classes {
		s.classes[c].wake = sync.NewCond(&s.mu)
	}
	return s
}

// Set makes jobs the whole set. A job whose ID and Every stay keeps its turn;
// one that runs is not disturbed and runs with its new form the next time. Of
// two jobs with one ID the last counts.
func (s *Scheduler) Set(jobs []Job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	keep := make(map[string]bool, len(jobs))
	for _, j := range jobs {
		if j.Every < resolution {
			j.Every = resolution
		}
		keep[j.ID] = true
		e := s.entries[j.ID]
		if e == nil {
			e = &entry{index: -1}
			s.entries[j.ID] = e
		}
		moved := e.job.Every != j.Every
		e.job, e.removed = j, false
		if e.phase == sleeping && (moved || e.index < 0) {
			s.sleep(e, now)
		}
	}
	for id, e := range s.entries {
		if keep[id] {
			continue
		}
		e.removed = true
		if e.phase == sleeping {
			s.forget(e)
		} // one that waits or runs is forgotten when it gets its turn or ends
	}
	s.stats.Jobs = len(keep)
	s.nudge()
}

// sleep puts e in the heap for its next turn.
func (s *Scheduler) sleep(e *entry, now time.Time) {
	e.phase = sleeping
	s.put(e, now.Add(untilTurn(e.job.ID, e.job.Every, now)))
}

// untilTurn is how long it is until the next turn. It goes by wall time, so
// that the phase is the same after a restart.
func untilTurn(id string, every time.Duration, now time.Time) time.Duration {
	h := fnv.New64a()
	h.Write([]byte(id)) // never fails
	offset := int64(mix(h.Sum64()) % uint64(every))
	return every - time.Duration((now.UnixNano()-offset)%int64(every))
}

// mix spreads the last bits of a hash: FNV's differ little for ids that differ
// in their last character only.
func mix(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

func (s *Scheduler) put(e *entry, at time.Time) {
	e.at = at
	if e.index < 0 {
		heap.Push(&s.due, e)
	} else {
		heap.Fix(&s.due, e.index)
	}
}

func (s *Scheduler) forget(e *entry) {
	if e.index >= 0 {
		heap.Remove(&s.due, e.index)
	}
	delete(s.entries, e.job.ID)
}

// nudge makes the dispatcher look again.
func (s *Scheduler) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run works until ctx ends and all running jobs have come back, but for those
// that were given up.
func (s *Scheduler) Run(ctx context.Context) {
	s.mu.Lock()
	s.ctx = ctx
	now := time.Now()
	for _, e := range s.entries { // Set may be long ago
		if e.phase == sleeping {
			s.sleep(e, now)
		}
	}
	s.mu.Unlock()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			s.mu.Lock()
			for n := range s.classes {
				c := &s.classes[n]
				s.stats.Running[n] += c.parked
				c.parked = 0
				c.wake.Broadcast()
			}
			s.mu.Unlock()
			s.workers.Wait()
			return
		case <-timer.C:
		case <-s.wake:
		}
		timer.Reset(max(s.dispatch(), resolution))
	}
}

// dispatch starts what is due and says how long it is until the next.
func (s *Scheduler) dispatch() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for len(s.due) > 0 {
		e := s.due[0]
		if wait := e.at.Sub(now); wait > 0 {
			return wait
		}
		heap.Pop(&s.due)
		if e.phase == running {
			s.giveUp(e)
			continue
		}
		e.phase, e.began = waiting, e.at
		s.enqueue(e)
	}
	return farAway
}

// enqueue lets e wait for a slot of its host, then for one of its class.
func (s *Scheduler) enqueue(e *entry) {
	if h := s.host(e.job.Host); h != nil {
		if h.running >= s.o.PerHost {
			h.queue.push(e)
			return
		}
		h.running++
		e.busy.host = h
	}
	e.busy.class = e.job.Class
	s.stats.Waiting[e.job.Class]++
	c := &s.classes[e.job.Class]
	c.queue.push(e)
	s.employ(e.job.Class)
}

// employ finds a worker for what is in the queue of a class.
func (s *Scheduler) employ(n Class) {
	c := &s.classes[n]
	if s.stats.Running[n] >= s.o.Limits[n] {
		return // a worker takes it when it has done something else
	}
	s.stats.Running[n]++
	if c.parked > 0 {
		c.parked--
		c.wake.Signal()
	} else {
		s.workers.Add(1)
		go s.work(n)
	}
}

func (s *Scheduler) host(name string) *host {
	if name == "" {
		return nil
	}
	h := s.hosts[name]
	if h == nil {
		h = &host{name: name}
		s.hosts[name] = h
	}
	return h
}

// work runs what waits in the queue of a class. A worker holds one of the
// class's slots while it is not parked.
func (s *Scheduler) work(n Class) {
	c := &s.classes[n]
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		e := c.queue.pop()
		if e == nil || s.ctx.Err() != nil {
			if s.ctx.Err() != nil || c.parked >= idle {
				break
			}
			s.stats.Running[n]--
			c.parked++
			c.wake.Wait() // who wakes us has counted us among the running
			continue
		}
		s.stats.Waiting[n]--
		if e.removed {
			s.release(e)
			s.forget(e)
			continue
		}
		if given := s.turn(e, n); given {
			return // giveUp has counted this worker out
		}
	}
	s.stats.Running[n]--
	s.workers.Done()
}

// turn runs e once, with s.mu given back meanwhile. It says whether e was given
// up, and its slot with it.
func (s *Scheduler) turn(e *entry, n Class) (given bool) {
	now := time.Now()
	e.phase = running
	if e.job.Limit > 0 {
		s.put(e, now.Add(e.job.Limit))
		if e.index == 0 { // the dispatcher sleeps until what was the first
			s.nudge()
		}
	}
	s.stats.Started[n]++
	job, late := e.job, now.Sub(e.began)
	s.mu.Unlock()
	s.o.Late(n, late)
	job.Run(s.ctx)
	s.mu.Lock()
	given = e.phase == hung
	if given {
		s.stats.Hung--
	} else {
		s.release(e)
	}
	if e.removed {
		s.forget(e)
		return given
	}
	now = time.Now()
	s.stats.Missed += uint64(max(0, now.Sub(e.began)/e.job.Every))
	s.sleep(e, now)
	if e.index == 0 {
		s.nudge()
	}
	return given
}

// release gives the slot of e's host to the next that waits for it.
func (s *Scheduler) release(e *entry) {
	h := e.busy.host
	if h == nil {
		return
	}
	e.busy.host = nil
	h.running--
	for {
		next := h.queue.pop()
		if next == nil {
			break
		}
		if next.removed {
			s.forget(next)
			continue
		}
		s.enqueue(next) // to its class, or elsewhere if its job has moved
		return
	}
	if h.running == 0 {
		delete(s.hosts, h.name)
	}
}

// giveUp takes the slots of a job that does not come back.
func (s *Scheduler) giveUp(e *entry) {
	e.phase = hung
	s.stats.Hung++
	s.stats.GivenUp++
	s.release(e)
	n := e.busy.class
	s.stats.Running[n]--
	s.workers.Done()
	if s.classes[n].queue.n > 0 {
		s.employ(n)
	}
	if e.job.GivenUp != nil {
		go e.job.GivenUp() // it may call us
	}
}

// Stats says how it goes.
func (s *Scheduler) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.stats
	for _, h := range s.hosts {
		for _, e := range h.queue.all() {
			out.Waiting[e.job.Class]++
		}
	}
	return out
}

// Package usage measures what the machine and each container use, every ten
// seconds, and says whose it is.
//
// The way of the data: Owners (the agent: which containers, of which task) and
// cgroup files (cgroup.go, through hierarchy.go) and gopsutil (machine.go) ->
// one look -> metrics.go: counters for Prometheus; rates.go: what two looks
// differ by, for `mesoscope top`.
package usage

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"mesoscope/agent/status"
)

// Every is how often the Sampler looks, and Rarest how often at least. Between
// them it waits so long behind a look that looking takes half a percent of a
// core: of thousands of containers a look takes most of a second.
const (
	Every  = 10 * time.Second
	Rarest = time.Minute
)

// pause is how long to wait behind a look that took so long.
func pause(took time.Duration) time.Duration { return min(max(Every, 200*took), Rarest) }

// searchEvery bounds how often the whole tree of cgroups is searched for
// containers that are not where Docker usually puts them.
const searchEvery = time.Minute

// An Owner is a container, and whose it is.
type Owner struct {
	ID        string // of Docker
	Name      string
	App       string // service.name
	Framework string // its name; "": not of Mesos
	Task      string // id
	Image     string
	Created   time.Time
	Running   bool
	// OOMKilled is the end of its last run, if Docker saw a process of it killed
	// for want of memory in it.
	OOMKilled time.Time
	// Lines and LogBytes have been read from its log since the agent's start.
	Lines, LogBytes int64
}

// Options say what a Sampler measures.
type Options struct {
	Node   string         // host.name
	Owners func() []Owner // asked at each look; an ID that repeats counts once
	Log    *slog.Logger
}

// A Sampler looks at the machine and its containers. It is a
// prometheus.Collector of what it saw last.
type Sampler struct {
	opt      Options
	root     *hierarchy
	reader   *reader
	machine  machineReader
	slots    *slots
	paths    map[string]string // of cgroups, by container id
	searched time.Time         // when the tree was searched
	said     bool              // that there are no cgroups
	oomEnds  *oomEnds

	mu        sync.Mutex
	now, last look
}

// A look is what was seen at one time.
type look struct {
	time       time.Time
	machine    machine
	containers map[string]*container
}

// A container is one in a look.
type container struct {
	Owner
	Slot     int
	Counters Counters
	Measured bool
	OOMEnded bool // since the look before
}

// New makes a Sampler for the cgroups that this process can see. It looks at
// nothing yet.
func New(opt Options) *Sampler { return newSampler(opt, mounts(hostMounts())) }

func newSampler(opt Options, root *hierarchy) *Sampler {
	r := newReader(root)
	return &Sampler{opt: opt, root: root, reader: r, machine: machineReader{files: r}, slots: newSlots(), paths: map[string]string{}, oomEnds: newOOMEnds(time.Now())}
}

// Run looks until ctx ends.
func (s *Sampler) Run(ctx context.Context) {
	for {
		began := time.Now()
		s.sample(began)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause(time.Since(began)) - time.Since(began)):
		}
	}
}

// sample takes one look.
func (s *Sampler) sample(now time.Time) {
	owners := once(s.opt.Owners())
	s.slots.assign(owners, now)
	s.locate(owners, now)
	l := look{time: now, containers: make(map[string]*container, len(owners))}
	for _, o := range owners {
		c := &container{Owner: o, Slot: s.slots.of[o.ID].n, OOMEnded: s.oomEnds.see(o)}
		if path, ok := s.paths[o.ID]; ok {
			var err error
			if c.Counters, err = s.reader.read(path); err != nil {
				delete(s.paths, o.ID) // it has ended; should it start again, it is found again
			} else {
				c.Measured = true
			}
		}
		l.containers[o.ID] = c
	}
	s.oomEnds.forget(l.containers)
	l.machine = s.machine.read(now)
	s.mu.Lock()
	s.last, s.now = s.now, l
	s.mu.Unlock()
}

// once leaves out what repeats: two agents of one process can see the same.
func once(owners []Owner) []Owner {
	seen := make(map[string]bool, len(owners))
	return slices.DeleteFunc(owners, func(o Owner) bool {
		again := seen[o.ID]
		seen[o.ID] = true
		return again
	})
}

// locate finds the cgroups of containers that have none yet.
func (s *Sampler) locate(owners []Owner, now time.Time) {
	if !s.root.there() {
		if !s.said && s.opt.Log != nil {
			s.said = true
			s.opt.Log.Warn(noCgroups)
		}
		return
	}
	present := make(map[string]bool, len(owners))
	wanted := map[string]bool{}
	for _, o := range owners {
		present[o.ID] = true
		if _, ok := s.paths[o.ID]; ok {
			continue
		}
		if path, ok := s.root.usual(o.ID); ok {
			s.paths[o.ID] = path
		} else if o.Running {
			wanted[o.ID] = true
		}
	}
	for id := range s.paths {
		if !present[id] {
			delete(s.paths, id)
		}
	}
	if len(wanted) == 0 || now.Sub(s.searched) < searchEvery {
		return
	}
	s.searched = now
	s.root.find(wanted, func(id, path string) { s.paths[id] = path })
}

const noCgroups = "no cgroups are mounted here, so what containers use cannot be measured; " +
	"in a container of its own, an agent needs the host's: -v /sys/fs/cgroup:/sys/fs/cgroup:ro"

// Usage is what was seen last, as rates since the look before.
func (s *Sampler) Usage() status.Usage {
	s.mu.Lock()
	last, now := s.last, s.now
	s.mu.Unlock()
	u := rates(last, now)
	u.Node = s.opt.Node
	running, measured := 0, 0
	for _, c := range now.containers {
		if c.Running && containerID(c.ID) != "" { // a task without Docker need not have one
			running++
		}
		if c.Measured {
			measured++
		}
	}
	switch {
	case !s.root.there():
		u.Problem = noCgroups
	case running > 0 && measured == 0:
		u.Problem = "none of the containers here has a cgroup below " + s.root.base() +
			"; in a container of its own, an agent needs the host's: -v /sys/fs/cgroup:/sys/fs/cgroup:ro"
	}
	return u
}

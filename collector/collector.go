// Package collector runs the checks of a cluster.
//
//	target.Finder --instances--> declare --checks--> schedule.Scheduler --checks.Run-->
//	   state.Book --check.Event--> Outputs, /metrics, /api/v1/checks
//
// It lives as long as the process: Configure swaps what it does without losing
// what it knows. What it knows of the states of checks outlives the process,
// too.
package collector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mesoscope/checks"
	"mesoscope/checks/schedule"
	"mesoscope/collector/check"
	"mesoscope/collector/declare"
	"mesoscope/collector/state"
	"mesoscope/collector/target"
)

// Options are fixed as long as the process lives.
type Options struct {
	StateDir string
	Vantage  string // who looks: the name of this machine
	Log      *slog.Logger
	Registry prometheus.Registerer
	Limits   schedule.Options
	Run      func(context.Context, checks.Target) checks.Result // nil: checks.Run
}

// A Setup is what a configuration says.
type Setup struct {
	// Sources of targets. While Key stays, those that are there go on.
	Sources    []target.Source
	Key        string
	ChecksFile string          // "" = none
	Declare    declare.Options // without Overlay and More
	Outputs    []Output
}

// An Output is told of each change of a check's status, flapping or staleness,
// one after another and in order, by one goroutine for all Outputs. A check that
// is no longer declared just is no longer in Events.
type Output interface {
	Changed(e check.Event)
}

// A Collector finds, declares and runs checks.
type Collector struct {
	o         Options
	log       *slog.Logger
	book      *state.Book
	scheduler *schedule.Scheduler
	metrics   *metrics
	overrides *overrides
	changes   *queue
	names     *names
	kick      chan struct{} // something that refresh looks at has changed

	mu       sync.Mutex
	setup    Setup
	finder   *target.Finder // of setup
	stop     func()         // ends it
	memory   memory
	file     overlayFile
	started  time.Time
	secrets  string             // stamps of the files of passwords
	seen     map[string]*seen   // by instance
	anew     bool               // what was seen has to be declared again
	entries  map[string]*entry  // by check
	order    []*entry           // by id
	apps     map[string]appSeen // by framework and id
	targets  target.Set
	tight    string // what the kernel has too little of
	found    bool   // targets may be others than those in memory
	findings []finding
	ready    bool // the first discovery has succeeded
}

// New opens the states of the last run.
func New(o Options) (*Collector, error) {
	book, damaged, err := state.Open(o.StateDir, time.Now())
	if err != nil {
		return nil, err
	}
	if damaged > 0 {
		o.Log.Warn("some states of checks could not be read; they begin anew", "lines", damaged)
	}
	if o.Run == nil {
		o.Run = checks.Run
	}
	c := &Collector{
		o: o, log: o.Log, book: book, changes: newQueue(), names: newNames(), kick: make(chan struct{}, 1), started: time.Now(),
		seen: map[string]*seen{}, entries: map[string]*entry{}, apps: map[string]appSeen{},
	}
	if c.overrides, err = openOverrides(filepath.Join(o.StateDir, "overlay.json")); err != nil {
		return nil, fmt.Errorf("%w (%v)", err, book.Close())
	}
	c.memory.path = filepath.Join(o.StateDir, "targets.json")
	if c.targets, err = c.memory.load(); err != nil {
		o.Log.Warn("the targets of the last run cannot be read; nothing is checked before discovery answers", "error", err)
	}
	c.metrics = newMetrics(c, o.Registry)
	limits := o.Limits
	limits.Late = c.metrics.late
	c.scheduler = schedule.New(limits)
	return c, nil
}

// Configure makes a configuration count, from the next look on.
func (c *Collector) Configure(ctx context.Context, s Setup) {
	c.mu.Lock()
	defer c.mu.Unlock()
	same := c.finder != nil && s.Key == c.setup.Key
	c.setup = s
	c.anew = true // other rules may hold
	c.file = overlayFile{path: s.ChecksFile, good: c.file.good, problem: c.file.problem}
	if s.ChecksFile == "" {
		c.file = overlayFile{}
	}
	c.changes.outputs(s.Outputs)
	if !same {
		if c.stop != nil {
			c.stop()
		}
		running, stop := context.WithCancel(ctx)
		c.stop = stop
		c.finder = target.NewFinder(s.Sources, c.refreshSoon, c.log)
		go c.finder.Run(running)
	}
	c.refreshSoon()
}

func (c *Collector) refreshSoon() {
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

const (
	lookEvery  = time.Second     // for what has become stale, and for changed files
	flushEvery = 5 * time.Second // states reach the disk
)

// Run works until ctx ends. Then the states are on the disk.
func (c *Collector) Run(ctx context.Context) error {
	var group sync.WaitGroup
	group.Go(func() { c.scheduler.Run(checks.WithLookup(ctx, c.names.lookup)) })
	group.Go(func() { c.changes.run(ctx) })
	look, flush := time.NewTicker(lookEvery), time.NewTicker(flushEvery)
	defer look.Stop()
	defer flush.Stop()
	failing := false
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-c.kick:
			c.refresh(time.Now())
		case <-look.C:
			c.expire(time.Now())
			if c.moved(time.Now()) {
				c.refresh(time.Now())
			}
		case <-flush.C:
			err := errors.Join(c.book.Flush(), c.remember(time.Now()))
			if err != nil && !failing {
				c.log.Error("the states of checks cannot be saved; after a restart they would be those of before", "error", err)
			}
			failing = err != nil
		}
	}
	group.Wait()
	return errors.Join(c.remember(time.Time{}), c.book.Close())
}

// moved says whether a file or an override has changed since the last refresh.
func (c *Collector) moved(now time.Time) bool {
	expired := c.overrides.expire(now)
	c.mu.Lock()
	defer c.mu.Unlock()
	secrets := c.secretStamps()
	if secrets != c.secrets || expired {
		c.anew = true
	}
	return secrets != c.secrets || expired || c.file.moved()
}

// secretStamps changes when a file with a password does.
func (c *Collector) secretStamps() (all string) {
	for _, v := range c.setup.Declare.Credentials {
		all += v.PasswordFile + stamp(v.PasswordFile) + "\n"
	}
	return all
}

// expire finds checks without results.
func (c *Collector) expire(now time.Time) {
	for _, change := range c.book.Expire(now) {
		c.mu.Lock()
		e := c.entries[change.ID]
		c.mu.Unlock()
		if e == nil {
			continue
		}
		e.mu.Lock()
		e.event.State, e.event.At = change.Check, now
		c.changes.push(e.event)
		e.mu.Unlock()
	}
}

// Events are all checks that are declared, as they are now, by id.
func (c *Collector) Events() []check.Event {
	c.mu.Lock()
	order := c.order
	c.mu.Unlock()
	out := make([]check.Event, len(order))
	for i, e := range order {
		e.mu.Lock()
		out[i] = e.event
		e.mu.Unlock()
	}
	return out
}

// Targets is what discovery has found, and whether it ever has.
func (c *Collector) Targets() (set target.Set, ready bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.targets, c.ready
}

// Sources say how discovery does.
func (c *Collector) Sources() []target.Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.finder == nil {
		return nil
	}
	return c.finder.Sources()
}

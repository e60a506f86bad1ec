// Package target finds what there is to check.
//
//	Source (files, Marathon): the whole set, or an error
//	   --Finder--> the last good set of each source, and how old it is --> All
//
// An error never means that something is gone: the old set stays, and Status
// says that it is stale and why.
package target

import (
	"cmp"
	"context"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"time"
)

// An Instance is one running thing, with its ports.
type Instance struct {
	ID        string // unique, and the same as long as it lives: a task id, or its address
	App       string // "/prod/web"
	Task      string // Mesos' id of it; "" for those from files
	Container string // its id where that is known
	Host      string // the machine
	Framework string
	Image     string
	Address   string // where its ports are: a name or an IP address
	Ports     []Port
	Labels    map[string]string // its own, and its app's
	Health    []Health          // the checks that its scheduler was asked for
	Literal   string            // of files: the target as it is written
	Started   time.Time
	Origin    string // the source's name
	// Trusted: it was written by whoever runs the collector, so that it may name
	// any address. Labels of Marathon are written by the owners of apps.
	Trusted bool
}

// A Port is where an instance listens.
type Port struct {
	Number    int    // at Address
	Container int    // inside the container, 0 if that is not another one
	Name      string // "" if it has none
}

// Health is a check that a scheduler does itself; 0 means its default.
type Health struct {
	Kind        string // http, https, tcp, command
	Path        string
	Port        int // 0: PortIndex counts
	PortIndex   int
	Grace       time.Duration
	Interval    time.Duration
	Timeout     time.Duration
	MaxFailures int
	// Of a command (Kind) that the scheduler runs where the task is, only what
	// that says of it is known.
	Known bool
	Alive bool
	Cause string // why it is not
}

// An App is what there should be.
type App struct {
	ID        string
	Labels    map[string]string
	Framework string
	Expected  int     // instances
	Minimum   float64 // the share of them that must be well, 0 to 1
	Deploying bool
	Origin    string // the source's name
}

// A Set is all that a source knows.
type Set struct {
	Instances []Instance
	Apps      []App
	Hosts     []string // machines, also those on which nothing runs
}

// A Source is asked again and again.
type Source interface {
	Name() string
	Every() time.Duration
	// Find is the whole set, or an error. A Set with an error is the part that
	// is known; the rest stays as it was.
	Find(ctx context.Context) (Set, error)
}

// A Hinter is a Source that hears when it is time to ask again. Hints are lost
// now and then, so that it is asked each Every, too.
type Hinter interface {
	// Hints calls hint for each, until ctx or the stream ends.
	Hints(ctx context.Context, hint func()) error
}

// Status is how a source does.
type Status struct {
	Source    string    `json:"source"`
	Instances int       `json:"instances"`
	Good      time.Time `json:"good,omitzero"` // the last time that it gave the whole set
	Stale     bool      `json:"stale"`         // the set is an old one
	Error     string    `json:"error,omitempty"`
}

// A Finder keeps the last good set of each source.
type Finder struct {
	log     *slog.Logger
	changed func()

	mu      sync.Mutex
	sources []*known
}

type known struct {
	Source
	set    Set
	status Status
}

// NewFinder is for sources; changed is called when a set has changed, and for
// the first good answer of each source.
func NewFinder(sources []Source, changed func(), log *slog.Logger) *Finder {
	f := &Finder{changed: changed, log: log}
	for _, s := range sources {
		f.sources = append(f.sources, &known{Source: s, status: Status{Source: s.Name(), Error: "not asked yet"}})
	}
	return f
}

// Run asks the sources until ctx ends.
func (f *Finder) Run(ctx context.Context) {
	var all sync.WaitGroup
	for _, k := range f.sources {
		hinted := make(chan struct{}, 1)
		if h, ok := k.Source.(Hinter); ok {
			all.Go(func() { f.listen(ctx, h, hinted) })
		}
		all.Go(func() {
			for ctx.Err() == nil {
				f.ask(ctx, k)
				select {
				case <-ctx.Done():
				case <-time.After(k.Every()):
				case <-hinted:
					wait(ctx, hintPause) // they come in swarms
				}
			}
		})
	}
	all.Wait()
}

const (
	hintPause   = time.Second
	listenAgain = 10 * time.Second // behind a stream that has ended
)

func (f *Finder) listen(ctx context.Context, h Hinter, hinted chan struct{}) {
	for ctx.Err() == nil {
		err := h.Hints(ctx, func() {
			select {
			case hinted <- struct{}{}:
			default:
			}
		})
		if ctx.Err() == nil {
			f.log.Debug("hints end; discovery goes on by asking", "error", err)
		}
		wait(ctx, listenAgain)
	}
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// answerTime is how long a source may take.
const answerTime = 30 * time.Second

func (f *Finder) ask(ctx context.Context, k *known) {
	bounded, cancel := context.WithTimeout(ctx, answerTime)
	set, err := k.Find(bounded)
	cancel()
	if ctx.Err() != nil {
		return
	}
	now := time.Now()
	f.mu.Lock()
	before := k.status
	changed := before.Good.IsZero()
	if same(set, k.set) {
		// nothing to compare
	} else if err == nil || set.Instances != nil {
		slices.SortStableFunc(set.Instances, func(a, b Instance) int { return cmp.Compare(a.ID, b.ID) })
		changed = changed || !reflect.DeepEqual(set, k.set)
		k.set = set
	} else {
		changed = false // nothing is known any better
	}
	k.status = Status{Source: k.Name(), Instances: len(k.set.Instances), Good: now}
	if err != nil {
		k.status.Good, k.status.Error, k.status.Stale = before.Good, err.Error(), k.set.Instances != nil
	}
	instances := len(k.set.Instances)
	f.mu.Unlock()
	switch {
	case err != nil && before.Error != err.Error():
		f.log.Warn("discovery failed; what was found before stays", "source", k.Name(), "instances", instances, "last_good", before.Good, "error", err)
	case err == nil && before.Error != "":
		f.log.Info("discovery answers", "source", k.Name(), "instances", instances)
	}
	if changed {
		f.changed()
	}
}

// same says that a source has given the very slice that it gave before, and
// nothing else.
func same(a, b Set) bool {
	return len(a.Instances) > 0 && len(a.Instances) == len(b.Instances) && &a.Instances[0] == &b.Instances[0] && a.Apps == nil && a.Hosts == nil
}

// Sources say how each source does.
func (f *Finder) Sources() (out []Status) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, k := range f.sources {
		out = append(out, k.status)
	}
	return out
}

// All is what the sources have found, and how they do. ready says that each of
// them has answered once.
func (f *Finder) All() (all Set, sources []Status, ready bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	ready = true
	seen := map[string]bool{}
	for _, k := range f.sources {
		sources = append(sources, k.status)
		ready = ready && !k.status.Good.IsZero()
		for _, i := range k.set.Instances {
			if !seen[i.ID] { // the first source that knows it counts
				seen[i.ID] = true
				i.Origin = k.Name()
				all.Instances = append(all.Instances, i)
			}
		}
		all.Hosts = append(all.Hosts, k.set.Hosts...)
		for _, a := range k.set.Apps {
			a.Origin = k.Name()
			all.Apps = append(all.Apps, a)
		}
	}
	return all, sources, ready
}

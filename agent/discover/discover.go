package discover

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/docker/docker/client"
	"github.com/prometheus/client_golang/prometheus"

	"mesoscope/config"
	"mesoscope/mesos"
)

const (
	// slowLook is for what inotify lost; pollLook is for systems without it;
	// absentLook is for a folder that is not there (yet).
	slowLook   = 30 * time.Second
	pollLook   = time.Second
	absentLook = 5 * time.Second
	// retryLook is for half-written files, which inotify usually reports first.
	retryLook = time.Second
	// nameGrace is how long a container of which only the directory is known
	// waits for its name when exclude rules need it, and how long a log file
	// that Docker names may be missing before it counts as out of reach.
	nameGrace = 2 * time.Second
)

// Options say where to look.
type Options struct {
	Docker config.Docker
	Mesos  config.Mesos
	// Recall is what an earlier run wrote down about a container, see
	// ReadContainer: what Mesos said of it then. nil: nothing.
	Recall func(id string) (Container, bool)
	// OffDir is where it is written down which containers a label of their task
	// has switched off, e.g. <data_dir>/agent/off. "": nowhere.
	OffDir string
	// CopyDir is where the logs of containers lie that can only be read
	// through the Docker API, e.g. <data_dir>/agent/api. "": such containers
	// are listed with a Problem and not followed.
	CopyDir string
	// Settled says whether every line of one file of a container's local copy
	// is stored for good and its reader done with it. It is called from other
	// goroutines. Old files of a copy are deleted only when it says so or when
	// somebody else holds a hard link to them; else reading from Docker stops
	// until then. nil: never.
	Settled func(id string, file os.FileInfo) bool
	Log     *slog.Logger
	// Registry takes the metrics; nil: none.
	Registry prometheus.Registerer
}

// An Excluded is a container that is there and not followed, by a rule.
type Excluded struct {
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
	Rule string `json:"rule"` // the entry of docker.exclude, or why it is not followed without one
	// Of is all that is known of it: it uses the machine like any other.
	Of Container `json:"-"`
}

// selfRule excludes the agent's own output, see self.
const selfRule = "mesoscope itself; " + switchEnabled + "=true includes it"

// A Discoverer knows what runs here.
type Discoverer struct {
	opt    Options
	rules  []rule
	self   self
	loss   *engineLoss // nil: no engine
	log    *slog.Logger
	m      *metrics
	client *client.Client         // nil: no docker.socket
	back   *readback              // nil: nothing can be read through the API
	engine atomic.Pointer[string] // version of the engine that the API is of; nil: not known

	// The rest belongs to Run.
	began    time.Time
	files    files
	watch    *watcher // nil: none
	filesOK  bool     // the last look at all files succeeded
	answered bool     // a source has answered since the start
	listed   map[string]Container
	onDisk   map[string]bool // ids whose directory was there at some time
	again    map[string]bool // ids to look at again soon
	set      map[string]Container
	version  string // of the engine, as of the set

	mesos      *mesosWatch          // nil: not looked for
	apps       *apps                // nil: no Marathon
	tasks      *directoryOfTasks    // nil: Mesos has said nothing yet
	boxes      *sandboxes           // nil: sandboxes are not read
	joined     map[string]Container // what Mesos and Marathon have said of a container
	frameworks map[string]string    // names by id, of those that Mesos or a container here names
	since      map[string]time.Time // when a container began to wait for facts
	asking     map[string]asking    // by container id

	dirty bool
	said  map[string]bool

	mu       sync.Mutex
	excluded map[string]Excluded
}

// New checks the options. It does not look at anything yet, so a Docker that is
// not there is no error.
func New(opt Options) (*Discoverer, error) {
	rules, err := parseRules(opt.Docker.Exclude)
	if err != nil {
		return nil, err
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	m, err := newMetrics(opt.Registry)
	if err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	d := &Discoverer{
		opt: opt, rules: rules, self: whoAmI(), log: opt.Log, m: m,
		files:    files{dir: filepath.Join(opt.Docker.Root, "containers"), known: make(map[string]*directory)},
		listed:   make(map[string]Container),
		onDisk:   make(map[string]bool),
		again:    make(map[string]bool),
		set:      make(map[string]Container),
		said:     make(map[string]bool),
		excluded: make(map[string]Excluded),

		joined:     make(map[string]Container),
		frameworks: make(map[string]string),
		since:      make(map[string]time.Time),
		asking:     make(map[string]asking),
	}
	if err := d.newMesos(); err != nil {
		return nil, err
	}
	if opt.Docker.Socket == "" {
		return d, nil
	}
	if d.client, err = newAPI(opt.Docker.Socket); err != nil {
		return nil, err
	}
	d.loss = newEngineLoss(daemonConfig, d.log)
	if opt.Registry != nil {
		if err := opt.Registry.Register(d.loss); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	if opt.CopyDir != "" {
		// A client of its own: Client.Events reads the client's API version
		// without the lock under which a first request elsewhere settles it.
		c, err := newAPI(opt.Docker.Socket)
		if err != nil {
			return nil, err
		}
		d.back = newReadback(opt, c, d.files.dir, m)
	}
	return d, nil
}

// Excludes says whether a rule keeps a container out of the set.
func (d *Discoverer) Excludes(id string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, is := d.excluded[id]
	return is
}

func (d *Discoverer) newMesos() error {
	a, err := Access(d.opt.Mesos)
	if err != nil {
		return err
	}
	if d.mesos, err = newMesosWatch(d.opt.Mesos, a, d.log, d.m); err != nil {
		return err
	}
	if d.mesos != nil && d.opt.Mesos.Sandboxes {
		d.boxes = newSandboxes()
	}
	if d.apps, err = newApps(d.opt.Mesos, a, d.log, d.m); err != nil {
		return fmt.Errorf("mesos.marathon: %w", err)
	}
	return nil
}

// Excluded lists the containers that a rule keeps out of the set, by name. The
// sandbox of a task that runs in Docker is no container of its own.
func (d *Discoverer) Excluded() []Excluded {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := make([]Excluded, 0, len(d.excluded))
	for _, e := range d.excluded {
		if e.Rule != repeatsRule {
			list = append(list, e)
		}
	}
	slices.SortFunc(list, func(a, b Excluded) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return list
}

// Run sends the full set, in order of ids, at the start and after every
// change, until ctx ends; it returns ctx's error and closes nothing. Nothing is
// sent before the first source has answered, and a source that fails later
// takes nothing out of the set. The receiver must not change what it gets: the
// maps in it are shared with later sets.
func (d *Discoverer) Run(ctx context.Context, out chan<- []Container) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	wakes := wakes{signal: make(chan struct{}, 1), ids: make(map[string]bool)}
	if w, err := newWatcher(); err != nil {
		d.log.Warn("no notice of new containers from the system; the folder is read every second", "err", err)
	} else {
		d.watch = w
		wg.Go(func() { w.run(wakes.add) })
		defer w.close()
	}
	if d.back != nil {
		d.back.start(ctx, &wg, wakes.add)
	}
	lists := make(chan map[string]Container)
	if d.client != nil {
		a := &api{client: d.client, socket: d.opt.Docker.Socket, log: d.log, m: d.m, engine: &d.engine,
			onDisk: func(id string) bool {
				return readable(filepath.Join(d.files.dir, id, "config.v2.json")) == nil
			},
			poke: func(id string) {
				if d.back != nil {
					d.back.poke(id)
				}
			}}
		wg.Go(func() { a.run(ctx, lists) })
		wg.Go(func() { d.loss.run(ctx) })
	}

	states, news := make(chan *mesos.State), make(chan struct{}, 1)
	if d.mesos != nil {
		wg.Go(func() { d.mesos.run(ctx, states) })
	}
	if d.apps != nil {
		wg.Go(func() {
			d.apps.run(ctx, func() {
				select {
				case news <- struct{}{}:
				default:
				}
			})
		})
	}

	d.began = time.Now()
	look := time.NewTimer(0)
	defer look.Stop()
	retry := time.NewTicker(retryLook)
	defer retry.Stop()
	var send chan<- []Container
	var next []Container
	first := true
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case send <- next:
			send, next, first = nil, nil, false
			continue
		case <-look.C:
			d.lookAll()
			look.Reset(d.nextLook())
		case <-wakes.signal:
			for id := range wakes.take() {
				if id == "" {
					d.lookAll()
				} else {
					d.lookAt(id)
				}
			}
		case <-retry.C:
			d.lookAgain()
			d.lookAtSandboxes()
		case list := <-lists:
			d.take(list)
		case s := <-states:
			d.takeState(s)
			d.takeSandboxes(s)
		case <-news:
			d.touchApps()
		}
		if d.answered && (d.dirty || first && next == nil) {
			d.dirty = false
			send, next = out, d.whole()
		}
	}
}

func (d *Discoverer) nextLook() time.Duration {
	switch {
	case !d.filesOK:
		return absentLook
	case d.watch == nil:
		return pollLook
	}
	return slowLook
}

// wakes collects ids to look at while Run is busy.
type wakes struct {
	signal chan struct{}
	mu     sync.Mutex
	ids    map[string]bool
}

func (w *wakes) add(id string) {
	w.mu.Lock()
	w.ids[id] = true
	w.mu.Unlock()
	select {
	case w.signal <- struct{}{}:
	default:
	}
}

func (w *wakes) take() map[string]bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	ids := w.ids
	w.ids = make(map[string]bool)
	return ids
}

// logPath is where dockerd writes a container's json-file log.
func logPath(containers, id string) string {
	return filepath.Join(containers, id, id+"-json.log")
}

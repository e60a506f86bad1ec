package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"mesoscope/agent"
	"mesoscope/agent/status"
	"mesoscope/agent/tail"
	"mesoscope/agent/usage"
	"mesoscope/config"
	"mesoscope/internal/listen"
	"mesoscope/internal/lockfile"
	"mesoscope/internal/version"
	"mesoscope/record"
)

// drainTime is how long a process that was asked to end waits for the output
// to take what has been read. What it does not take is read again at the next
// start.
const drainTime = 15 * time.Second

// A process is what `agent` and `standalone` have in common: one or more
// Agents, one output, one HTTP listener. It lives as long as one version of
// the configuration; a reload ends it in order and starts the next one.
type process struct {
	cfg      config.Config
	kind     config.Kind
	log      *slog.Logger
	registry *prometheus.Registry
	lock     *lockfile.Lock
	listener *listen.Listener
	output   output
	out      chan *record.Batch
	agents   []*agent.Agent
	// writers hand batches to the output as agents do, until their context ends.
	writers []func(context.Context)
	usage   *usage.Sampler
	// returning says that a process of this kind has been here before: without
	// its checkpoint, anything may have been sent already.
	returning bool
}

// An output is where the lines of a process go.
type output interface {
	// Run stores what comes through in until it is closed, or ctx ends.
	Run(ctx context.Context, in <-chan *record.Batch) error
	// Status is how the output is.
	Status() status.Output
}

// batches is how many batches may wait for the output: enough that it need not
// wait for the readers, few enough that a full channel is noticed.
const batches = 64

// newLogger is how a process speaks about itself.
func newLogger(cfg config.Log, io IO) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.Level)); err != nil {
		level = slog.LevelInfo // config has refused it
	}
	options := &slog.HandlerOptions{Level: level}
	if cfg.Format == "json" {
		return slog.New(slog.NewJSONHandler(io.Err, options))
	}
	return slog.New(slog.NewTextHandler(io.Err, options))
}

// newProcess takes what only one process may have: the state folder and the
// port.
func newProcess(cfg config.Config, kind config.Kind, log *slog.Logger, reloads *reloads) (p *process, err error) {
	p = &process{cfg: cfg, kind: kind, log: log, registry: newRegistry(reloads), out: make(chan *record.Batch, batches)}
	debug.SetMemoryLimit(int64(cfg.MemoryLimit) * 9 / 10)
	state := p.stateDir()
	if err := os.MkdirAll(state, 0o700); err != nil {
		return nil, Exit{Bad, fmt.Errorf("data_dir: %w", err)}
	}
	p.returning = agent.Known(state)
	if p.lock, err = lockfile.Take(state); err != nil {
		return nil, Exit{Bad, fmt.Errorf("data_dir: %w; end it, or choose another data_dir", err)}
	}
	if p.listener, err = listen.Open(cfg.HTTP, "http"); err != nil {
		return nil, Exit{Bad, errors.Join(err, p.lock.Release())}
	}
	p.usage = usage.New(usage.Options{Node: cfg.Node.Name, Owners: p.owners, Log: log})
	p.registry.MustRegister(p.usage)
	return p, nil
}

// newRegistry has what each process says about itself.
func newRegistry(reloads *reloads) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "mesoscope_build_info", Help: "1; the labels say what is running.",
			ConstLabels: prometheus.Labels{"version": version.Version, "revision": version.Revision(), "goversion": runtime.Version()},
		}, func() float64 { return 1 }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "mesoscope_config_last_reload_successful", Help: "1 if the configuration was good when it was read last.",
		}, reloads.successful),
	)
	return r
}

func (p *process) stateDir() string { return filepath.Join(p.cfg.DataDir, string(p.kind)) }

// follow adds an Agent.
func (p *process) follow(o agent.Options) error {
	o.Out, o.Log = p.out, p.log
	o.Returning = p.returning && o.StateDir == p.stateDir()
	o.Sink, _ = p.output.(tail.Sink) // the embedded store takes everything, and has no backing indices
	a, err := agent.New(o)
	if err != nil {
		return Exit{Bad, err}
	}
	p.agents = append(p.agents, a)
	return nil
}

// run works until ctx ends. It reports whether the output took everything that
// was read.
func (p *process) run(ctx context.Context, handler http.Handler) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var readers, rest sync.WaitGroup
	for _, a := range p.agents {
		readers.Go(func() { a.Run(ctx) })
	}
	for _, write := range p.writers {
		readers.Go(func() { write(ctx) })
	}
	rest.Go(func() { p.usage.Run(ctx) })
	var served error
	rest.Go(func() {
		if served = p.listener.Serve(ctx, handler, p.log); served != nil {
			stop()
		}
	})
	sinkContext, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	sunk := make(chan error, 1)
	go func() {
		err := p.output.Run(sinkContext, p.out)
		stop() // an output that ends by itself ends the process, rather than letting everything wait for ever
		sunk <- err
	}()
	readers.Wait() // until ctx ends
	close(p.out)
	timer := time.AfterFunc(drainTime, cut)
	err := <-sunk
	timer.Stop()
	if errors.Is(err, context.Canceled) {
		err = fmt.Errorf("the output did not take all lines within %s; what is missing is read again at the next start", drainTime)
	}
	rest.Wait()
	return errors.Join(err, served)
}

// close makes durable what the output has taken, and gives back what only one
// process may have. It is for a process that did not get as far as run, too.
func (p *process) close() (err error) {
	for _, a := range p.agents {
		err = errors.Join(err, a.Close())
	}
	if closed := p.listener.Close(); !errors.Is(closed, net.ErrClosed) {
		err = errors.Join(err, closed)
	}
	return errors.Join(err, p.lock.Release())
}

// lettersAreNews is how long dead letters are a problem and not just a line of
// the status.
const lettersAreNews = 24 * time.Hour

// status is how the process is.
func (p *process) status() status.Status {
	var st status.Status
	for i, a := range p.agents {
		s := a.Status()
		if i == 0 {
			st = s
			continue
		}
		st.Problems = append(st.Problems, s.Problems...)
	}
	st.Output = p.output.Status()
	if st.Output.State == status.OutputPaused {
		st.Problems = append(st.Problems, "No line gets through to "+st.Output.Kind+": "+st.Output.PausedReason)
	}
	if d := st.Output.DeadLetters; d != nil && (d.Count == 0 || time.Since(d.Newest) < lettersAreNews) {
		st.Problems = append(st.Problems, fmt.Sprintf("%s could not be stored, the newest because of %s: `%s` shows them", many(d.Count, "line"), d.Reason, d.Command))
	}
	st.Counts = agent.Counts(p.registry)
	return st
}

func (p *process) sources() []status.Source {
	list := []status.Source{}
	for _, a := range p.agents {
		list = append(list, a.Sources()...)
	}
	return list
}

func (p *process) explain(name string) []status.Explained {
	list := []status.Explained{}
	for _, a := range p.agents {
		list = append(list, a.Explain(name)...)
	}
	return list
}

// owners are all containers here, and whose they are.
func (p *process) owners() (list []usage.Owner) {
	for _, a := range p.agents {
		list = append(list, a.Owners()...)
	}
	return list
}

// listTime is how long Docker may take to say what it knows of its containers.
const listTime = 3 * time.Second

func (p *process) instances(ctx context.Context) []status.Instance {
	ctx, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	rates := map[string]float64{}
	for _, c := range p.usage.Usage().Containers {
		rates[c.ID] = c.Lines
	}
	list := []status.Instance{}
	for _, a := range p.agents {
		list = append(list, a.Instances(ctx)...)
	}
	for i := range list {
		list[i].Lines = rates[list[i].ID]
	}
	return list
}

func (p *process) endpoints(r *reloads) agent.Endpoints {
	return agent.Endpoints{Registry: p.registry, Status: p.status, Sources: p.sources, Explain: p.explain, Usage: p.usage.Usage, Instances: p.instances, Reload: r.now}
}

// reloads read the configuration again while a process runs: at SIGHUP, when
// the file has changed, or when asked by HTTP. A bad one is refused, and the
// last good one stays in force.
type reloads struct {
	path string
	load func() (config.Config, error)
	log  atomic.Pointer[slog.Logger]

	mu    sync.Mutex
	next  *config.Config
	bad   atomic.Bool
	ready chan struct{}
}

func newReloads(path string, load func() (config.Config, error)) *reloads {
	return &reloads{path: path, load: load, ready: make(chan struct{}, 1)}
}

func (r *reloads) successful() float64 {
	if r.bad.Load() {
		return 0
	}
	return 1
}

// now reads the configuration, and makes the process take it if it is good.
func (r *reloads) now() error {
	cfg, err := r.load()
	r.bad.Store(err != nil)
	log := r.log.Load()
	if err != nil {
		log.Error("the configuration is bad; the last good one stays in force", "error", err)
		return err
	}
	log.Info("the configuration is read again")
	r.mu.Lock()
	r.next = &cfg
	r.mu.Unlock()
	select {
	case r.ready <- struct{}{}:
	default:
	}
	return nil
}

// keep makes cfg the next configuration, unless there is a newer one.
func (r *reloads) keep(cfg *config.Config) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next == nil {
		r.next = cfg
	}
}

// take is the next configuration, nil if there is none.
func (r *reloads) take() *config.Config {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := r.next
	r.next = nil
	return next
}

// watch calls now when a signal comes or the file changes, until ctx ends.
func (r *reloads) watch(ctx context.Context, hup <-chan os.Signal) {
	const every = 5 * time.Second
	tick := time.NewTicker(every)
	defer tick.Stop()
	before := fileStamp(r.path)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
		case <-tick.C:
			if now := fileStamp(r.path); now == before || now == "" {
				continue
			}
		}
		before = fileStamp(r.path)
		_ = r.now() // it has said what is wrong
	}
}

func fileStamp(path string) string {
	if path == "" {
		return ""
	}
	fi, err := os.Stat(path)
	if err != nil {
		return "" // being replaced; the next look sees it
	}
	return fmt.Sprint(fi.ModTime().UnixNano(), fi.Size())
}

// each runs one process after another, each with the configuration that is in
// force, until ctx ends. open takes what a process needs and returns its work,
// which gives all of it back. A configuration with which open fails (a port
// that is taken, say) is no better than one that cannot be read: the process
// goes on with the last one that worked.
func (r *reloads) each(ctx context.Context, io IO, cfg config.Config, open func(context.Context, config.Config, *slog.Logger) (work func() error, err error)) error {
	hup, stopSignals := hangups()
	defer stopSignals()
	log := newLogger(cfg.Log, io)
	r.log.Store(log)
	watching, stop := context.WithCancel(ctx)
	defer stop()
	go r.watch(watching, hup)
	var good *config.Config
	for {
		once, end := context.WithCancel(ctx)
		reloaded := make(chan struct{})
		go func() {
			defer close(reloaded)
			select {
			case <-r.ready:
				end()
			case <-once.Done():
			}
		}()
		work, err := open(once, cfg, log)
		if err == nil {
			working := cfg
			good = &working
			err = work()
		} else if good != nil && ctx.Err() == nil {
			r.bad.Store(true)
			log.Error("the configuration cannot be used; going on with the last one that worked", "error", err)
			r.keep(good)
			good, err = nil, nil // should that fail too, there is nothing to go on with
		}
		end()
		<-reloaded
		next := r.take()
		if next == nil || ctx.Err() != nil {
			return err
		}
		if err != nil {
			// Lines that the output did not take in time are read again: no
			// reason to end, least of all when the reload is to mend that.
			log.Warn("before the new configuration: what could not be done with the old one", "error", err)
		}
		cfg = *next
		log = newLogger(cfg.Log, io)
		r.log.Store(log)
	}
}

package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mesoscope/agent"
	"mesoscope/agent/status"
	"mesoscope/collector"
	"mesoscope/config"
	"mesoscope/demo"
	"mesoscope/embedded"
	"mesoscope/search"
	"mesoscope/shipper"
	"mesoscope/web"
)

// Standalone is `mesoscope standalone`.
type Standalone struct {
	Config string        `type:"path" env:"MESOSCOPE_CONFIG" help:"The configuration; without one, everything is found." placeholder:"FILE"`
	Demo   bool          `help:"Run a small sample workload and follow it, in a temporary folder that is removed at the end. Needs neither Docker nor root."`
	For    time.Duration `help:"End by itself after so long; with --demo, exit 0 only if every line that was written is stored." placeholder:"20s"`
}

// Run follows the containers of this host until the process is asked to end.
func (c Standalone) Run(io IO) error {
	ctx := io.Context
	if c.Demo {
		return c.demo(ctx, io)
	}
	if c.For > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, c.For)
		defer stop()
	}
	load := func() (config.Config, error) { return config.Load(c.Config, config.Standalone) }
	cfg, err := load()
	if err != nil {
		return Exit{Bad, err}
	}
	r := newReloads(c.Config, load)
	return r.each(ctx, io, cfg, func(ctx context.Context, cfg config.Config, log *slog.Logger) (func() error, error) {
		s, err := newStandalone(cfg, log, r)
		if err != nil {
			return nil, err
		}
		if err := s.followDocker(true, s.registry); err != nil {
			return nil, errors.Join(err, s.close())
		}
		if err := s.addChecks(ctx, r); err != nil {
			return nil, errors.Join(err, s.close())
		}
		return func() error {
			fmt.Fprintf(io.Out, "The page:      %s\nThe terminal:  mesoscope logs -f%s\n", s.listener.URL(), s.storeFlag())
			return errors.Join(s.run(ctx, s.handler(r)), s.close())
		}, nil
	})
}

// A standalone is a process with a store that can be searched.
type standalone struct {
	*process
	store   search.Store
	file    *embedded.Store // nil: the lines go to Elasticsearch
	dataset string
	space   string

	checks       *collector.Collector // nil: this one checks nothing
	checkHandler http.Handler
	tells        collectorOutputs // of checks
}

func newStandalone(cfg config.Config, log *slog.Logger, r *reloads) (*standalone, error) {
	p, err := newProcess(cfg, config.Standalone, log, r)
	if err != nil {
		return nil, err
	}
	def := config.DefaultElasticsearch()
	s := &standalone{process: p, dataset: def.Dataset, space: def.Namespace}
	if es := cfg.Output.Elasticsearch; es != nil {
		s.dataset, s.space = es.Dataset, es.Namespace
		if p.output, err = newElasticsearchOutput(p, *es); err != nil {
			return nil, Exit{Bad, errors.Join(err, p.close())}
		}
		if s.store, err = openElasticsearch(*es); err != nil {
			return nil, Exit{Bad, errors.Join(err, p.close())}
		}
		return s, nil
	}
	e := cfg.Output.Embedded
	if s.file, err = embedded.Open(e.Path, embedded.Options{MaxSize: int64(e.MaxSize), MaxAge: time.Duration(e.MaxAge)}); err != nil {
		return nil, Exit{Bad, errors.Join(err, p.close())}
	}
	p.output = embeddedOutput{shipper.NewEmbedded(s.file, p.registry, log)}
	s.store = search.NewEmbedded(s.file)
	return s, nil
}

// close is for a standalone that does not run any more, or never did.
func (s *standalone) close() error {
	err := s.process.close()
	s.store.Close()
	if s.file != nil {
		if closed := s.file.Close(); closed != nil {
			err = errors.Join(err, fmt.Errorf("close the store: %w", closed))
		}
	}
	return err
}

// cursors are what the store knows of how far each stream is stored.
func (s *standalone) cursors() (map[string][]byte, error) {
	if s.file == nil {
		return nil, nil
	}
	c, err := s.file.Cursors()
	if err != nil {
		return nil, Exit{Bad, fmt.Errorf("read how far lines are stored: %w", err)}
	}
	return c, nil
}

// followDocker adds the Agent of this host's own containers.
func (s *standalone) followDocker(hold bool, reg prometheus.Registerer) error {
	cursors, err := s.cursors()
	if err != nil {
		return err
	}
	return s.follow(agent.Options{
		Config: s.cfg, StateDir: s.stateDir(), Dataset: s.dataset, Namespace: s.space, Hold: hold, Cursors: cursors, Registry: reg,
	})
}

// run works until ctx ends.
func (s *standalone) run(ctx context.Context, handler http.Handler) error {
	if s.checks == nil {
		return s.process.run(ctx, handler)
	}
	checking, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- s.checks.Run(checking) }()
	var tells sync.WaitGroup
	tells.Go(func() { s.tells.alerts.Run(checking) })
	tells.Go(func() { s.tells.nagios.Run(checking) })
	defer tells.Wait() // behind stop
	err := s.process.run(ctx, handler)
	stop()
	return errors.Join(err, <-ended)
}

func (s *standalone) handler(r *reloads) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", web.New(s.store, web.Options{}))
	ours := agent.Handler(s.endpoints(r))
	if s.checks == nil {
		mux.Handle("/metrics", ours)
	} else {
		for _, path := range checkPaths {
			mux.Handle(path, s.checkHandler)
		}
	}
	for _, path := range []string{"/healthz", "/readyz", "/-/reload", status.StatusPath, status.SourcesPath, status.ExplainPath, status.UsagePath, status.InstancesPath} {
		mux.Handle(path, ours)
	}
	return mux
}

// storeFlag is what `mesoscope logs` needs to find this process, if that is
// not where it looks by itself.
func (s *standalone) storeFlag() string {
	if url := s.listener.URL(); url != "http://127.0.0.1:9912" {
		return " --store " + url
	}
	return ""
}

// demo runs the sample workload beside this host's own containers.
func (c Standalone) demo(ctx context.Context, io IO) (err error) {
	dir, err := os.MkdirTemp("", "mesoscope-demo-")
	if err != nil {
		return Exit{Bad, err}
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	cfg, err := config.Load(c.Config, config.Standalone, config.Flag{Name: "--demo", Key: "data_dir", Value: dir})
	if err != nil {
		return Exit{Bad, err}
	}
	if c.Config == "" {
		cfg.Log.Level = "warn" // the page is what is looked at
	}
	log := newLogger(cfg.Log, io)
	reloads := newReloads("", func() (config.Config, error) {
		return cfg, errors.New("a demo does not read its configuration again")
	})
	reloads.log.Store(log)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	s, err := newStandalone(cfg, log, reloads)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	root := filepath.Join(dir, "docker")
	if err := s.followDemo(cfg, root, dir); err != nil {
		return err
	}
	if haveDocker(cfg.Docker) {
		// Not held: the folder may belong to an agent of this host, and a demo
		// leaves nothing behind.
		if err := s.followDocker(false, prometheus.WrapRegistererWith(prometheus.Labels{"containers": "docker"}, s.registry)); err != nil {
			return err
		}
	}
	self, err := os.Executable()
	if err != nil {
		return Exit{Bad, fmt.Errorf("find this program: %w", err)}
	}
	workload, err := demo.Start(ctx, root, []string{self, "demo-service"}, log)
	if err != nil {
		return Exit{Bad, err}
	}
	fmt.Fprintf(io.Out, "The sample workload runs: a shop of %d services, with rotations, a crash and a noisy neighbour.\n\n"+
		"The page:      %s\nThe terminal:  %s logs -f%s 'log.level: error'\n\nCtrl-C ends it and removes what it wrote.\n",
		len(demo.Names()), s.listener.URL(), os.Args[0], s.storeFlag())
	ended := make(chan error, 1)
	running, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	go func() { ended <- s.run(running, s.handler(reloads)) }()
	if c.For > 0 {
		select {
		case <-time.After(c.For):
		case <-ctx.Done():
		}
	} else {
		<-ctx.Done()
	}
	verdict := workload.Stop()
	if c.For > 0 {
		verdict = errors.Join(verdict, s.compare(io, workload))
	}
	end()
	if err := errors.Join(verdict, <-ended); err != nil {
		return Exit{Bad, err}
	}
	return nil
}

// followDemo adds the Agent of the sample workload.
func (s *standalone) followDemo(cfg config.Config, root, dir string) error {
	if err := os.MkdirAll(filepath.Join(root, "containers"), 0o700); err != nil {
		return Exit{Bad, err}
	}
	cfg.Docker = config.Docker{Root: root}
	cfg.Hold.Dir = filepath.Join(root, "mesoscope-hold")
	cursors, err := s.cursors()
	if err != nil {
		return err
	}
	return s.follow(agent.Options{
		Config: cfg, StateDir: filepath.Join(dir, "demo"), Dataset: s.dataset, Namespace: s.space, Hold: true, Cursors: cursors,
		Registry: prometheus.WrapRegistererWith(prometheus.Labels{"containers": "demo"}, s.registry),
	})
}

// compareTime is how long the last lines may take to be stored.
const compareTime = 30 * time.Second

// compare waits until as many lines of the workload are stored as it wrote,
// container by container, and prints both numbers.
func (s *standalone) compare(io IO, workload *demo.Demo) error {
	written, containers, err := workload.Written()
	if err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(context.Background(), compareTime)
	defer stop()
	var stored int64
	for {
		values, err := s.store.Values(ctx, search.Request{}, "container.id", 10*len(containers)+1000)
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("count the stored lines: %w", err)
		}
		stored = 0
		equal := true
		counted := map[string]int64{}
		for _, v := range values {
			counted[v.Value] = v.Count
		}
		for id, n := range containers {
			stored += counted[id]
			equal = equal && counted[id] == n
		}
		if equal {
			break
		}
		select {
		case <-ctx.Done():
			fmt.Fprintf(io.Out, "\n%s lines written, %s lines stored.\n", count(written), count(stored))
			for id, n := range containers {
				if counted[id] != n {
					fmt.Fprintf(io.Err, "container %.12s: %d written, %d stored\n", id, n, counted[id])
				}
			}
			return errors.New("not every line is stored")
		case <-time.After(100 * time.Millisecond):
		}
	}
	fmt.Fprintf(io.Out, "\n%s lines written, %s lines stored.\n", count(written), count(stored))
	return nil
}

// haveDocker says whether there are containers of this host to follow.
func haveDocker(cfg config.Docker) bool {
	if _, err := os.ReadDir(filepath.Join(cfg.Root, "containers")); err == nil {
		return true
	}
	if path, ok := socketPath(cfg.Socket); ok {
		if _, err := os.Stat(path); err == nil {
			return true
		}
	}
	return false
}

// DemoService is the hidden command that each service of the demo runs as.
type DemoService struct {
	Name string `arg:""`
	Root string `required:""`
}

// Run prints until standard input ends.
func (c DemoService) Run(io IO) error { return demo.Service(io.Context, c.Name, c.Root) }

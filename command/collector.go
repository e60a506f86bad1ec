package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"

	"mesoscope/agent/discover"
	"mesoscope/collector"
	"mesoscope/collector/declare"
	"mesoscope/collector/probe"
	"mesoscope/collector/status"
	"mesoscope/collector/target"
	"mesoscope/config"
	"mesoscope/internal/listen"
	"mesoscope/internal/lockfile"
	"mesoscope/mesos"
)

// Collector is `mesoscope collector`.
type Collector struct {
	Config string `type:"path" env:"MESOSCOPE_CONFIG" help:"The configuration; without one, MESOSCOPE_* variables have to say what to check." placeholder:"FILE"`
}

// Run checks the cluster until the process is asked to end.
func (c *Collector) Run(io IO) error {
	load := func() (config.Config, error) {
		cfg, err := config.Load(c.Config, config.KindCollector)
		if err == nil {
			_, err = prober(cfg, true) // bad modules are a bad configuration: the last good one stays
		}
		return cfg, err
	}
	cfg, err := load()
	if err != nil {
		return Exit{Bad, err}
	}
	r := newReloads(c.Config, load)
	s := &collectorProcess{reloads: r}
	err = r.each(io.Context, io, cfg, s.open)
	return errors.Join(err, s.close())
}

// A collectorProcess goes on through all reloads: only the listener, the
// Collector's setup and those outputs that are configured otherwise change.
// Another state folder, another name of this machine or another way to log ends
// the Collector and begins a new one.
type collectorProcess struct {
	reloads   *reloads
	dir, name string
	logs      config.Log
	lock      *lockfile.Lock
	registry  *prometheus.Registry
	collector *collector.Collector
	outputs   *tellers
	ctx       context.Context // of collector
	stop      func()
	ended     chan error
}

// open makes a configuration count.
func (p *collectorProcess) open(ctx context.Context, cfg config.Config, log *slog.Logger) (func() error, error) {
	debug.SetMemoryLimit(int64(cfg.MemoryLimit) * 9 / 10)
	setup, err := collectorSetup(cfg)
	if err != nil {
		return nil, Exit{Bad, err}
	}
	admin := ""
	if f := cfg.Collector.AdminTokenFile; f != "" {
		if admin, err = config.Secret(f); err != nil {
			return nil, Exit{Bad, fmt.Errorf("collector.admin_token_file: %w", err)}
		}
	}
	told, err := toldOf(cfg)
	if err != nil {
		return nil, Exit{Bad, err}
	}
	listener, err := listen.Open(cfg.HTTP, "http")
	if err != nil {
		return nil, Exit{Bad, err}
	}
	probes, err := prober(cfg, listener.Guarded())
	if err != nil {
		return nil, Exit{Bad, errors.Join(err, listener.Close())}
	}
	if err := p.take(ctx, cfg, log); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	if err := p.tell(told, log); err != nil {
		return nil, Exit{Bad, errors.Join(err, listener.Close())}
	}
	setup.Outputs = p.outputs.list()
	handler := p.outputs.handler(p.collector.Handler(collector.Endpoints{Registry: p.registry, Reload: p.reloads.now, AdminToken: admin, Probe: probes}))
	listener.Exempt(status.OverlayPath)
	p.collector.Configure(p.ctx, setup)
	return func() error {
		log.Info("checking the cluster", "cluster", cfg.Collector.Cluster, "marathon", cfg.Mesos.Marathon, "targets_files", cfg.Collector.TargetsFiles,
			"checks_file", cfg.Collector.ChecksFile, "alertmanager", cfg.Collector.Alertmanager, "status", listener.URL())
		serving, stop := context.WithCancel(ctx)
		defer stop()
		served := make(chan error, 1)
		go func() {
			served <- listener.Serve(serving, handler, log)
		}()
		select {
		case err := <-served:
			return err
		case err := <-p.ended:
			p.ended <- err
			return err
		}
	}, nil
}

// prober is what answers /probe.
func prober(cfg config.Config, guarded bool) (*probe.Handler, error) {
	h, err := probe.New(probe.Options{ModulesFile: cfg.Collector.ModulesFile, Guarded: guarded})
	if err != nil {
		return nil, fmt.Errorf("collector.modules_file: %w", err)
	}
	return h, nil
}

// take begins a Collector, unless the one that there is fits.
func (p *collectorProcess) take(ctx context.Context, cfg config.Config, log *slog.Logger) error {
	dir := filepath.Join(cfg.DataDir, string(config.KindCollector))
	if p.collector != nil && dir == p.dir && cfg.Node.Name == p.name && cfg.Log == p.logs {
		return nil
	}
	if err := p.close(); err != nil {
		log.Error("the collector before did not end well", "error", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return Exit{Bad, fmt.Errorf("data_dir: %w", err)}
	}
	lock, err := lockfile.Take(dir)
	if err != nil {
		return Exit{Bad, fmt.Errorf("data_dir: %w; end it, or choose another data_dir", err)}
	}
	registry := newRegistry(p.reloads)
	c, err := collector.New(collector.Options{StateDir: dir, Vantage: cfg.Node.Name, Log: log, Registry: registry})
	if err != nil {
		return Exit{Bad, errors.Join(err, lock.Release())}
	}
	p.dir, p.name, p.logs, p.lock, p.registry, p.collector = dir, cfg.Node.Name, cfg.Log, lock, registry, c
	p.ctx, p.stop = context.WithCancel(context.WithoutCancel(ctx)) // it outlives the configuration
	p.ended = make(chan error, 1)
	go func() { p.ended <- c.Run(p.ctx) }()
	return nil
}

// tell begins outputs, unless those that there are fit. What changes meanwhile
// is told by the states as they then are; only documents about it are missing,
// and counted.
func (p *collectorProcess) tell(t told, log *slog.Logger) (err error) {
	if p.outputs != nil {
		if p.outputs.same(t) {
			return nil
		}
		p.outputs.close()
		p.outputs = nil
	}
	p.outputs, err = newTellers(t, p.collector, p.dir, p.registry, log)
	return err
}

// close ends the Collector. Its states are on the disk then.
func (p *collectorProcess) close() error {
	if p.collector == nil {
		return nil
	}
	p.stop()
	ended := <-p.ended
	if p.outputs != nil {
		p.outputs.close() // after the last change
		p.outputs = nil
	}
	p.collector = nil
	return errors.Join(ended, p.lock.Release())
}

// collectorSetup is what a configuration means for a Collector.
func collectorSetup(cfg config.Config) (collector.Setup, error) {
	o := cfg.Collector
	s := collector.Setup{ChecksFile: o.ChecksFile, Declare: declare.Options{
		Cluster: o.Cluster, Credentials: map[string]declare.Credential{}, ExecAllow: o.Exec.Allow, ExecUser: execUser(o.Exec.User),
	}}
	for name, c := range o.Credentials {
		s.Declare.Credentials[name] = declare.Credential{Apps: c.Apps, Username: c.Username, PasswordFile: c.PasswordFile}
	}
	for _, n := range o.LabelTargets {
		p, err := netip.ParsePrefix(n)
		if err != nil {
			return s, fmt.Errorf("collector.label_targets: %w", err)
		}
		s.Declare.LabelTargets = append(s.Declare.LabelTargets, p)
	}
	if len(cfg.Mesos.Marathon) > 0 {
		access, err := discover.Access(cfg.Mesos)
		if err != nil {
			return s, err
		}
		client, err := mesos.NewMarathon(cfg.Mesos.Marathon, access)
		if err != nil {
			return s, fmt.Errorf("mesos.marathon: %w", err)
		}
		s.Sources = append(s.Sources, &target.Marathon{Client: client, Framework: "marathon"})
	}
	if len(cfg.Mesos.Master) > 0 {
		access, err := discover.Access(cfg.Mesos)
		if err != nil {
			return s, err
		}
		client, err := mesos.NewMaster(cfg.Mesos.Master, access)
		if err != nil {
			return s, fmt.Errorf("mesos.master: %w", err)
		}
		s.Sources = append(s.Sources, &target.Master{Client: client}) // behind Marathon, which knows more of its own
	}
	if len(o.TargetsFiles) > 0 {
		s.Sources = append(s.Sources, &target.Files{Patterns: o.TargetsFiles})
	}
	s.Key = fmt.Sprint(cfg.Mesos, o.TargetsFiles)
	return s, nil
}

// execUser is whom plugins run as: never root by chance.
func execUser(name string) string {
	if os.Geteuid() != 0 {
		if u, err := user.Current(); err == nil && u.Username == name {
			return ""
		}
		return name // which fails and says so, unless there is none
	}
	return cmp.Or(name, "nobody")
}

package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"mesoscope/agent"
	"mesoscope/agent/tail"
	"mesoscope/collector"
	"mesoscope/collector/nagios"
	"mesoscope/collector/status"
	"mesoscope/collector/target"
	"mesoscope/config"
)

// addChecks adds the Collector that checks the containers of this host. Only run
// gives back what it has opened.
func (s *standalone) addChecks(ctx context.Context, r *reloads) error {
	setup, err := collectorSetup(s.cfg)
	if err != nil {
		return Exit{Bad, err}
	}
	if s.cfg.Docker.Socket != "" {
		setup.Sources = append(setup.Sources, &dockerTargets{agents: s.agents, host: s.cfg.Node.Name})
	}
	e := collector.Endpoints{Registry: s.registry, Reload: r.now}
	if f := s.cfg.Collector.AdminTokenFile; f != "" {
		if e.AdminToken, err = config.Secret(f); err != nil {
			return Exit{Bad, fmt.Errorf("collector.admin_token_file: %w", err)}
		}
	}
	dir := filepath.Join(s.stateDir(), "checks")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return Exit{Bad, fmt.Errorf("data_dir: %w", err)}
	}
	if s.checks, err = collector.New(collector.Options{StateDir: dir, Vantage: s.cfg.Node.Name, Log: s.log, Registry: s.registry}); err != nil {
		return Exit{Bad, err}
	}
	told, err := toldOf(s.cfg)
	if err != nil {
		return Exit{Bad, err}
	}
	takes := func(string) bool { return true }
	if sink, ok := s.output.(tail.Sink); ok {
		takes = sink.Takes
	}
	if s.tells, err = newCollectorOutputs(told, s.checks, s.space, takes, s.registry, s.log); err != nil {
		return Exit{Bad, err}
	}
	setup.Outputs = s.tells.list()
	s.writers = append(s.writers, func(ctx context.Context) { s.tells.documents.Run(ctx, s.out) })
	s.checkHandler = s.tells.handler(s.checks.Handler(e))
	s.listener.Exempt(status.OverlayPath)
	s.checks.Configure(ctx, setup)
	return nil
}

// checkPaths are those that a Collector answers in a standalone.
var checkPaths = []string{"/metrics", "/sd", status.ChecksPath, status.CollectorPath, status.ExplainPath, status.OverlayPath, nagios.ServicesPath, nagios.ObjectsPath}

// dockerTargets are the containers of this host, as the agents know them.
type dockerTargets struct {
	agents []*agent.Agent
	host   string
	known  map[string]target.Instance // as they were when they ran last
}

// Name says what is asked.
func (d *dockerTargets) Name() string { return "docker" }

// Every is how often: a look costs Docker a few milliseconds.
func (d *dockerTargets) Every() time.Duration { return 5 * time.Second }

// Find gives the containers that should answer: those that run, and those that
// this process has seen running and that have failed since.
func (d *dockerTargets) Find(ctx context.Context) (set target.Set, err error) {
	watched := map[string]bool{}
	for id := range d.known {
		watched[id] = true
	}
	known := map[string]target.Instance{}
	for _, a := range d.agents {
		list, failed := a.Endpoints(ctx, watched)
		err = errors.Join(err, failed)
		for _, e := range list {
			if i, ok := d.instance(e); ok {
				known[e.ID] = i
				set.Instances = append(set.Instances, i)
			}
		}
	}
	if err != nil {
		return target.Set{}, err
	}
	d.known = known
	return set, nil
}

// instance is what there is to check of a container, if it should answer.
func (d *dockerTargets) instance(e agent.Endpoint) (target.Instance, bool) {
	before, seen := d.known[e.ID]
	switch e.State {
	case "running", "paused", "restarting":
		if e.Address == "" { // between two starts
			return before, seen
		}
	default:
		return before, seen && e.Failed
	}
	i := target.Instance{
		ID: e.ID, App: e.App, Task: e.Task, Container: e.ID, Host: d.host, Framework: e.Framework, Image: e.Image, Address: e.Address,
		Labels: e.Labels, Started: e.Created, Origin: d.Name(),
	}
	for _, p := range e.Ports {
		i.Ports = append(i.Ports, target.Port{Number: p, Container: p, Name: strconv.Itoa(p)})
	}
	return i, true
}

package command

import (
	"context"
	"errors"
	"log/slog"

	"mesoscope/agent"
	"mesoscope/config"
)

// Agent is `mesoscope agent`.
type Agent struct {
	Config string `type:"path" env:"MESOSCOPE_CONFIG" help:"The configuration; without one, MESOSCOPE_* variables have to say where lines go." placeholder:"FILE"`
}

// Run follows the containers of this node until the process is asked to end.
func (c Agent) Run(io IO) error {
	load := func() (config.Config, error) { return config.Load(c.Config, config.Agent) }
	cfg, err := load()
	if err != nil {
		return Exit{Bad, err}
	}
	r := newReloads(c.Config, load)
	return r.each(io.Context, io, cfg, func(ctx context.Context, cfg config.Config, log *slog.Logger) (func() error, error) {
		p, err := newAgentProcess(cfg, log, r)
		if err != nil {
			return nil, err
		}
		return func() error {
			log.Info("following the containers of this node", "node", cfg.Node.Name, "docker_root", cfg.Docker.Root,
				"output", cfg.Output.Elasticsearch.Hosts, "status", p.listener.URL())
			return errors.Join(p.run(ctx, agent.Handler(p.endpoints(r))), p.close())
		}, nil
	})
}

func newAgentProcess(cfg config.Config, log *slog.Logger, r *reloads) (*process, error) {
	p, err := newProcess(cfg, config.Agent, log, r)
	if err != nil {
		return nil, err
	}
	es := cfg.Output.Elasticsearch
	if p.output, err = newElasticsearchOutput(p, *es); err != nil {
		return nil, Exit{Bad, errors.Join(err, p.close())}
	}
	err = p.follow(agent.Options{
		Config: cfg, StateDir: p.stateDir(), Dataset: es.Dataset, Namespace: es.Namespace, Hold: true, Registry: p.registry,
	})
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

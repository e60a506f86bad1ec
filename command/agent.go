package command

import (
	"context"
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
	return r.each(io.Context, io, cfg, func(ctx context.Context, cfg config.Config, log *slog.Logger) error {
		p, err := newProcess(cfg, config.Agent, log, r)
		if err != nil {
			return err
		}
		es := cfg.Output.Elasticsearch
		if p.output, err = newElasticsearchOutput(ctx, p, *es); err != nil {
			return Exit{Bad, err}
		}
		err = p.follow(agent.Options{
			Config: cfg, StateDir: p.stateDir(), Dataset: es.Dataset, Namespace: es.Namespace, Hold: true, Registry: p.registry,
		})
		if err != nil {
			return err
		}
		log.Info("following the containers of this node", "node", cfg.Node.Name, "docker_root", cfg.Docker.Root, "output", es.Hosts, "status", p.listener.URL())
		return p.run(ctx, agent.Handler(p.endpoints(r)))
	})
}

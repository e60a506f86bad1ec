package command

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"mesoscope/agent"
	"mesoscope/config"
)

// Agent is `mesoscope agent`.
type Agent struct {
	Config      string        `type:"path" env:"MESOSCOPE_CONFIG" help:"The configuration; without one, MESOSCOPE_* variables have to say where lines go." placeholder:"FILE"`
	ReleaseHold bool          `help:"Do not follow anything: remove what an agent has held on this node, say what that freed and which lines it costs, and end. For nodes that are given up."`
	IfAgentDead time.Duration `placeholder:"1h" help:"With --release-hold: only if no agent of this node has written anything for so long; else exit code 1."`
	Output      string        `enum:"text,json" default:"text" help:"With --release-hold: text, or json: one object a line, {\"container\":…} for each, then {\"released\":…}."`
}

// Help says what an agent keeps, and how to get rid of it.
func (*Agent) Help() string {
	return "An agent keeps each log file by a hard link in its hold folder (key hold.dir) until the last line of it is stored, " +
		"so that neither rotation nor docker rm loses lines. On a node where no agent will run again, these links keep the disk full: " +
		"--release-hold removes them, and nothing else that lies there. It refuses while an agent runs. " +
		"Files that Docker still has by name are not touched, and an agent that starts here again reads them. " +
		"A cron job on every node may run it with --if-agent-dead 1h. " +
		"Exit codes of --release-hold: 0 released, or nothing was held; 1 refused, or not all could be removed; 2 wrong usage; 3 the folders cannot be read."
}

// Run follows the containers of this node until the process is asked to end.
func (c *Agent) Run(io IO) error {
	switch {
	case c.ReleaseHold:
		return c.release(io)
	case c.IfAgentDead != 0:
		return Exit{Usage, errors.New("--if-agent-dead belongs to --release-hold")}
	case c.Output != "text":
		return Exit{Usage, errors.New("--output belongs to --release-hold")}
	}
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

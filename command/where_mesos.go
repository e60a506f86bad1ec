package command

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"mesoscope/agent/discover"
	"mesoscope/agent/status"
	"mesoscope/config"
	"mesoscope/mesos"
)

const running = "TASK_RUNNING"

// mesos asks Marathon and the Mesos masters, as far as they are named.
func (c *Where) mesos(ctx context.Context, away *[]string) (all []*found, asked bool, err error) {
	var cfg config.Mesos
	if c.Config != "" {
		file, err := config.Load(c.Config, config.Standalone)
		if err != nil {
			return nil, false, Exit{Bad, err}
		}
		cfg = file.Mesos
	}
	if len(c.Master) > 0 {
		cfg.Master = c.Master
	}
	access, err := discover.Access(cfg)
	if err != nil {
		return nil, false, Exit{Bad, err}
	}
	if len(cfg.Marathon) > 0 {
		client, err := mesos.NewMarathon(cfg.Marathon, access)
		if err != nil {
			return nil, false, Exit{Bad, fmt.Errorf("mesos.marathon: %w", err)}
		}
		ctx, cancel := context.WithTimeout(ctx, askFor)
		defer cancel()
		if tasks, err := client.Tasks(ctx); err != nil {
			*away = append(*away, fmt.Sprintf("  marathon: %v", err))
		} else {
			all, asked = merge(all, c.ofMarathon(tasks)), true
		}
	}
	if len(cfg.Master) > 0 {
		client, err := mesos.NewMaster(cfg.Master, access)
		if err != nil {
			return nil, false, Exit{Usage, fmt.Errorf("--master: %w", err)}
		}
		ctx, cancel := context.WithTimeout(ctx, askFor)
		defer cancel()
		if found, err := c.ofMaster(ctx, client); err != nil {
			*away = append(*away, fmt.Sprintf("  mesos master: %v", err))
		} else {
			all, asked = merge(all, found), true
		}
	}
	return all, asked, nil
}

func (c *Where) ofMarathon(tasks []mesos.MarathonTask) (all []*found) {
	for _, t := range tasks {
		if !c.matches(t.App) {
			continue
		}
		i := status.Instance{App: t.App, Node: t.Host, Framework: "marathon", Task: t.ID, Version: t.Version, State: t.State, Since: t.StartedAt, Running: t.State == running}
		for _, p := range t.Ports {
			i.Ports = append(i.Ports, fmt.Sprint(p))
		}
		all = append(all, &found{Instance: i, From: []string{"marathon"}})
	}
	return all
}

func (c *Where) ofMaster(ctx context.Context, client *mesos.MasterClient) (all []*found, err error) {
	tasks, err := client.Tasks(ctx)
	if err != nil {
		return nil, err
	}
	agents, err := client.Agents(ctx)
	if err != nil {
		return nil, err
	}
	frameworks, err := client.Frameworks(ctx)
	if err != nil {
		return nil, err
	}
	hosts := map[string]string{}
	for _, a := range agents {
		hosts[a.ID] = a.Hostname
	}
	// Of an id that was used again, the one that runs counts.
	slices.SortStableFunc(tasks, func(a, b mesos.MasterTask) int {
		if a.State == b.State || a.State != running && b.State != running {
			return 0
		}
		if a.State == running {
			return -1
		}
		return 1
	})
	seen := map[string]bool{}
	for _, t := range tasks {
		app := appOf(t, frameworks[t.Framework])
		if seen[t.ID] || !c.matches(app) {
			continue
		}
		seen[t.ID] = true
		i := status.Instance{App: app, Node: hosts[t.Agent], Framework: cmp.Or(frameworks[t.Framework], t.Framework), Task: t.ID, State: t.State, Since: t.Since(),
			Container: t.DockerName(), Running: t.State == running, Ports: t.HostPorts()}
		if t.Sick() && i.Running {
			i.State += ", unhealthy"
		}
		all = append(all, &found{Instance: i, From: []string{"mesos"}})
	}
	return all, nil
}

// appOf is service.name as far as a master can tell it: what the task's label
// or its id says, else its name.
func appOf(t mesos.MasterTask, framework string) string {
	for _, l := range t.Labels {
		if l.Key == "mesoscope.service" && l.Value != "" {
			return l.Value
		}
	}
	id, ok := mesos.ParseTaskID(t.ID)
	if ok && (id.Sure || strings.Contains(strings.ToLower(framework), string(id.Scheduler))) {
		return id.App
	}
	return cmp.Or(t.Name, t.ID)
}

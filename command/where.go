package command

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"mesoscope/agent/status"
	"mesoscope/search"
)

// Where is `mesoscope where`.
type Where struct {
	App string `arg:"" help:"The app (service.name): /shop/web, web for any app whose last part that is, or with * for anything."`

	Store  string   `env:"MESOSCOPE_STORE" help:"Where the lines are: the URL of a standalone or of Elasticsearch, or the file of an embedded store." placeholder:"URL|FILE"`
	Config string   `type:"path" help:"The configuration that names the store, Marathon (key mesos.marathon) and the Mesos masters (mesos.master)." placeholder:"FILE"`
	Master []string `env:"MESOSCOPE_MESOS_MASTER" help:"The Mesos masters; instead of those of the configuration." placeholder:"URL"`
	Since  string   `help:"Instances that have printed since: 15m, 2h, 7d ago, RFC 3339. Without it: the last hour, else the last day, else the last 30 days." placeholder:"TIME"`
	All    bool     `short:"a" help:"Show instances that have ended, too."`
	Agents
	Output string `enum:"text,json" default:"text" help:"text, or json: one object a line for each instance."`
}

// Help says who is asked.
func (*Where) Help() string {
	return "Everybody at hand is asked, and one is enough: the store (who has printed, and where), the agents of --url (what runs, its ports and state), " +
		"Marathon, if the configuration names it, and the Mesos masters (--master, or the configuration), which know the tasks of all frameworks. What only a source knows that is not at hand is shown as -. " +
		"Exit code 0: found, 1: no such app, 2: wrong usage, 3: nobody could be asked."
}

// A found instance is what all sources together know of it. A source that comes
// later adds what those before did not know.
type found struct {
	status.Instance
	From      []string   `json:"from"`                 // "agent", "marathon", "mesos", "store"
	FirstLine time.Time  `json:"first_line,omitzero"`  // the oldest line in the store since --since
	LastLine  time.Time  `json:"last_line,omitzero"`   // the newest line in the store
	LastError *lastError `json:"last_error,omitempty"` // the newest line of level error or fatal
}

type lastError struct {
	Time    time.Time `json:"time"`
	Message string    `json:"message"`
}

// Run asks and prints.
func (c *Where) Run(w *IO, stores Stores) error {
	now := time.Now()
	windows := []time.Time{now.Add(-time.Hour), now.Add(-24 * time.Hour), now.Add(-30 * 24 * time.Hour)}
	if c.Since != "" {
		since, err := parseTime(c.Since, now)
		if err != nil {
			return Exit{Usage, fmt.Errorf("--since: %w", err)}
		}
		windows = []time.Time{since}
	}
	var away []string // who could not be asked, and why
	all, nodes, asked, err := c.agents(w.Context, &away)
	if err != nil {
		return err
	}
	list, answered, err := c.mesos(w.Context, &away)
	if err != nil {
		return err
	}
	all, asked = merge(all, list), asked || answered
	var similar []string
	store, err := stores.open(w.Context, c.Store, c.Config)
	if err != nil {
		var e Exit
		if c.Store != "" || c.Config != "" || !asked || errors.As(err, &e) && e.Code == Usage {
			away = append(away, fmt.Sprintf("  store: %v", err))
		}
	} else {
		defer store.Close()
		list, similar, err = c.stored(w.Context, store, windows, now)
		if err != nil {
			away = append(away, fmt.Sprintf("  store: %v", err))
		} else {
			all, asked = merge(all, list), true
		}
	}
	switch {
	case !asked:
		return Exit{Unknown, fmt.Errorf("nobody could be asked:\n%s\nName a store with --store, --config or MESOSCOPE_STORE, or agents with --url", strings.Join(away, "\n"))}
	case len(away) > 0:
		fmt.Fprintf(w.Err, "could not be asked:\n%s\n", strings.Join(away, "\n"))
	}
	settle(all, nodes)
	order(all)
	return c.show(w, all, similar, now)
}

func (c *Where) show(w *IO, all []*found, similar []string, now time.Time) error {
	shown := all
	if !c.All {
		shown = slices.DeleteFunc(slices.Clone(all), func(f *found) bool { return f.ended() })
		if len(shown) == 0 {
			shown = all // where it was is better than nothing
		}
	}
	switch {
	case len(all) == 0 && len(similar) > 0:
		return Exit{Bad, fmt.Errorf("no instance of %q; did you mean %s?", c.App, strings.Join(similar, ", "))}
	case len(all) == 0:
		return Exit{Bad, fmt.Errorf("no instance of %q", c.App)}
	case c.Output == "json":
		e := json.NewEncoder(w.Out)
		for _, f := range shown {
			if err := e.Encode(f); err != nil {
				return err
			}
		}
		return nil
	}
	_, err := fmt.Fprint(w.Out, whereText(shown, len(all)-len(shown), now, w.Terminal && os.Getenv("NO_COLOR") == ""))
	return err
}

// matches says whether an app is the one that is asked for.
func (c *Where) matches(app string) bool {
	if wildcard(c.App, app) {
		return true
	}
	return !strings.ContainsAny(c.App, "/*") && path.Base(app) == c.App
}

// query is matches for the store.
func (c *Where) query() search.Query {
	q := search.Or(search.Wildcard("service.name", c.App), search.Wildcard("marathon.app.id", c.App))
	if !strings.ContainsAny(c.App, "/*") {
		q = search.Or(q, search.Wildcard("service.name", "*/"+c.App))
	}
	return q
}

// agents asks the agents. nodes are those that have answered: a container of
// theirs that they do not know has gone.
func (c *Where) agents(ctx context.Context, away *[]string) (all []*found, nodes map[string]bool, asked bool, err error) {
	lists, failed, err := askAgents[[]status.Instance](ctx, c.Agents, status.InstancesPath)
	if err != nil {
		return nil, nil, false, err
	}
	if len(c.URL) > 0 {
		*away = append(*away, failed...)
	}
	nodes = map[string]bool{}
	for _, list := range lists {
		for _, i := range list {
			nodes[i.Node] = true
			if c.matches(i.App) {
				all = append(all, &found{Instance: i, From: []string{"agent"}})
			}
		}
	}
	return all, nodes, len(lists) > 0, nil
}

// merge joins what two sources know: by container, else by task. A task that
// runs again in another container is two instances.
func merge(all, more []*found) []*found {
	for _, f := range more {
		i := slices.IndexFunc(all, func(o *found) bool {
			if o.ID != "" && f.ID != "" {
				return o.ID == f.ID
			}
			return o.Task != "" && o.Task == f.Task
		})
		if i < 0 {
			all = append(all, f)
			continue
		}
		all[i].add(f)
	}
	return all
}

func (f *found) add(o *found) {
	f.App, f.Node, f.Framework, f.Task = cmp.Or(f.App, o.App), cmp.Or(f.Node, o.Node), cmp.Or(f.Framework, o.Framework), cmp.Or(f.Task, o.Task)
	f.Container, f.ID, f.Image, f.Version = cmp.Or(f.Container, o.Container), cmp.Or(f.ID, o.ID), cmp.Or(f.Image, o.Image), cmp.Or(f.Version, o.Version)
	f.State, f.Lines, f.Running = cmp.Or(f.State, o.State), cmp.Or(f.Lines, o.Lines), f.Running || o.Running && !slices.Contains(f.From, "agent")
	f.FirstLine, f.LastLine, f.LastError = o.FirstLine, o.LastLine, o.LastError
	if f.Since.IsZero() {
		f.Since = o.Since
	}
	if len(f.Ports) == 0 {
		f.Ports = o.Ports
	}
	f.From = append(f.From, o.From...)
}

const gone = "gone"

// settle says of the containers of which only the store knows that they have
// gone, where somebody would know of them: the agent of their node, or Marathon
// or a Mesos master that has other tasks of the same app.
func settle(all []*found, nodes map[string]bool) {
	apps := map[string]bool{}
	for _, f := range all {
		if slices.Contains(f.From, "marathon") || slices.Contains(f.From, "mesos") {
			apps[f.App] = true
		}
	}
	for _, f := range all {
		if f.State == "" && (nodes[f.Node] || f.Task != "" && apps[f.App]) {
			f.State = gone
		}
	}
}

// ended says whether it is known that the instance does not run any more.
func (f *found) ended() bool {
	return f.State != "" && !f.Running && !strings.HasSuffix(f.State, "ING") && f.State != "TASK_UNREACHABLE"
}

// order puts those that run first, then those that have printed last.
func order(all []*found) {
	slices.SortStableFunc(all, func(a, b *found) int {
		if a.ended() != b.ended() {
			if a.ended() {
				return 1
			}
			return -1
		}
		return cmp.Or(cmp.Compare(a.App, b.App), b.LastLine.Truncate(time.Minute).Compare(a.LastLine.Truncate(time.Minute)), cmp.Compare(a.Node, b.Node), cmp.Compare(a.Task, b.Task), cmp.Compare(a.ID, b.ID))
	})
}

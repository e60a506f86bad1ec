package discover

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/client"

	"mesoscope/mesos"
)

const (
	apiRetryMin = 200 * time.Millisecond
	apiRetryMax = 5 * time.Second
	// apiRelist bounds how long a lost event can matter.
	apiRelist = 5 * time.Minute
	// apiTimeout is for every request that is not a stream: an engine that
	// hangs must not stop the discovery.
	apiTimeout = 30 * time.Second
)

// api is what Docker's API says: one list, then single inspects for whatever
// an event names, because a list of 5,000 containers is dear.
type api struct {
	client *client.Client
	socket string
	// onDisk says that the container's files tell all that inspect would.
	onDisk func(id string) bool
	// poke is called with the id of each container that an event names.
	poke func(id string)
	// engine takes the version of the engine.
	engine *atomic.Pointer[string]
	log    *slog.Logger
	m      *metrics
}

func newAPI(socket string) (*client.Client, error) {
	c, err := client.NewClientWithOpts(client.WithHost(socket), client.WithAPIVersionNegotiation())
	if err != nil {
		return nil, fmt.Errorf("docker.socket %q: %w", socket, err)
	}
	return c, nil
}

// run sends the full set of containers, by id, after every change until ctx
// ends. While the engine is away it sends nothing and tries again; it says so
// once, and once when the engine is back.
func (a *api) run(ctx context.Context, out chan<- map[string]Container) {
	wait, said := apiRetryMin, false
	for ctx.Err() == nil {
		err := a.session(ctx, out, func() {
			if said {
				a.log.Info("docker api is back", "socket", a.socket)
			}
			wait, said = apiRetryMin, false
		})
		if ctx.Err() != nil {
			return
		}
		a.m.errors.WithLabelValues("api").Inc()
		if !said {
			said = true
			a.log.Warn("docker api: cannot be used; trying again every 5 s, what was known stays", "socket", a.socket, "err", err)
		}
		sleep(ctx, wait)
		wait = min(2*wait, apiRetryMax)
	}
}

// session is one connection: events first, then the list, so that nothing
// happens unseen between the two. ok is called when the list has come.
func (a *api) session(ctx context.Context, out chan<- map[string]Container, ok func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	args := filters.NewArgs(filters.Arg("type", "container"))
	for _, e := range []events.Action{events.ActionCreate, events.ActionStart, events.ActionRestart, events.ActionDie,
		events.ActionStop, events.ActionPause, events.ActionUnPause, events.ActionUpdate, events.ActionRename, events.ActionDestroy} {
		args.Add("event", string(e)) // exec_create and the like come with every health check: left out at the source
	}
	stream, errs := a.client.Events(ctx, events.ListOptions{Filters: args})
	set, err := a.list(ctx)
	if err != nil {
		return err
	}
	a.askVersion(ctx)
	ok()
	relist := time.NewTicker(apiRelist)
	defer relist.Stop()
	send, next := out, copySet(set)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-errs:
			if err == nil {
				err = fmt.Errorf("the event stream ended")
			}
			return fmt.Errorf("events: %w", err)
		case e := <-stream:
			touched := map[string]bool{e.Actor.ID: true}
			for more := true; more; { // a burst is one change
				select {
				case e := <-stream:
					touched[e.Actor.ID] = true
				default:
					more = false
				}
			}
			for id := range touched {
				if err := a.update(ctx, set, id); err != nil {
					return err
				}
				a.poke(id)
			}
			send, next = out, copySet(set)
		case <-relist.C:
			if set, err = a.list(ctx); err != nil {
				return err
			}
			send, next = out, copySet(set)
		case send <- next:
			send = nil
		}
	}
}

// askVersion asks which engine this is. One that does not say goes on as a
// recent one.
func (a *api) askVersion(ctx context.Context) {
	const limit = 5 * time.Second // the list of containers waits for it
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	v, err := a.client.ServerVersion(ctx)
	if err != nil {
		a.m.errors.WithLabelValues("api").Inc()
		a.log.Warn("docker api: the engine does not tell its version; whether it truncates logs in place is not known", "err", err)
		return
	}
	a.engine.Store(&v.Version)
}

func (a *api) list(ctx context.Context) (map[string]Container, error) {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	all, err := a.client.ContainerList(ctx, container.ListOptions{All: true})
	if err != nil {
		return nil, fmt.Errorf("list: %w", err)
	}
	set := make(map[string]Container, len(all))
	for _, s := range all {
		set[s.ID] = fromSummary(s)
	}
	for id := range set {
		if a.onDisk(id) {
			continue
		}
		if err := a.update(ctx, set, id); err != nil {
			return nil, err
		}
	}
	return set, nil
}

// update inspects one container; one that has gone leaves the set.
func (a *api) update(ctx context.Context, set map[string]Container, id string) error {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	r, err := a.client.ContainerInspect(ctx, id)
	switch {
	case cerrdefs.IsNotFound(err):
		delete(set, id)
	case err != nil && client.IsErrConnectionFailed(err), ctx.Err() != nil:
		return fmt.Errorf("inspect %.12s: %w", id, err)
	case err != nil:
		// One broken container (a lock held, a layer missing) must not hide
		// the others: what the list said of it stays.
		a.m.errors.WithLabelValues("inspect").Inc()
		a.log.Warn("docker api: container cannot be inspected", "container", id, "err", err)
	case r.ContainerJSONBase != nil:
		set[r.ID] = fromInspect(r)
	}
	return nil
}

func fromSummary(s container.Summary) Container {
	c := Container{
		ID:      s.ID,
		Image:   parseImage(s.Image, s.ImageID),
		Labels:  s.Labels,
		Created: time.Unix(s.Created, 0).UTC(),
		Running: s.State != "exited" && s.State != "dead" && s.State != "created",
		Network: network(s.HostConfig.NetworkMode),
	}
	for _, n := range s.Names {
		if n = strings.TrimPrefix(n, "/"); !strings.Contains(n, "/") { // others are links
			c.Name = n
			c.note(fromAPI, "name")
			break
		}
	}
	c.note(fromAPI, "id", "image", "labels", "created", "running")
	if c.Network != "" {
		c.note(fromAPI, "network")
	}
	for _, m := range s.Mounts {
		if m.Destination == mesos.SandboxTarget {
			c.Sandbox = m.Source
			c.note(fromAPI, "sandbox")
		}
	}
	return c
}

func fromInspect(r container.InspectResponse) Container {
	c := Container{ID: r.ID, Name: strings.TrimPrefix(r.Name, "/"), Running: true, LogPath: r.LogPath}
	c.note(fromAPI, "id", "name")
	if c.LogPath != "" {
		c.note(fromAPI, "log_path")
	}
	if t, err := time.Parse(time.RFC3339Nano, r.Created); err == nil {
		c.Created = t
		c.note(fromAPI, "created")
	}
	if r.State != nil {
		c.Running, c.OOMKilled = r.State.Running || r.State.Restarting, oomKilled(r.State.OOMKilled, r.State.FinishedAt)
		c.note(fromAPI, "running")
	}
	if r.Config != nil {
		c.Image = parseImage(r.Config.Image, r.Image)
		c.Labels, c.Env = r.Config.Labels, selectEnv(r.Config.Env)
		c.TTY, c.Host = r.Config.Tty, r.Config.Hostname
		c.note(fromAPI, "image", "labels", "env", "tty", "host")
	}
	for _, m := range r.Mounts {
		if m.Destination == mesos.SandboxTarget {
			c.Sandbox = m.Source
			c.note(fromAPI, "sandbox")
		}
	}
	if r.HostConfig != nil {
		c.Driver, c.DriverOpts = r.HostConfig.LogConfig.Type, r.HostConfig.LogConfig.Config
		c.Network = network(string(r.HostConfig.NetworkMode))
		c.note(fromAPI, "driver", "network")
	}
	return c
}

func copySet(set map[string]Container) map[string]Container {
	next := make(map[string]Container, len(set))
	for id, c := range set {
		next[id] = c
	}
	return next
}

// readable says whether a file can be opened for reading.
func readable(path string) error {
	f, err := os.Open(path)
	if err == nil {
		_ = f.Close()
	}
	return err
}

// sleep waits for d or the end of ctx.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

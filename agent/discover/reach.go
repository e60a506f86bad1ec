package discover

import (
	"context"
	"slices"
	"strconv"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"
)

// A Reach is where this machine can ask a container, as Docker says it now.
type Reach struct {
	State   string // running, paused, restarting, created, exited, dead
	Address string // of the container in its network; 127.0.0.1 in the host's; "" if it has none
	Ports   []int  // TCP, inside of the container, ascending: published or named in the image
	// Failed says that it has ended, and neither well nor because somebody
	// stopped it. Only those that were asked for are looked at.
	Failed bool
}

// Reaches asks Docker's API for the Reaches of all containers, by id; nil without
// docker.socket. watched are those of which it matters how they have ended.
func (d *Discoverer) Reaches(ctx context.Context, watched map[string]bool) (out map[string]Reach, err error) {
	err = d.withList(ctx, func(c *client.Client, all []container.Summary) error {
		out = make(map[string]Reach, len(all))
		for _, s := range all {
			r, err := reach(ctx, c, s, watched[s.ID])
			if err != nil && !cerrdefs.IsNotFound(err) { // gone since
				return err
			}
			out[s.ID] = r
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// reach is the Reach of one; watched says that it matters how it has ended.
func reach(ctx context.Context, c *client.Client, s container.Summary, watched bool) (r Reach, err error) {
	r.State = s.State
	if s.NetworkSettings != nil {
		for _, n := range s.NetworkSettings.Networks {
			if n != nil && n.IPAddress != "" && (r.Address == "" || n.IPAddress < r.Address) {
				r.Address = n.IPAddress // of several networks always the same one
			}
		}
	}
	for _, p := range s.Ports {
		if p.Type == "tcp" && !slices.Contains(r.Ports, int(p.PrivatePort)) {
			r.Ports = append(r.Ports, int(p.PrivatePort))
		}
	}
	switch {
	case s.HostConfig.NetworkMode == "host" && s.State == container.StateRunning:
		r.Address = "127.0.0.1"
		r.Ports, err = exposed(ctx, c, s.ID)
	case watched && (s.State == container.StateExited || s.State == container.StateDead):
		r.Failed, err = failed(ctx, c, s.ID, s.Status)
	}
	slices.Sort(r.Ports)
	return r, err
}

// exposed are the ports that an image says its program listens on: in the host's
// network nothing else tells.
func exposed(ctx context.Context, c *client.Client, id string) (ports []int, err error) {
	r, err := c.ContainerInspect(ctx, id)
	if err != nil || r.Config == nil {
		return nil, err
	}
	for p := range r.Config.ExposedPorts {
		if p.Proto() == "tcp" {
			ports = append(ports, p.Int())
		}
	}
	return ports, nil
}

// Exit codes of a program that was stopped: `docker stop` ends with SIGTERM or,
// when that is not obeyed, SIGKILL.
const (
	byTerm = 128 + 15
	byKill = 128 + 9
)

// failed says whether a container has ended badly by itself. status is as Docker
// lists it: "Exited (1) 3 minutes ago".
func failed(ctx context.Context, c *client.Client, id, status string) (bool, error) {
	text, _, _ := strings.Cut(strings.TrimPrefix(status, "Exited ("), ")")
	code, err := strconv.Atoi(text)
	switch {
	case err != nil:
		return strings.HasPrefix(status, "Dead"), nil
	case code == 0 || code == byTerm:
		return false, nil
	case code != byKill:
		return true, nil
	}
	r, err := c.ContainerInspect(ctx, id) // the kernel kills so, too
	return err == nil && r.State != nil && r.State.OOMKilled, err
}

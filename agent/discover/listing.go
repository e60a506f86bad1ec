package discover

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"
)

// A Listing is what changes all the time in a container, and is therefore no
// part of the set: it is asked for when somebody wants to know.
type Listing struct {
	Status string   // "Up 3 hours (healthy)"
	Ports  []string // published ones: "31000->80/tcp"
}

// List asks Docker's API for the Listings of all containers, by id; nil without
// docker.socket.
func (d *Discoverer) List(ctx context.Context) (out map[string]Listing, err error) {
	err = d.withList(ctx, func(_ *client.Client, all []container.Summary) error {
		out = make(map[string]Listing, len(all))
		for _, s := range all {
			out[s.ID] = Listing{s.Status, published(s.Ports)}
		}
		return nil
	})
	return out, err
}

// withList calls use with what Docker's API lists, and with a client for more
// questions; not at all without docker.socket.
func (d *Discoverer) withList(ctx context.Context, use func(c *client.Client, all []container.Summary) error) error {
	if d.opt.Docker.Socket == "" {
		return nil
	}
	c, err := newAPI(d.opt.Docker.Socket) // of its own, see New
	if err != nil {
		return err
	}
	defer c.Close()
	all, err := c.ContainerList(ctx, container.ListOptions{All: true})
	if err != nil {
		return fmt.Errorf("list containers: %w", err)
	}
	return use(c, all)
}

// published are the ports that the host answers for, each once for all of its
// addresses, in order.
func published(ports []container.Port) (list []string) {
	slices.SortFunc(ports, func(a, b container.Port) int { return int(a.PublicPort) - int(b.PublicPort) })
	for _, p := range ports {
		if text := fmt.Sprintf("%d->%d/%s", p.PublicPort, p.PrivatePort, p.Type); p.PublicPort != 0 && !slices.Contains(list, text) {
			list = append(list, text)
		}
	}
	return list
}

// HostPorts are the ports that Marathon gave to a container in the host's
// network.
func HostPorts(c Container) []string {
	if c.Network != "host" {
		return nil
	}
	return strings.FieldsFunc(c.Env["PORTS"], func(r rune) bool { return r == ',' || r == ' ' })
}

// ServiceVersion is service.version, "" if nobody says it.
func ServiceVersion(c Container) string {
	version, _ := serviceVersion(c)
	return version
}

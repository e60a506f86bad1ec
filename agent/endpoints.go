package agent

import (
	"context"
	"time"

	"mesoscope/agent/discover"
)

// An Endpoint is a container as somebody sees it who wants to ask it something.
type Endpoint struct {
	ID        string // of the container
	App       string // service.name
	Name      string // of the container
	Framework string
	Task      string
	Image     string
	Labels    map[string]string
	Created   time.Time
	discover.Reach
}

// Endpoints lists the containers that Docker has. watched are the ids of those of
// which it matters how they have ended. nil without docker.socket.
func (a *Agent) Endpoints(ctx context.Context, watched map[string]bool) ([]Endpoint, error) {
	reaches, err := a.discover.Reaches(ctx, watched)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	var list []Endpoint
	a.each(func(c discover.Container) {
		r, ok := reaches[c.ID]
		if !ok {
			return
		}
		o := owner(c)
		list = append(list, Endpoint{ID: c.ID, App: o.App, Name: o.Name, Framework: o.Framework, Task: o.Task, Image: o.Image,
			Labels: c.Labels, Created: c.Created, Reach: r})
	})
	return list, nil
}

package command

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"time"

	"mesoscope/agent/status"
	"mesoscope/search"
)

const (
	// mostInstances is how many containers are looked at in the store.
	mostInstances = 500
	// rateOver is the time over which lines are counted for a rate.
	rateOver = 5 * time.Minute
	// askAtOnce is how many questions a store has to answer at the same time.
	askAtOnce = 8
)

// stored asks the store which containers of the app have printed, in the first
// of the windows in which any has. If none has in any, it says which apps have a
// similar name.
func (c *Where) stored(ctx context.Context, store search.Store, windows []time.Time, now time.Time) (all []*found, similar []string, err error) {
	for _, since := range windows {
		containers, err := store.Values(ctx, search.Request{Query: c.query(), Since: since}, "container.id", mostInstances)
		if err != nil {
			return nil, nil, err
		}
		if len(containers) > 0 {
			all, err = c.details(ctx, store, containers, since, now)
			return all, nil, err
		}
	}
	apps, err := store.Values(ctx, search.Request{Since: windows[len(windows)-1]}, "service.name", 1000)
	if err != nil {
		return nil, nil, err
	}
	part := strings.ToLower(strings.Trim(c.App, "/*"))
	for _, a := range apps {
		if len(similar) < 5 && part != "" && strings.Contains(strings.ToLower(a.Value), part) {
			similar = append(similar, clean(a.Value))
		}
	}
	return nil, similar, nil
}

// details asks for each of the containers for its first and last line and its
// last error.
func (c *Where) details(ctx context.Context, store search.Store, containers []search.Value, since, now time.Time) ([]*found, error) {
	recent, err := store.Values(ctx, search.Request{Query: c.query(), Since: now.Add(-rateOver)}, "container.id", mostInstances)
	if err != nil {
		return nil, err
	}
	rates := map[string]float64{}
	for _, v := range recent {
		rates[v.Value] = float64(v.Count) / rateOver.Seconds()
	}
	all, errs := make([]*found, len(containers)), make([]error, len(containers))
	var group sync.WaitGroup
	places := make(chan struct{}, askAtOnce)
	for i, v := range containers {
		places <- struct{}{}
		group.Go(func() {
			defer func() { <-places }()
			all[i], errs[i] = lineDetails(ctx, store, v.Value, since)
		})
	}
	group.Wait()
	var out []*found
	for i, f := range all {
		if errs[i] != nil {
			return nil, errs[i]
		}
		if f != nil { // nil: retention was quicker
			f.Lines = rates[f.ID]
			out = append(out, f)
		}
	}
	return out, nil
}

func lineDetails(ctx context.Context, store search.Store, id string, since time.Time) (*found, error) {
	of := search.Term("container.id", id)
	one := func(q search.Query, newest bool) (*search.Line, error) {
		r, err := store.Search(ctx, search.Request{Query: q, Since: since, Limit: 1, Newest: newest})
		if err != nil || len(r.Lines) == 0 {
			return nil, err
		}
		return &r.Lines[0], nil
	}
	last, err := one(of, true)
	if err != nil || last == nil {
		return nil, err
	}
	first, err := one(of, false)
	if err != nil {
		return nil, err
	}
	bad, err := one(search.And(of, search.Or(search.Term("log.level", "error"), search.Term("log.level", "fatal"))), true)
	if err != nil {
		return nil, err
	}
	f := &found{From: []string{"store"}, LastLine: last.Time, Instance: instanceOf(last.Doc)}
	f.ID = id
	if first != nil {
		f.FirstLine = first.Time
	}
	if bad != nil {
		var d document
		_ = json.Unmarshal(bad.Doc, &d) // a document without a message has none to show
		f.LastError = &lastError{bad.Time, d.Message}
	}
	return f, nil
}

// instanceOf is what a line says of where it is from.
func instanceOf(doc json.RawMessage) status.Instance {
	var d struct {
		Host    struct{ Name string }
		Service struct {
			Name, Version string
			Node          struct{ Name string }
		}
		Container struct {
			Name  string
			Image struct {
				Name string
				Tag  []string
			}
		}
		Mesos struct {
			Framework struct{ ID, Name string }
			Task      struct{ ID string }
		}
	}
	_ = json.Unmarshal(doc, &d) // what does not fit is not known
	i := status.Instance{App: d.Service.Name, Node: d.Host.Name, Framework: d.Mesos.Framework.Name, Task: d.Mesos.Task.ID,
		Container: d.Container.Name, Image: d.Container.Image.Name, Version: d.Service.Version}
	if i.Framework == "" {
		i.Framework = d.Mesos.Framework.ID
	}
	if i.Task == "" {
		i.Task = d.Service.Node.Name
	}
	if len(d.Container.Image.Tag) > 0 {
		i.Image += ":" + d.Container.Image.Tag[0]
	}
	return i
}

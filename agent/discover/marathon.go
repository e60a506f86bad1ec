package discover

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"mesoscope/config"
	"mesoscope/mesos"
)

const (
	// marathonPoll is for events that were lost, or Marathons that send none.
	marathonPoll = time.Minute
	// marathonSettle collects a burst of events: a deployment sends many.
	marathonSettle = 500 * time.Millisecond
	marathonRetry  = 10 * time.Second
	marathonTime   = 15 * time.Second
)

// apps is what Marathon says of the apps that run here.
type apps struct {
	client *mesos.MarathonClient
	wake   chan struct{} // a token: ask again
	log    *slog.Logger
	m      *metrics

	mu     sync.Mutex
	wanted map[string]bool      // ids of apps that run here
	known  map[string]mesos.App // what Marathon said last
}

// newApps returns nil if no Marathon is configured.
func newApps(cfg config.Mesos, a mesos.Access, log *slog.Logger, m *metrics) (*apps, error) {
	if len(cfg.Marathon) == 0 {
		return nil, nil
	}
	client, err := mesos.NewMarathon(cfg.Marathon, a)
	if err != nil {
		return nil, err
	}
	return &apps{client: client, wake: make(chan struct{}, 1), log: log, m: m, wanted: map[string]bool{}, known: map[string]mesos.App{}}, nil
}

// join adds the labels of c's app. Those of another version than the one that c
// runs are not c's; only the switches among them are for all.
func (a *apps) join(c *Container) {
	if !isApp(c.Marathon.ID) {
		return
	}
	a.mu.Lock()
	now, known := a.known[c.Marathon.ID]
	if !a.wanted[c.Marathon.ID] {
		a.wanted[c.Marathon.ID] = true
		a.poke()
	}
	a.mu.Unlock()
	if !known {
		return
	}
	next := *c.Marathon
	if next.Version == now.Version && len(now.Labels) > 0 {
		next.Labels = now.Labels
		c.note(fromMarathon, keyAppLabels)
	}
	next.Switches = nil
	for name, value := range now.Labels {
		if strings.HasPrefix(name, "mesoscope.") {
			if next.Switches == nil {
				next.Switches = make(map[string]string)
			}
			next.Switches[name] = value
		}
	}
	if next.Switches != nil {
		c.note(fromMarathon, keySwitches)
	}
	c.Marathon = &next
}

// isApp says whether id can be an app's: it may be from an environment, where
// anybody can set it.
func isApp(id string) bool { return len(id) > 1 && id[0] == '/' }

// knows says whether nothing more is to be expected of Marathon about an app.
func (a *apps) knows(id string) bool {
	if !isApp(id) {
		return true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	_, ok := a.known[id]
	return ok
}

func (a *apps) poke() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// only forgets apps that run here no more.
func (a *apps) only(running map[string]bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	maps.DeleteFunc(a.wanted, func(id string, _ bool) bool { return !running[id] })
	maps.DeleteFunc(a.known, func(id string, _ mesos.App) bool { return !running[id] })
}

// run keeps what is known up to date until ctx ends, and calls changed after
// each change.
func (a *apps) run(ctx context.Context, changed func()) {
	var group sync.WaitGroup
	defer group.Wait()
	group.Go(func() {
		for ctx.Err() == nil {
			_ = a.client.Events(ctx, a.poke) // it ends with each restart of Marathon; the poll says what is wrong
			sleep(ctx, marathonRetry)
		}
	})
	failing := false
	for ctx.Err() == nil {
		err := a.look(ctx, changed)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			a.m.errors.WithLabelValues("marathon").Inc()
			if !failing {
				a.log.Warn("marathon cannot be asked; trying again, what was known stays", "err", err)
			}
		case failing:
			a.log.Info("marathon answers again")
		}
		failing = err != nil
		poll := time.NewTimer(marathonPoll)
		select {
		case <-ctx.Done():
		case <-poll.C:
		case <-a.wake:
			sleep(ctx, marathonSettle)
			select {
			case <-a.wake:
			default:
			}
		}
		poll.Stop()
	}
}

// look asks for each app that runs here. One that Marathon does not know (any
// more) keeps what was known: its last containers still print.
func (a *apps) look(ctx context.Context, changed func()) error {
	a.mu.Lock()
	ids := slices.Sorted(maps.Keys(a.wanted))
	a.mu.Unlock()
	news := false
	var first error
	for _, id := range ids {
		one, cancel := context.WithTimeout(ctx, marathonTime)
		app, err := a.client.App(one, id)
		cancel()
		if errors.Is(err, mesos.ErrNoApp) {
			if a.knows(id) {
				continue
			}
			app = mesos.App{} // nothing, and nobody needs to wait for it
		} else if err != nil {
			if first == nil {
				first = err
			}
			if ofAll(err) {
				break
			}
			continue
		}
		a.mu.Lock()
		if before, known := a.known[id]; !known || !reflect.DeepEqual(before, app) {
			a.known[id] = app
			news = true
		}
		a.mu.Unlock()
	}
	if news {
		changed()
	}
	return first
}

// ofAll says whether an error about one app is one about Marathon: the next app
// would only wait as long for the same.
func ofAll(err error) bool {
	var transport *url.Error
	var status *mesos.StatusError
	return errors.As(err, &transport) || errors.As(err, &status) && status.Code >= 500 || mesos.Denied(err) || errors.Is(err, context.DeadlineExceeded)
}

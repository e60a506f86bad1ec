package discover

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"math/rand/v2"
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
	// marathonPoll is for events that were lost, or Marathons that send none;
	// marathonRetry for one that could not be asked.
	marathonPoll  = 5 * time.Minute
	marathonRetry = time.Minute
	// marathonSettle collects the apps of containers that come together.
	marathonSettle = 500 * time.Millisecond
	// marathonSpread is the time over which agents ask that have heard the same
	// event: there may be thousands.
	marathonSpread  = 30 * time.Second
	marathonReopens = 10 * time.Second
	marathonTime    = 15 * time.Second
)

// apps is what Marathon says of the apps that run here.
type apps struct {
	client *mesos.MarathonClient
	wake   chan struct{} // a token: ask for what is due
	spread time.Duration // marathonSpread
	log    *slog.Logger
	m      *metrics

	mu     sync.Mutex
	wanted map[string]bool      // ids of apps that run here
	known  map[string]mesos.App // what Marathon said last
	due    map[string]bool      // ids to ask for
	bad    map[string]bool      // ids that were complained about
	soon   bool                 // a wake is on its way
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
	return &apps{client: client, wake: make(chan struct{}, 1), spread: marathonSpread, log: log, m: m,
		wanted: map[string]bool{}, known: map[string]mesos.App{}, due: map[string]bool{}, bad: map[string]bool{}}, nil
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
		a.wanted[c.Marathon.ID], a.due[c.Marathon.ID] = true, true
		a.poke() // at once: lines wait
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

// heard takes an event of Marathon. One about apps names them in quotes, that
// of a deployment among all that it touches; a new stream may come after lost
// events, and what happens to pods is told without their names.
func (a *apps) heard(event, data string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := event == "event_stream_attached" || strings.HasPrefix(event, "pod_")
	news := false
	for id := range a.wanted {
		if all || strings.Contains(data, `"`+id+`"`) {
			a.due[id], news = true, true
		}
	}
	if !news || a.soon {
		return
	}
	a.soon = true
	time.AfterFunc(rand.N(a.spread), func() {
		a.mu.Lock()
		a.soon = false
		a.mu.Unlock()
		a.poke()
	})
}

// only forgets apps that run here no more.
func (a *apps) only(running map[string]bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	maps.DeleteFunc(a.wanted, func(id string, _ bool) bool { return !running[id] })
	maps.DeleteFunc(a.bad, func(id string, _ bool) bool { return !running[id] })
	maps.DeleteFunc(a.known, func(id string, _ mesos.App) bool { return !running[id] })
}

// run keeps what is known up to date until ctx ends, and calls changed after
// each change.
func (a *apps) run(ctx context.Context, changed func()) {
	var group sync.WaitGroup
	defer group.Wait()
	group.Go(func() {
		for ctx.Err() == nil {
			_ = a.client.Events(ctx, a.heard) // it ends with each restart of Marathon; the poll says what is wrong
			sleep(ctx, marathonReopens)
		}
	})
	failing := false
	poll := time.NewTimer(marathonPoll)
	defer poll.Stop()
	for ctx.Err() == nil {
		err := a.look(ctx, changed)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			a.m.errors.WithLabelValues("marathon").Inc()
			if !failing {
				poll.Reset(marathonRetry + rand.N(a.spread))
				a.log.Warn("marathon cannot be asked; trying again, what was known stays", "err", err)
			}
		case failing:
			a.log.Info("marathon answers again")
		}
		failing = err != nil
		select {
		case <-ctx.Done():
		case <-poll.C:
			a.mu.Lock()
			a.due = maps.Clone(a.wanted)
			a.mu.Unlock()
			wait := marathonPoll
			if failing {
				wait = marathonRetry
			}
			poll.Reset(wait + rand.N(a.spread))
		case <-a.wake:
			sleep(ctx, marathonSettle)
			select {
			case <-a.wake:
			default:
			}
		}
	}
}

// look asks for each app that is due and runs here. One that Marathon does not
// know (any more) keeps what was known: its last containers still print.
func (a *apps) look(ctx context.Context, changed func()) error {
	a.mu.Lock()
	maps.DeleteFunc(a.due, func(id string, _ bool) bool { return !a.wanted[id] })
	ids := slices.Sorted(maps.Keys(a.due))
	a.due = map[string]bool{}
	a.mu.Unlock()
	news := false
	var failed error
	for i, id := range ids {
		one, cancel := context.WithTimeout(ctx, marathonTime)
		app, err := a.client.App(one, id)
		cancel()
		if errors.Is(err, mesos.ErrNoApp) {
			if a.knows(id) {
				continue
			}
			app = mesos.App{} // nothing, and nobody needs to wait for it
		} else if err != nil {
			if ofAll(err) {
				failed = err
				a.mu.Lock()
				for _, id := range ids[i:] {
					a.due[id] = true
				}
				a.mu.Unlock()
				break
			}
			a.m.errors.WithLabelValues("marathon").Inc()
			a.mu.Lock()
			if !a.bad[id] {
				a.log.Warn("marathon cannot tell of an app; what was known of it stays", "app", id, "err", err)
			}
			a.bad[id] = true
			a.mu.Unlock()
			continue
		}
		a.mu.Lock()
		delete(a.bad, id)
		if before, known := a.known[id]; !known || !reflect.DeepEqual(before, app) {
			a.known[id] = app
			news = true
		}
		a.mu.Unlock()
	}
	if news {
		changed()
	}
	return failed
}

// ofAll says whether an error about one app is one about Marathon: the next app
// would only wait as long for the same.
func ofAll(err error) bool {
	var transport *url.Error
	var status *mesos.StatusError
	return errors.As(err, &transport) || errors.As(err, &status) && status.Code >= 500 || mesos.Denied(err) || errors.Is(err, context.DeadlineExceeded)
}

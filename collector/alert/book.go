package alert

import (
	"context"
	"maps"
	"sync"
	"time"
)

const (
	// every is how often all alerts are sent again. An Alertmanager that was
	// started anew knows all of them after that time.
	every = 30 * time.Second
	// settle is how long the next look at all checks waits after one: when a
	// host dies, its hundred checks change in the same moment.
	settle = time.Second
	// resolved is how long the end of an alert is told: as long as any
	// Alertmanager may have been away and still hold it for firing.
	resolved = 5 * time.Minute
	// young is how long a new process looks at all checks each second: nobody
	// tells it that those of before are found again.
	young = time.Minute
)

// Run makes alerts and sends them until ctx ends. It tells nobody that it ends:
// alerts that are not sent again end by themselves, and the next process goes on
// with them where this one stopped.
func (a *Alerts) Run(ctx context.Context) {
	var group sync.WaitGroup
	for _, s := range a.senders {
		group.Go(func() { s.run(ctx, a.snapshot) })
	}
	defer group.Wait()
	for {
		began := time.Now()
		next := a.look(began)
		pause := max(settle, 10*time.Since(began)) // a hundred thousand bad checks take 0.4 s
		for _, s := range a.senders {
			s.wake()
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		select {
		case <-ctx.Done():
			return
		case <-a.changed:
		case <-time.After(time.Until(next)):
		}
	}
}

// look brings the book up to date with the states. It says when to look again
// though nothing changes.
func (a *Alerts) look(now time.Time) (next time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.begun.IsZero() {
		a.begun = now
	}
	j := judge{
		Options: a.o, begun: a.begun, now: now, next: now.Add(every), waiting: a.waiting, known: a.book,
		wanted: map[string]*alert{}, ended: map[string]*alert{}, still: map[string]time.Time{},
	}
	if now.Sub(a.begun) < young {
		j.next = now.Add(settle)
	}
	j.all()
	a.waiting = j.still
	for key, x := range j.wanted {
		was := a.book[key]
		switch {
		case was == nil:
			a.book[key] = x
		case was.endsAt.IsZero():
			x.startsAt, x.version = was.startsAt, was.version // it fires still
			a.book[key] = x
		default:
			x.version = was.version + 1
			a.book[key] = x
		}
	}
	for key, x := range j.ended {
		if a.book[key] == nil {
			a.book[key] = x
		}
	}
	for key, x := range a.book {
		if j.wanted[key] == nil && x.endsAt.IsZero() {
			over := *x
			over.endsAt = now
			over.version++
			a.book[key] = &over
		}
	}
	maps.DeleteFunc(a.book, func(_ string, x *alert) bool { return !x.endsAt.IsZero() && now.Sub(x.endsAt) > resolved })
	return j.next
}

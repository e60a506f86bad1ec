package shipper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mesoscope/embedded"
	"mesoscope/record"
)

const (
	// groupBytes is how much goes into one transaction under load. A commit
	// waits for the disk, so few large ones are quicker than many small ones.
	groupBytes = 4 << 20
	// A commit follows another one after pauseFactor times as long as that took,
	// within these bounds, or at once with enoughBytes: a commit costs as much
	// as some fifty lines, however few it has.
	pauseFactor = 4
	leastPause  = 10 * time.Millisecond
	mostPause   = 50 * time.Millisecond
	enoughBytes = 1 << 20
	// retainEvery is how often the store is asked to delete what is too old.
	retainEvery = 10 * time.Second

	firstBackoff = 200 * time.Millisecond
	maxBackoff   = 30 * time.Second
)

// Embedded is the sink that writes to the store in one file. It commits at once
// when nothing was committed lately, and else waits a little for company: a line
// is stored within milliseconds while it is quiet, and commits grow with the
// load.
type Embedded struct {
	store     *embedded.Store
	log       *slog.Logger
	delivered prometheus.Counter
	duplicate prometheus.Counter
	seconds   prometheus.Histogram

	mu      sync.Mutex
	failing time.Time // since when nothing can be stored; zero: it can
	failure error
}

// Failing says since when nothing can be stored, and why. The zero time: all
// is well.
func (e *Embedded) Failing() (since time.Time, why error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.failing, e.failure
}

func (e *Embedded) setFailing(since time.Time, why error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.failing, e.failure = since, why
}

// NewEmbedded makes the sink and registers its metrics. reg may be nil.
func NewEmbedded(store *embedded.Store, reg prometheus.Registerer, log *slog.Logger) *Embedded {
	e := &Embedded{
		store: store,
		log:   log,
		delivered: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mesoscope_lines_delivered_total", Help: "Lines that the output has stored.",
		}),
		duplicate: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mesoscope_lines_duplicate_total", Help: "Lines that the output had stored already.",
		}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "mesoscope_bulk_seconds", Help: "Time to store one bulk, in seconds.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}),
	}
	if reg == nil {
		return e
	}
	deleted := func(reason string, count func(embedded.Stats) int64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "mesoscope_store_lines_deleted_total", Help: "Lines that the embedded store deleted to stay within its limits.",
			ConstLabels: prometheus.Labels{"reason": reason},
		}, func() float64 { return float64(count(store.Stats())) })
	}
	reg.MustRegister(e.delivered, e.duplicate, e.seconds,
		deleted("max_size", func(s embedded.Stats) int64 { return s.DeletedSize }),
		deleted("max_age", func(s embedded.Stats) int64 { return s.DeletedAge }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "mesoscope_store_lines_repaired_total", Help: "Documents that were no valid JSON or had no time, stored as plain text.",
		}, func() float64 { return float64(store.Stats().Repaired) }),
	)
	return e
}

// Run stores what comes from in and settles it, until in is closed and all of
// it is stored (nil) or ctx ends (its error; what is not settled then is not
// stored). While the store cannot be written (disk full) it keeps what it has,
// takes nothing more, and tries again.
func (e *Embedded) Run(ctx context.Context, in <-chan *record.Batch) error {
	retained := make(chan struct{})
	retaining, stop := context.WithCancel(ctx)
	go func() {
		defer close(retained)
		e.retain(retaining)
	}()
	defer func() {
		stop()
		<-retained
	}()
	var due time.Time
	for {
		var group []*record.Batch
		select {
		case <-ctx.Done():
			return ctx.Err()
		case b, ok := <-in:
			if !ok {
				return nil
			}
			group = gather(ctx, b, in, due)
		}
		begin := time.Now()
		if err := e.deliver(ctx, group); err != nil {
			return err
		}
		end := time.Now()
		due = end.Add(min(max(pauseFactor*end.Sub(begin), leastPause), mostPause))
	}
}

// gather adds to first what comes until due, or until it is enough, and then
// what is in the channel already, up to groupBytes.
func gather(ctx context.Context, first *record.Batch, in <-chan *record.Batch, due time.Time) []*record.Batch {
	timer := time.NewTimer(time.Until(due)) // may lie in the past
	defer timer.Stop()
	group := []*record.Batch{first}
	waits := true
	for size := len(first.Body); size < groupBytes; {
		var b *record.Batch
		var ok bool
		if waits = waits && size < enoughBytes; waits {
			select {
			case b, ok = <-in:
			case <-timer.C:
				waits = false
				continue
			case <-ctx.Done():
				return group // deliver sees it too
			}
		} else {
			select {
			case b, ok = <-in:
			default:
				return group
			}
		}
		if !ok {
			return group // Run sees it too
		}
		group = append(group, b)
		size += len(b.Body)
	}
	return group
}

// deliver stores and settles group, however long that takes.
func (e *Embedded) deliver(ctx context.Context, group []*record.Batch) error {
	var failing time.Time // since when
	for wait := firstBackoff; ; wait = min(wait*2, maxBackoff) {
		begin := time.Now()
		err := e.store.Append(ctx, group)
		if err == nil {
			e.seconds.Observe(time.Since(begin).Seconds())
			break
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if failing.IsZero() {
			failing = begin
			e.setFailing(begin, err)
			e.log.Error("lines cannot be stored and wait where they are; trying again", "error", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait/2 + rand.N(wait)):
		}
	}
	if !failing.IsZero() {
		e.setFailing(time.Time{}, nil)
		e.log.Info("lines are stored again", "after", time.Since(failing).Round(time.Second))
	}
	lines, there := 0, 0
	for _, b := range group {
		there += len(b.Marks())
		lines += b.Len() - len(b.Marks())
		b.Settle()
	}
	e.delivered.Add(float64(lines))
	e.duplicate.Add(float64(there))
	return nil
}

// retain keeps the store within its limits until ctx ends.
func (e *Embedded) retain(ctx context.Context) {
	ticker := time.NewTicker(retainEvery)
	defer ticker.Stop()
	failing := false
	for {
		before := e.store.Stats()
		err := e.store.Retain(ctx)
		switch {
		case err == nil:
			failing = false
			after := e.store.Stats()
			if n := after.DeletedSize + after.DeletedAge - before.DeletedSize - before.DeletedAge; n > 0 {
				e.log.Debug("deleted the oldest lines", "lines", n)
			}
		case ctx.Err() == nil && !errors.Is(err, context.Canceled) && !failing:
			failing = true
			e.log.Error(fmt.Sprintf("old lines are not deleted; trying again every %s", retainEvery), "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

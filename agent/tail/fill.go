package tail

import (
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// When lines cannot be stored, what is held grows until the budget is used up;
// then lines are lost. That is hours away at first, and hours are enough to do
// something, if somebody says so. The look at the budget (see keepBudget) leaves
// a few samples behind, and they tell.

// A holdSample is what one look at the budget has found.
type holdSample struct {
	at    time.Time
	grown int64 // bytes that are held, and those that were given up since the start
	room  int64 // bytes that may still be held
	limit error // what bounds room; nil: nothing
}

const (
	// sampleEvery and samples span a quarter of an hour: files come to be held
	// in steps, when Docker rotates, and one step is no rate.
	sampleEvery = 15 * time.Second
	samples     = 61
	// leastSpan is how long what is held has to grow before that is a rate and
	// no burst, which the sink may be done with a minute later.
	leastSpan = 2 * time.Minute
	// sampleGap is how far apart two samples may lie. Behind a longer pause, as
	// of a machine that slept, all begins anew.
	sampleGap = 2 * time.Minute
	// warnBelow and calmAbove are when a warning is due, and when the next one
	// may be.
	warnBelow = time.Hour
	calmAbove = 2 * time.Hour
)

// A Forecast says when held files will have used up what they may take.
type Forecast struct {
	In time.Duration
	// Free says that the limit is hold.min_free, and not hold.budget.
	Free bool
}

// forecast is when the room of the last sample is used up if what is held goes
// on to grow as it did. ok is false if it does not grow: one step, however
// large, is no growth, so there must be one in each half of the time.
func forecast(s []holdSample) (f Forecast, ok bool) {
	if len(s) < 3 {
		return f, false
	}
	first, middle, last := s[0], s[len(s)/2], s[len(s)-1]
	span := last.at.Sub(first.at)
	if last.limit == nil || span < leastSpan || middle.grown <= first.grown || last.grown <= middle.grown {
		return f, false
	}
	f.Free = last.limit == errMinFree
	if last.room <= 0 {
		return f, true
	}
	in := float64(last.room) / float64(last.grown-first.grown) * float64(span)
	f.In = time.Duration(min(in, math.MaxInt64/2))
	return f, true
}

// A fill is the samples of the last minutes.
type fill struct {
	released atomic.Int64 // bytes given up since the start

	mu     sync.Mutex
	ring   []holdSample // oldest first
	warned bool
}

// note takes a sample, if it is time for one, and warns once when little time
// is left.
func (f *fill) note(log *slog.Logger, s holdSample) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := len(f.ring); n > 0 {
		switch passed := s.at.Sub(f.ring[n-1].at); {
		case passed < 0, passed > sampleGap:
			f.ring = f.ring[:0]
		case passed < sampleEvery:
			return
		}
	}
	if len(f.ring) == samples {
		f.ring = f.ring[:copy(f.ring, f.ring[1:])]
	}
	f.ring = append(f.ring, s)
	fc, grows := forecast(f.ring)
	switch {
	case grows && fc.In < warnBelow && !f.warned:
		f.warned = true
		log.Warn("files are held because their lines cannot be stored as fast as they come; when there is no more room for them, lines are lost: see whether the output takes lines (mesoscope status), or raise the limit",
			"limit", limitKey(fc), "full_in", fc.In.Round(time.Minute), "room_bytes", s.room)
	case !grows || fc.In > calmAbove:
		f.warned = false
	}
}

func limitKey(fc Forecast) string {
	if fc.Free {
		return "hold.min_free"
	}
	return "hold.budget"
}

func (f *fill) forecast() (Forecast, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return forecast(f.ring)
}

// HoldForecast says when held files will have used up what they may take, at
// the rate of the last minutes; false: what is held does not grow.
func (f *Follower) HoldForecast() (Forecast, bool) { return f.fill.forecast() }

// Released is how many bytes of held files were given up since the start,
// because there was no more room for them.
func (f *Follower) Released() int64 { return f.fill.released.Load() }

var (
	fullDesc     = prometheus.NewDesc("mesoscope_hold_full_seconds", "In how many seconds held files will have used up hold.budget or the space above hold.min_free, at the rate of the last minutes. Absent while they do not grow.", nil, nil)
	releasedDesc = prometheus.NewDesc("mesoscope_hold_given_up_bytes_total", "Bytes of held files that were given up before they were settled, because hold.budget or hold.min_free was reached.", nil, nil)
)

// Describe sends what Collect can send.
func (f *fill) Describe(ch chan<- *prometheus.Desc) {
	ch <- fullDesc
	ch <- releasedDesc
}

// Collect sends what is known now.
func (f *fill) Collect(ch chan<- prometheus.Metric) {
	if fc, ok := f.forecast(); ok {
		ch <- prometheus.MustNewConstMetric(fullDesc, prometheus.GaugeValue, fc.In.Seconds())
	}
	ch <- prometheus.MustNewConstMetric(releasedDesc, prometheus.CounterValue, float64(f.released.Load()))
}

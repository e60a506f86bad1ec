package usage

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The kernel's count of a container's OOM kills goes with its cgroup, so of a
// container that ends by one nobody could read it. Docker notes it, and says it
// for as long as it has the container.

var oomEndsDesc = prometheus.NewDesc(pre+"oom_ends_total", oomEndsHelp, []string{"app", "framework"}, nil)

const oomEndsHelp = "Containers that ended after a process of theirs was killed for want of memory, as Docker says; of one that is started again and again, at least."

// oomEnds counts them by app and framework, from a time on.
type oomEnds struct {
	since time.Time
	last  map[string]time.Time // by container, the end that was counted last

	mu sync.Mutex
	n  map[[2]string]uint64
}

func newOOMEnds(since time.Time) *oomEnds {
	return &oomEnds{since: since, last: map[string]time.Time{}, n: map[[2]string]uint64{}}
}

// see says whether the container has ended so since it was seen before.
func (e *oomEnds) see(o Owner) bool {
	if !o.OOMKilled.After(e.since) || o.OOMKilled.Equal(e.last[o.ID]) {
		return false
	}
	e.last[o.ID] = o.OOMKilled
	e.mu.Lock()
	e.n[[2]string{o.App, o.Framework}]++
	e.mu.Unlock()
	return true
}

// forget drops containers that are not there any more.
func (e *oomEnds) forget(present map[string]*container) {
	for id := range e.last {
		if present[id] == nil {
			delete(e.last, id)
		}
	}
}

func (e *oomEnds) collect(ch chan<- prometheus.Metric) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for of, n := range e.n {
		ch <- prometheus.MustNewConstMetric(oomEndsDesc, prometheus.CounterValue, float64(n), of[0], of[1])
	}
}

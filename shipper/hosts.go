package shipper

import (
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// hosts notes which of several hosts answer. Of one host there is nothing to
// say besides what is said about the cluster.
type hosts struct {
	next     http.RoundTripper
	all      int
	problems *problems
	metrics  *metrics

	mu   sync.Mutex
	down map[string]time.Time // by host, since when
}

// RoundTrip passes the request on.
func (h *hosts) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := h.next.RoundTrip(req)
	if h.all < 2 {
		return res, err
	}
	host := req.URL.Host
	h.mu.Lock()
	since, was := h.down[host]
	switch {
	case err == nil:
		delete(h.down, host)
	case req.Context().Err() != nil && req.Context().Err().Error() == "context canceled": // we have ended it
	case !was:
		h.down[host] = time.Now()
	}
	n := len(h.down)
	h.mu.Unlock()
	h.metrics.hostsDown.Set(float64(n))
	switch {
	case err == nil && was:
		h.problems.note(slog.LevelInfo, 1, "a host of Elasticsearch answers again", "", "host", host, "after", time.Since(since).Round(time.Second))
	case err != nil && n > 0 && n < h.all:
		h.problems.note(slog.LevelWarn, 1, "a host of Elasticsearch does not answer; the others take over", err.Error(), "host", host)
	}
	return res, err
}

// someAnswer says whether one of several hosts answers although another does
// not.
func (h *hosts) someAnswer() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.down) > 0 && len(h.down) < h.all
}

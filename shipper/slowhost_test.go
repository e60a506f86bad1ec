package shipper

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mesoscope/record"
	"mesoscope/test/fakees"
)

// One of two hosts takes requests and does not answer them: it is said once, and
// it is left out, so that it costs one time limit and not one for each bulk.
func TestSlowHostOfTwo(t *testing.T) {
	store := &fakees.Server{}
	var slow atomic.Int64
	release := make(chan struct{})
	hung := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		slow.Add(1)

		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer hung.Close()
	defer close(release)
	good := httptest.NewServer(store)
	defer good.Close()
	cfg := testConfig()
	cfg.Hosts = []string{hung.URL, good.URL}
	const limit = 300 * time.Millisecond
	r := &rig{t: t, in: make(chan *record.Batch, 4), done: make(chan error, 1), logs: new(said), stop: func() {}}
	var err error
	if r.sink, err = NewElasticsearch(cfg, WithTimeout(limit), WithRegisterer(prometheus.NewRegistry()), WithLogger(slog.New(slog.NewTextHandler(r.logs, nil)))); err != nil {
		t.Fatal(err)
	}
	go func() { r.done <- r.sink.Run(t.Context(), r.in) }()
	const rounds = 40
	begin := time.Now()
	for i := range rounds {
		r.send(fmt.Sprintf("id%02d", i))
		for deadline := time.Now().Add(20 * time.Second); r.settledNow() <= i; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("line %d is not settled: %+v\n%s", i, r.sink.Status(), r.logs)
			}
		}
	}
	took := time.Since(begin)
	r.drain()
	if n := len(store.Docs(testIndex)); n != rounds {
		t.Errorf("%d documents stored, want %d", n, rounds)
	}
	if slow.Load() == 0 || slow.Load() > 4 || took > 10*limit+2*time.Second {
		t.Errorf("the slow host was asked %d times, and it took %s", slow.Load(), took)
	}
	r.wantSaid(1, "a host of Elasticsearch does not answer; the others take over")
	if n := strings.Count(r.logs.String(), "level=WARN") + strings.Count(r.logs.String(), "level=ERROR"); n > 1 {
		t.Errorf("%d warnings, want one\n%s", n, r.logs)
	}
	r.wantCount("hosts down", r.sink.metrics.hostsDown, 1)
}

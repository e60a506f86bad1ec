//go:build e2e

package document

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mesoscope/collector/state"
	"mesoscope/config"
	"mesoscope/record"
	"mesoscope/search"
	"mesoscope/shipper"
	"mesoscope/test/elasticsearch"
)

// collector is a Writer with a sink of its own.
func collector(t *testing.T, cfg config.Elasticsearch, name string) *Writer {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	sink, err := shipper.NewElasticsearch(cfg, shipper.WithLogger(log), shipper.WithName(name))
	if err != nil {
		t.Fatal(err)
	}
	w, err := New(Options{Namespace: cfg.Namespace, Vantage: name, Takes: sink.Takes, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	in := make(chan *record.Batch)
	ctx, stop := context.WithCancel(context.Background())
	ran, sunk := make(chan struct{}), make(chan struct{})
	go func() { w.Run(ctx, in); close(ran) }()
	sinking, cut := context.WithCancel(context.Background())
	go func() { sink.Run(sinking, in); close(sunk) }()
	t.Cleanup(func() { stop(); <-ran; cut(); <-sunk })
	return w
}

// A cable leads to a server, and can be cut.
type cable struct {
	*httputil.ReverseProxy
	cut  atomic.Bool
	lost atomic.Int64
}

func (c *cable) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if c.cut.Load() {
		c.lost.Add(1)
		panic(http.ErrAbortHandler) // the connection ends without an answer
	}
	c.ReverseProxy.ServeHTTP(w, r)
}

func mustParse(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// TestElasticsearch: changes become documents that can be found, once each,
// whoever saw them, also those from while the server was away.
func TestElasticsearch(t *testing.T) {
	es := elasticsearch.Start(t, elasticsearch.Options{})
	cfg := config.DefaultElasticsearch()
	cable := &cable{ReverseProxy: httputil.NewSingleHostReverseProxy(mustParse(t, es.URL))}
	proxy := httptest.NewServer(cable)
	t.Cleanup(proxy.Close)
	cfg.Hosts, cfg.Retention = []string{proxy.URL}, 0
	client, err := shipper.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := shipper.Setup(t.Context(), client, cfg); err != nil {
		t.Fatal(err)
	}
	do := func(method, path string) string {
		t.Helper()
		status, text := es.Do(http.DefaultClient, method, path, "", nil)
		if status >= 300 {
			t.Fatalf("%s %s: %d %s", method, path, status, text)
		}
		return text
	}
	count := func() (n int) {
		status, _ := es.Do(http.DefaultClient, "POST", "/logs-mesoscope.check-default/_refresh", "", nil)
		if status != 200 {
			return -1
		}
		var v struct{ Count int }
		if err := json.Unmarshal([]byte(do("GET", "/logs-mesoscope.check-default/_count")), &v); err != nil {
			t.Fatal(err)
		}
		return v.Count
	}
	until := func(what string, ok func() bool) {
		t.Helper()
		for deadline := time.Now().Add(5 * time.Minute); !ok(); time.Sleep(100 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("not within 5 minutes: %s", what)
			}
		}
	}

	one, two := collector(t, cfg, "col-1"), collector(t, cfg, "col-2")
	changes(one)
	until("three documents", func() bool { return count() == 3 })
	changes(two) // in a split, both are the owner
	until("the second collector has nothing left", func() bool { two.mu.Lock(); defer two.mu.Unlock(); return len(two.there) == 0 })
	if n := count(); n != 3 {
		t.Errorf("%d documents, want 3", n)
	}
	store := search.NewElasticsearch(client, "logs-*")
	for q, want := range questions {
		if n := found(t, store, q); n != want {
			t.Errorf("%s finds %d, want %d", q, n, want)
		}
	}
	caps := do("GET", "/logs-mesoscope.check-default/_field_caps?fields=mesoscope.*,@timestamp,service.name")
	for field, typ := range map[string]string{"@timestamp": "date_nanos", "mesoscope.check.since": "date_nanos", "mesoscope.check.first_bad": "date_nanos", "mesoscope.check.status": "keyword",
		"mesoscope.check.duration_ms": "long", "mesoscope.check.flapping": "boolean", "mesoscope.evidence.status": "long", "mesoscope.evidence.output": "keyword", "service.name": "keyword"} {
		if !strings.Contains(caps, fmt.Sprintf(`"%s":{"%s":`, field, typ)) {
			t.Errorf("%s is not %s: %s", field, typ, caps)
		}
	}

	cable.cut.Store(true)
	for n := range 500 {
		one.Changed(event(fmt.Sprint("held-", n), state.Critical))
	}
	until("the writer has noticed", func() bool { return cable.lost.Load() > 3 })
	if n := count(); n != 3 {
		t.Errorf("%d documents came through a cable that is cut", n)
	}
	cable.cut.Store(false)
	until("what was held arrives", func() bool { return count() == 503 })
	until("nothing is left", func() bool { one.mu.Lock(); defer one.mu.Unlock(); return len(one.there) == 0 })
	for _, reason := range []string{dropFull, dropEnd, dropBroken} {
		if n := one.drops(reason); n != 0 {
			t.Errorf("%d dropped: %s", n, reason)
		}
	}
}

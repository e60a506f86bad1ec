//go:build e2e

package shipper

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mesoscope/config"
	"mesoscope/record"
	"mesoscope/test/elasticsearch"
)

// real is a sink over a real server.
type real struct {
	t       *testing.T
	es      *elasticsearch.Server
	auth    func(*http.Request)
	cfg     config.Elasticsearch
	sink    *Elasticsearch
	in      chan *record.Batch
	done    chan error
	settled atomic.Int64
	logs    *strings.Builder
	client  *http.Client
}

func (r *real) do(method, path, body string) string {
	r.t.Helper()
	status, out := r.es.Do(r.client, method, path, body, r.auth)
	if status >= 300 {
		r.t.Fatalf("%s %s: %d %s", method, path, status, out)
	}
	return out
}

func (r *real) start() {
	r.t.Helper()
	d, err := OpenDeadLetters(r.t.TempDir(), 1<<20)
	if err != nil {
		r.t.Fatal(err)
	}
	r.logs = new(strings.Builder)
	if r.sink, err = NewElasticsearch(r.cfg, WithDeadLetters(d), WithRegisterer(prometheus.NewRegistry()), WithLogger(slog.New(slog.NewTextHandler(r.logs, nil)))); err != nil {
		r.t.Fatal(err)
	}
	r.in, r.done = make(chan *record.Batch, 4), make(chan error, 1)
	r.settled.Store(0)
	go func() { r.done <- r.sink.Run(context.Background(), r.in) }()
}

func (r *real) drain() {
	r.t.Helper()
	close(r.in)
	select {
	case err := <-r.done:
		if err != nil {
			r.t.Fatal(err)
		}
	case <-time.After(2 * time.Minute):
		r.t.Fatalf("did not drain: %+v", r.sink.Status())
	}
}

func (r *real) send(prefix string, n int) {
	for from := 0; from < n; from += 50 {
		var ids []string
		for i := from; i < min(from+50, n); i++ {
			ids = append(ids, fmt.Sprintf("%s%06d", prefix, i))
		}
		r.in <- batchOf(testStream(testIndex), func(*record.Batch) { r.settled.Add(1) }, "", ids...)
	}
}

func (r *real) count() (n int) {
	r.t.Helper()
	r.do("POST", "/"+testIndex+"/_refresh", "")
	var v struct{ Count int }
	if err := json.Unmarshal([]byte(r.do("GET", "/"+testIndex+"/_count", "")), &v); err != nil {
		r.t.Fatal(err)
	}
	return v.Count
}

// until waits for a state of a real server; it fails after a minute.
func (r *real) until(what string, ok func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("not within a minute: %s\n%+v", what, r.sink.Status())
		}
	}
}

func (r *real) value(c prometheus.Collector) float64 {
	reg := prometheus.NewRegistry()
	reg.MustRegister(c)
	f, err := reg.Gather()
	if err != nil || len(f) != 1 {
		r.t.Fatal(err)
	}
	m := f[0].GetMetric()[0]
	return m.GetCounter().GetValue() + m.GetGauge().GetValue()
}

func (r *real) setup(wantChange bool) Report {
	r.t.Helper()
	c, err := NewClient(r.cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	rep, err := Setup(r.t.Context(), c, r.cfg)
	if err != nil || rep.Changed() != wantChange {
		r.t.Fatalf("setup: %v %+v", err, rep)
	}
	return rep
}

// roundTrip is what every server must do: setup twice, 1,000 lines with the
// right mapping, duplicates, a full disk.
func (r *real) roundTrip() {
	t := r.t
	rep := r.setup(true)
	for _, s := range rep.Steps {
		t.Logf("%-20s %-45s %-9s %s", s.Kind, s.Name, s.Action, s.Detail)
	}
	r.setup(false)

	r.start()
	r.send("id", 1000)
	r.drain()
	if n := r.count(); n != 1000 || r.settled.Load() != 20 || r.value(r.sink.metrics.delivered) != 1000 {
		t.Fatalf("%d documents, %d settled\n%s", n, r.settled.Load(), r.logs)
	}
	caps := r.do("GET", "/"+testIndex+"/_field_caps?fields=@timestamp,message,event.sequence,log.offset,event.created,container.id,container.labels,mesos.task.labels,marathon.app.labels,service.name,app,stream", "")
	for field, typ := range map[string]string{"@timestamp": "date_nanos", "message": "text", "event.sequence": "long", "log.offset": "long",
		"event.created": "date_nanos", "container.id": "keyword", "container.labels": "flattened", "mesos.task.labels": "flattened", "marathon.app.labels": "flattened", "service.name": "keyword", "app": "flattened", "stream": "keyword"} {
		if !strings.Contains(caps, fmt.Sprintf(`"%s":{"%s":`, field, typ)) {
			t.Errorf("%s is not %s: %s", field, typ, caps)
		}
	}
	doc := r.do("GET", "/"+testIndex+"/_search?size=1&q=_id:id000007", "")
	if !strings.Contains(doc, `"2026-11-23T10:00:00.123456789Z"`) || !strings.Contains(doc, `"line id000007"`) {
		t.Errorf("stored document: %s", doc)
	}

	r.start()
	r.send("id", 1000)
	r.drain()
	if n := r.count(); n != 1000 || r.value(r.sink.metrics.duplicate) != 1000 {
		t.Errorf("second time: %d documents, %v duplicates", n, r.value(r.sink.metrics.duplicate))
	}

	// A value that the mapping refuses is stored in a reduced form.
	r.start()
	bad := batchOf(testStream(testIndex), func(*record.Batch) { r.settled.Add(1) }, "", "bad")
	bad.Body = []byte(strings.Replace(string(bad.Body), `"sequence":0`, `"sequence":x`, 1)) // not JSON
	r.in <- bad
	odd := batchOf(&record.Stream{Name: "x", Index: testIndex, Fields: []byte(`"host":{"ip":"nonsense","name":"n1"}`)}, func(*record.Batch) { r.settled.Add(1) }, "", "odd")
	r.in <- odd
	r.drain()
	// logsdb ignores a malformed field by itself, and keeps it in the source.
	reduced := 2.0
	if strings.Contains(r.do("GET", "/"+testIndex+"/_settings", ""), `"logsdb"`) {
		reduced = 1
	}
	if n := r.count(); n != 1002 || r.settled.Load() != 2 || r.value(r.sink.metrics.reduced) != reduced {
		t.Errorf("refused lines: %d documents, %v reduced\n%s", n, r.value(r.sink.metrics.reduced), r.logs)
	}

	// The block of a full disk, and its end.
	r.do("PUT", "/"+testIndex+"/_settings", `{"index.blocks.read_only_allow_delete":true}`)
	r.start()
	r.send("disk", 50) // one batch: it is what asks, all others would come back
	r.until("paused for the disk", func() bool {
		s := r.sink.Status()
		return len(s.Paused) == 1 && s.Paused[0].Reason == "disk"
	})
	if r.settled.Load() != 0 {
		t.Error("settled while blocked")
	}
	r.do("PUT", "/"+testIndex+"/_settings", `{"index.blocks.read_only_allow_delete":null}`)
	r.drain()
	if n := r.count(); n != 1052 || !strings.Contains(r.logs.String(), "output goes on") {
		t.Errorf("after the disk: %d documents\n%s", n, r.logs)
	}
}

func realConfig(es *elasticsearch.Server) config.Elasticsearch {
	c := testConfig()
	c.Hosts = []string{es.URL}
	c.Retention = config.Duration(30 * 24 * time.Hour)
	return c
}

func TestElasticsearch9Overload(t *testing.T) {
	es := elasticsearch.Start(t, elasticsearch.Options{YML: "indexing_pressure.memory.limit: 200kb"})
	r := &real{t: t, es: es, client: http.DefaultClient, cfg: realConfig(es)}
	r.roundTrip()

	// Two senders with bulks near the limit: whole requests get 429.
	r.cfg.BulkMaxBytes, r.cfg.Workers = 150<<10, 4
	r.start()
	big := strings.Repeat("x ", 1000)
	for i := range 1000 {
		r.in <- batchOf(testStream(testIndex), func(*record.Batch) { r.settled.Add(1) }, big, fmt.Sprintf("big%05d", i))
	}
	r.drain()
	if n := r.count(); n != 2052 || r.settled.Load() != 1000 {
		t.Errorf("%d documents, %d settled\n%s", n, r.settled.Load(), r.logs)
	}
	if r.value(r.sink.metrics.bulks.WithLabelValues("overload")) == 0 {
		t.Error("the server was never overloaded: the test shows nothing")
	}
	t.Logf("overloaded bulks: %v", r.value(r.sink.metrics.bulks.WithLabelValues("overload")))
}

func TestElasticsearch8WithPasswordTLSAndKey(t *testing.T) {
	const password = "correct-horse"
	es := elasticsearch.Start(t, elasticsearch.Options{Version: "8.16.6", Password: password, TLS: true})
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} // the test's own look
	r := &real{t: t, es: es, client: client, cfg: realConfig(es), auth: func(q *http.Request) { q.SetBasicAuth("elastic", password) }}
	secret := filepath.Join(t.TempDir(), "secret")
	writeFile(t, secret, password+"\n")
	r.cfg.CAFile, r.cfg.Username, r.cfg.PasswordFile = es.CertFile, "elastic", secret
	r.roundTrip()

	// An API key that may write and nothing else.
	var key struct{ Encoded, ID, APIKey string }
	answer := r.do("POST", "/_security/api_key", `{"name":"agent","role_descriptors":{"w":{"indices":[{"names":["logs-mesos.*-*"],"privileges":["create_doc","auto_configure"]}]}}}`)
	if err := json.Unmarshal([]byte(answer), &key); err != nil || key.Encoded == "" {
		t.Fatalf("%v %s", err, answer)
	}
	r.cfg.Username, r.cfg.PasswordFile, r.cfg.APIKeyFile = "", "", secret
	writeFile(t, secret, key.Encoded)
	c, err := NewClient(r.cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Setup(t.Context(), c, r.cfg); !errors.Is(err, ErrForbidden) {
		t.Errorf("setup with a key that may only write: %v", err)
	}
	r.start()
	r.send("key", 100)
	r.drain()
	if n := r.count(); n != 1152 {
		t.Errorf("%d documents", n)
	}

	// A wrong key pauses; a right one in the file ends the pause.
	writeFile(t, secret, "d3Jvbmc6a2V5")
	r.start()
	r.send("later", 50)
	r.until("paused for the credentials", func() bool {
		s := r.sink.Status()
		return len(s.Paused) == 1 && s.Paused[0].Reason == "denied"
	})
	writeFile(t, secret, key.Encoded)
	r.drain()
	if n := r.count(); n != 1202 {
		t.Errorf("%d documents", n)
	}

	// A key for other indices: items are answered 403, nothing is dropped.
	answer = r.do("POST", "/_security/api_key", `{"name":"other","role_descriptors":{"w":{"indices":[{"names":["other-*"],"privileges":["create_doc"]}]}}}`)
	right := key.Encoded
	if err := json.Unmarshal([]byte(answer), &key); err != nil {
		t.Fatal(err)
	}
	writeFile(t, secret, key.Encoded)
	r.start()
	r.send("forbidden", 10)
	r.until("paused for the privileges", func() bool {
		s := r.sink.Status()
		return len(s.Paused) == 1 && s.Paused[0].Reason == "denied"
	})
	writeFile(t, secret, right)
	r.drain()
	if n := r.count(); n != 1212 {
		t.Errorf("%d documents", n)
	}

	// A certificate that is not trusted.
	r.cfg.CAFile = ""
	if c, err = NewClient(r.cfg); err != nil {
		t.Fatal(err)
	}
	if _, err := Setup(t.Context(), c, r.cfg); !errors.Is(err, ErrUnreachable) {
		t.Errorf("without the CA: %v", err)
	}
	if _, err := os.Stat(es.CertFile); err != nil {
		t.Error(err)
	}
}

package shipper

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mesoscope/config"
	"mesoscope/record"
	"mesoscope/test/fakees"
)

const testIndex = "logs-mesos.container-default"

func testConfig() config.Elasticsearch {
	return config.Elasticsearch{
		Hosts: []string{"http://127.0.0.1:1"}, Dataset: "mesos.container", Namespace: "default", CompressionLevel: 1, BulkMaxBytes: 8 << 20,
		FlushInterval: config.Duration(time.Second), Workers: 2, LogsDB: "auto",
	}
}

func testStream(index string) *record.Stream {
	return &record.Stream{Name: "docker/x/stdout", Index: index,
		Fields: []byte(`"stream":"stdout","container":{"id":"4f66","labels":{"a":"b"}},"service":{"name":"web"},"app":{"n":1}`)}
}

// said is what a sink has logged, from whatever goroutine.
type said struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// batchOf makes a batch of documents with these ids; the message of each is
// "line <id>", or text if given.
func batchOf(s *record.Stream, onSettle func(*record.Batch), text string, ids ...string) *record.Batch {
	b := new(record.Batch)
	b.Reset(s, func(b *record.Batch, settled bool) {
		if settled && onSettle != nil {
			onSettle(b)
		}
	})
	for i, id := range ids {
		b.Body = record.AppendAction(b.Body, []byte(id))
		it := record.Item{Doc: uint32(len(b.Body))}
		m := text
		if m == "" {
			m = "line " + id
		}
		b.Body = append(b.Body, `{"@timestamp":"2026-11-23T10:00:00.123456789Z","message":`...)
		b.Body = record.AppendQuoted(b.Body, m)
		b.Body = fmt.Appendf(b.Body, `,"event":{"sequence":%d,"created":"2026-11-23T10:00:01Z"},"log":{"offset":%d},`, i, i*100)
		b.Body = append(append(b.Body, s.Fields...), "}\n"...)
		it.End = uint32(len(b.Body))
		b.Items = append(b.Items, it)
	}
	return b
}

// fates are the marks of a batch, "a:1 b:3", in the order of the items.
func fates(b *record.Batch) string {
	marks := map[uint32]record.Outcome{}
	for _, m := range b.Marks() {
		marks[m.Item] = m.Outcome
	}
	var out []string
	for i := range b.Len() {
		if o, ok := marks[uint32(i)]; ok {
			out = append(out, fmt.Sprintf("%s:%d", b.ID(i), o))
		}
	}
	return strings.Join(out, " ")
}

// rig is a sink over a fake server inside a bubble.
type rig struct {
	t    *testing.T
	fake *fakees.Server
	sink *Elasticsearch
	dead *DeadLetters
	dir  string
	in   chan *record.Batch
	done chan error

	mu      sync.Mutex
	settled int
	marks   string // of the last settled batch
	stop    context.CancelFunc
	logs    *said
}

func newRig(t *testing.T, fake *fakees.Server, change func(*config.Elasticsearch), opts ...Option) *rig {
	t.Helper()
	cfg := testConfig()
	if change != nil {
		change(&cfg)
	}
	r := &rig{t: t, fake: fake, dir: t.TempDir(), in: make(chan *record.Batch, 4), done: make(chan error, 1), logs: new(said)}
	var err error
	if r.dead, err = OpenDeadLetters(r.dir, 1<<20); err != nil {
		t.Fatal(err)
	}
	opts = append([]Option{WithTransport(fake.Transport()), WithDeadLetters(r.dead), WithRegisterer(prometheus.NewRegistry()),
		WithLogger(slog.New(slog.NewTextHandler(r.logs, nil)))}, opts...)
	if r.sink, err = NewElasticsearch(cfg, opts...); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r.stop = cancel
	go func() { r.done <- r.sink.Run(ctx, r.in) }()
	return r
}

func (r *rig) settle(b *record.Batch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.settled++
	r.marks = fates(b)
}

func (r *rig) wantMarks(want string) {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.marks != want {
		r.t.Errorf("marks %q, want %q\n%s", r.marks, want, r.logs)
	}
}

// wantSaid wants a text n times in the log.
func (r *rig) wantSaid(n int, text string) {
	r.t.Helper()
	if got := strings.Count(r.logs.String(), text); got != n {
		r.t.Errorf("said %d times, want %d: %q\n%s", got, n, text, r.logs)
	}
}

// since sends a batch that may have been sent before.
func (r *rig) since(index string, ids ...string) {
	b := batchOf(testStream(testIndex), r.settle, "", ids...)
	b.Since = index
	r.in <- b
}

func (r *rig) settledNow() int { r.mu.Lock(); defer r.mu.Unlock(); return r.settled }

func (r *rig) send(ids ...string) { r.in <- batchOf(testStream(testIndex), r.settle, "", ids...) }

// drain closes the input and waits for Run.
func (r *rig) drain() {
	r.t.Helper()
	close(r.in)
	if err := <-r.done; err != nil {
		r.t.Fatalf("Run: %v", err)
	}
	r.stop()
}

func (r *rig) letters() (out []DeadLetter) {
	for l, err := range ReadDeadLetters(r.dir) {
		if err != nil {
			r.t.Fatal(err)
		}
		out = append(out, l)
	}
	return out
}

func (r *rig) wantIDs(index string, want ...string) {
	r.t.Helper()
	var got []string
	for _, d := range r.fake.Docs(index) {
		got = append(got, d.ID)
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		r.t.Errorf("%s holds %v, want %v", index, got, want)
	}
}

func (r *rig) wantCount(what string, c prometheus.Collector, want float64) {
	r.t.Helper()
	reg := prometheus.NewRegistry() // of its own: Gather is how a lone metric is read
	reg.MustRegister(c)
	families, err := reg.Gather()
	if err != nil || len(families) != 1 {
		r.t.Fatalf("%s: %v %v", what, families, err)
	}
	m := families[0].GetMetric()[0]
	if got := m.GetCounter().GetValue() + m.GetGauge().GetValue(); got != want {
		r.t.Errorf("%s = %v, want %v\n%s", what, got, want, r.logs)
	}
}

// failOnce faults the first n attempts at an item.
func failOnce(id string, n int, f fakees.ItemFault) func(string, string, []byte) fakees.ItemFault {
	return func(_, got string, _ []byte) fakees.ItemFault {
		if got == id && n > 0 {
			n--
			return f
		}
		return fakees.ItemFault{}
	}
}

func bubble(t *testing.T, f func(t *testing.T)) { synctest.Test(t, f) }

func docOf(t *testing.T, raw json.RawMessage) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
	return m
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

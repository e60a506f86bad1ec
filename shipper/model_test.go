package shipper

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mesoscope/config"
	"mesoscope/record"
	"mesoscope/test/fakees"
)

var modelSeeds = flag.Uint64("model.seeds", 60, "how many seeds TestModel tries")

// TestModel does random things to a sink over the fake: faults of whole requests
// and of items, bulks that are applied long after they were cut, rollovers, a
// sink that ends in the middle and begins anew, rights that are missing. In the
// end each document is stored exactly once over all backing indices (or in
// quarantine, dropped by the server, or a dead letter), and the marks say which.
// Without the right to look up it may be there twice, but never not at all.
func TestModel(t *testing.T) {
	seeds := *modelSeeds
	if testing.Short() {
		seeds = min(seeds, 10)
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			bubble(t, func(t *testing.T) { newModel(t, seed).run() })
		})
	}
}

type model struct {
	t    *testing.T
	dir  string
	fake *fakees.Server
	cfg  config.Elasticsearch

	mu      sync.Mutex // hooks and ends run in several goroutines
	rnd     *rand.Rand
	start   time.Time
	lookups bool // the rights to look up are there
	deletes bool
	late    time.Duration
	ends    map[string]record.Outcome // by id, of what is settled
	open    int                       // batches that are not settled

	batches []*modelBatch
	sink    *Elasticsearch
	dead    *DeadLetters
	in      chan *record.Batch
	done    chan error
	stop    context.CancelFunc
	logs    strings.Builder
	round   int // of the sink, from 1
}

// A modelBatch is what the reader knows of a batch.
type modelBatch struct {
	stream *record.Stream
	ids    []string
	text   string
	since  string // the write index when it was sent first
	sent   bool   // at any time
	away   int    // the round of the sink that has it; 0 = none
	done   bool
}

func newModel(t *testing.T, seed uint64) *model {
	m := &model{t: t, dir: t.TempDir(), rnd: rand.New(rand.NewPCG(seed, 1)), start: time.Now(), lookups: true, deletes: true, late: 3 * time.Minute, ends: map[string]record.Outcome{}}
	m.fake = &fakees.Server{OnBulk: m.onBulk, OnItem: m.onItem, OnCall: m.onCall}
	switch m.intN(8) {
	case 0:
		m.fake.Deny(fakees.CallMget, true)
		m.lookups = false
	case 1:
		m.fake.Deny(fakees.CallResolve, true)
		m.lookups = false
	case 2:
		m.fake.Deny(fakees.CallDelete, true)
		m.deletes = false
	case 3:
		m.fake.Deny(fakees.CallTasks, true)
		m.late = 40 * time.Second // less than what is waited then
	}
	m.cfg = testConfig()
	m.cfg.BulkMaxBytes = config.Bytes(2000 + m.intN(20_000))
	m.cfg.Workers = 1 + m.intN(4)
	n := 0
	for range 30 + m.intN(30) {
		b := &modelBatch{stream: testStream([]string{testIndex, "logs-mesos.other-default"}[m.intN(2)]), text: strings.Repeat("x", m.intN(900))}
		for range 1 + m.intN(12) {
			b.ids = append(b.ids, fmt.Sprintf("id%05d", n))
			n++
		}
		m.batches = append(m.batches, b)
	}
	m.open = len(m.batches)
	return m
}

func (m *model) chance(p float64) bool { m.mu.Lock(); defer m.mu.Unlock(); return m.rnd.Float64() < p }
func (m *model) intN(n int) int        { m.mu.Lock(); defer m.mu.Unlock(); return m.rnd.IntN(n) }

// calm: after a while the cluster is well, so that it must end.
func (m *model) calm() bool { return time.Since(m.start) > 20*time.Minute }

var wholeFaults = []fakees.Fault{
	{Status: 429, Type: "es_rejected_execution_exception"}, {Status: 503}, {Status: 502, Body: "<html>"}, {Status: 429, RetryAfter: "3"},
	{Cut: true}, {Cut: true, Apply: true}, {Hang: true}, {Hang: true, Apply: true}, {Truncate: 30}, {Body: `{"items":[]}`, Apply: true},
	{Status: 401}, {Status: 413}, {Delay: 3 * time.Second}, {Status: 500, Apply: true},
}

func (m *model) onBulk(b *fakees.Bulk) fakees.Fault {
	if m.chance(0.03) {
		m.fake.Rollover(b.Index) // between whatever was asked and the write
	}
	if m.calm() || !m.chance(0.3) {
		return fakees.Fault{Delay: 10 * time.Millisecond}
	}
	if m.chance(0.25) {
		return fakees.Fault{Late: time.Duration(m.intN(int(m.late))), Hang: m.chance(0.3)}
	}
	return wholeFaults[m.intN(len(wholeFaults))]
}

// pipeline is what the server's own pipeline does with a document: always the
// same.
func pipeline(id string) fakees.ItemFault {
	switch {
	case strings.HasSuffix(id, "33"):
		return fakees.ItemFault{Noop: true}
	case strings.HasSuffix(id, "66"):
		return fakees.ItemFault{FailureStore: true}
	}
	return fakees.ItemFault{}
}

func (m *model) onItem(_, id string, _ []byte) fakees.ItemFault {
	items := []fakees.ItemFault{
		{Status: 429, Type: "es_rejected_execution_exception"}, {Status: 503, Type: "unavailable_shards_exception"}, {Status: 500, Type: "exception"},
		{Status: 400, Type: "document_parsing_exception"}, {Status: 403, Type: "security_exception"}, fakees.FloodStage,
	}
	if m.calm() || !m.chance(0.03) {
		return pipeline(id)
	}
	return items[m.intN(len(items))]
}

func (m *model) onCall(c *fakees.Call) fakees.Fault {
	if m.chance(0.05) {
		m.fake.Rollover(testIndex)
	}
	for _, b := range m.fake.Backing(testIndex) {
		m.fake.Away(b, !m.calm() && m.chance(0.1))
	}
	if m.calm() || !m.chance(0.1) {
		return fakees.Fault{Delay: 5 * time.Millisecond}
	}
	return []fakees.Fault{{Status: 503}, {Cut: true}, {Status: 429}, {Status: 401}, {Delay: time.Second}}[m.intN(5)]
}

func (m *model) begin() {
	m.round++
	var err error
	if m.dead, err = OpenDeadLetters(m.dir, 1<<20); err != nil {
		m.t.Fatal(err)
	}
	m.sink, err = NewElasticsearch(m.cfg, WithTransport(m.fake.Transport()), WithDeadLetters(m.dead), WithRegisterer(prometheus.NewRegistry()),
		WithLogger(slog.New(slog.NewTextHandler(&m.logs, nil))), WithMemoryLimit(200<<10), WithName("model"))
	if err != nil {
		m.t.Fatal(err)
	}
	m.in, m.done = make(chan *record.Batch, 4), make(chan error, 1)
	var ctx context.Context
	ctx, m.stop = context.WithCancel(m.t.Context())
	go func() { m.done <- m.sink.Run(ctx, m.in) }()
}

// end ends the sink as a crash does: what is not settled is unknown to it
// afterwards.
func (m *model) end() {
	m.stop()
	<-m.done
	if err := m.dead.Close(); err != nil {
		m.t.Error(err)
	}
}

func (m *model) send(b *modelBatch) {
	r := batchOf(b.stream, nil, b.text, b.ids...)
	round := m.round
	body, items := r.Body, r.Items
	r.Reset(b.stream, func(r *record.Batch, settled bool) { m.ended(b, r, settled, round) })
	r.Body, r.Items = body, items
	switch {
	case b.sent && m.chance(0.2):
		r.Since = record.Unknown
	case b.sent:
		r.Since = b.since
	default:
		if b.since = m.sink.WriteIndex(b.stream.Index); b.since == "" {
			b.since = record.Unknown
		}
	}
	m.mu.Lock()
	b.away = round
	m.mu.Unlock()
	select {
	case m.in <- r:
		b.sent = true
	case <-time.After(time.Second):
		m.mu.Lock()
		b.away = 0
		m.mu.Unlock()
	}
}

// ended is what the reader does with a batch's end: a settled one must be where
// its marks say at that moment.
func (m *model) ended(b *modelBatch, r *record.Batch, settled bool, round int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if b.away != round || b.done {
		m.t.Errorf("batch %v of round %d ended in round %d", b.ids, b.away, round)
	}
	b.away = 0
	if !settled {
		return
	}
	b.done = true
	m.open--
	marks := map[string]record.Outcome{}
	for _, k := range r.Marks() {
		id := string(r.ID(int(k.Item)))
		if _, twice := marks[id]; twice {
			m.t.Errorf("%s is marked twice", id)
		}
		marks[id] = k.Outcome
	}
	for _, id := range b.ids {
		m.ends[id] = marks[id]
	}
}

func (m *model) run() {
	m.begin()
	for {
		m.mu.Lock()
		open := m.open
		var free []*modelBatch
		for _, b := range m.batches {
			if !b.done && (b.away == 0 || b.away < m.round) {
				free = append(free, b)
			}
		}
		m.mu.Unlock()
		if open == 0 {
			break
		}
		if time.Since(m.start) > 2*time.Hour {
			m.t.Fatalf("%d batches are not settled: %+v\n%s", open, m.sink.Status(), &m.logs)
		}
		if len(free) > 0 {
			if b := free[m.intN(len(free))]; m.sink.Takes(b.stream.Index) {
				m.send(b)
			}
		}
		if m.chance(0.02) {
			m.fake.Rollover(testIndex)
		}
		if !m.calm() && m.chance(0.02) {
			m.end()
			m.begin()
		}
		time.Sleep(time.Duration(m.intN(2000)) * time.Millisecond)
	}
	close(m.in)
	if err := <-m.done; err != nil {
		m.t.Error(err)
	}
	m.stop()
	time.Sleep(m.late) // nothing comes later than this
	m.judge()
}

func (m *model) judge() {
	t := m.t
	stored, quarantined, dropped, letters := map[string]int{}, map[string]int{}, map[string]int{}, map[string]int{}
	for _, index := range []string{testIndex, "logs-mesos.other-default"} {
		for _, d := range m.fake.Docs(index) {
			stored[d.ID]++
		}
		for _, d := range m.fake.FailureStore(index) {
			quarantined[d.ID]++
		}
		for _, id := range m.fake.Dropped(index) {
			dropped[id]++
		}
	}
	for l, err := range ReadDeadLetters(m.dir) {
		if err != nil {
			t.Error(err)
		}
		letters[l.ID]++
	}
	bad := 0
	for id, end := range m.ends {
		var ok bool
		switch end {
		case record.Delivered, record.Duplicate:
			ok = stored[id] == 1 || !m.lookups && stored[id] > 0
		case record.Quarantined:
			ok = stored[id] == 0 && quarantined[id] > 0
		case record.DroppedByServer:
			ok = stored[id] == 0 && dropped[id] > 0
		case record.DeadLettered:
			ok = letters[id] > 0 && (stored[id] == 0 || !m.lookups)
		case record.Doubled:
			ok = stored[id] == 2 && !m.deletes
		}
		if !ok {
			bad++
			t.Errorf("%s ended as %d, but is stored %d, quarantined %d, dropped %d times, %d dead letters", id, end, stored[id], quarantined[id], dropped[id], letters[id])
		}
	}
	if bad > 0 {
		t.Log(m.logs.String())
	}
	if s := m.sink.Status(); s.Retrying != 0 || len(s.Paused) != 0 {
		t.Errorf("left over: %+v", s)
	}
}

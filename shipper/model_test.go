package shipper

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"mesoscope/config"
	"mesoscope/record"
	"mesoscope/test/fakees"
)

// Random faults against the fake: in the end every document is in its data
// stream exactly once or in the dead-letter file, every batch is settled
// exactly once (record panics otherwise), and at the moment of its settling
// each of its documents was stored or on the disk.
func TestRandomFaults(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			bubble(t, func(t *testing.T) { randomFaults(t, seed) })
		})
	}
}

func randomFaults(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	var mu sync.Mutex // hooks run in several senders
	chance := func(p float64) bool { mu.Lock(); defer mu.Unlock(); return rnd.Float64() < p }
	intN := func(n int) int { mu.Lock(); defer mu.Unlock(); return rnd.IntN(n) }
	start := time.Now()
	calm := func() bool { return time.Since(start) > 20*time.Minute } // then the cluster is well, so that it must end
	whole := []fakees.Fault{
		{Status: 429, Type: "es_rejected_execution_exception"}, {Status: 503}, {Status: 502, Body: "<html>"}, {Status: 429, RetryAfter: "3"},
		{Cut: true}, {Cut: true, Apply: true}, {Hang: true}, {Hang: true, Apply: true}, {Truncate: 30}, {Body: `{"items":[]}`, Apply: true},
		{Status: 401}, {Status: 413}, {Delay: 3 * time.Second}, {Status: 500, Apply: true},
	}
	items := []fakees.ItemFault{
		{Status: 429, Type: "es_rejected_execution_exception"}, {Status: 503, Type: "unavailable_shards_exception"}, {Status: 500, Type: "exception"},
		{Status: 400, Type: "document_parsing_exception"}, {Status: 403, Type: "security_exception"}, fakees.FloodStage,
	}
	fake := &fakees.Server{
		OnBulk: func(*fakees.Bulk) fakees.Fault {
			if calm() || !chance(0.3) {
				return fakees.Fault{Delay: 10 * time.Millisecond}
			}
			return whole[intN(len(whole))]
		},
		OnItem: func(string, string, []byte) fakees.ItemFault {
			if calm() || !chance(0.05) {
				return fakees.ItemFault{}
			}
			return items[intN(len(items))]
		},
	}
	r := newRig(t, fake, func(c *config.Elasticsearch) {
		c.BulkMaxBytes = config.Bytes(2000 + intN(20_000))
		c.Workers = 1 + intN(4)
	}, WithMemoryLimit(200<<10))

	streams := []*record.Stream{testStream(testIndex), testStream("logs-mesos.other-default")}
	have := func() map[string]int {
		n := map[string]int{}
		for _, s := range streams {
			for _, d := range fake.Docs(s.Index) {
				n[d.ID]++
			}
		}
		for l, err := range ReadDeadLetters(r.dir) {
			if err != nil {
				t.Error(err)
			}
			n[l.ID]++
		}
		return n
	}
	onSettle := func(b *record.Batch) {
		r.settle(b)
		n := have()
		for i := range b.Len() {
			if id := string(b.ID(i)); n[id] != 1 {
				t.Errorf("settled although %s is there %d times", id, n[id])
			}
		}
	}
	sent, batches := 0, 30+intN(30)
	for range batches {
		var ids []string
		for range 1 + intN(12) {
			ids = append(ids, fmt.Sprintf("id%05d", sent))
			sent++
		}
		s, size, pause := streams[intN(2)], intN(900), time.Duration(intN(2000))*time.Millisecond
		r.in <- batchOf(s, onSettle, strings.Repeat("x", size), ids...)
		time.Sleep(pause)
	}
	r.drain()
	n := have()
	for i := range sent {
		if id := fmt.Sprintf("id%05d", i); n[id] != 1 {
			t.Errorf("%s is there %d times", id, n[id])
		}
	}
	if len(n) != sent || r.settledNow() != batches {
		t.Errorf("%d of %d documents, %d of %d batches settled", len(n), sent, r.settledNow(), batches)
	}
	if s := r.sink.Status(); s.Retrying != 0 || len(s.Paused) != 0 {
		t.Errorf("left over: %+v", s)
	}
}

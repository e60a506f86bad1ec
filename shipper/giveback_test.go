package shipper

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mesoscope/config"
	"mesoscope/record"
	"mesoscope/test/fakees"
)

// A reader sends batches of 20 KB for one data stream, at most a few at a time,
// and sends those again that come back, as soon as they are taken.
type reader struct {
	r     *rig
	index string
	since string // of new batches

	mu       sync.Mutex
	away     int
	next     int
	back     []string // ids of batches that came back
	returned int
	settled  int
}

const readerText = 20_000

func (d *reader) send(id, since string) bool {
	b := batchOf(testStream(d.index), nil, strings.Repeat("x", readerText), id+"a", id+"b")
	body, items := b.Body, b.Items
	b.Reset(b.Stream, func(_ *record.Batch, settled bool) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.away--
		if settled {
			d.settled++
		} else {
			d.returned++
			d.back = append(d.back, id)
		}
	})
	b.Body, b.Items, b.Since = body, items, since
	select {
	case d.r.in <- b:
		d.mu.Lock()
		d.away++
		d.mu.Unlock()
		return true
	case <-time.After(50 * time.Millisecond):
		return false
	}
}

// run sends until the time has come, asking Takes once a second as the reader of
// the agent does when something came back.
func (d *reader) run(until time.Time, most int) {
	for time.Now().Before(until) {
		d.mu.Lock()
		away, back := d.away, append([]string(nil), d.back...)
		d.mu.Unlock()
		if len(back) > 0 {
			if d.r.sink.Takes(d.index) && d.send(back[0], record.Unknown) {
				d.mu.Lock()
				d.back = d.back[1:]
				d.mu.Unlock()
				continue
			}
			time.Sleep(time.Second)
			continue
		}
		if away < 40 && d.next < most && d.send(fmt.Sprintf("%s%05d", d.index[len("logs-mesos."):][:2], d.next), d.since) {
			d.next++
			continue
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (d *reader) counts() (settled, returned int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.settled, d.returned
}

// Two data streams under load, one of which takes nothing for an hour: the
// other one goes on as if nothing was, memory stays bounded, and in the end all
// is there once.
func TestPausedLaneDoesNotStopOthers(t *testing.T) {
	for _, c := range []struct {
		reason string
		item   fakees.ItemFault
		whole  fakees.Fault
	}{
		{"disk", fakees.FloodStage, fakees.Fault{}},
		{"denied", fakees.ItemFault{Status: 403, Type: "security_exception"}, fakees.Fault{}},
		{"missing", fakees.ItemFault{Status: 404, Type: "index_not_found_exception"}, fakees.Fault{}},
		{"blocked", fakees.ItemFault{Status: 403, Type: "cluster_block_exception", Reason: "blocked by: [FORBIDDEN/8/index write (api)];"}, fakees.Fault{}},
		{"denied", fakees.ItemFault{}, fakees.Fault{Status: 403, Type: "security_exception"}},
		{"overload", fakees.ItemFault{Status: 429, Type: "es_rejected_execution_exception"}, fakees.Fault{}},
	} {
		t.Run(c.reason, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				var bad atomic.Bool
				fake := &fakees.Server{
					OnBulk: func(b *fakees.Bulk) fakees.Fault {
						if b.Index == testIndex && bad.Load() {
							return c.whole
						}
						return fakees.Fault{Delay: 5 * time.Millisecond}
					},
					OnItem: func(index, _ string, _ []byte) fakees.ItemFault {
						if index == testIndex && bad.Load() {
							return c.item
						}
						return fakees.ItemFault{}
					},
				}
				const memory = 2 << 20
				r := newRig(t, fake, func(c *config.Elasticsearch) { c.BulkMaxBytes = 64 << 10 }, WithMemoryLimit(memory))
				one, two := &reader{r: r, index: testIndex}, &reader{r: r, index: "logs-mesos.other-default"}
				begin := time.Now()
				var group sync.WaitGroup
				for _, d := range []*reader{one, two} {
					group.Go(func() { d.run(begin.Add(2*time.Hour), 2000) })
				}
				time.Sleep(time.Second)
				bad.Store(true)
				time.Sleep(4 * time.Minute) // the other one has ended its work by then
				if s, back := two.counts(); s != 2000 || back != 0 {
					t.Errorf("the other data stream: %d of 2000 settled, %d returned", s, back)
				}
				s := r.sink.Status()
				if len(s.Paused) != 1 || s.Paused[0].Reason != c.reason || s.Paused[0].Index != testIndex || r.sink.Takes(testIndex) || !r.sink.Takes(two.index) {
					t.Errorf("status %+v", s)
				}
				if most := 3 * readerText; s.Bytes > most {
					t.Errorf("holds %d bytes of a paused data stream, want one batch", s.Bytes)
				}
				before := fake.Bulks()
				time.Sleep(time.Hour - 5*time.Minute)
				if n := fake.Bulks() - before; n > 250 {
					t.Errorf("%d requests while paused", n)
				}
				bad.Store(false)
				group.Wait()
				if s, back := one.counts(); s != 2000 || back == 0 {
					t.Errorf("the paused one: %d of 2000 settled, %d returned", s, back)
				}
				r.drain()
				seen := map[string]int{}
				for _, d := range fake.Docs(testIndex) {
					seen[d.ID]++
				}
				if len(seen) != 4000 || len(fake.Docs(testIndex)) != 4000 {
					t.Errorf("%d ids in %d documents, want 4000", len(seen), len(fake.Docs(testIndex)))
				}
				if !strings.Contains(r.logs.String(), "output goes on") {
					t.Error("the end of the pause was not said")
				}
			})
		})
	}
}

// After a restart lines are looked up before they are sent again. Either the shard
// that could say whether they are stored is away for an hour, or nobody may say
// whether the earlier run's requests are still at work, which takes a while. They
// wait, in their files; the other data stream goes on as if nothing was.
func TestUnansweredQuestionsDoNotStopOthers(t *testing.T) {
	for name, denied := range map[string]bool{"shard away": false, "tasks denied": true} {
		t.Run(name, func(t *testing.T) { bubble(t, func(t *testing.T) { unanswered(t, denied) }) })
	}
}

func unanswered(t *testing.T, denied bool) {
	var away atomic.Bool
	fake := &fakees.Server{
		OnBulk: func(*fakees.Bulk) fakees.Fault { return fakees.Fault{Delay: 5 * time.Millisecond} },
		OnCall: func(c *fakees.Call) fakees.Fault {
			if away.Load() && strings.Contains(c.Path+string(c.Body), testIndex) {
				return fakees.Fault{Status: 503, Type: "no_shard_available_action_exception"}
			}
			return fakees.Fault{}
		},
	}
	const memory = 2 << 20
	r := newRig(t, fake, func(c *config.Elasticsearch) { c.BulkMaxBytes = 64 << 10 }, WithMemoryLimit(memory), WithName("me"))
	one, two := &reader{r: r, index: testIndex, since: record.Unknown}, &reader{r: r, index: "logs-mesos.other-default"}
	begin := time.Now()
	var group sync.WaitGroup
	away.Store(!denied)
	fake.Deny(fakees.CallTasks, denied)
	for _, d := range []*reader{one, two} {
		group.Go(func() { d.run(begin.Add(2*time.Hour), 2000) })
	}
	time.Sleep(40 * time.Second)
	if s := r.sink.Status(); len(s.Paused) != 1 || s.Paused[0].Index != testIndex || s.Paused[0].Reason != "unanswered" || s.Bytes > 12*readerText {
		t.Errorf("status %+v: want a pause that keeps one batch", s)
	}
	if s, back := two.counts(); s < 300 || back != 0 {
		t.Errorf("the other data stream: %d settled within 40 s, %d returned", s, back)
	}
	time.Sleep(time.Hour - time.Minute)
	away.Store(false)
	group.Wait()
	for _, d := range []*reader{one, two} {
		if s, back := d.counts(); s != 2000 || d == one && back == 0 {
			t.Errorf("%s: %d of 2000 settled, %d returned", d.index, s, back)
		}
	}
	r.drain()
	if n := len(fake.Docs(testIndex)); n != 4000 {
		t.Errorf("%d documents, want 4000", n)
	}
}

// Batches that are with the sink when their lane is paused come back, all but
// the one that asks; what of them is stored stays, and is found the next time.
func TestPausedLaneGivesBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var full atomic.Bool
		fake := &fakees.Server{
			OnBulk: func(*fakees.Bulk) fakees.Fault { return fakees.Fault{Delay: 5 * time.Second} }, // two at a time
			OnItem: func(_, id string, _ []byte) fakees.ItemFault {
				if full.Load() && id != "stored" {
					return fakees.FloodStage
				}
				return fakees.ItemFault{}
			},
		}
		r := newRig(t, fake, nil)
		full.Store(true)
		back := make(chan *record.Batch, 10)
		send := func(since string, ids ...string) {
			b := batchOf(testStream(testIndex), nil, "", ids...)
			body, items := b.Body, b.Items
			b.Reset(b.Stream, func(b *record.Batch, settled bool) {
				if settled {
					r.settle(b)
				} else {
					back <- b
				}
			})
			b.Body, b.Items, b.Since = body, items, since
			r.in <- b
		}
		send("", "a1", "a2")
		time.Sleep(6 * time.Second)
		send("", "b", "b2") // comes while it is paused
		time.Sleep(time.Second)
		if len(back) != 1 || string((<-back).ID(0)) != "b" || r.sink.Takes(testIndex) {
			t.Fatalf("%d batches came back", len(back))
		}
		full.Store(false)
		time.Sleep(time.Minute)
		if !r.sink.Takes(testIndex) || r.settledNow() != 1 {
			t.Fatalf("settled %d", r.settledNow())
		}
		full.Store(true)
		send("", "c")
		send("", "d", "stored")
		time.Sleep(time.Minute)
		if len(back) != 1 || len(fake.Docs(testIndex)) != 3 {
			t.Fatalf("%d batches came back, want the one that does not ask", len(back))
		}
		full.Store(false)
		time.Sleep(time.Minute)
		send(firstBacking, "d", "stored")
		r.drain()
		if r.settledNow() != 3 || len(fake.Docs(testIndex)) != 5 {
			t.Errorf("settled %d, stored %d", r.settledNow(), len(fake.Docs(testIndex)))
		}
		r.wantMarks("stored:1")
	})
}

// What is with the sink when its input is closed stays there, paused or not:
// nobody would send it again.
func TestDrainWhilePaused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var full atomic.Bool
		full.Store(true)
		fake := &fakees.Server{
			OnBulk: func(*fakees.Bulk) fakees.Fault { return fakees.Fault{Delay: 10 * time.Second} },
			OnItem: func(string, string, []byte) fakees.ItemFault {
				if full.Load() {
					return fakees.FloodStage
				}
				return fakees.ItemFault{}
			},
		}
		r := newRig(t, fake, nil)
		go func() {
			for i := range 4 {
				r.send(fmt.Sprint("a", i), fmt.Sprint("b", i), fmt.Sprint("c", i), fmt.Sprint("d", i))
			}
			r.since(record.Unknown, "e", "f")
			close(r.in)
		}()
		time.Sleep(5 * time.Minute)
		full.Store(false)
		if err := <-r.done; err != nil || r.settledNow() != 5 || len(fake.Docs(testIndex)) != 18 {
			t.Errorf("%v: settled %d, stored %d\n%s", err, r.settledNow(), len(fake.Docs(testIndex)), r.logs)
		}
	})
}

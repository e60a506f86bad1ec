package shipper

import (
	"bytes"
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mesoscope/config"
	"mesoscope/record"
	"mesoscope/test/fakees"
)

// Requests that fail as a whole: the same ids again, nothing doubled.
func TestWholeAnswers(t *testing.T) {
	for _, c := range []struct {
		name   string
		fault  fakees.Fault
		times  int
		least  time.Duration
		within time.Duration
		dups   float64
	}{
		{name: "429", fault: fakees.Fault{Status: 429, Type: "es_rejected_execution_exception"}, times: 3, within: 3 * time.Second},
		{name: "429 Retry-After", fault: fakees.Fault{Status: 429, RetryAfter: "7"}, times: 1, least: 7 * time.Second, within: 8 * time.Second},
		{name: "503", fault: fakees.Fault{Status: 503}, times: 3, within: 3 * time.Second},
		{name: "502 of a proxy", fault: fakees.Fault{Status: 502, Body: "<html>Bad Gateway</html>"}, times: 3, within: 3 * time.Second},
		{name: "cut before it worked", fault: fakees.Fault{Cut: true}, times: 3, within: 3 * time.Second},
		{name: "cut after it worked", fault: fakees.Fault{Cut: true, Apply: true}, times: 1, within: 3 * time.Second, dups: 3},
		{name: "hangs", fault: fakees.Fault{Hang: true}, times: 1, least: 90 * time.Second, within: 92 * time.Second},
		{name: "hangs after it worked", fault: fakees.Fault{Hang: true, Apply: true}, times: 1, least: 90 * time.Second, within: 92 * time.Second, dups: 3},
		{name: "answer cut", fault: fakees.Fault{Truncate: 100}, times: 1, within: 3 * time.Second, dups: 3},
		{name: "answer of another kind", fault: fakees.Fault{Body: "{}", Apply: true}, times: 1, within: 3 * time.Second, dups: 3},
		{name: "answer of HTML", fault: fakees.Fault{Body: "<html>", Apply: true}, times: 1, within: 3 * time.Second, dups: 3},
		{name: "slow", fault: fakees.Fault{Delay: 20 * time.Second}, times: 1, least: 20 * time.Second, within: 21 * time.Second},
		{name: "401", fault: fakees.Fault{Status: 401, Type: "security_exception", Reason: "unable to authenticate"}, times: 3, within: 10 * time.Second},
		{name: "404", fault: fakees.Fault{Status: 404}, times: 3, within: 10 * time.Second},
		{name: "redirect", fault: fakees.Fault{Status: 302}, times: 1, within: 10 * time.Second},
		{name: "HTTPS wanted", fault: fakees.Fault{Status: 400, Body: "Client sent an HTTP request to an HTTPS server."}, times: 1, within: 10 * time.Second},
		{name: "disk block of the cluster", fault: fakees.Fault{Status: 429, Type: "cluster_block_exception", Reason: "disk usage exceeded flood-stage watermark"}, times: 1, within: 10 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				times := c.times
				fake := &fakees.Server{OnBulk: func(*fakees.Bulk) fakees.Fault {
					if times--; times >= 0 {
						return c.fault
					}
					return fakees.Fault{}
				}}
				r := newRig(t, fake, nil)
				start := time.Now()
				r.send("a", "b", "c")
				r.drain()
				if took := time.Since(start); took > c.within || took < c.least {
					t.Errorf("took %v, want %v to %v\n%s", took, c.least, c.within, r.logs)
				}
				r.wantIDs(testIndex, "a", "b", "c")
				r.wantCount("duplicate", r.sink.metrics.duplicate, c.dups)
				if r.settledNow() != 1 || len(r.letters()) != 0 {
					t.Errorf("settled %d, %d letters", r.settledNow(), len(r.letters()))
				}
			})
		})
	}
}

func TestRequestIsWhatElasticsearchWants(t *testing.T) {
	bubble(t, func(t *testing.T) {
		seen := map[string]bool{}
		fake := &fakees.Server{OnBulk: func(b *fakees.Bulk) fakees.Fault {
			if seen[b.OpaqueID] || b.OpaqueID == "" {
				t.Errorf("X-Opaque-Id %q is not unique", b.OpaqueID)
			}
			seen[b.OpaqueID] = true
			if b.Index != testIndex || b.Header.Get("Content-Encoding") != "gzip" || b.Query["require_data_stream"][0] != "true" || len(b.Query["timeout"]) != 1 {
				t.Errorf("request %q %v %v", b.Index, b.Header, b.Query)
			}
			return fakees.Fault{}
		}}
		r := newRig(t, fake, nil)
		for _, id := range []string{"a", "b", "c"} {
			r.send(id)
			time.Sleep(time.Second)
		}
		r.drain()
		if len(seen) != 3 {
			t.Errorf("%d requests", len(seen))
		}
	})
}

func TestTooLargeBulkIsHalvedAndLineCut(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fake := &fakees.Server{MaxContentLength: 40_000}
		r := newRig(t, fake, nil)
		long := strings.Repeat("ä", 50_000) // alone too large
		r.in <- batchOf(testStream(testIndex), r.settle, strings.Repeat("x", 9000), "1", "2", "3", "4", "5", "6", "7", "8")
		r.in <- batchOf(testStream(testIndex), r.settle, long, "long")
		r.drain()
		if r.settledNow() != 2 || len(fake.Docs(testIndex)) != 9 {
			t.Fatalf("settled %d, stored %d\n%s", r.settledNow(), len(fake.Docs(testIndex)), r.logs)
		}
		for _, d := range fake.Docs(testIndex) {
			m := docOf(t, d.Source)
			flags, _ := json.Marshal(m["log"].(map[string]any)["flags"])
			if d.ID == "long" != (string(flags) == `["truncated"]`) {
				t.Errorf("%s has flags %s", d.ID, flags)
			}
			if text := m["message"].(string); d.ID == "long" && (!strings.HasPrefix(long, text) || len(text) < 20_000 || m["app"] == nil) {
				t.Errorf("message cut to %d bytes, app %v", len(text), m["app"])
			}
		}
	})
}

func TestLongIDSpoilsOnlyItself(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fake := &fakees.Server{}
		r := newRig(t, fake, nil)
		r.send("first")
		time.Sleep(time.Second)
		r.send("a", strings.Repeat("x", 600), "b", "c", "d")
		r.drain()
		if len(fake.Docs(testIndex)) != 5 || len(r.letters()) != 1 || r.settledNow() != 2 {
			t.Errorf("stored %d, %d letters, settled %d\n%s", len(fake.Docs(testIndex)), len(r.letters()), r.settledNow(), r.logs)
		}
	})
}

// An item refused for ever does not hold up others, and is given up after a
// quarter of an hour, but only while others succeed.
func TestRefusedForAQuarterOfAnHour(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fake := &fakees.Server{OnItem: failOnce("bad", 1<<30, fakees.ItemFault{Status: 503, Type: "unavailable_shards_exception"})}
		r := newRig(t, fake, nil)
		r.send("bad")
		time.Sleep(time.Hour) // nothing else succeeds: it stays
		if r.settledNow() != 0 || len(r.letters()) != 0 {
			t.Fatal("given up although nothing else was stored")
		}
		start := time.Now()
		for i := 0; r.settledNow() < i+1 && i < 100; i++ {
			r.send("good" + string(rune('A'+i%26)) + string(rune('A'+i/26)))
			time.Sleep(time.Minute)
			if len(r.letters()) == 1 {
				break
			}
		}
		if l := r.letters(); len(l) != 1 || l[0].ID != "bad" {
			t.Fatalf("letters %v", l)
		}
		if took := time.Since(start); took < 14*time.Minute || took > 22*time.Minute {
			t.Errorf("given up after %v", took)
		}
		r.drain()
	})
}

func TestFullDiskPausesOnlyItsDestinationAndEndsByItself(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var blocked atomic.Bool
		blocked.Store(true)
		fake := &fakees.Server{OnItem: func(index, _ string, _ []byte) fakees.ItemFault {
			if index == testIndex && blocked.Load() {
				return fakees.FloodStage
			}
			return fakees.ItemFault{}
		}}
		r := newRig(t, fake, nil)
		r.send("a", "b")
		time.Sleep(time.Minute)
		s := r.sink.Status()
		if s.State != StatePaused || len(s.Paused) != 1 || s.Paused[0].Reason != "disk" || s.Retrying != 2 || len(s.Problems) == 0 {
			t.Fatalf("status %+v", s)
		}
		r.wantCount("paused", r.sink.metrics.paused.WithLabelValues("disk"), 1)
		r.in <- batchOf(testStream("logs-mesos.other-default"), r.settle, "", "o")
		time.Sleep(time.Second)
		r.wantIDs("logs-mesos.other-default", "o")
		if n := fake.Bulks(); n > 15 {
			t.Errorf("%d requests in a minute of pause", n)
		}
		blocked.Store(false)
		time.Sleep(31 * time.Second)
		if n := len(fake.Docs(testIndex)); n != 2 {
			t.Errorf("%d stored, want 2", n)
		}
		r.wantCount("paused", r.sink.metrics.paused.WithLabelValues("disk"), 0)
		r.drain()
		if s := r.sink.Status(); s.State != StateStopped || r.settledNow() != 2 {
			t.Errorf("status %+v, settled %d", s, r.settledNow())
		}
	})
}

// Items that wait for another attempt hold at most a quarter of the memory;
// then nothing more is taken from the channel.
func TestRefusedItemsAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var full atomic.Bool
		full.Store(true)
		fake := &fakees.Server{OnItem: func(string, string, []byte) fakees.ItemFault {
			if full.Load() {
				return fakees.ItemFault{Status: 429, Type: "es_rejected_execution_exception"}
			}
			return fakees.ItemFault{}
		}}
		r := newRig(t, fake, func(c *config.Elasticsearch) { c.BulkMaxBytes = 64 << 10 }, WithMemoryLimit(1<<20))
		go func() {
			for i := range 100 {
				r.in <- batchOf(testStream(testIndex), r.settle, strings.Repeat("x", 20_000), string(rune('A'+i)))
			}
			close(r.in)
		}()
		time.Sleep(10 * time.Minute)
		if s := r.sink.Status(); s.Bytes > 1<<20/4+4*64<<10 || s.Bytes < 1<<20/8 {
			t.Errorf("holds %d bytes", s.Bytes)
		}
		full.Store(false)
		if err := <-r.done; err != nil {
			t.Fatal(err)
		}
		if r.settledNow() != 100 || len(fake.Docs(testIndex)) != 100 {
			t.Errorf("settled %d, stored %d", r.settledNow(), len(fake.Docs(testIndex)))
		}
	})
}

func TestPacing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var at []time.Duration
		start := time.Now()
		fake := &fakees.Server{OnBulk: func(*fakees.Bulk) fakees.Fault {
			at = append(at, time.Since(start))
			return fakees.Fault{Delay: 100 * time.Millisecond}
		}}
		r := newRig(t, fake, func(c *config.Elasticsearch) { c.Workers = 1 })
		r.send("a") // at once
		time.Sleep(10 * time.Millisecond)
		r.send("b") // 4 round trips behind the answer at 100 ms
		time.Sleep(990 * time.Millisecond)
		r.send("c") // idle again since 600 ms: at 1 s
		time.Sleep(5 * time.Second)
		r.send("d") // at once
		r.drain()
		want := []time.Duration{0, 500 * time.Millisecond, 1000 * time.Millisecond, 6 * time.Second}
		for i := range want {
			if i >= len(at) || at[i] < want[i] || at[i] > want[i]+5*time.Millisecond {
				t.Fatalf("bulks at %v, want %v", at, want)
			}
		}
	})
}

func TestCancelLeavesBatchesUnsettled(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fake := &fakees.Server{OnBulk: func(*fakees.Bulk) fakees.Fault { return fakees.Fault{Hang: true} }}
		r := newRig(t, fake, nil)
		r.send("a")
		time.Sleep(time.Second)
		start := time.Now()
		r.stop()
		if err := <-r.done; err == nil || time.Since(start) > 0 {
			t.Errorf("Run: %v after %v", err, time.Since(start))
		}
		if r.settledNow() != 0 {
			t.Error("settled what was not answered")
		}
	})
}

func TestDeadLettersThatCannotBeWrittenKeepTheirLines(t *testing.T) {
	bubble(t, func(t *testing.T) {
		fake := &fakees.Server{OnItem: failOnce("b", 2, fakees.ItemFault{Status: 400, Type: "document_parsing_exception", Reason: strings.Repeat("long ", 1000)})}
		r := newRig(t, fake, nil)
		r.dead.most = 10
		r.send("a", "b")
		time.Sleep(time.Minute)
		if s := r.sink.Status(); r.settledNow() != 0 || s.Unburied != 1 {
			t.Fatalf("settled %d, status %+v", r.settledNow(), s)
		}
		r.dead.mu.Lock()
		r.dead.most = 1 << 20
		r.dead.mu.Unlock()
		time.Sleep(11 * time.Second)
		if len(r.letters()) != 1 || r.settledNow() != 1 {
			t.Errorf("%d letters, settled %d", len(r.letters()), r.settledNow())
		}
		r.drain()
	})
}

func TestCredentialsAreReadAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		key := t.TempDir() + "/key"
		writeFile(t, key, "wrong\n")
		fake := &fakees.Server{Authorized: func(a string) bool { return a == "APIKey cmlnaHQ6a2V5" }}
		r := newRig(t, fake, func(c *config.Elasticsearch) { c.APIKeyFile = key })
		r.send("a")
		time.Sleep(time.Minute)
		if s := r.sink.Status(); len(s.Paused) != 1 || s.Paused[0].Reason != "denied" {
			t.Fatalf("status %+v", s)
		}
		writeFile(t, key, "right:key\n")
		r.drain()
		r.wantIDs(testIndex, "a")
		if strings.Contains(r.logs.String(), "wrong") {
			t.Error("the key is in the log")
		}
	})
}

func TestSplitKeepsEveryItemOnce(t *testing.T) {
	l := &lane{index: testIndex}
	for items := 2; items < 12; items++ {
		b := &bulk{lane: l}
		s := testStream(testIndex)
		var want []string
		for i, n := 0, 0; n < items; i++ {
			var ids []string
			for range min(i%3+1, items-n) {
				ids = append(ids, string(rune('a'+n)))
				n++
			}
			want = append(want, ids...)
			p := &pending{batch: batchOf(s, nil, "", ids...)}
			b.add(span{p, 0, len(ids)}, len(p.batch.Body))
		}
		half := &bulk{}
		b.split(half)
		var got []string
		for _, b := range []*bulk{b, half} {
			size := 0
			for n := range b.items {
				r := b.at(n)
				got = append(got, string(r.p.batch.ID(r.i)))
			}
			for _, s := range b.spans {
				size += len(s.p.entries(s.from, s.to))
			}
			if size != b.bytes {
				t.Errorf("bytes %d, want %d", b.bytes, size)
			}
		}
		if strings.Join(got, "") != strings.Join(want, "") || b.items != items/2 {
			t.Errorf("%d items: %v and %d", items, got, b.items)
		}
	}
}

// Assembling and compressing allocates nothing for a document.
func TestAssemblyAllocatesNothingPerDocument(t *testing.T) {
	for _, level := range []int{0, 1} {
		snd, err := newSender(nil, "", level, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		sink, err := NewElasticsearch(testConfig(), WithTransport((&fakees.Server{}).Transport()))
		if err != nil {
			t.Fatal(err)
		}
		a := newAssembler(sink, nil, "run")
		ids := make([]string, 1000)
		for i := range ids {
			ids[i] = "id" + string(rune('a'+i%26)) + string(rune('a'+i/26))
		}
		b := batchOf(testStream(testIndex), nil, "", ids...)
		allocs := testing.AllocsPerRun(100, func() {
			b.Reset(b.Stream, nil)
			again(b, ids)
			a.take(b)
			l := a.lanes[testIndex]
			bulk := l.fill
			l.fill = nil
			if err := snd.encode(bulk); err != nil {
				t.Fatal(err)
			}
			for _, s := range bulk.spans {
				a.final(s.p, s.to-s.from)
			}
			a.freeBulk(bulk)
		})
		if allocs > 1 {
			t.Errorf("level %d: %v allocations for a bulk of %d documents", level, allocs, len(ids))
		}
	}
}

// again restores the items that Reset took, from the memory that it kept.
func again(b *record.Batch, ids []string) {
	b.Body = b.Body[:cap(b.Body)]
	b.Items = b.Items[:len(ids)]
	b.Body = b.Body[:b.Items[len(ids)-1].End]
}

func BenchmarkEncode(b *testing.B) {
	ids := make([]string, 200)
	for i := range ids {
		ids[i] = "id" + string(rune('a'+i%26)) + string(rune('a'+i/26))
	}
	for _, level := range []int{0, 1} {
		b.Run(map[int]string{0: "plain", 1: "gzip1"}[level], func(b *testing.B) {
			snd, _ := newSender(nil, "", level, 0, 0)
			bk := &bulk{lane: &lane{index: testIndex}}
			for range 25 {
				batch := batchOf(testStream(testIndex), nil, strings.Repeat("some log text ", 8), ids...)
				bk.add(span{&pending{batch: batch}, 0, len(ids)}, len(batch.Body))
			}
			b.SetBytes(int64(bk.bytes))
			b.ReportAllocs()
			for b.Loop() {
				if err := snd.encode(bk); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*bk.items), "ns/line")
		})
	}
}

func BenchmarkScanAnswer(b *testing.B) {
	var buf bytes.Buffer
	buf.WriteString(`{"errors":false,"items":[`)
	for i := range 5000 {
		if i > 0 {
			buf.WriteByte(',')
		}
		buf.WriteString(`{"create":{"_index":".ds-logs-mesos.container-default-2026.11.23-000001","_id":"AAAAAAAAAAAAAAAAAAAAAAAAAAA","result":"created","status":201}}`)
	}
	buf.WriteString(`]}`)
	b.ReportAllocs()
	for b.Loop() {
		if n, err := scanAnswer(buf.Bytes(), func(int, *itemAnswer) error { return nil }); n != 5000 || err != nil {
			b.Fatal(n, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*5000), "ns/item")
}

//go:build e2e

package shipper

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mesoscope/config"
	"mesoscope/record"
	"mesoscope/test/elasticsearch"
)

// A cutter is a proxy before a real server. For each bulk that cut chooses, the
// client's connection is closed, while the request goes on to the server.
type cutter struct {
	r   *real
	cut func(n int64) bool
	// listed: close the connection as soon as the server works on the request,
	// and not only when it is done.
	listed bool
	bulks  atomic.Int64
	cuts   atomic.Int64
	late   sync.WaitGroup
}

func (c *cutter) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	out, err := http.NewRequest(req.Method, c.r.es.URL+req.URL.String(), bytes.NewReader(body)) // its own life: the client may go
	if err != nil {
		panic(err)
	}
	out.Header = req.Header.Clone()
	bulk := strings.HasSuffix(req.URL.Path, "/_bulk")
	cut := bulk && c.cut(c.bulks.Add(1))
	if !cut || !c.listed {
		res, err := c.r.client.Do(out)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		defer res.Body.Close()
		answer, err := io.ReadAll(res.Body)
		if err != nil || cut {
			c.cuts.Add(1)
			panic(http.ErrAbortHandler)
		}
		for k, v := range res.Header {
			w.Header()[k] = v
		}
		w.WriteHeader(res.StatusCode)
		_, _ = w.Write(answer) // the client may have gone
		return
	}
	c.late.Go(func() {
		if res, err := c.r.client.Do(out); err == nil {
			_ = res.Body.Close()
		}
	})
	c.r.until("the server works on the bulk", func() bool {
		return strings.Contains(c.r.do("GET", "/_tasks?actions=indices:data/write/bulk*&detailed", ""), req.Header.Get("X-Opaque-Id"))
	})
	c.cuts.Add(1)
	panic(http.ErrAbortHandler)
}

// through makes the sink go through a proxy.
func (r *real) through(c *cutter) {
	c.r = r
	s := httptest.NewServer(c)
	r.t.Cleanup(s.Close)
	r.cfg.Hosts = []string{s.URL}
}

func (r *real) rollover() { r.do("POST", "/"+testIndex+"/_rollover", "") }

func (r *real) backing() int {
	return strings.Count(r.do("GET", "/_resolve/index/"+testIndex, ""), `".ds-`)
}

// ends counts what the marks say.
type ends struct {
	mu  sync.Mutex
	all map[record.Outcome]int
}

func (e *ends) settle(b *record.Batch) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.all == nil {
		e.all = map[record.Outcome]int{}
	}
	e.all[record.Delivered] += b.Len() - len(b.Marks())
	for _, m := range b.Marks() {
		e.all[m.Outcome]++
	}
}

func (r *real) sendTo(e *ends, prefix, since string, n int) {
	for from := 0; from < n; from += 50 {
		var ids []string
		for i := from; i < min(from+50, n); i++ {
			ids = append(ids, fmt.Sprintf("%s%06d", prefix, i))
		}
		b := batchOf(testStream(testIndex), func(b *record.Batch) { e.settle(b); r.settled.Add(1) }, "", ids...)
		b.Since = since
		r.in <- b
	}
}

func TestRolloversDuringRetries(t *testing.T) {
	for _, version := range []string{"9.4.3", "8.16.6"} {
		t.Run(version, func(t *testing.T) {
			es := elasticsearch.Start(t, elasticsearch.Options{Version: version})
			r := &real{t: t, es: es, client: http.DefaultClient, cfg: realConfig(es)}
			r.setup(true)
			c := &cutter{cut: func(n int64) bool { return n%3 == 0 }}
			r.through(c)
			r.cfg.BulkMaxBytes = 50 << 10
			r.start()
			r.send("warm", 50)
			r.until("the first lines", func() bool { return r.settled.Load() == 1 })
			var e ends
			stop := make(chan struct{})
			var group sync.WaitGroup
			group.Go(func() {
				for {
					select {
					case <-stop:
						return
					case <-time.After(300 * time.Millisecond):
						r.rollover()
					}
				}
			})
			const lines = 4000
			r.sendTo(&e, "id", "", lines)
			r.drain()
			close(stop)
			group.Wait()
			n, backing := r.count(), r.backing()
			t.Logf("%d bulks, %d cut, %d backing indices, %v", c.bulks.Load(), c.cuts.Load(), backing, e.all)
			if n != lines+50 || e.all[record.Delivered]+e.all[record.Duplicate] != lines {
				t.Errorf("%d documents, want %d; marks %v\n%s", n, lines+50, e.all, r.logs)
			}
			if e.all[record.Duplicate] == 0 || backing < 3 || c.cuts.Load() < 3 {
				t.Error("nothing was cut and rolled over: the test shows nothing")
			}

			// The same lines again, as after a lost checkpoint.
			c.cut = func(int64) bool { return false }
			r.start()
			e.all = nil
			r.sendTo(&e, "id", record.Unknown, lines)
			r.drain()
			if n := r.count(); n != lines+50 || e.all[record.Duplicate] != lines {
				t.Errorf("second time: %d documents, marks %v\n%s", n, e.all, r.logs)
			}
			testClosedIndex(r, lines)
		})
	}
}

// One thread writes, and it is busy: a bulk that was cut is applied much later,
// after a rollover even.
func TestCutBulkIsAppliedLate(t *testing.T) {
	es := elasticsearch.Start(t, elasticsearch.Options{YML: "thread_pool.write.size: 1\nindexing_pressure.memory.limit: 80%"})
	r := &real{t: t, es: es, client: http.DefaultClient, cfg: realConfig(es)}
	r.setup(true)
	c := &cutter{cut: func(n int64) bool { return n == 2 }, listed: true}
	r.through(c)
	r.start()
	r.send("warm", 50)
	r.until("the first bulk", func() bool { return r.settled.Load() == 1 })

	// What keeps the thread busy.
	var load bytes.Buffer
	for range 5000 {
		load.WriteString(`{"index":{}}` + "\n" + `{"a":"` + strings.Repeat("word and ", 20) + `","b":{"c":1,"d":"x"}}` + "\n")
	}
	var group sync.WaitGroup
	for range 60 {
		group.Go(func() { // refused or not: it has been there
			r.es.Do(r.client, "POST", "/busy/_bulk?filter_path=errors", load.String(), nil)
		})
	}
	r.until("the thread is busy", func() bool {
		return strings.Count(r.do("GET", "/_tasks?actions=indices:data/write/bulk&group_by=none", ""), `"action"`) > 25
	})
	var e ends
	r.sendTo(&e, "late", "", 50)
	r.until("the bulk is cut", func() bool { return c.cuts.Load() == 1 })
	before := c.bulks.Load()
	r.rollover()
	r.drain()
	c.late.Wait()
	group.Wait()
	t.Logf("marks %v, %d bulks after the cut, %v questions came too early", e.all, c.bulks.Load()-before, r.value(r.sink.metrics.questions.WithLabelValues("before_resend", "too_early")))
	if n := r.count(); n != 100 || e.all[record.Duplicate] != 50 {
		t.Errorf("%d documents, want 100; marks %v\n%s", n, e.all, r.logs)
	}
	if r.value(r.sink.metrics.questions.WithLabelValues("before_resend", "too_early")) == 0 {
		t.Error("the cut bulk was done at once: the test shows nothing")
	}
}

func TestFloodStage(t *testing.T) {
	es := elasticsearch.Start(t, elasticsearch.Options{YML: "cluster.info.update.interval: 10s"})
	r := &real{t: t, es: es, client: http.DefaultClient, cfg: realConfig(es)}
	r.setup(true)
	r.start()
	r.send("a", 50)
	r.until("the first lines", func() bool { return r.settled.Load() == 1 })
	const at = `"cluster.routing.allocation.disk.watermark.`
	r.do("PUT", "/_cluster/settings", `{"persistent":{`+at+`low":"99990gb",`+at+`high":"99989gb",`+at+`flood_stage":"99988gb",`+at+`flood_stage.frozen":"99988gb"}}`)
	r.until("the block", func() bool {
		return strings.Contains(r.do("GET", "/"+testIndex+"/_settings", ""), "read_only_allow_delete")
	})
	r.send("b", 50)
	r.until("paused for the disk", func() bool {
		s := r.sink.Status()
		return len(s.Paused) == 1 && s.Paused[0].Reason == "disk" && !r.sink.Takes(testIndex)
	})
	r.do("PUT", "/_cluster/settings", `{"persistent":{`+at+`low":null,`+at+`high":null,`+at+`flood_stage":null,`+at+`flood_stage.frozen":null}}`)
	r.until("all is stored", func() bool { return r.settled.Load() == 2 && r.sink.Takes(testIndex) })
	r.drain()
	if n := r.count(); n != 100 || strings.Count(r.logs.String(), "output paused, disk") != 1 || strings.Count(r.logs.String(), "output goes on") != 1 {
		t.Errorf("%d documents\n%s", n, r.logs)
	}
}

// What is said, and what still holds, with keys of fewer and fewer rights.
func TestRightsOfKeys(t *testing.T) {
	const password = "correct-horse"
	es := elasticsearch.Start(t, elasticsearch.Options{Password: password})
	admin := func(q *http.Request) { q.SetBasicAuth("elastic", password) }
	for i, c := range []struct {
		cluster, index string
		once           bool
		said           []string
	}{
		{`"monitor"`, `"create_doc","auto_configure","read","view_index_metadata","delete"`, true, nil},
		{``, `"create_doc","auto_configure","read","view_index_metadata"`, true, []string{"cluster privilege monitor"}},
		{``, `"create_doc","auto_configure"`, false, []string{"may not look up"}},
	} {
		r := &real{t: t, es: es, client: http.DefaultClient, cfg: realConfig(es), auth: admin}
		if i == 0 {
			secret := filepath.Join(t.TempDir(), "password")
			writeFile(t, secret, password)
			r.cfg.Username, r.cfg.PasswordFile = "elastic", secret
			r.setup(true)
			r.cfg.Username, r.cfg.PasswordFile = "", ""
		}
		var key struct{ Encoded string }
		answer := r.do("POST", "/_security/api_key", fmt.Sprintf(`{"name":"agent","role_descriptors":{"w":{"cluster":[%s],"indices":[{"names":["logs-mesos.*-*"],"privileges":[%s]}]}}}`, c.cluster, c.index))
		if err := json.Unmarshal([]byte(answer), &key); err != nil {
			t.Fatal(err)
		}
		r.cfg.APIKeyFile = filepath.Join(t.TempDir(), "key")
		writeFile(t, r.cfg.APIKeyFile, key.Encoded)
		var next atomic.Bool
		cut := &cutter{cut: func(int64) bool { return next.Swap(false) }}
		r.through(cut)
		before := 0
		if i > 0 {
			before = r.count()
		}
		prefix := fmt.Sprintf("key%d-", i)
		r.start()
		r.send(prefix+"warm", 50)
		r.until("the first lines", func() bool { return r.settled.Load() == 1 })
		var e ends
		for k := range 2 {
			settled := r.settled.Load()
			next.Store(true)
			r.sendTo(&e, prefix+fmt.Sprint(k), "", 50)
			r.until("the cut", func() bool { return cut.cuts.Load() == int64(k)+1 })
			r.rollover()
			r.until("the lines after the cut", func() bool { return r.settled.Load() > settled })
		}
		r.drain()
		n := r.count() - before
		t.Logf("%s %s: %d documents of 150, marks %v", c.cluster, c.index, n, e.all)
		if n < 150 || c.once && (n != 150 || e.all[record.Duplicate] != 100) {
			t.Errorf("%d documents of 150, marks %v\n%s", n, e.all, r.logs)
		}
		for _, text := range c.said {
			if strings.Count(r.logs.String(), text) != 1 {
				t.Errorf("want %q once:\n%s", text, r.logs)
			}
		}
		if len(c.said) == 0 && strings.Contains(r.logs.String(), "credentials") {
			t.Errorf("all rights are there:\n%s", r.logs)
		}
	}
}

// Two copies of a line: the newer one is deleted.
func TestNewerCopyIsDeleted(t *testing.T) {
	es := elasticsearch.Start(t, elasticsearch.Options{})
	r := &real{t: t, es: es, client: http.DefaultClient, cfg: realConfig(es)}
	r.setup(true)
	c := &cutter{cut: func(n int64) bool { return n == 2 }}
	rolled := false
	r.cfg.FlushInterval = config.Duration(50 * time.Millisecond)
	r.through(c)
	r.start()
	r.send("warm", 50)
	r.until("the first lines", func() bool { return r.settled.Load() == 1 })
	inner := c.cut
	c.cut = func(n int64) bool {
		if n == 3 && !rolled { // the second attempt is on its way: the look-up has been answered
			rolled = true
			r.rollover()
		}
		return inner(n)
	}
	var e ends
	r.sendTo(&e, "twice", "", 50)
	r.drain()
	if n := r.count(); n != 100 || e.all[record.Duplicate] != 50 || !rolled || r.value(r.sink.metrics.mended) != 50 {
		t.Errorf("%d documents, marks %v, %v mended\n%s", n, e.all, r.value(r.sink.metrics.mended), r.logs)
	}
}

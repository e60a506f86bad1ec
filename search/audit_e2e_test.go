//go:build e2e

package search

import (
	"bytes"
	"math/rand/v2"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/elastic/go-elasticsearch/v8"
	"github.com/elastic/go-elasticsearch/v8/esapi"

	"mesoscope/config"
	"mesoscope/record"
	"mesoscope/shipper"
	testserver "mesoscope/test/elasticsearch"
)

// A cluster is a real server with our templates.
type cluster struct {
	*testserver.Server
	t      *testing.T
	client *elasticsearch.Client
	store  AuditStore
}

func (c *cluster) do(method, path, body string) string {
	c.t.Helper()
	status, out := c.Do(http.DefaultClient, method, path, body, nil)
	if status >= 300 {
		c.t.Fatalf("%s %s: %d %s", method, path, status, out)
	}
	return out
}

// write sends batches to the data streams that they name, and does not refresh.
func (c *cluster) write(batches ...*record.Batch) {
	c.t.Helper()
	for _, b := range batches {
		response, err := c.client.Bulk(bytes.NewReader(b.Body), c.client.Bulk.WithIndex(b.Stream.Index))
		if answer := done(c.t, response, err); !bytes.Contains(answer, []byte(`"errors":false`)) {
			c.t.Fatalf("%.2000s", answer)
		}
	}
}

// indices are the backing indices of a data stream, oldest first.
func (c *cluster) indices(dataStream string) (names []string) {
	c.t.Helper()
	names = strings.Fields(c.do("GET", "/_cat/indices/"+dataStream+"?h=index", ""))
	slices.Sort(names)
	return names
}

func (c *cluster) deleteLines(dataStream, query string) {
	c.t.Helper()
	c.do("POST", "/"+dataStream+"/_refresh", "")
	c.do("POST", "/"+dataStream+"/_delete_by_query", `{"query":{"query_string":{"query":"`+query+`"}}}`)
}

func TestElasticsearchAudit(t *testing.T) {
	for _, version := range []string{"9.4.3", "8.16.6"} {
		t.Run(version, func(t *testing.T) {
			c := &cluster{Server: testserver.Start(t, testserver.Options{Version: version}), t: t}
			cfg := config.DefaultElasticsearch()
			cfg.Hosts = []string{c.URL}
			var err error
			if c.client, err = shipper.NewClient(cfg); err != nil {
				t.Fatal(err)
			}
			if _, err := shipper.Setup(t.Context(), c.client, cfg); err != nil {
				t.Fatal(err)
			}
			c.store = NewElasticsearch(c.client, "logs-mesos.*-*,logs-mesoscope.*-*")
			run := func(name string, f func()) { t.Run(name, func(inner *testing.T) { c.t = inner; f(); c.t = t }) }
			run("books", func() {
				c.write(booksOf(c.t)...)
				c.do("POST", "/logs-*/_refresh", "")
				checkBooks(c.t, c.store)
				mapping := c.do("GET", "/logs-mesoscope.receipt-default/_mapping", "")
				for _, want := range []string{`"ranges":{"type":"object","enabled":false}`, `"first":{"type":"date_nanos"}`, `"revision":{"type":"long"}`, `"final":{"type":"boolean"}`} {
					if !strings.Contains(mapping, want) {
						c.t.Errorf("no %s in %s", want, mapping)
					}
				}
			})
			run("tally", c.tally)
			run("random", c.random)
			run("speed", c.speed)
			run("expiry", c.expired)
		})
	}
}

// tally finds lines that were deleted and doubled behind the agent's back.
func (c *cluster) tally() {
	out, errs := auditStream(11, "stdout"), auditStream(11, "stderr")
	c.write(auditBatch(out, "g1", "", sequence(1, 1000)...), auditBatch(errs, "g1", "", sequence(1, 7)...), auditBatch(out, "g2", "", sequence(1, 300)...))
	c.do("POST", "/"+out.Index+"/_rollover", "")
	// The same ids go once more into the new backing index.
	c.write(auditBatch(out, "g1", "", 7, 300, 301, 513), auditBatch(out, "g2", "", sequence(301, 310)...))
	c.deleteLines(out.Index, "container.id:c11 AND stream:stdout AND log.file.generation:g1 AND (event.sequence:[1 TO 2] OR event.sequence:[514 TO 600] OR event.sequence:1000)")
	got := tallyOf(c.t, c.store, Key{"c11", "g1", "stdout"}, Key{"c11", "g1", "stderr"}, Key{"c11", "g2", "stdout"}, Key{"c11", "g3", "stdout"})
	want := []Tally{
		{Lines: 914, Runs: []Run{{3, 6, 1}, {7, 7, 2}, {8, 299, 1}, {300, 301, 2}, {302, 512, 1}, {513, 513, 2}, {601, 999, 1}}},
		{Lines: 7, Runs: []Run{{1, 7, 1}}}, {Lines: 310, Runs: []Run{{1, 310, 1}}}, {},
	}
	for i := range want {
		if got[i].Lines != want[i].Lines || !slices.Equal(got[i].Runs, want[i].Runs) || !got[i].Expired.IsZero() || got[i].Stale {
			c.t.Errorf("%d: got %+v, want %+v", i, got[i], want[i])
		}
	}
	list, err := c.store.Generations(c.t.Context(), Request{Query: Term("container.id", "c11")})
	if err != nil || len(list) != 3 || list[0].Name != "web-11" || list[0].Path != "/logs/x-json.log" || list[0].First.Before(auditStart) {
		c.t.Errorf("%+v, %v", list, err)
	}
}

// random compares with the plainest way, around the ends of parts and windows.
func (c *cluster) random() {
	r := rand.New(rand.NewPCG(7, 7))
	s := auditStream(12, "stdout")
	const file = 2*windowLines + 300
	var numbers, twice []int64
	for n := int64(1); n <= file; n++ {
		near := n%partLines < 3 && r.IntN(20) == 0 || n%windowLines < 3 || r.IntN(3000) == 0
		switch {
		case n > 20*partLines && n < 23*partLines: // a whole part is missing
		case near && r.IntN(2) == 0:
		case near:
			numbers, twice = append(numbers, n), append(twice, n)
		default:
			numbers = append(numbers, n)
		}
	}
	for chunk := range slices.Chunk(numbers, 5000) {
		c.write(auditBatch(s, "g1", "", chunk...))
	}
	c.do("POST", "/"+s.Index+"/_rollover", "")
	c.write(auditBatch(s, "g1", "", twice...))
	got, want := tallyOf(c.t, c.store, Key{"c12", "g1", "stdout"})[0], naive(append(numbers, twice...))
	if got.Lines != want.Lines || !reflect.DeepEqual(got.Runs, want.Runs) {
		c.t.Errorf("%d lines and %d runs, want %d and %d", got.Lines, len(got.Runs), want.Lines, len(want.Runs))
	}
	c.t.Logf("%d lines, %d missing, %d doubled: %d runs", want.Lines, file-len(numbers), len(twice), len(got.Runs))
}

func (c *cluster) speed() {
	s := auditStream(13, "stdout")
	const file = 200_000
	for from := int64(1); from <= file; from += 5000 {
		c.write(auditBatch(s, "g1", "", sequence(from, from+4999)...))
	}
	key := Key{"c13", "g1", "stdout"}
	for i, want := range [][]Run{{{1, file, 1}}, {{1, 77_776, 1}, {77_778, file, 1}}} {
		if i == 1 {
			c.deleteLines(s.Index, "container.id:c13 AND event.sequence:77777")
		}
		begin := time.Now()
		got := tallyOf(c.t, c.store, key)[0]
		c.t.Logf("%d lines counted in %s", got.Lines, time.Since(begin).Round(time.Millisecond))
		if !slices.Equal(got.Runs, want) {
			c.t.Errorf("%v, want %v", got.Runs, want)
		}
	}
}

// expired deletes the oldest backing index, as retention does.
func (c *cluster) expired() {
	s := auditStream(14, "stdout")
	s.Index = strings.Replace(s.Index, "container", "short", 1)
	key := Key{"c14", "g1", "stdout"}
	c.write(auditBatch(s, "g1", "", sequence(1, 10)...))
	if got := tallyOf(c.t, c.store, key)[0]; got.Lines != 10 || !got.Expired.IsZero() {
		c.t.Errorf("before: %+v", got)
	}
	c.do("POST", "/"+s.Index+"/_rollover", "")
	c.write(auditBatch(s, "g1", "", sequence(11, 20)...))
	c.do("DELETE", "/"+c.indices(s.Index)[0], "")
	got := tallyOf(c.t, c.store, key, Key{"c14", "gone", "stdout"}, Key{"c12", "g1", "stdout"})
	if got[0].Lines != 10 || !slices.Equal(got[0].Runs, []Run{{11, 20, 1}}) {
		c.t.Errorf("after: %+v", got[0])
	}
	for i := range 2 { // nobody knows where the lines of a file were that has none left
		if at := got[i].Expired; time.Since(at) > 10*time.Minute || time.Since(at) < 0 {
			c.t.Errorf("%d: the oldest index was made at %s", i, at)
		}
	}
	if !got[2].Expired.IsZero() {
		c.t.Errorf("another data stream lost nothing: %s", got[2].Expired)
	}
}

// A key that may neither refresh nor see indices still gets an answer, and is
// told what it is worth.
func TestElasticsearchAuditWithFewRights(t *testing.T) {
	server := testserver.Start(t, testserver.Options{Password: "secret"})
	admin := func(r *http.Request) { r.SetBasicAuth("elastic", "secret") }
	for path, body := range map[string]string{
		"/_security/role/reader": `{"indices":[{"names":["logs-mesos.*"],"privileges":["read"]}]}`,
		"/_security/user/reader": `{"password":"reader1","roles":["reader"]}`,
	} {
		if status, out := server.Do(http.DefaultClient, "PUT", path, body, admin); status >= 300 {
			t.Fatal(status, out)
		}
	}
	connect := func(user, password string) *elasticsearch.Client {
		client, err := elasticsearch.NewClient(elasticsearch.Config{Addresses: []string{server.URL}, Username: user, Password: password})
		if err != nil {
			t.Fatal(err)
		}
		return client
	}
	cfg := config.DefaultElasticsearch()
	if _, err := shipper.Setup(t.Context(), connect("elastic", "secret"), cfg); err != nil {
		t.Fatal(err)
	}
	s := auditStream(1, "stdout")
	response, err := connect("elastic", "secret").Bulk(bytes.NewReader(auditBatch(s, "g1", "", sequence(5, 9)...).Body), func(r *esapi.BulkRequest) { r.Index, r.Refresh = s.Index, "true" })
	done(t, response, err)
	store := NewElasticsearch(connect("reader", "reader1"), "logs-mesos.*-*,logs-mesoscope.*-*")
	got := tallyOf(t, store, Key{"c1", "g1", "stdout"})[0]
	if !slices.Equal(got.Runs, []Run{{5, 9, 1}}) || !got.Stale || !got.Expired.Equal(auditStart.Add(5*time.Millisecond)) {
		t.Errorf("%+v", got)
	}
	if _, err := store.Search(t.Context(), Request{Query: mustParse(t, "event.dataset: mesoscope.receipt")}); err != nil {
		t.Errorf("receipts: %v", err)
	}
}

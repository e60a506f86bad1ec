//go:build e2e

package search

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/elastic/go-elasticsearch/v8"
	"github.com/elastic/go-elasticsearch/v8/esapi"

	"mesoscope/embedded"
	"mesoscope/record"
	testserver "mesoscope/test/elasticsearch"
)

// mapping is what the index template gives the fields that matter here.
const mapping = `{"settings":{"number_of_shards":2,"number_of_replicas":0},"mappings":{
	"dynamic_templates":[
		{"strings":{"match_mapping_type":["string","long","boolean"],"mapping":{"type":"keyword","ignore_above":1024}}}],
	"properties":{
		"@timestamp":{"type":"date_nanos"},"message":{"type":"text"},
		"log":{"properties":{"offset":{"type":"long"},"lines":{"type":"long"}}},
		"event":{"properties":{"sequence":{"type":"long"},"created":{"type":"date_nanos"}}},
		"host":{"properties":{"ip":{"type":"ip"}}},
		"container":{"properties":{"labels":{"type":"flattened"}}}}}}`

// TestElasticsearch asks a real server; one serves all.
func TestElasticsearch(t *testing.T) {
	server := testserver.Start(t, testserver.Options{})
	c, err := elasticsearch.NewClient(elasticsearch.Config{Addresses: []string{server.URL}})
	if err != nil {
		t.Fatal(err)
	}
	t.Run("stores agree", func(t *testing.T) { testStoresAgree(t, c) })
	t.Run("follow", func(t *testing.T) { testFollow(t, c) })
	t.Run("words agree", func(t *testing.T) { testWordsAgree(t, c) })
}

func done(t *testing.T, response *esapi.Response, err error) []byte {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(response.Body); err != nil {
		t.Fatal(err)
	}
	if response.IsError() {
		t.Fatal(response.Status(), b.String())
	}
	return b.Bytes()
}

func makeIndex(t *testing.T, c *elasticsearch.Client, name string) string {
	t.Helper()
	name = fmt.Sprintf("%s-%d", name, time.Now().UnixNano())
	response, err := c.Indices.Create(name, c.Indices.Create.WithBody(strings.NewReader(mapping)))
	done(t, response, err)
	t.Cleanup(func() {
		response, err := c.Indices.Delete([]string{name})
		done(t, response, err)
	})
	return name
}

func bulk(t *testing.T, c *elasticsearch.Client, index string, batches []*record.Batch) {
	t.Helper()
	var body bytes.Buffer
	for _, b := range batches {
		body.Write(b.Body)
	}
	response, err := c.Bulk(&body, c.Bulk.WithIndex(index), c.Bulk.WithRefresh("true"))
	if answer := done(t, response, err); !bytes.Contains(answer, []byte(`"errors":false`)) {
		t.Fatalf("%.2000s", answer)
	}
}

// Both stores and the plain evaluator find the same lines for 200 questions
// about 5,000.
func testStoresAgree(t *testing.T, c *elasticsearch.Client) {
	batches := corpus(3, 5000)
	docs, local := documents(batches), embeddedCorpus(t, batches)
	index := makeIndex(t, c, "agree")
	bulk(t, c, index, batches)
	remote := NewElasticsearch(c, index)
	r := rand.New(rand.NewPCG(4, 4))
	some := 0
	for range 200 {
		text := question(r, docs, 1)
		q := mustParse(t, text)
		want := expected(q, docs)
		if got := ask(t, local, q, len(docs)); !slices.Equal(got, want) {
			t.Errorf("embedded: %s: found %d, want %d, missing %v, too many %v", text, len(got), len(want), without(want, got), without(got, want))
		}
		if got := ask(t, remote, q, len(docs)); !slices.Equal(got, want) {
			b, _ := json.Marshal(dsl(q.root))
			t.Errorf("elasticsearch: %s: found %d, want %d, missing %v, too many %v\n%s", text, len(got), len(want), without(want, got), without(got, want), b)
		}
		if len(want) > 0 && len(want) < len(docs) {
			some++
		}
	}
	t.Logf("%d of 200 questions had an answer that could be wrong", some)
	// Documents, order, paging, counts and values.
	since := time.Date(2026, 11, 23, 10, 1, 0, 0, time.UTC)
	request := Request{Query: mustParse(t, "not log.level: debug"), Since: since, Until: since.Add(2 * time.Minute), Limit: 77}
	for _, newest := range []bool{false, true} {
		request.Newest = newest
		a, b := pages(t, local, request), pages(t, remote, request)
		if len(a) != len(b) || len(a) < 300 {
			t.Fatalf("%d lines and %d lines", len(a), len(b))
		}
		for i := range a {
			if !a[i].Time.Equal(b[i].Time) {
				t.Fatalf("line %d: %s and %s", i, a[i].Time, b[i].Time)
			}
		}
		byID := func(x, y Line) int { return strings.Compare(x.ID, y.ID) }
		slices.SortFunc(a, byID)
		slices.SortFunc(b, byID)
		for i := range a {
			var x, y any
			if json.Unmarshal(a[i].Doc, &x) != nil || json.Unmarshal(b[i].Doc, &y) != nil || a[i].ID != b[i].ID || !reflect.DeepEqual(x, y) {
				t.Fatalf("%s and %s:\n%s\n%s", a[i].ID, b[i].ID, a[i].Doc, b[i].Doc)
			}
		}
	}
	same := func(what string, ask func(Store) (any, error)) {
		t.Helper()
		a, errA := ask(local)
		b, errB := ask(remote)
		if errA != nil || errB != nil || !reflect.DeepEqual(a, b) {
			t.Errorf("%s: %v (%v) and %v (%v)", what, a, errA, b, errB)
		}
	}
	same("histogram", func(s Store) (any, error) { return s.Histogram(t.Context(), request, 7*time.Second) })
	same("histogram of all", func(s Store) (any, error) { return s.Histogram(t.Context(), Request{}, time.Minute) })
	for _, field := range []string{"log.level", "service.name", "container.id", "host.ip", "stream", "log.flags", "log.lines", "container.labels.team", "nothing", "tags", "log.file.generation"} {
		same(field, func(s Store) (any, error) { return s.Values(t.Context(), request, field, 4) })
	}
}

func pages(t *testing.T, s Store, r Request) (lines []Line) {
	t.Helper()
	for {
		result, err := s.Search(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if r.Newest {
			lines = append(slices.Clone(result.Lines), lines...)
		} else {
			lines = append(lines, result.Lines...)
		}
		if !result.More {
			return lines
		}
		r.After = result.Cursor
	}
}

// A follower sees each line once, also one whose time is long ago.
func testFollow(t *testing.T, c *elasticsearch.Client) {
	index := makeIndex(t, c, "follow")
	s := NewElasticsearch(c, index)
	number := 0
	write := func(age time.Duration, n int) {
		b := new(record.Batch)
		b.Reset(&record.Stream{Fields: []byte(`"stream":"stdout"`)}, nil)
		for range n {
			number++
			b.Body = record.AppendAction(b.Body, fmt.Appendf(nil, "f%d", number))
			now := time.Now().UTC()
			b.Body = fmt.Appendf(b.Body, `{"@timestamp":%q,"message":"x","event":{"created":%q},"stream":"stdout"}`+"\n", now.Add(-age).Format(time.RFC3339Nano), now.Format(time.RFC3339Nano))
		}
		bulk(t, c, index, []*record.Batch{b})
	}
	write(0, 5)
	r := Request{Arrival: true, Limit: 4}
	poll := func(want int, more bool) {
		t.Helper()
		result, err := s.Search(t.Context(), r)
		if err != nil || len(result.Lines) != want || result.More != more {
			t.Fatalf("%d lines, more %v, %v; want %d, %v", len(result.Lines), result.More, err, want, more)
		}
		r.After = result.Cursor
	}
	poll(0, false)
	poll(0, false)
	write(0, 2)
	again := r
	poll(2, false)
	r = again // the answer was lost: the same cursor gives the same lines
	poll(2, false)
	write(time.Hour, 7)
	poll(4, true)
	poll(3, false)
	poll(0, false)
}

// Words cuts as the server's standard analyzer does.
func testWordsAgree(t *testing.T, c *elasticsearch.Client) {
	r := rand.New(rand.NewPCG(5, 5))
	// Not here: a combining mark, joiner or skin tone that follows what it
	// cannot modify. The analyzer sometimes takes it for a word of its own.
	alphabet := append(strings.Split("ab1_.:', -/é超のスアカ한❤ע\"٣#*±²½©", ""), "สวั", "😀", "👍🏽", "👨‍👩‍👧", "🇩🇪", "🇩", "e\u0301", "❤\ufe0f", "1\ufe0f\u20e3", "x\u200dy", "★")
	var texts []string
	for range 1000 {
		texts = append(texts, sentence(r))
	}
	for range 1000 {
		text := ""
		for range r.IntN(12) {
			text += alphabet[r.IntN(len(alphabet))]
		}
		texts = append(texts, text)
	}
	bad := 0
	for _, text := range texts {
		body, err := json.Marshal(map[string]string{"analyzer": "standard", "text": text})
		if err != nil {
			t.Fatal(err)
		}
		response, err := c.Indices.Analyze(c.Indices.Analyze.WithBody(bytes.NewReader(body)))
		var answer struct {
			Tokens []struct{ Token string }
		}
		if err := json.Unmarshal(done(t, response, err), &answer); err != nil {
			t.Fatal(err)
		}
		var want []string
		for _, token := range answer.Tokens {
			want = append(want, token.Token)
		}
		if got := embedded.Words(text); !slices.Equal(got, want) {
			if bad++; bad < 25 {
				t.Errorf("%+q: %+q, the server %+q", text, got, want)
			}
		}
	}
	if bad > 0 {
		t.Errorf("%d of %d texts are cut differently", bad, len(texts))
	}
}

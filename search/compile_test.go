package search

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"mesoscope/record"
)

func TestCompile(t *testing.T) {
	f := func(text, wantDSL, wantSQL string) {
		t.Helper()
		q := mustParse(t, text)
		b, err := json.Marshal(dsl(q.root))
		if err != nil || string(b) != wantDSL {
			t.Errorf("%s:\n got %s %v\nwant %s", text, b, err, wantDSL)
		}
		c := sqlCompiler{map[string]bool{"message": true, "log": true, "event": true}}.compile(q.root)
		args := make([]string, len(c.args))
		for i, a := range c.args {
			args[i] = fmt.Sprint(a)
		}
		if got := fmt.Sprintf("%s %q", c.sql, args); got != wantSQL {
			t.Errorf("%s:\n got %s\nwant %s", text, got, wantSQL)
		}
		if strings.Count(c.sql, "?") != len(c.args) {
			t.Errorf("%s: %d arguments for %s", text, len(c.args), c.sql)
		}
	}
	const fts = `line.seq IN (SELECT rowid FROM message WHERE message MATCH ?)`
	f("", `{"match_all":{}}`, `1 []`)
	f("Time out", `{"match":{"message":{"query":"Time out"}}}`, fts+` ["\"time\" OR \"out\""]`)
	f(`"Time out"`, `{"match_phrase":{"message":{"query":"Time out"}}}`, fts+` ["\"time out\""]`)
	f(`"---"`, `{"match_phrase":{"message":{"query":"---"}}}`, `0 []`)
	f("TIME*", `{"prefix":{"message":{"value":"time"}}}`, `(`+fts+`) ["\"time\" *"]`)
	f("t*e?", `{"wildcard":{"message":{"value":"t*e"}}}`, `(line.seq IN (SELECT doc FROM word WHERE term >= ? AND term < ? AND term GLOB ?)) ["t" "t\U0010ffff" "t*e"]`)
	f("/api/v1/us*", `{"bool":{"filter":[{"match_phrase":{"message":{"query":"/api/v1/"}}},{"prefix":{"message":{"value":"us"}}}]}}`, `(`+fts+`) ["\"api v1\" AND \"us\" *"]`)
	f("192.168.*", `{"prefix":{"message":{"value":"192.168."}}}`, `(`+fts+`) ["\"192.168.\" *"]`)
	f("log.level: error", `{"term":{"log.level":{"value":"error"}}}`, `(line.level IS NOT NULL AND length(line.level) <= 1024 AND line.level = ?) ["error"]`)
	f(`service.name: /a?\*b*c`, `{"wildcard":{"service.name":{"value":"/a\\?\\*b*c"}}}`, `line.origin IN (SELECT origin FROM origin_field WHERE name = ? AND value GLOB ?) ["service.name" "/a[?][*]b*c"]`)
	f("log.offset > 5 and not stream: stderr", `{"bool":{"filter":[{"range":{"log.offset":{"gt":5}}},{"bool":{"must_not":[{"term":{"stream":{"value":"stderr"}}}]}}]}}`,
		`((line.offset IS NOT NULL AND line.offset > ?) AND NOT line.origin IN (SELECT origin FROM origin_field WHERE name = ? AND value = ?)) ["5" "stream" "stderr"]`)
	f("_id: x or host.ip: 10.0.0.0/31", `{"bool":{"minimum_should_match":1,"should":[{"ids":{"values":["x"]}},{"term":{"host.ip":{"value":"10.0.0.0/31"}}}]}}`,
		`(line.id = ? OR line.origin IN (SELECT origin FROM origin_field WHERE name = ? AND value BETWEEN ? AND ?)) ["x" "host.ip" "00000000000000000000ffff0a000000" "00000000000000000000ffff0a000001"]`)
	f("@timestamp < 1971", `{"range":{"@timestamp":{"lt":"1971-01-01T00:00:00.000000000Z"}}}`, `line.ts < ? ["31536000000000000"]`)
	f("log.flags: a", `{"term":{"log.flags":{"value":"a"}}}`, `(line.origin IN (SELECT origin FROM origin_field WHERE name = ? AND value = ?) OR EXISTS (SELECT 1 FROM json_each('{' || line.own || '}', ?) j WHERE typeof(j.key) <> 'text' AND j.type NOT IN ('object', 'array', 'null') AND length(j.atom) <= 1024 AND CASE j.type WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' ELSE CAST(j.atom AS TEXT) END = ?)) ["log.flags" "a" "$.\"log\".\"flags\"" "a"]`)
}

// Paging, order, counts and values of the embedded store against the plain way.
func TestEmbeddedOrderAndCounts(t *testing.T) {
	batches := corpus(7, 3000)
	docs, store := documents(batches), embeddedCorpus(t, batches)
	slices.SortStableFunc(docs, func(a, b document) int { return timeOf(a).Compare(timeOf(b)) })
	since := timeOf(docs[200])
	r := Request{Query: mustParse(t, "not log.level: debug"), Since: since, Until: timeOf(docs[2700]), Limit: 100}
	var want []document
	counts, levels := map[time.Time]int64{}, map[string]int64{}
	for _, d := range docs {
		if evaluate(r.Query.root, d) && !timeOf(d).Before(r.Since) && timeOf(d).Before(r.Until) {
			want = append(want, d)
			counts[timeOf(d).Truncate(10*time.Second)]++
			for _, l := range d.fields["log.level"] {
				levels[l]++
			}
		}
	}
	for _, newest := range []bool{false, true} {
		r.Newest, r.After = newest, ""
		var got []Line
		for {
			result, err := store.Search(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			if newest {
				got = append(slices.Clone(result.Lines), got...)
			} else {
				got = append(got, result.Lines...)
			}
			if !result.More {
				break
			}
			r.After = result.Cursor
		}
		if len(got) != len(want) {
			t.Fatalf("%d lines, want %d", len(got), len(want))
		}
		for i := range got {
			if got[i].ID != want[i].id || string(got[i].Doc) != want[i].raw || !got[i].Time.Equal(timeOf(want[i])) {
				t.Fatalf("newest %v: line %d is %s %s, want %s", newest, i, got[i].ID, got[i].Doc, want[i].raw)
			}
		}
	}
	buckets, err := store.Histogram(t.Context(), r, 10*time.Second)
	if err != nil || len(buckets) < 20 || !buckets[0].Time.Equal(since.Truncate(10*time.Second)) {
		t.Fatalf("%v %v", buckets, err)
	}
	for i, b := range buckets {
		if b.Count != counts[b.Time] || i > 0 && b.Time.Sub(buckets[i-1].Time) != 10*time.Second {
			t.Errorf("bucket %d: %v, want %d", i, b, counts[b.Time])
		}
	}
	values, err := store.Values(t.Context(), r, "log.level", 3)
	if err != nil || len(values) != 3 {
		t.Fatalf("%v %v", values, err)
	}
	for i, v := range values {
		if v.Count != levels[v.Value] || i > 0 && v.Count > values[i-1].Count {
			t.Errorf("value %v, want %d", v, levels[v.Value])
		}
	}
	if _, err := store.Values(t.Context(), r, "message", 3); err == nil {
		t.Error("the values of message were counted")
	}
	if _, err := store.Search(t.Context(), Request{After: "nonsense"}); err == nil {
		t.Error("a cursor that is none was taken")
	}
	if _, err := store.Histogram(t.Context(), r, time.Microsecond); err == nil {
		t.Error("a step below a millisecond was taken")
	}
}

func timeOf(d document) time.Time {
	at, err := time.Parse(time.RFC3339Nano, d.fields["@timestamp"][0])
	if err != nil {
		panic(err)
	}
	return at
}

// A follower sees lines in the order of arrival, each once, however old.
func TestEmbeddedFollow(t *testing.T) {
	store := embeddedCorpus(t, corpus(8, 100))
	r := Request{Arrival: true, Limit: 30}
	var ids []string
	poll := func() bool {
		t.Helper()
		result, err := store.Search(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range result.Lines {
			ids = append(ids, l.ID)
		}
		r.After = result.Cursor
		return result.More
	}
	if poll() || len(ids) > 0 {
		t.Fatal("the start gave lines")
	}
	later := corpus(9, 70)
	slices.Reverse(later) // late lines
	var want []string
	for _, b := range later {
		for i := range b.Len() {
			want = append(want, string(b.ID(i)))
		}
		if err := store.(*embeddedStore).store.Append(t.Context(), []*record.Batch{b}); err != nil {
			t.Fatal(err)
		}
	}
	for poll() {
	}
	if !slices.Equal(ids, want) {
		t.Errorf("followed %v, want %v", ids, want)
	}
}

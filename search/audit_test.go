package search

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"mesoscope/embedded"
	"mesoscope/receipt"
	"mesoscope/record"
)

// naive is the Tally of numbers, made in the plainest way.
func naive(numbers []int64) Tally {
	copies := map[int64]int64{}
	for _, n := range numbers {
		copies[n]++
	}
	var found runs
	different := make([]int64, 0, len(copies))
	for n := range copies {
		different = append(different, n)
	}
	slices.Sort(different)
	for _, n := range different {
		found.add(n, n, copies[n])
	}
	return Tally{Lines: int64(len(numbers)), Runs: found}
}

func TestCounter(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 500 {
		var numbers []int64
		for n := range int64(1 + r.IntN(60)) {
			for range []int{0, 1, 1, 1, 1, 2, 3}[r.IntN(7)] {
				numbers = append(numbers, n+1)
			}
		}
		if i%2 == 0 {
			r.Shuffle(len(numbers), func(a, b int) { numbers[a], numbers[b] = numbers[b], numbers[a] })
		}
		var c counter
		for _, n := range numbers {
			c.count(n)
		}
		if got, want := c.tally(), naive(numbers); !reflect.DeepEqual(got, want) {
			t.Fatalf("%v:\n got %v\nwant %v", numbers, got, want)
		}
	}
}

// auditStart is when the files of the audit tests begin: today, so that no
// server's template takes them for old.
var auditStart = time.Now().UTC().Add(-time.Hour).Truncate(time.Second)

func auditStream(container int, stream string) *record.Stream {
	return &record.Stream{
		Name: fmt.Sprintf("docker/c%d/%s", container, stream), Index: "logs-mesos.container-default", Dataset: "mesos.container",
		Fields: fmt.Appendf(nil, `"stream":%q,"container":{"id":"c%d","name":"web-%d"},"service":{"name":"/prod/web"},"host":{"name":"node-1"},"data_stream":{"type":"logs","dataset":"mesos.container","namespace":"default"}`, stream, container, container),
	}
}

// auditBatch is lines of one file, one a millisecond.
func auditBatch(s *record.Stream, generation, mark string, numbers ...int64) *record.Batch {
	b := new(record.Batch)
	b.Reset(s, nil)
	for _, n := range numbers {
		at := auditStart.Add(time.Duration(n) * time.Millisecond).Format(time.RFC3339Nano)
		auditAdd(b, fmt.Sprintf("%s-%s-%d%s", s.Name, generation, n, mark), fmt.Appendf(nil,
			`"@timestamp":%q,"message":"line %d","log":{"offset":%d,"file":{"path":"/logs/x-json.log","generation":%q}},"event":{"sequence":%d,"created":%q,"dataset":"mesos.container"}`, at, n, n*100, generation, n, at))
	}
	return b
}

func auditAdd(b *record.Batch, id string, own []byte) {
	b.Body = record.AppendAction(b.Body, []byte(id))
	item := record.Item{Doc: uint32(len(b.Body))}
	b.Body = append(append(append(append(b.Body, '{'), own...), ','), b.Stream.Fields...)
	b.Body = append(b.Body, "}\n"...)
	item.End = uint32(len(b.Body))
	b.Items = append(b.Items, item)
}

func sequence(first, last int64) (out []int64) {
	for n := first; n <= last; n++ {
		out = append(out, n)
	}
	return out
}

func openAudit(t testing.TB, o embedded.Options) (*embedded.Store, AuditStore) {
	t.Helper()
	file, err := embedded.Open(filepath.Join(t.TempDir(), "store.db"), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return file, NewEmbedded(file)
}

func tallyOf(t testing.TB, a Auditor, keys ...Key) []Tally {
	t.Helper()
	tallies, err := a.Tally(t.Context(), keys)
	if err != nil || len(tallies) != len(keys) {
		t.Fatalf("%d tallies: %v", len(tallies), err)
	}
	return tallies
}

func TestEmbeddedAudit(t *testing.T) {
	file, store := openAudit(t, embedded.Options{})
	out, errs, other := auditStream(1, "stdout"), auditStream(1, "stderr"), auditStream(2, "stdout")
	relabelled := auditStream(1, "stdout") // the same stream later, with other metadata
	relabelled.Fields = append([]byte(`"labels":{"a":"b"},`), relabelled.Fields...)
	err := file.Append(t.Context(), []*record.Batch{
		auditBatch(out, "g1", "", sequence(1, 100)...), auditBatch(errs, "g1", "", sequence(1, 7)...),
		auditBatch(relabelled, "g1", "", sequence(101, 120)...), auditBatch(out, "g2", "", sequence(1, 30)...),
		auditBatch(other, "g1", "", sequence(1, 5)...), auditBatch(out, "g1", "again", 7, 40),
	})
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", file.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("DELETE FROM line WHERE sequence IN (1, 50, 51) AND own LIKE '%\"g1\"%' AND origin = (SELECT min(id) FROM origin)"); err != nil {
		t.Fatal(err)
	}
	g1 := Key{"c1", "g1", "stdout"}
	got := tallyOf(t, store, g1, Key{"c1", "g1", "stderr"}, Key{"c1", "g2", "stdout"}, Key{"c2", "g1", "stdout"}, Key{"c3", "g1", "stdout"})
	want := []Tally{
		{Lines: 119, Runs: []Run{{2, 6, 1}, {7, 7, 2}, {8, 39, 1}, {40, 40, 2}, {41, 49, 1}, {52, 120, 1}}},
		{Lines: 7, Runs: []Run{{1, 7, 1}}}, {Lines: 30, Runs: []Run{{1, 30, 1}}}, {Lines: 5, Runs: []Run{{1, 5, 1}}}, {},
	}
	for i := range want {
		if len(got[i].Runs) != len(want[i].Runs) || got[i].Lines != want[i].Lines || len(want[i].Runs) > 0 && !reflect.DeepEqual(got[i], want[i]) {
			t.Errorf("%d: got %+v, want %+v", i, got[i], want[i])
		}
	}
	list, err := store.Generations(t.Context(), Request{Query: mustParse(t, "container.name: web-1"), Since: auditStart.Add(110 * time.Millisecond)})
	if err != nil || len(list) != 1 || list[0].Key != g1 || list[0].Name != "web-1" || list[0].Path != "/logs/x-json.log" ||
		!list[0].First.Equal(auditStart.Add(110*time.Millisecond)) || !list[0].Last.Equal(auditStart.Add(120*time.Millisecond)) {
		t.Errorf("%+v, %v", list, err)
	}
	if list, err := store.Generations(t.Context(), Request{}); err != nil || len(list) != 4 {
		t.Errorf("%+v, %v", list, err)
	}
}

// What retention has deleted is known after the file was opened again.
func TestEmbeddedExpired(t *testing.T) {
	file, store := openAudit(t, embedded.Options{MaxAge: time.Hour - 50*time.Millisecond})
	s := auditStream(1, "stdout")
	if err := file.Append(t.Context(), []*record.Batch{auditBatch(s, "g1", "", sequence(1, 20)...), auditBatch(s, "g2", "", 3600_000)}); err != nil {
		t.Fatal(err)
	}
	g1 := Key{"c1", "g1", "stdout"}
	if got := tallyOf(t, store, g1)[0]; got.Lines != 20 || !got.Expired.IsZero() {
		t.Fatalf("before: %+v", got)
	}
	if err := file.Retain(t.Context()); err != nil {
		t.Fatal(err)
	}
	again, err := embedded.OpenReader(file.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if got := tallyOf(t, NewEmbedded(again), g1)[0]; got.Lines != 0 || !got.Expired.Equal(auditStart.Add(20*time.Millisecond)) {
		t.Errorf("after: %+v, want all up to %s gone", got, auditStart.Add(20*time.Millisecond))
	}
}

// booksOf are a receipt and a gap document beside a line, all of one time.
func booksOf(t testing.TB) []*record.Batch {
	t.Helper()
	s := auditStream(1, "stdout")
	origin := receipt.Origin{Container: "c1", Path: "/logs/x-json.log", Generation: "g1", Stream: "stdout"}
	books := &record.Stream{Name: "receipts/c1", Index: "logs-mesoscope.receipt-default", Dataset: receipt.Dataset,
		Fields: []byte(`"stream":"stdout","container":{"id":"c1","name":"web-1"},"service":{"name":"/prod/web"},"host":{"name":"node-1"},"data_stream":{"type":"logs","dataset":"mesoscope.receipt","namespace":"default"}`)}
	gaps := &record.Stream{Name: "gaps/c1", Index: s.Index, Dataset: s.Dataset,
		Fields: []byte(`"container":{"id":"c1","name":"web-1"},"service":{"name":"/prod/web"},"host":{"name":"node-1"},"data_stream":{"type":"logs","dataset":"mesos.container","namespace":"default"}`)}
	own, err := origin.Append(nil, receipt.Receipt{Revision: 3, Final: true, Lines: receipt.Lines{Total: 2, Delivered: 2}, First: auditStart, Last: auditStart.Add(time.Second)}, auditStart)
	if err != nil {
		t.Fatal(err)
	}
	r := new(record.Batch)
	r.Reset(books, nil)
	auditAdd(r, origin.ID(3), own)
	origin.Stream = ""
	if own, err = origin.AppendGap(nil, receipt.Gap{Reason: "truncated in place", From: 700, Bytes: 50}, s.Dataset, auditStart); err != nil {
		t.Fatal(err)
	}
	g := new(record.Batch)
	g.Reset(gaps, nil)
	auditAdd(g, origin.GapID(receipt.Gap{Reason: "truncated in place", From: 700}), own)
	return []*record.Batch{r, auditBatch(s, "g1", "", 0, 1), g}
}

// checkBooks asks a store that holds booksOf.
func checkBooks(t *testing.T, store Store) {
	t.Helper()
	find := func(text string) (messages []string) {
		t.Helper()
		res, err := store.Search(t.Context(), Request{Query: mustParse(t, text)})
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		for _, l := range res.Lines {
			messages = append(messages, decode(l.ID, string(l.Doc)).fields["message"][0])
		}
		slices.Sort(messages)
		return messages
	}
	const (
		gap  = "lines are missing here: at least 50 bytes of /logs/x-json.log from offset 700 were lost (truncated in place)"
		book = "receipt (final): 2 lines of stdout in /logs/x-json.log"
	)
	now := auditStart.Format(time.RFC3339Nano)
	for text, want := range map[string][]string{
		"":                                   {"line 0", "line 1", gap},
		"container.id: c1":                   {"line 0", "line 1", gap},
		"receipt":                            nil,
		"event.kind: pipeline_error":         {gap},
		"not event.sequence: *":              {gap},
		"event.dataset: mesoscope.receipt":   {book},
		"event.dataset: mesos*":              {"line 0", "line 1", gap, book},
		"data_stream.dataset: mesoscope.*":   {book},
		"not event.dataset: mesos.container": {book},
		"event.dataset: * and receipt":       {book},
		`event.dataset: mesoscope.receipt and mesoscope.receipt.first <= "` + now + `"`:            {book},
		`event.dataset: mesoscope.receipt and mesoscope.receipt.first < "` + now + `"`:             nil,
		`event.dataset: mesoscope.receipt and mesoscope.receipt.last > "` + now + `"`:              {book},
		`event.dataset: mesoscope.receipt and mesoscope.receipt.revision: 3`:                       {book},
		`event.dataset: mesoscope.receipt and mesoscope.receipt.final: true`:                       {book},
		`event.dataset: mesoscope.receipt and not mesoscope.receipt.first: *`:                      nil,
		`event.dataset: mesos.container and mesoscope.gap.from >= 700 and mesoscope.gap.from<9999`: {gap},
	} {
		slices.Sort(want)
		if got := find(text); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
	values, err := store.Values(t.Context(), Request{}, "container.id", 10)
	if err != nil || !reflect.DeepEqual(values, []Value{{"c1", 3}}) {
		t.Errorf("the receipt counts as a line: %v %v", values, err)
	}
	// Documents of one time are each given once, page by page, in one order.
	for _, newest := range []bool{false, true} {
		r := Request{Query: mustParse(t, "event.dataset: *"), Limit: 1, Newest: newest}
		seen := map[string]bool{}
		for range 4 {
			res, err := store.Search(t.Context(), r)
			if err != nil || len(res.Lines) != 1 {
				t.Fatalf("%d lines, %v", len(res.Lines), err)
			}
			seen[res.Lines[0].ID] = true
			r.After = res.Cursor
		}
		if len(seen) != 4 {
			t.Errorf("newest %v: %v", newest, seen)
		}
	}
}

func TestEmbeddedBooks(t *testing.T) {
	file, store := openAudit(t, embedded.Options{})
	if err := file.Append(t.Context(), booksOf(t)); err != nil {
		t.Fatal(err)
	}
	checkBooks(t, store)
}

// BenchmarkEmbeddedAudit counts a million lines.
func BenchmarkEmbeddedAudit(b *testing.B) {
	const files, lines = 20, 50_000
	file, store := openAudit(b, embedded.Options{})
	var keys []Key
	for f := range files {
		s := auditStream(f, "stdout")
		keys = append(keys, Key{fmt.Sprint("c", f), "g1", "stdout"})
		for from := int64(1); from <= lines; from += 5000 {
			if err := file.Append(b.Context(), []*record.Batch{auditBatch(s, "g1", "", sequence(from, from+4999)...)}); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ResetTimer()
	for range b.N {
		list, err := store.Generations(b.Context(), Request{Query: Term("service.name", "/prod/web")})
		if err != nil || len(list) != files {
			b.Fatal(len(list), err)
		}
		for _, tally := range tallyOf(b, store, keys...) {
			if len(tally.Runs) != 1 || tally.Lines != lines {
				b.Fatalf("%+v", tally)
			}
		}
	}
}

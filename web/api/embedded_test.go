package api

import (
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mesoscope/embedded"
	"mesoscope/record"
	"mesoscope/search"
)

func add(t *testing.T, db *embedded.Store, from, to int) {
	t.Helper()
	var b record.Batch
	b.Reset(&record.Stream{Name: "docker/c1/stdout", Index: "logs-mesos.container-default", Dataset: "mesos.container",
		Fields: []byte(`"stream":"stdout","container":{"id":"c1","name":"web-1"},"host":{"name":"n1"},"service":{"name":"/prod/web"}`)}, nil)
	for i := from; i < to; i++ {
		b.Body = record.AppendAction(b.Body, fmt.Appendf(nil, "id%04d", i))
		doc := len(b.Body)
		level := []string{"info", "warn", "error"}[i%3]
		b.Body = fmt.Appendf(b.Body, `{"@timestamp":%q,"message":"line %d <b>","log":{"level":%q,"offset":%d,"file":{"generation":"g1","path":"/x"}},"event":{"sequence":%d,"dataset":"mesos.container"},%s}`+"\n",
			begin.Add(time.Duration(i)*time.Second).Format("2006-01-02T15:04:05.000000000Z"), i, level, i*100, i, b.Stream.Fields)
		b.Items = append(b.Items, record.Item{Doc: uint32(doc), End: uint32(len(b.Body))})
	}
	if err := db.Append(t.Context(), []*record.Batch{&b}); err != nil {
		t.Fatal(err)
	}
}

// What the page and `mesoscope logs` ask must be understood by the real store.
func TestOverTheEmbeddedStore(t *testing.T) {
	db, err := embedded.Open(filepath.Join(t.TempDir(), "store.db"), embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	add(t, db, 0, 60)
	server := serve(t, search.NewEmbedded(db), Options{Poll: 5 * time.Millisecond})
	c := client(t, server)
	is := func(field, value string) Filter { return Filter{Field: field, Value: value} }
	for _, q := range []struct {
		text    string
		filters []Filter
		want    string
	}{
		{"event.sequence >= 5 and event.sequence <= 7", []Filter{is("container.id", "c1"), is("stream", "stdout"), is("log.file.generation", "g1")}, "id0005 id0006 id0007"},
		{"line", []Filter{is("log.level", "error"), is("event.sequence", "8")}, "id0008"},
		{`"line 9"`, []Filter{{Field: "service.name", Value: "/prod/*", Pattern: true}}, "id0009"},
		{"event.sequence < 4", []Filter{is("log.level", "warn"), is("log.level", "error"), {Field: "event.sequence", Value: "2", Not: true}}, "id0001"},
		{"line", []Filter{is("service.name", "/prod/*")}, ""},
	} {
		query, err := Compose(q.text, q.filters)
		if err != nil {
			t.Fatal(err)
		}
		res, err := c.Search(t.Context(), search.Request{Query: query})
		var ids []string
		for _, l := range res.Lines {
			ids = append(ids, l.ID)
		}
		if got := strings.Join(ids, " "); err != nil || got != q.want {
			t.Errorf("%s %v: %q, %v; want %q", q.text, q.filters, got, err, q.want)
		}
	}
	r := search.Request{Newest: true, Limit: 25}
	var ids []string
	for pages := 0; ; pages++ {
		res, err := c.Search(t.Context(), r)
		if err != nil || pages > 3 {
			t.Fatal(err, pages)
		}
		var page []string
		for _, l := range res.Lines {
			page = append(page, l.ID)
		}
		ids = append(page, ids...)
		if !res.More {
			break
		}
		r.After = res.Cursor
	}
	if len(ids) != 60 || ids[0] != "id0000" || ids[59] != "id0059" {
		t.Errorf("older pages: %v", ids)
	}
	all := search.Request{Since: begin, Until: begin.Add(time.Minute)}
	if b, err := c.Histogram(t.Context(), all, 10*time.Second); err != nil || len(b) != 7 || b[1].Count != 10 {
		t.Errorf("histogram: %v, %v", b, err)
	}
	for field, want := range map[string]string{"log.level": "[{error 20} {info 20} {warn 20}]", "service.name": "[{/prod/web 60}]", "container.name": "[{web-1 60}]", "host.name": "[{n1 60}]", "stream": "[{stdout 60}]"} {
		if v, err := c.Values(t.Context(), all, field, 9); err != nil || fmt.Sprint(v) != want {
			t.Errorf("%s: %v, %v; want %s", field, v, err, want)
		}
	}
	e := events(t, t.Context(), server.URL+"/api/v1/tail?"+url.Values{"q": {"line"}, "is": {"log.level:info"}}.Encode(), "")
	next(t, e, "ready")
	add(t, db, 60, 63)
	if _, data := next(t, e, "lines"); !strings.Contains(data, `"id":"id0060"`) || strings.Contains(data, "id0061") {
		t.Errorf("tail: %s", data)
	}
}

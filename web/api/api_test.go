package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"mesoscope/search"
	"mesoscope/web/storetest"
)

var begin = time.Date(2026, 11, 23, 12, 0, 0, 123456789, time.UTC)

func store(n int) *storetest.Store {
	s := &storetest.Store{}
	for i := range n {
		service, stream := []string{"web", "api", "redis"}[i%3], []string{"stdout", "stderr"}[i%2]
		s.Add(fmt.Sprintf("id%d", i), storetest.Doc(begin.Add(time.Duration(i)*time.Second), service, stream, "info", fmt.Sprintf("line %d <b>&", i), i, ""))
	}
	return s
}

func serve(t *testing.T, s search.Store, o Options) *httptest.Server {
	t.Helper()
	o.Log = slog.New(slog.DiscardHandler)
	server := httptest.NewServer(Handler(s, o))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server
}

func client(t *testing.T, server *httptest.Server) *Client {
	t.Helper()
	c, err := NewClient(server.URL+"/", "")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The client must give the answers that the store gives.
func TestClientIsTheStore(t *testing.T) {
	s := store(50)
	c := client(t, serve(t, s, Options{}))
	q, err := Compose("line", []Filter{{Field: "service.name", Value: "web"}, {Field: "service.name", Value: "api"}, {Field: "stream", Value: "stderr", Not: true}})
	if err != nil {
		t.Fatal(err)
	}
	end := begin.Add(time.Hour)
	for _, r := range []search.Request{
		{},
		{Limit: 7},
		{Limit: 7, Newest: true},
		{Query: q, Since: begin.Add(3 * time.Second), Until: end, Limit: 5},
		{Arrival: true},
	} {
		for range 3 { // pages
			want, err := s.Search(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			got, err := c.Search(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			if len(want.Lines) == 0 {
				want.Lines = []search.Line{}
			}
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("%+v:\ngot  %+v\nwant %+v", r, got, want)
			}
			r.After = got.Cursor
		}
	}
	r := search.Request{Query: q, Since: begin, Until: begin.Add(time.Minute)}
	wantBuckets, _ := s.Histogram(t.Context(), r, 10*time.Second)
	gotBuckets, err := c.Histogram(t.Context(), r, 10*time.Second)
	if err != nil || len(gotBuckets) != 7 || !reflect.DeepEqual(gotBuckets, wantBuckets) {
		t.Errorf("histogram: %v\ngot  %v\nwant %v", err, gotBuckets, wantBuckets)
	}
	values, err := c.Values(t.Context(), r, "service.name", 1)
	if err != nil || !reflect.DeepEqual(values, []search.Value{{Value: "web", Count: 9}}) && !reflect.DeepEqual(values, []search.Value{{Value: "api", Count: 9}}) {
		t.Errorf("values: %v, %v", values, err)
	}
	if ours, err := c.Probe(t.Context()); !ours || err != nil {
		t.Errorf("probe: %v, %v", ours, err)
	}
}

func TestCompose(t *testing.T) {
	for _, c := range []struct {
		text    string
		filters []Filter
		want    string
	}{
		{"", nil, ""},
		{"a or b", nil, "a or b"},
		{"a or b", []Filter{{Field: "stream", Value: "stderr"}}, `(message: a or message: b) and (stream: "stderr" or ((not stream: *) and event.kind: "pipeline_error"))`},
		{"", []Filter{{Field: "log.level", Value: "warn", Not: true}}, `not log.level: "warn"`},
		{"", []Filter{{Field: "x", Value: `say "hi" \ *`}}, `x: "say \"hi\" \\ *"`},
		{"", []Filter{{Field: "x", Value: "1"}, {Field: "y", Value: "2", Not: true}, {Field: "x", Value: "3"}}, `(not y: "2") and (x: "1" or x: "3")`},
		{"", []Filter{{Field: "x", Value: "/a(b)*", Pattern: true}}, `x: /a\(b\)*`},
		{"", []Filter{{Field: "container.labels.a:b*", Value: "c"}}, `"container.labels.a:b*": "c"`},
	} {
		q, err := Compose(c.text, c.filters)
		if err != nil || q.String() != c.want {
			t.Errorf("%q %v: %q, %v; want %q", c.text, c.filters, q.String(), err, c.want)
		}
	}
}

func TestErrors(t *testing.T) {
	s := store(3)
	server := serve(t, s, Options{Timeout: 50 * time.Millisecond})
	ask := func(path string) (int, Error) {
		resp, err := http.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var e Error
		if err := json.NewDecoder(resp.Body).Decode(&e); err != nil {
			t.Errorf("%s: not JSON: %v", path, err)
		}
		return resp.StatusCode, e
	}
	for path, want := range map[string]string{
		"/api/v1/search?limit=0":                         `400 limit="0": want a whole number`,
		"/api/v1/search?limit=x":                         `400 limit="x"`,
		"/api/v1/search?since=yesterday":                 `400 since="yesterday": want a time as in RFC 3339`,
		"/api/v1/search?newest=perhaps":                  `400 newest="perhaps"`,
		"/api/v1/search?is=stream":                       `400 filter "stream": want field:value`,
		"/api/v1/search?is=:x":                           `400 filter ":x": want field:value`,
		"/api/v1/search?is=a%00b:x":                      `400 filter on field "a\x00b"`,
		"/api/v1/histogram":                              `400 step="": want a duration`,
		"/api/v1/histogram?step=1s":                      `400 a histogram needs since and until`,
		"/api/v1/values":                                 `400 field is missing`,
		"/api/v1/nothing":                                `404 GET /api/v1/nothing: there is no such path`,
		"/api/v1/search?after=nonsense":                  `502 the store did not answer`,
		"/api/v1/search?q=" + strings.Repeat("a", 20000): `414 the query of the URL is 20002 bytes`,
		"/api/v1/search?since=2026-11-23T12:00:00Z&until=2026-11-23T12:00:00Z":             `400 since=2026-11-23T12:00:00Z is not before`,
		"/api/v1/histogram?step=1ms&since=2026-11-23T12:00:00Z&until=2026-11-23T13:00:00Z": `400 step=1ms gives more than 2000 steps`,
	} {
		status, e := ask(path)
		if got := fmt.Sprintf("%d %s", status, e.Message); !strings.HasPrefix(got, want) {
			t.Errorf("%.80s: got %q, want %q", path, got, want)
		}
	}
	s.Slow(time.Minute)
	if status, e := ask("/api/v1/search"); status != 504 || !strings.Contains(e.Message, "within 50ms") {
		t.Errorf("slow store: %d %s", status, e.Message)
	}
	s.Slow(0)
	s.Fail(errors.New("disk gone"))
	if status, e := ask("/api/v1/search"); status != 502 || !strings.Contains(e.Message, "disk gone") {
		t.Errorf("broken store: %d %s", status, e.Message)
	}
	_, err := client(t, server).Search(t.Context(), search.Request{})
	var e *Error
	if !errors.As(err, &e) || e.Status != 502 {
		t.Errorf("the client says %v", err)
	}
	if resp, err := http.Post(server.URL+"/api/v1/search", "", nil); err != nil || resp.StatusCode < 400 {
		t.Errorf("POST: %v, %v", resp.Status, err)
	}
}

// Not every store can be audited, and not every body is a question.
func TestAuditErrors(t *testing.T) {
	server := serve(t, store(1), Options{})
	for _, c := range []struct {
		path, body string
		status     int
		message    string
	}{
		{"generations", "", 501, "this store cannot say which lines it holds"},
		{"generations?since=x", "", 400, `since="x"`},
		{"tally", `{"keys":[]}`, 501, "this store cannot say which lines it holds"},
		{"tally", `nonsense`, 400, `the body is not {"keys":`},
		{"tally", `{"keys":["` + strings.Repeat("x", maxKeys) + `"]}`, 400, "too large"},
	} {
		method := http.MethodPost
		if c.body == "" {
			method = http.MethodGet
		}
		req, err := http.NewRequest(method, server.URL+"/api/v1/"+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var e Error
		if err := json.NewDecoder(resp.Body).Decode(&e); err != nil || resp.StatusCode != c.status || !strings.Contains(e.Message, c.message) {
			t.Errorf("%s: %d %q (%v), want %d %q", c.path, resp.StatusCode, e.Message, err, c.status, c.message)
		}
		resp.Body.Close()
	}
}

func TestErrorInTheQueryNamesItsPlace(t *testing.T) {
	server := serve(t, store(1), Options{})
	// The filter beside it must not move the place.
	resp, err := http.Get(server.URL + "/api/v1/search?" + url.Values{"q": {"a and (b"}, "is": {"stream:stdout"}}.Encode())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var e Error
	if err := json.NewDecoder(resp.Body).Decode(&e); err != nil || resp.StatusCode != 400 || e.Position == nil || *e.Position != 6 || e.Message == "" {
		t.Errorf("%d %+v, %v", resp.StatusCode, e, err)
	}
	if b, _ := json.Marshal(&Error{Message: "x"}); string(b) != `{"error":"x"}` {
		t.Error(string(b))
	}
}

func TestDocumentsArePassedOnAsStored(t *testing.T) {
	s := &storetest.Store{}
	doc := `{"@timestamp":"2026-11-23T12:00:00.123456789Z","message":"<script>&","n":12345678901234567890}`
	s.Add("a", doc)
	resp, err := http.Get(serve(t, s, Options{}).URL + "/api/v1/search")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	if !strings.Contains(string(b), doc) {
		t.Errorf("got %s", b)
	}
	for k, want := range map[string]string{"Content-Type": "application/json; charset=utf-8", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"} {
		if got := resp.Header.Get(k); got != want {
			t.Errorf("%s: %q, want %q", k, got, want)
		}
	}
}

// events reads server-sent events as "name id data".
func events(t *testing.T, ctx context.Context, u, last string) <-chan [3]string {
	t.Helper()
	req, _ := http.NewRequestWithContext(ctx, "GET", u, nil)
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if kind := resp.Header.Get("Content-Type"); kind != "text/event-stream" {
		b, _ := io.ReadAll(resp.Body)
		t.Fatalf("%s: %s", kind, b)
	}
	out := make(chan [3]string, 100)
	go func() {
		defer resp.Body.Close()
		defer close(out)
		var e [3]string
		for s := bufio.NewScanner(resp.Body); s.Scan(); {
			name, value, _ := strings.Cut(s.Text(), ": ")
			switch name {
			case "event":
				e[0] = value
			case "id":
				e[1] = value
			case "data":
				e[2] = value
			case "":
				if e[0] != "" {
					out <- e
				}
				e = [3]string{}
			}
		}
	}()
	return out
}

func next(t *testing.T, events <-chan [3]string, name string) (id, data string) {
	t.Helper()
	select {
	case e := <-events:
		if e[0] != name {
			t.Fatalf("got %v, want an event %q", e, name)
		}
		return e[1], e[2]
	case <-time.After(10 * time.Second):
		t.Fatalf("no event %q", name)
	}
	return "", ""
}

func TestTail(t *testing.T) {
	s := store(5)
	server := serve(t, s, Options{Poll: 5 * time.Millisecond, MaxTails: 1})
	ctx, stop := context.WithCancel(t.Context())
	tail := server.URL + "/api/v1/tail?" + url.Values{"q": {"wanted"}, "not": {"stream:stderr"}}.Encode()
	e := events(t, ctx, tail, "")
	next(t, e, "ready")
	if resp, err := http.Get(tail); err != nil || resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a tail too many: %v, %v", resp.Status, err)
	}
	s.Add("no", storetest.Doc(begin, "web", "stdout", "", "other", 10, ""))
	s.Add("err", storetest.Doc(begin, "web", "stderr", "", "wanted", 11, ""))
	// Its time lies long before the last line: by arrival it comes all the same.
	s.Add("yes", storetest.Doc(begin.Add(-time.Hour), "web", "stdout", "", "wanted\nline", 12, ""))
	_, data := next(t, e, "lines")
	var lines []line
	if err := json.Unmarshal([]byte(data), &lines); err != nil || len(lines) != 1 || lines[0].ID != "yes" {
		t.Fatalf("%v: %s", err, data)
	}
	s.Fail(errors.New("away"))
	if _, data := next(t, e, "problem"); !strings.Contains(data, "away") {
		t.Errorf("problem: %s", data)
	}
	s.Fail(nil)
	stop()
	// A reader that has gone gives its place back.
	for deadline := time.Now().Add(10 * time.Second); ; {
		req, _ := http.NewRequestWithContext(t.Context(), "GET", tail, nil)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the place of the tail that has gone is not free again")
		}
	}
}

func TestTailGoesOnAtLastEventID(t *testing.T) {
	s := store(5)
	server := serve(t, s, Options{Poll: 5 * time.Millisecond})
	res, err := s.Search(t.Context(), search.Request{Arrival: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Add("more", storetest.Doc(begin, "web", "stdout", "", "again", 13, ""))
	e := events(t, t.Context(), server.URL+"/api/v1/tail", string(res.Cursor))
	next(t, e, "ready")
	if _, data := next(t, e, "lines"); !strings.Contains(data, `"id":"more"`) {
		t.Errorf("got %s", data)
	}
}

func TestNewClientRefuses(t *testing.T) {
	for _, base := range []string{"", "127.0.0.1:9912", "ftp://x", "http://", "http://a b"} {
		if _, err := NewClient(base, ""); err == nil {
			t.Errorf("%q was taken", base)
		}
	}
}

func TestProbeOfSomethingElse(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"Elasticsearch": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"error":{"type":"invalid_index_name_exception"},"status":400}`)
		},
		"a web site": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") },
	} {
		server := httptest.NewServer(h)
		ours, err := client(t, server).Probe(t.Context())
		if ours || err != nil {
			t.Errorf("%s: %v, %v", name, ours, err)
		}
		server.Close()
		if _, err := client(t, server).Probe(t.Context()); err == nil {
			t.Errorf("%s: nobody there, but no error", name)
		}
	}
}

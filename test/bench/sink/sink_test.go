package sink

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func post(t *testing.T, h http.Handler, path string, body []byte, zip bool) (int, string) {
	t.Helper()
	if zip {
		var b bytes.Buffer
		zw := gzip.NewWriter(&b)
		zw.Write(body)
		zw.Close()
		body = b.Bytes()
	}
	r := httptest.NewRequest("POST", path, bytes.NewReader(body))
	if zip {
		r.Header.Set("Content-Encoding", "gzip")
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Header().Get("X-Elastic-Product") != "Elasticsearch" {
		t.Error("no product header: the official client would refuse the answer")
	}
	if !json.Valid(w.Body.Bytes()) {
		t.Errorf("not JSON: %s", w.Body)
	}
	return w.Code, strings.TrimSpace(w.Body.String())
}

func doc(id string, number int) string {
	return fmt.Sprintf("{\"create\":{\"_id\":%q}}\n{\"message\":\"x mk:1#%d; y\"}\n", id, number)
}

func TestBulk(t *testing.T) {
	for _, zip := range []bool{false, true} {
		s := New(Options{IDs: true})
		body := []byte(doc("a", 1) + doc("b", 2))
		f := func(path string, body []byte, want string) {
			t.Helper()
			if code, got := post(t, s, path, body, zip); code != 200 || got != want {
				t.Errorf("%d\n%s, want\n%s", code, got, want)
			}
		}
		f("/logs-x-default/_bulk?filter_path=errors,items.*.status,items.*._index,items.*._id", body,
			`{"items":[{"create":{"_index":".ds-logs-x-default-2026.11.23-000001","_id":"a","status":201}},`+
				`{"create":{"_index":".ds-logs-x-default-2026.11.23-000001","_id":"b","status":201}}],"errors":false}`)
		// The same again: ids are known.
		f("/logs-x-default/_bulk?filter_path=errors,items.*.status", body,
			`{"items":[{"create":{"status":409}},{"create":{"status":409}}],"errors":true}`)
		// The same lines under other ids: that is a doubled line.
		f("/_bulk?filter_path=items.*.status", []byte(doc("c", 1)+doc("d", 3)),
			`{"items":[{"create":{"status":201}},{"create":{"status":201}}]}`)
		f("/_bulk?filter_path=items.*.error", []byte("{\"create\":{}}\n{\"no\":\"marker\"}\n"), `{"items":[{"create":{}}]}`)
		got := s.Stats()
		got.WireBytes, got.BodyBytes = 0, 0
		if want := (Stats{Bulks: 4, Lines: 5, Conflicts: 2, Distinct: 3, Duplicates: 1, Unmarked: 1}); got != want {
			t.Errorf("gzip %v: %+v, want %+v", zip, got, want)
		}
		if st := s.Stats(); (st.WireBytes == st.BodyBytes) == zip {
			t.Errorf("gzip %v: %+v", zip, st)
		}
	}
}

func TestBulkFull(t *testing.T) {
	s := New(Options{})
	_, got := post(t, s, "/_bulk", []byte(`{"index":{"_index":"plain","_id":"a"}}`+"\n{}\n"), false)
	if want := `{"took":1,"items":[{"index":{"_index":".ds-plain-2026.11.23-000001","_id":"a","_version":1,"result":"created","status":201}}],"errors":false}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestBulkRefused(t *testing.T) {
	for _, body := range []string{"{\"create\":{}}\n", "{\"create\":{}}\n{\"a\":1}", "{\"create\":{}}\nnothing\n", "hello\n", "{\"delete\":{}}\n"} {
		s := New(Options{})
		if code, got := post(t, s, "/_bulk", []byte(body), false); code != 400 {
			t.Errorf("%q: %d %s, want 400", body, code, got)
		}
	}
	r := httptest.NewRequest("POST", "/_bulk", strings.NewReader("no gzip"))
	r.Header.Set("Content-Encoding", "gzip")
	w := httptest.NewRecorder()
	New(Options{}).ServeHTTP(w, r)
	if w.Code != 400 {
		t.Errorf("broken gzip: %d, want 400", w.Code)
	}
}

func TestOnLineAndDelay(t *testing.T) {
	var got []int
	s := New(Options{Delay: 20 * time.Millisecond, OnLine: func(_, number int, at time.Time) {
		if time.Since(at) < 20*time.Millisecond {
			t.Error("told before the delay or with a time behind it")
		}
		got = append(got, number)
	}})
	post(t, s, "/_bulk", []byte(doc("a", 7)+doc("b", 8)), false)
	if fmt.Sprint(got) != "[7 8]" {
		t.Errorf("%v", got)
	}
}

func TestOthers(t *testing.T) {
	s := New(Options{IDs: true})
	srv := httptest.NewServer(s)
	defer srv.Close()
	post(t, s, "/logs-x-default/_bulk", []byte(doc("a", 1)), false)
	status := 200
	f := func(method, path, body, want string) {
		t.Helper()
		r, err := http.NewRequest(method, srv.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		got, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != status || !strings.Contains(string(got), want) {
			t.Errorf("%s %s: %d %s %v, want %s", method, path, resp.StatusCode, got, err, want)
		}
	}
	f("GET", "/", "", `"number":"8.19.7"`)
	f("HEAD", "/", "", "")
	f("PUT", "/_index_template/logs-mesos", "{}", `{"acknowledged":true}`)
	f("POST", "/_index_template/_simulate", "{}", `{"acknowledged":true}`)
	f("GET", "/_license", "", `{}`)
	f("GET", "/_data_stream/logs-x-default", "", `"index_name":".ds-logs-x-default-2026.11.23-000001"`)
	f("POST", "/_mget", `{"docs":[{"_index":"i","_id":"a"},{"_index":"i","_id":"z"}]}`,
		`{"docs":[{"_index":"i","_id":"a","found":true},{"_index":"i","_id":"z","found":false}]}`)
	f("POST", "/logs-x-default/_mget", `{"ids":["a"]}`, `"found":true`)
	f("GET", "/_sink/stats", "", `"lines":1,`)
	f("POST", "/_sink/reset", "", `"lines":0,`)
	status = 404
	f("GET", "/_ilm/policy/x", "", `resource_not_found_exception`)
	f("HEAD", "/_index_template/logs-mesos", "", "")
}

func BenchmarkBulk(b *testing.B) {
	s := New(Options{})
	var body bytes.Buffer
	const docs = 1000
	for i := range docs {
		fmt.Fprintf(&body, "{\"create\":{\"_id\":\"AAAAAAAAAAAAAAAAAAAAAAA%04d\"}}\n{\"message\":\"mk:1#%d;\",\"x\":%q}\n", i, i, strings.Repeat("m", 800))
	}
	b.SetBytes(int64(body.Len()))
	for b.Loop() {
		r := httptest.NewRequest("POST", "/i/_bulk?filter_path=errors,items.*.status", bytes.NewReader(body.Bytes()))
		s.ServeHTTP(httptest.NewRecorder(), r)
	}
	b.ReportMetric(float64(b.N)*docs/b.Elapsed().Seconds(), "lines/s")
}

// TestOTLP holds that the markers in a body of any form are counted.
func TestOTLP(t *testing.T) {
	for _, zip := range []bool{false, true} {
		s := New(Options{})
		r := httptest.NewRecorder()
		body := []byte("\x0a\x03mk:1#1;\x00\xff mk: mk:1#2;mk:1#2;\x01mk:2#1;")
		req := httptest.NewRequest("POST", "/v1/logs", bytes.NewReader(body))
		if zip {
			var b bytes.Buffer
			zw := gzip.NewWriter(&b)
			zw.Write(body)
			zw.Close()
			req = httptest.NewRequest("POST", "/v1/logs", &b)
			req.Header.Set("Content-Encoding", "gzip")
		}
		s.ServeHTTP(r, req)
		if r.Code != 200 || r.Body.Len() != 0 {
			t.Errorf("%d %q", r.Code, r.Body)
		}
		if st := s.Stats(); st.Distinct != 3 || st.Duplicates != 1 || st.Lines != 4 || st.BodyBytes != int64(len(body)) {
			t.Errorf("%+v", st)
		}
	}
}

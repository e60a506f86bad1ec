package fakees

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func ask(t *testing.T, s *Server, method, path, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://fake"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Opaque-Id", "me-1")
	res, err := s.Transport().RoundTrip(req)
	if err != nil {
		return 0, err.Error()
	}
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// A bulk that is applied late lives in _tasks until then, and lands in the
// index that is written to by then.
func TestLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := true
		s := &Server{OnBulk: func(*Bulk) Fault {
			f := Fault{}
			if first {
				f.Late = 10 * time.Second
			}
			first = false
			return f
		}}
		const bulk = `{"create":{"_id":"a"}}` + "\n" + `{"@timestamp":1}` + "\n"
		const first1, second = ".ds-logs-x-2026.11.23-000001", ".ds-logs-x-2026.11.23-000002"
		if status, text := ask(t, s, "POST", "/logs-x/_bulk", bulk); status != 0 {
			t.Errorf("late: %d %s", status, text)
		}
		if _, text := ask(t, s, "GET", "/_tasks", ""); !strings.Contains(text, `"me-1"`) {
			t.Errorf("tasks: %s", text)
		}
		if status, _ := ask(t, s, "POST", "/logs-x/_bulk", bulk); status != 200 || len(s.Docs("logs-x")) != 1 {
			t.Error("the second one is not stored")
		}
		ask(t, s, "POST", "/logs-x/_rollover", "")
		time.Sleep(11 * time.Second)
		if _, text := ask(t, s, "GET", "/_tasks", ""); strings.Contains(text, "me-1") || len(s.Docs("logs-x")) != 2 {
			t.Errorf("after it: %s, %v", text, s.Docs("logs-x"))
		}
		if _, text := ask(t, s, "GET", "/_resolve/index/logs-x", ""); !strings.Contains(text, first1) || !strings.Contains(text, second) {
			t.Errorf("resolve: %s", text)
		}
		get := `{"docs":[{"_index":"` + first1 + `","_id":"a"},{"_index":"` + second + `","_id":"a"},{"_index":"` + second + `","_id":"b"}]}`
		if _, text := ask(t, s, "POST", "/_mget?_source=false", get); strings.Count(text, `"found":true`) != 2 || strings.Contains(text, "timestamp") {
			t.Errorf("mget: %s", text)
		}
		if status, _ := ask(t, s, "DELETE", "/"+second+"/_doc/a?if_seq_no=0&if_primary_term=1", ""); status != 409 {
			t.Errorf("delete of another version: %d", status)
		}
		if status, _ := ask(t, s, "DELETE", "/"+second+"/_doc/a?if_seq_no=1&if_primary_term=1", ""); status != 200 || len(s.Docs("logs-x")) != 1 {
			t.Errorf("delete: %d, %v", status, s.Docs("logs-x"))
		}
		s.Away(first1, true)
		s.Deny(CallTasks, true)
		if _, text := ask(t, s, "POST", "/_mget", get); !strings.Contains(text, "no_shard_available") {
			t.Errorf("away: %s", text)
		}
		if status, _ := ask(t, s, "GET", "/_tasks", ""); status != 403 {
			t.Errorf("denied: %d", status)
		}
		if status, _ := ask(t, s, "GET", "/_resolve/index/nothing", ""); status != 404 {
			t.Errorf("unknown name: %d", status)
		}
	})
}

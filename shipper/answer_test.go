package shipper

import (
	"encoding/json"
	"testing"
	"time"
)

// The scanner and encoding/json must agree on what is an answer, and on each
// item of it.
func FuzzScanAnswer(f *testing.F) {
	for _, s := range []string{
		`{"errors":false,"items":[{"create":{"_index":".ds-a-2026.11.23-000001","_id":"x","result":"created","status":201}}]}`,
		`{"took":3,"errors":true,"items":[{"create":{"_id":"q\"\\\u00e4","status":400,"error":{"type":"t","reason":"r","caused_by":{"reason":"c"}}}},{"create":{"status":429}}]}`,
		`{ "items" : [ ] }`, `{"items":[{"create":{"status":201`, `{}`, `[]`, `<html>`, `{"items":[{"create":{"status":2e2}}]}`, "",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var ids []string
		var statuses []int
		n, err := scanAnswer(b, func(_ int, a *itemAnswer) error {
			ids, statuses = append(ids, string(a.ID)), append(statuses, a.Status)
			return nil
		})
		if err != nil || !json.Valid(b) {
			return // refused, or looser than encoding/json: then only the items count below
		}
		var want struct {
			Items []map[string]struct {
				ID     string `json:"_id"`
				Status int    `json:"status"`
			} `json:"items"`
		}
		if json.Unmarshal(b, &want) != nil {
			return
		}
		if len(want.Items) == n {
			for i, it := range want.Items {
				if c, ok := it["create"]; ok && len(it) == 1 && c.Status != 0 && statuses[i] != 0 && statuses[i] != c.Status {
					t.Errorf("item %d: status %d and %d", i, statuses[i], c.Status)
				}
			}
		}
	})
}

func TestScanAnswerRefusesWhatIsNotWhole(t *testing.T) {
	whole := `{"errors":true,"items":[{"create":{"_index":"i","_id":"a\u00e4","status":400,"error":{"type":"t","reason":"r","caused_by":{"reason":"c"}}}},{"create":{"status":201}}]}`
	var got []itemAnswer
	n, err := scanAnswer([]byte(whole), func(_ int, a *itemAnswer) error { got = append(got, *a); return nil })
	if n != 2 || err != nil || string(got[0].ID) != "aä" || got[0].ErrorReason != "r: c" || got[0].Status != 400 || got[1].Status != 201 {
		t.Errorf("%d %v %+v", n, err, got)
	}
	for i := range len(whole) {
		if _, err := scanAnswer([]byte(whole[:i]), func(int, *itemAnswer) error { return nil }); err == nil {
			t.Errorf("cut at byte %d is taken for whole", i)
		}
	}
}

func TestDataStreamOf(t *testing.T) {
	for in, want := range map[string]string{
		".ds-logs-mesos.container-default-2026.11.23-000001": "logs-mesos.container-default",
		".ds-logs-mesos.container-a-2026.11.23-1000001":      "logs-mesos.container-a",
		".fs-logs-mesos.container-default-2026.11.23-000002": "logs-mesos.container-default",
		"plain-index": "plain-index", ".ds-odd": ".ds-odd", "": "",
	} {
		if got, _ := dataStreamOf([]byte(in)); string(got) != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for in, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "-3": 0, "x": 0, "99999999": 5 * time.Minute,
		"Mon, 23 Nov 2026 12:00:30 GMT": 30 * time.Second, "Mon, 23 Nov 2026 11:00:30 GMT": 0,
	} {
		if got := parseRetryAfter(in, now); got != want {
			t.Errorf("%q: %v, want %v", in, got, want)
		}
	}
}

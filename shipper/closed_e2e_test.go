//go:build e2e

package shipper

import (
	"encoding/json"
	"strings"
	"time"

	"mesoscope/record"
)

// testClosedIndex: somebody has closed an old index. What the others hold is
// found, what it held is sent again after a while, and said.
func testClosedIndex(r *real, lines int) {
	t := r.t
	var resolved struct {
		DataStreams []struct {
			Backing []string `json:"backing_indices"`
		} `json:"data_streams"`
	}
	if err := json.Unmarshal([]byte(r.do("GET", "/_resolve/index/"+testIndex, "")), &resolved); err != nil {
		t.Fatal(err)
	}
	var old string
	var held struct{ Count int }
	for _, index := range resolved.DataStreams[0].Backing {
		if err := json.Unmarshal([]byte(r.do("GET", "/"+index+"/_count?q=message:id*", "")), &held); err != nil {
			t.Fatal(err)
		}
		if old = index; held.Count > 0 {
			break
		}
	}
	if held.Count == 0 || old == resolved.DataStreams[0].Backing[len(resolved.DataStreams[0].Backing)-1] {
		t.Fatalf("%s holds %d lines: the test shows nothing", old, held.Count)
	}
	r.do("POST", "/"+old+"/_close", "")
	defer func(d time.Duration) { closedFor = d }(closedFor)
	closedFor = 3 * time.Second
	begin := time.Now()
	r.start()
	var e ends
	r.sendTo(&e, "id", record.Unknown, lines)
	r.drain()
	t.Logf("%s held %d lines; marks %v in %v", old, held.Count, e.all, time.Since(begin).Round(time.Millisecond))
	if e.all[record.Duplicate] != lines-held.Count || e.all[record.Delivered] != held.Count || r.value(r.sink.metrics.unchecked) != float64(held.Count) {
		t.Errorf("marks %v, %v unchecked, want %d sent again\n%s", e.all, r.value(r.sink.metrics.unchecked), held.Count, r.logs)
	}
	if !strings.Contains(r.logs.String(), "closed index are sent again") || strings.Contains(r.logs.String(), "cannot find out") {
		t.Errorf("log:\n%s", r.logs)
	}
	r.do("POST", "/"+old+"/_open", "")
	r.do("GET", "/_cluster/health/"+old+"?wait_for_status=yellow", "")
	if n := r.count(); n != lines+50+held.Count {
		t.Errorf("opened again: %d documents, want %d and %d twice", n, lines+50, held.Count)
	}
}

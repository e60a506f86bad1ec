package shipper

import (
	"strings"
	"testing"
	"time"

	"mesoscope/test/fakees"
)

// One test for each row of the table of answers: a fault for item b of a, b, c.
func TestItemAnswers(t *testing.T) {
	parse := fakees.ItemFault{Status: 400, Type: "document_parsing_exception", Reason: "[1:2] failed to parse field [app.n]"}
	for _, c := range []struct {
		name   string
		fault  fakees.ItemFault
		times  int
		ids    string // in the data stream, in order of arrival
		within time.Duration
		check  func(r *rig)
	}{
		{name: "created", ids: "a b c", within: time.Millisecond, check: func(r *rig) { r.wantCount("delivered", r.sink.metrics.delivered, 3) }},
		{name: "429 item goes again alone", fault: fakees.ItemFault{Status: 429, Type: "es_rejected_execution_exception"}, times: 2, ids: "a c b", within: 2 * time.Second,
			check: func(r *rig) {
				r.wantCount("retried", r.sink.metrics.retried.WithLabelValues("overload"), 2)
				if n := r.fake.Lines(); n != 5 {
					r.t.Errorf("%d documents were sent, want 5: only the refused one again", n)
				}
			}},
		{name: "503 item goes again", fault: fakees.ItemFault{Status: 503, Type: "unavailable_shards_exception"}, times: 4, ids: "a c b", within: 10 * time.Second,
			check: func(r *rig) { r.wantCount("delivered", r.sink.metrics.delivered, 3) }},
		{name: "500 twice goes again", fault: fakees.ItemFault{Status: 500, Type: "exception"}, times: 2, ids: "a c b", within: 5 * time.Second,
			check: func(r *rig) { r.wantCount("reduced", r.sink.metrics.reduced, 0) }},
		{name: "500 three times while others succeed is the document's fault", fault: fakees.ItemFault{Status: 500, Type: "exception"}, times: 3, ids: "a c b", within: 5 * time.Second,
			check: func(r *rig) { r.wantCount("reduced", r.sink.metrics.reduced, 1) }},
		{name: "500 of a script is the document's fault at once", fault: fakees.ItemFault{Status: 500, Type: "script_exception"}, times: 1, ids: "a c b", within: time.Second,
			check: func(r *rig) {
				r.wantCount("reduced", r.sink.metrics.reduced, 1)
				r.wantCount("refused", r.sink.metrics.refused.WithLabelValues("pipeline"), 1)
			}},
		{name: "503 of no shard three times as well", fault: fakees.ItemFault{Status: 503, Type: "exception"}, times: 3, ids: "a c b", within: 5 * time.Second,
			check: func(r *rig) { r.wantCount("reduced", r.sink.metrics.reduced, 1) }},
		{name: "502 four times is a dead letter", fault: fakees.ItemFault{Status: 502, Type: "exception"}, times: 4, ids: "a c", within: 5 * time.Second,
			check: func(r *rig) {
				if l := r.letters(); len(l) != 1 || l[0].ID != "b" || l[0].Status != 502 {
					r.t.Errorf("dead letters: %+v", l)
				}
			}},
		{name: "429 of overload goes again however often", fault: fakees.ItemFault{Status: 429, Type: "es_rejected_execution_exception"}, times: 6, ids: "a c b", within: 20 * time.Second,
			check: func(r *rig) { r.wantCount("reduced", r.sink.metrics.reduced, 0) }},
		{name: "413 of an item cuts its line", fault: fakees.ItemFault{Status: 413, Type: "exception"}, times: 2, ids: "a c b", within: time.Second,
			check: func(r *rig) {
				r.wantCount("truncated", r.sink.metrics.truncated, 1)
				if d := docOf(r.t, r.fake.Docs(testIndex)[2].Source); d["message"] != "l" || d["app"] == nil {
					r.t.Errorf("cut document: %v", d)
				}
			}},
		{name: "503 of a pipeline as well", fault: fakees.ItemFault{Status: 503, Type: "pipeline_processing_exception"}, times: 1, ids: "a c b", within: time.Second,
			check: func(r *rig) { r.wantCount("reduced", r.sink.metrics.reduced, 1) }},
		{name: "503 of a cluster without a master goes again", fault: fakees.ItemFault{Status: 503, Type: "cluster_block_exception", Reason: "blocked by: [SERVICE_UNAVAILABLE/2/no master];"}, times: 3, ids: "a c b", within: 5 * time.Second,
			check: func(r *rig) { r.wantSaid(0, "paused") }},
		{name: "400 goes reduced", fault: parse, times: 1, ids: "a c b", within: time.Second, check: func(r *rig) {
			r.wantCount("refused", r.sink.metrics.refused.WithLabelValues("mapping"), 1)
			d := docOf(r.t, r.fake.Docs(testIndex)[2].Source)
			if d["app"] != nil || d["message"] != "line b" || d["@timestamp"] != "2026-11-23T10:00:00.123456789Z" {
				r.t.Errorf("reduced document: %v", d)
			}
			if c := d["container"].(map[string]any); c["id"] != "4f66" || c["labels"] != nil {
				r.t.Errorf("container of the reduced document: %v", c)
			}
			if m := d["error"].(map[string]any)["message"].(string); !strings.Contains(m, "app.n") {
				r.t.Errorf("error.message = %q", m)
			}
		}},
		{name: "400 twice is a dead letter", fault: parse, times: 2, ids: "a c", within: time.Second, check: func(r *rig) {
			l := r.letters()
			if len(l) != 1 || l[0].ID != "b" || l[0].Status != 400 || l[0].Index != testIndex || docOf(r.t, l[0].Document)["app"] == nil {
				r.t.Errorf("dead letters: %+v", l)
			}
			r.wantCount("dead lettered", r.sink.metrics.deadLettered.WithLabelValues("mapping"), 1)
		}},
		{name: "noop is dropped by the server", fault: fakees.ItemFault{Noop: true}, times: 1, ids: "a c", within: time.Second,
			check: func(r *rig) {
				r.wantCount("dropped", r.sink.metrics.dropped.WithLabelValues("server_pipeline"), 1)
			}},
		{name: "failure store is quarantine", fault: fakees.ItemFault{FailureStore: true}, times: 1, ids: "a c", within: time.Second,
			check: func(r *rig) {
				r.wantCount("quarantined", r.sink.metrics.quarantined, 1)
				r.wantCount("delivered", r.sink.metrics.delivered, 2)
			}},
		{name: "another _id is said once", fault: fakees.ItemFault{OtherID: "zzz"}, times: 1, ids: "a zzz c", within: time.Second,
			check: func(r *rig) {
				r.wantSaid(1, "exactly-once is off")
				r.wantCount("other ids", r.sink.metrics.changed.WithLabelValues("other_id"), 1)
			}},
		{name: "reroute is noted", fault: fakees.ItemFault{Reroute: "logs-other-default"}, times: 1, ids: "a c", within: time.Second,
			check: func(r *rig) {
				r.wantIDs("logs-other-default", "b")
				r.wantCount("rerouted", r.sink.metrics.changed.WithLabelValues("rerouted"), 1)
				if !strings.Contains(r.logs.String(), "logs-other-default") {
					r.t.Errorf("log:\n%s", r.logs)
				}
			}},
		{name: "403 pauses", fault: fakees.ItemFault{Status: 403, Type: "security_exception", Reason: "action [indices:data/write/bulk[s]] is unauthorized"}, times: 3, ids: "a c b", within: 20 * time.Second,
			check: func(r *rig) { wantPaused(r, "output paused: Elasticsearch does not let us write") }},
		{name: "404 pauses", fault: fakees.ItemFault{Status: 404, Type: "index_not_found_exception"}, times: 3, ids: "a c b", within: 20 * time.Second,
			check: func(r *rig) { wantPaused(r, "mesoscope setup") }},
		{name: "closed index pauses", fault: fakees.ItemFault{Status: 400, Type: "index_closed_exception"}, times: 1, ids: "a c b", within: 20 * time.Second,
			check: func(r *rig) { wantPaused(r, "output paused: the index is blocked (read-only or closed") }},
		{name: "missing pipeline pauses", fault: fakees.ItemFault{Status: 400, Type: "illegal_argument_exception", Reason: "pipeline with id [p] does not exist"}, times: 1, ids: "a c b", within: 20 * time.Second,
			check: func(r *rig) { wantPaused(r, "names an ingest pipeline that does not exist") }},
		{name: "read-only pauses", fault: fakees.ItemFault{Status: 403, Type: "cluster_block_exception", Reason: "blocked by: [FORBIDDEN/8/index write (api)];"}, times: 2, ids: "a c b", within: 20 * time.Second,
			check: func(r *rig) { wantPaused(r, "index is blocked") }},
		{name: "disk full pauses", fault: fakees.FloodStage, times: 2, ids: "a c b", within: 20 * time.Second,
			check: func(r *rig) { wantPaused(r, "output paused, disk") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				fake := &fakees.Server{OnItem: failOnce("b", c.times, c.fault)}
				r := newRig(t, fake, nil)
				start := time.Now()
				r.send("a", "b", "c")
				r.drain()
				if took := time.Since(start); took > c.within {
					t.Errorf("took %v, want at most %v", took, c.within)
				}
				if r.settledNow() != 1 {
					t.Errorf("settled %d times", r.settledNow())
				}
				r.wantIDs(testIndex, strings.Fields(c.ids)...)
				c.check(r)
			})
		})
	}
}

func wantPaused(r *rig, text string) {
	r.t.Helper()
	if !strings.Contains(r.logs.String(), text) || !strings.Contains(r.logs.String(), "output goes on") {
		r.t.Errorf("log has no %q, or no end of it:\n%s", text, r.logs)
	}
	if s := r.sink.Status(); len(s.Paused) != 0 {
		r.t.Errorf("still paused: %+v", s)
	}
	if len(r.letters()) != 0 {
		r.t.Error("a configuration fault made dead letters")
	}
}

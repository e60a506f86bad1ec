package document

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"mesoscope/checks"
	"mesoscope/collector/check"
	"mesoscope/collector/state"
	"mesoscope/record"
)

var at = time.Date(2026, 11, 25, 9, 0, 0, 7, time.UTC)

func event(id string, s state.Status) check.Event {
	return check.Event{
		Definition: check.Definition{ID: id, Name: "health", Kind: "http", Cluster: "c1", App: "/prod/web", Host: "n1", Task: "web.1", Container: "4f66", Target: "http://n1:8080/", Owner: check.Owner{Team: "shop"}},
		State:      state.Check{Status: s, Previous: state.OK, Since: at, FirstBad: at.Add(-20 * time.Second), LastGood: at.Add(-30 * time.Second)},
		Result: checks.Result{State: checks.Critical, Text: "connection\nrefused", Duration: 1500 * time.Microsecond,
			Findings: []checks.Finding{{Signal: "refused", State: checks.Critical, Text: "connection refused"}},
			Phases:   []checks.Phase{{Name: "connect", Seconds: 0.5}}, Evidence: checks.Evidence{Address: "10.0.0.1:8080", Status: 503, Answer: strings.Repeat("é", 5000)}},
		At: at,
	}
}

func TestAppend(t *testing.T) {
	own, err := Append([]byte("{"), event("1", state.Critical), "col-1")
	if err != nil {
		t.Fatal(err)
	}
	var d map[string]any
	if err := json.Unmarshal(append(own, '}'), &d); err != nil {
		t.Fatalf("%v: %s", err, own)
	}
	get := func(path string) any {
		var v any = d
		for _, p := range strings.Split(path, ".") {
			v = v.(map[string]any)[p]
		}
		return v
	}
	for path, want := range map[string]any{
		"@timestamp": "2026-11-25T09:00:00.000000007Z", "message": "health of /prod/web on n1 is CRITICAL, was OK: connection refused", "log.level": "error",
		"event.kind": "alert", "event.dataset": "mesoscope.check", "event.id": ID(event("1", state.Critical)), "service.name": "/prod/web", "host.name": "n1",
		"container.id": "4f66", "mesos.task.id": "web.1", "orchestrator.cluster.name": "c1",
		"mesoscope.check.id": "1", "mesoscope.check.name": "health", "mesoscope.check.kind": "http", "mesoscope.check.status": "CRITICAL", "mesoscope.check.previous_status": "OK",
		"mesoscope.check.since": "2026-11-25T09:00:00.000000007Z", "mesoscope.check.first_bad": "2026-11-25T08:59:40.000000007Z", "mesoscope.check.last_good": "2026-11-25T08:59:30.000000007Z",
		"mesoscope.check.duration_ms": 2.0, "mesoscope.check.target": "http://n1:8080/", "mesoscope.check.vantage": "col-1", "mesoscope.check.verdict": "refused",
		"mesoscope.check.flapping": false, "mesoscope.check.stale": false, "mesoscope.check.team": "shop",
		"mesoscope.evidence.output": "connection\nrefused", "mesoscope.evidence.address": "10.0.0.1:8080", "mesoscope.evidence.status": 503.0, "mesoscope.evidence.phases.connect": 0.5,
	} {
		if got := get(path); got != want {
			t.Errorf("%s is %v, want %v", path, got, want)
		}
	}
	if answer := get("mesoscope.evidence.answer").(string); len(answer) > longest+3 {
		t.Errorf("the answer has %d bytes", len(answer))
	}
	own, _ = Append(nil, check.Event{Definition: check.Definition{ID: "2", Name: "door", Kind: "tcp", Target: "x:1"}, State: state.Check{Status: state.OK, Previous: state.Pending, Since: at}}, "col-1")
	for _, absent := range []string{"service", "host", "container", "mesos\"", "orchestrator", "first_bad", "0001-"} {
		if strings.Contains(string(own), absent) {
			t.Errorf("%s in the document of a check without: %s", absent, own)
		}
	}
	if !strings.Contains(string(own), `"kind":"state"`) || !strings.Contains(string(own), "door of x:1 is OK, was PENDING") {
		t.Errorf("%s", own)
	}
}

func TestID(t *testing.T) {
	e := event("1", state.Critical)
	same := e
	same.Result, same.At, same.State.Flapping = checks.Result{}, at.Add(time.Hour), true
	if ID(e) != ID(same) || len(ID(e)) != 27 {
		t.Errorf("%s and %s", ID(e), ID(same))
	}
	later := e
	later.State.Since = at.Add(1)
	for _, other := range []check.Event{event("2", state.Critical), event("1", state.Warning), later} {
		if ID(other) == ID(e) {
			t.Errorf("%+v has the same id", other.State)
		}
	}
}

// A sink takes batches, and gives them back while it is away.
type sink struct {
	mu      sync.Mutex
	away    bool
	closed  bool // it says so before
	ids     []string
	batches int
}

func (s *sink) takes(index string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.closed && index == "logs-mesoscope.check-prod"
}

func (s *sink) run(ctx context.Context, in <-chan *record.Batch) {
	for {
		select {
		case <-ctx.Done():
			return
		case b := <-in:
			s.mu.Lock()
			s.batches++
			away := s.away
			for i := 0; !away && i < b.Len(); i++ {
				if !json.Valid(b.Doc(i)) || b.Since != record.Unknown {
					panic(fmt.Sprintf("%q %s", b.Since, b.Doc(i)))
				}
				s.ids = append(s.ids, string(b.ID(i)))
			}
			s.mu.Unlock()
			if away {
				b.Return()
			} else {
				b.Settle()
			}
		}
	}
}

// stored are the ids that arrived, and how many batches it was handed.
func (s *sink) stored() ([]string, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.ids), s.batches
}

func start(t *testing.T, s *sink) (w *Writer, said *strings.Builder, stop func()) {
	said = &strings.Builder{}
	w, err := New(Options{Namespace: "prod", Vantage: "col-1", Takes: s.takes, Log: slog.New(slog.NewTextHandler(said, nil))})
	if err != nil {
		t.Fatal(err)
	}
	out := make(chan *record.Batch)
	ctx, cancel := context.WithCancel(t.Context())
	sinking, end := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { w.Run(ctx, out); close(done) }()
	go s.run(sinking, out)
	return w, said, func() { cancel(); <-done; synctest.Wait(); end() }
}

func put(w *Writer, from, to int) (ids []string) {
	for n := from; n < to; n++ {
		e := event(fmt.Sprint(n), state.Critical)
		w.Changed(e)
		ids = append(ids, ID(e))
	}
	return ids
}

func (w *Writer) drops(reason string) int {
	return int(testutil.ToFloat64(w.dropped.WithLabelValues(reason)))
}

func TestHeldWhileTheStoreIsAway(t *testing.T) {
	for _, closed := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := &sink{away: true, closed: closed}
			w, _, stop := start(t, s)
			ids := put(w, 0, 450)
			time.Sleep(time.Minute)
			ids = append(ids, put(w, 450, 500)...)
			if _, batches := s.stored(); batches > 61 || closed && batches > 0 {
				t.Errorf("%d batches were handed to one that is away", batches)
			}
			s.mu.Lock()
			s.away, s.closed = false, false
			s.mu.Unlock()
			time.Sleep(2 * time.Second)
			if got, _ := s.stored(); !slices.Equal(got, ids) {
				t.Errorf("%d documents arrived, want 500 in order", len(got))
			}
			if n := w.drops(dropFull) + w.drops(dropEnd); n != 0 || w.waiting() != 0 {
				t.Errorf("%d dropped, %d wait", n, w.waiting())
			}
			stop()
		})
	}
}

func TestBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sink{away: true, closed: true}
		w, said, stop := start(t, s)
		ids := put(w, 0, keep+123)
		if w.drops(dropFull) != 123 || w.waiting() != keep {
			t.Errorf("%d dropped, %d wait", w.drops(dropFull), w.waiting())
		}
		if n := strings.Count(said.String(), "dropped"); n != 1 {
			t.Errorf("said %d times", n)
		}
		s.mu.Lock()
		s.away, s.closed = false, false
		s.mu.Unlock()
		time.Sleep(2 * time.Second)
		if got, _ := s.stored(); !slices.Equal(got, ids[123:]) {
			t.Errorf("%d arrived, want the newest %d", len(got), keep)
		}
		stop()
	})
}

func TestEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sink{}
		w, _, stop := start(t, s)
		ids := put(w, 0, 1000)
		stop()
		if got, _ := s.stored(); !slices.Equal(got, ids) {
			t.Errorf("%d arrived before the end, want 1000", len(got))
		}
		s = &sink{away: true, closed: true}
		w, _, stop = start(t, s)
		put(w, 0, 1000)
		stop()
		if w.drops(dropEnd) != 1000 {
			t.Errorf("%d drops counted, want 1000", w.drops(dropEnd))
		}
	})
	synctest.Test(t, func(t *testing.T) { // nobody reads
		w, err := New(Options{Namespace: "prod", Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		put(w, 0, 1000)
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New("end"))
		w.Run(ctx, make(chan *record.Batch))
		if w.drops(dropEnd) != 1000 {
			t.Errorf("%d drops counted, want 1000", w.drops(dropEnd))
		}
	})
}

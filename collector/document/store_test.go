package document

import (
	"context"
	"io"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"mesoscope/collector/state"
	"mesoscope/embedded"
	"mesoscope/record"
	"mesoscope/search"
	"mesoscope/shipper"
)

// found is how many documents a question finds.
func found(t *testing.T, s search.Store, query string) int {
	t.Helper()
	q, err := search.Parse(query)
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Search(t.Context(), search.Request{Query: q})
	if err != nil {
		t.Fatal(err)
	}
	return len(r.Lines)
}

// questions and how many of the three documents of changes() each finds.
var questions = map[string]int{
	"refused":                          0, // own documents are no lines
	`event.dataset: "mesoscope.check"`: 3,
	`event.dataset: "mesoscope.check" and refused`:                                                                                  3,
	`event.dataset: "mesoscope.check" and service.name: "/prod/web" and mesoscope.check.status: CRITICAL`:                           2,
	`event.dataset: "mesoscope.check" and mesoscope.check.duration_ms > 1`:                                                          3,
	`event.dataset: "mesoscope.check" and mesoscope.check.since >= "2026-11-25T09:00:01Z"`:                                          1,
	`event.dataset: "mesoscope.check" and mesos.task.id: "web.1" and host.name: n1 and mesoscope.evidence.address: "10.0.0.1:8080"`: 3,
	`event.dataset: "mesoscope.check" and log.level: error and event.kind: alert`:                                                   2,
}

// changes tells a Writer of three, one of them twice, as a second collector or
// a restart may do.
func changes(w *Writer) {
	ok := event("1", state.OK)
	ok.State.Since = at.Add(2 * time.Second)
	w.Changed(event("1", state.Critical))
	w.Changed(event("2", state.Critical))
	w.Changed(ok)
	w.Changed(event("1", state.Critical))
}

func TestEmbeddedStore(t *testing.T) {
	file, err := embedded.Open(filepath.Join(t.TempDir(), "store.db"), embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	in := make(chan *record.Batch)
	sunk := make(chan error, 1)
	go func() { sunk <- shipper.NewEmbedded(file, nil, log).Run(t.Context(), in) }()
	for range 2 { // the second one has been here before, and was killed
		w, err := New(Options{Namespace: "default", Vantage: "col-1", Log: log})
		if err != nil {
			t.Fatal(err)
		}
		changes(w)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		w.Run(ctx, in)
	}
	close(in)
	if err := <-sunk; err != nil {
		t.Fatal(err)
	}
	store := search.NewEmbedded(file)
	for q, want := range questions {
		if n := found(t, store, q); n != want {
			t.Errorf("%s finds %d, want %d", q, n, want)
		}
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
}

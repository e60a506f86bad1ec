package shipper

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mesoscope/embedded"
	"mesoscope/record"
)

func embeddedBatch(from, n int, settled *atomic.Int64) *record.Batch {
	b := new(record.Batch)
	b.Reset(&record.Stream{Name: "docker/x/stdout", Fields: []byte(`"stream":"stdout"`)}, func(*record.Batch, bool) { settled.Add(int64(n)) })
	for i := from; i < from+n; i++ {
		b.Body = record.AppendAction(b.Body, fmt.Append(nil, i))
		item := record.Item{Doc: uint32(len(b.Body))}
		b.Body = fmt.Appendf(b.Body, `{"@timestamp":"2026-11-23T10:00:00Z","message":"line %d","stream":"stdout"}`+"\n", i)
		item.End = uint32(len(b.Body))
		b.Items = append(b.Items, item)
	}
	b.Cursor = fmt.Append(nil, from+n)
	return b
}

func embeddedCount(t *testing.T, s *embedded.Store) (n int64) {
	t.Helper()
	if err := s.DB().QueryRow("SELECT count(*) FROM line").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// metric is the value of a counter, or how often a histogram was fed.
func metric(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			m := f.GetMetric()[0]
			return m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

func TestEmbeddedDrains(t *testing.T) {
	store, err := embedded.Open(filepath.Join(t.TempDir(), "store.db"), embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	reg := prometheus.NewRegistry()
	sink := NewEmbedded(store, reg, slog.New(slog.DiscardHandler))
	in := make(chan *record.Batch, 100)
	var settled atomic.Int64
	for i := range 100 {
		in <- embeddedBatch(i*10, 10, &settled)
	}
	close(in)
	if err := sink.Run(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	if n := embeddedCount(t, store); n != 1000 || settled.Load() != 1000 {
		t.Errorf("%d stored, %d settled, want 1000", n, settled.Load())
	}
	if n := metric(t, reg, "mesoscope_lines_delivered_total"); n != 1000 {
		t.Errorf("delivered %v", n)
	}
	if n := metric(t, reg, "mesoscope_bulk_seconds"); n != 1 {
		t.Errorf("%v transactions for what was on the channel, want 1", n)
	}
}

// While the store cannot be written nothing is settled and nothing is lost.
func TestEmbeddedWaits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	store, err := embedded.Open(path, embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	other, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	exec := func(statement string) {
		t.Helper()
		if _, err := other.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	exec("CREATE TRIGGER full BEFORE INSERT ON line BEGIN SELECT RAISE(ABORT, 'no space'); END")
	logged := make(chan string, 100)
	sink := NewEmbedded(store, nil, slog.New(slog.NewTextHandler(lineWriter(logged), nil)))
	var settled atomic.Int64
	in := make(chan *record.Batch, 1)
	in <- embeddedBatch(0, 10, &settled)
	close(in)
	done := make(chan error)
	go func() { done <- sink.Run(t.Context(), in) }()
	if line := <-logged; !strings.Contains(line, "no space") {
		t.Errorf("logged %s", line)
	}
	if n := embeddedCount(t, store); n != 0 || settled.Load() != 0 {
		t.Errorf("%d stored, %d settled, want none", n, settled.Load())
	}
	exec("DROP TRIGGER full")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if n := embeddedCount(t, store); n != 10 || settled.Load() != 10 {
		t.Errorf("%d stored, %d settled, want 10", n, settled.Load())
	}
	if line := <-logged; !strings.Contains(line, "stored again") {
		t.Errorf("logged %s", line)
	}
}

func TestEmbeddedStops(t *testing.T) {
	store, err := embedded.Open(filepath.Join(t.TempDir(), "store.db"), embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		done <- NewEmbedded(store, nil, slog.New(slog.DiscardHandler)).Run(ctx, make(chan *record.Batch))
	}()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Run: %v", err)
	}
}

type lineWriter chan string

func (w lineWriter) Write(p []byte) (int, error) {
	w <- string(p)
	return len(p), nil
}

// A line goes at once when nothing went lately; else it waits for company, but
// neither longer than due nor once there is enough.
func TestEmbeddedGathers(t *testing.T) {
	var settled atomic.Int64
	f := func(name string, lines int, wait, want time.Duration, batches int) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				in := make(chan *record.Batch)
				ctx, stop := context.WithCancel(t.Context())
				go func() { // a batch each 3 ms
					for {
						select {
						case <-ctx.Done():
							return
						case <-time.After(3 * time.Millisecond):
						}
						select {
						case <-ctx.Done():
							return
						case in <- embeddedBatch(0, lines, &settled):
						}
					}
				}()
				begin := time.Now()
				group := gather(ctx, embeddedBatch(0, lines, &settled), in, begin.Add(wait))
				if took := time.Since(begin); took != want || len(group) != batches {
					t.Errorf("%d batches after %v, want %d after %v", len(group), took, batches, want)
				}
				stop()
				synctest.Wait()
			})
		})
	}
	f("quiet", 1, -time.Second, 0, 1)
	f("company", 1, 10*time.Millisecond, 10*time.Millisecond, 4)
	f("enough", 4000, time.Second, 6*time.Millisecond, 3) // 400 KB each
}

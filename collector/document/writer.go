package document

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mesoscope/collector/check"
	"mesoscope/internal/version"
	"mesoscope/record"
)

const (
	// keep is how many documents wait while the store takes none: 10,000 changes
	// are a bad night of a large cluster, and 20 MB.
	keep = 10_000
	// perBatch is how many go into one batch.
	perBatch = 200
	// askAgain is how often a store that takes nothing is looked at.
	askAgain = time.Second
	// last is how long the sink may take to accept what is left at the end.
	last = 5 * time.Second
)

// Options say where documents go.
type Options struct {
	Namespace string // of the data stream
	Vantage   string // the name of this collector
	// Takes says whether the sink wants batches for a data stream at present;
	// nil is always.
	Takes    func(dataStream string) bool
	Registry prometheus.Registerer // may be nil
	Log      *slog.Logger
}

// A Writer makes documents of changes and hands them to a sink, oldest first.
type Writer struct {
	o       Options
	stream  *record.Stream
	dropped *prometheus.CounterVec

	mu    sync.Mutex
	queue []entry
	there map[string]bool // ids in queue or under way
	full  bool            // and that is said
	over  bool            // Run has ended: what comes back now is lost
	news  chan struct{}
}

// An entry is a document that waits.
type entry struct {
	id  string
	own []byte
}

// New makes a Writer; Run hands its documents over.
func New(o Options) (*Writer, error) {
	fields, err := json.Marshal(map[string]any{
		"agent":       map[string]string{"name": o.Vantage, "type": "mesoscope", "version": version.Version},
		"ecs":         map[string]string{"version": "8.17.0"},
		"data_stream": map[string]string{"type": "logs", "dataset": Dataset, "namespace": o.Namespace},
	})
	if err != nil {
		return nil, fmt.Errorf("encode what documents of checks share: %w", err)
	}
	w := &Writer{
		o: o, news: make(chan struct{}, 1), there: map[string]bool{},
		stream: &record.Stream{Name: "collector/" + Dataset, Index: "logs-" + Dataset + "-" + o.Namespace, Dataset: Dataset, Fields: fields[1 : len(fields)-1]},
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mesoscope_check_documents_dropped_total", Help: "Documents about checks that were given up before the store had them.",
		}, []string{"reason"}),
	}
	for _, reason := range []string{dropFull, dropEnd, dropBroken} {
		w.dropped.WithLabelValues(reason)
	}
	if o.Registry != nil {
		o.Registry.MustRegister(w.dropped, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "mesoscope_check_documents_waiting", Help: "Documents about checks that the store has not taken yet.",
		}, func() float64 { return float64(w.waiting()) }))
	}
	return w, nil
}

// Why documents are dropped.
const (
	dropFull   = "full"   // too many wait; the oldest go
	dropEnd    = "end"    // the process ends and the sink takes nothing
	dropBroken = "broken" // it cannot be encoded
)

func (w *Writer) waiting() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.queue)
}

// Changed takes a change of a check. It never blocks.
func (w *Writer) Changed(e check.Event) {
	own, err := Append(nil, e, w.o.Vantage)
	if err != nil {
		w.dropped.WithLabelValues(dropBroken).Inc()
		w.o.Log.Error("a document is dropped", "error", err)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	id := ID(e)
	if w.over {
		w.dropped.WithLabelValues(dropEnd).Inc()
		return
	}
	if w.there[id] { // it has begun to flap, say: its status is the same
		return
	}
	w.there[id] = true
	w.queue = append(w.queue, entry{id, own})
	w.bound()
	w.wake()
}

// bound drops the oldest documents that are too many. w.mu is held.
func (w *Writer) bound() {
	more := len(w.queue) - keep
	if more <= 0 {
		w.full = w.full && len(w.queue) > keep/2
		return
	}
	w.forget(w.queue[:more])
	w.queue = append(w.queue[:0], w.queue[more:]...)
	w.dropped.WithLabelValues(dropFull).Add(float64(more))
	if !w.full {
		w.full = true
		w.o.Log.Error("documents about checks are dropped, the oldest first: the store takes none", "waiting", len(w.queue))
	}
}

// forget is for documents that are stored or given up. w.mu is held.
func (w *Writer) forget(entries []entry) {
	for _, e := range entries {
		delete(w.there, e.id)
	}
}

// wake makes Run look. w.mu is held, or it does not matter.
func (w *Writer) wake() {
	select {
	case w.news <- struct{}{}:
	default:
	}
}

// Run hands documents to a sink through out until ctx ends, and then what is
// left, as far as the sink takes it soon. One batch is under way at a time, so
// that they arrive in order. It does not close out, which must go on being read
// until Run returns; the sink may settle the last batches later.
func (w *Writer) Run(ctx context.Context, out chan<- *record.Batch) {
	ended := make(chan bool, 1) // there is one batch under way at most
	for {
		select {
		case <-ctx.Done():
			w.finish(out)
			return
		case <-w.news:
		}
		for ctx.Err() == nil && w.waiting() > 0 {
			if w.o.Takes != nil && !w.o.Takes(w.stream.Index) {
				pause(ctx)
				continue
			}
			b, entries := w.batch(ended)
			select {
			case out <- b:
			case <-ctx.Done():
				w.giveBack(entries)
				continue
			}
			select {
			case settled := <-ended:
				if !settled {
					w.giveBack(entries)
					pause(ctx)
				}
			case <-ctx.Done():
				w.mu.Lock()
				w.over = true
				w.mu.Unlock()
				select {
				case settled := <-ended: // in the same moment
					if !settled {
						w.giveBack(entries)
					}
				default:
				}
			}
		}
	}
}

// finish hands over what is left.
func (w *Writer) finish(out chan<- *record.Batch) {
	w.mu.Lock()
	w.over = true
	w.mu.Unlock()
	timer := time.NewTimer(last)
	defer timer.Stop()
	for w.waiting() > 0 {
		b, entries := w.batch(nil)
		select {
		case out <- b:
		case <-timer.C:
			n := len(entries) + w.waiting()
			w.dropped.WithLabelValues(dropEnd).Add(float64(n))
			w.o.Log.Error("documents about checks are dropped: the store does not take them, and the process ends", "documents", n)
			return
		}
	}
}

// batch takes the oldest documents. ended is told whether they are settled,
// while Run runs.
func (w *Writer) batch(ended chan<- bool) (*record.Batch, []entry) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := min(len(w.queue), perBatch)
	entries := append([]entry(nil), w.queue[:n]...)
	w.queue = append(w.queue[:0], w.queue[n:]...)
	b := &record.Batch{}
	b.Reset(w.stream, func(_ *record.Batch, settled bool) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if settled || w.over {
			w.forget(entries)
		}
		switch {
		case !w.over:
			ended <- settled // there is room
		case !settled:
			w.dropped.WithLabelValues(dropEnd).Add(float64(n))
		}
	})
	b.Since = record.Unknown
	for _, e := range entries {
		b.Body = record.AppendAction(b.Body, []byte(e.id))
		doc := len(b.Body)
		b.Body = append(append(b.Body, '{'), e.own...)
		b.Body = append(append(append(b.Body, ','), w.stream.Fields...), "}\n"...)
		b.Items = append(b.Items, record.Item{Doc: uint32(doc), End: uint32(len(b.Body))})
	}
	return b, entries
}

// giveBack puts documents in front again.
func (w *Writer) giveBack(entries []entry) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queue = append(entries, w.queue...)
	w.bound()
	w.wake()
}

func pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(askAgain):
	}
}

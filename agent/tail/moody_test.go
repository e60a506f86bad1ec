package tail

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"mesoscope/receipt"
	"mesoscope/record"
)

// sinkState is what a sink of the model does besides storing: it rolls over,
// takes nothing for a while, refuses lines, and keeps receipts.
type sinkState struct {
	index    int            // number of the write index
	where    map[string]int // id -> number of the index that has it
	dead     map[string]bool
	repeated int            // documents that were there already
	refuses  map[string]int // destination -> how many more batches it gives back
	receipts map[string]noted
	gaps     map[string]receipt.Gap
}

// noted is a receipt with whose it is.
type noted struct {
	receipt.Receipt
	generation, stream string
}

// testNotes are the Notes of the container with this id.
type testNotes string

func (id testNotes) Receipts(stream string) *record.Stream {
	return &record.Stream{Name: "docker/" + string(id) + "/receipts of " + stream, Index: "receipts",
		Fields: fmt.Appendf(nil, `"stream":%q,"container":{"id":%q}`, stream, id)}
}

func (id testNotes) Gaps() *record.Stream {
	return &record.Stream{Name: "docker/" + string(id) + "/gaps", Index: "gaps", Dataset: "mesos.container", Fields: fmt.Appendf(nil, `"container":{"id":%q}`, id)}
}

func newSinkState() sinkState {
	return sinkState{where: map[string]int{}, dead: map[string]bool{}, refuses: map[string]int{}, receipts: map[string]noted{}, gaps: map[string]receipt.Gap{}}
}

func indexName(n int) string { return fmt.Sprintf(".ds-logs-2026.11.24-%06d", n) }

// WriteIndex is what the sink tells the readers, see Sink.
func (st *store) WriteIndex(string) string {
	st.mu.Lock()
	defer st.mu.Unlock()
	return indexName(st.sink.index)
}

// Takes is what the sink tells the readers, see Sink.
func (st *store) Takes(index string) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	if n := st.sink.refuses[index]; n > 0 {
		st.sink.refuses[index]-- // it gets better by being asked, too
		return false
	}
	return true
}

// mood says whether the sink takes the next batch for index. Now and then it
// rolls over, or takes nothing for a while.
func (st *store) mood(r *rand.Rand, index string) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	if r.IntN(20) == 0 {
		st.sink.index++
	}
	if st.sink.refuses[index] == 0 && r.IntN(40) == 0 {
		st.sink.refuses[index] = 1 + r.IntN(5)
	}
	if st.sink.refuses[index] > 0 {
		st.sink.refuses[index]--
		return false
	}
	return true
}

// first stores a document, or refuses it for good.
func (s *sinkState) first(b *record.Batch, i int, id string) {
	s.where[id] = s.index
	if id[len(id)-3]%61 == 0 { // some ids, always the same
		s.dead[id] = true
		b.Mark(i, record.DeadLettered)
	}
}

// again is for a document that is there already: whoever sends it has to know
// that this can be, and in which index at the earliest.
func (s *sinkState) again(t *testing.T, b *record.Batch, i int, id string) {
	s.repeated++
	if s.dead[id] {
		b.Mark(i, record.DeadLettered)
		return
	}
	b.Mark(i, record.Duplicate)
	if at := indexName(s.where[id]); b.Since == "" || b.Since != record.Unknown && b.Since > at {
		t.Errorf("a line that is in %s is sent again as if it could be there since %q only", at, b.Since)
	}
}

func (s *sinkState) addNote(t *testing.T, b *record.Batch) {
	for i := range b.Items {
		var d struct {
			doc
			Mesoscope struct {
				Receipt *receipt.Receipt
				Gap     *receipt.Gap
			}
		}
		if err := json.Unmarshal(b.Doc(i), &d); err != nil {
			t.Errorf("not JSON: %v: %s", err, b.Doc(i))
			continue
		}
		id := string(b.ID(i))
		if g := d.Mesoscope.Gap; g != nil {
			if old, ok := s.gaps[id]; ok && !reflect.DeepEqual(old, *g) {
				t.Errorf("gap %s says %+v and then %+v", id, old, g)
			}
			s.gaps[id] = *g
			continue
		}
		key := fmt.Sprintf("%s %s %s", d.Container.ID, d.Log.File.Generation, d.Stream)
		n := noted{*d.Mesoscope.Receipt, d.Log.File.Generation, d.Stream}
		if old, ok := s.receipts[key]; ok && old.Revision == n.Revision && !reflect.DeepEqual(old, n) {
			t.Errorf("revision %d of %s says %+v and then %+v", n.Revision, key, old, n)
		}
		if n.Revision >= s.receipts[key].Revision {
			s.receipts[key] = n
		}
	}
}

// checkReceipts compares the receipts with what is stored: nothing was lost.
func (w *world) checkReceipts() {
	st := w.store
	st.mu.Lock()
	defer st.mu.Unlock()
	type count struct{ lines, dead int64 }
	counts := map[string]count{}
	for id, d := range st.docs {
		key := fmt.Sprintf("%s %s %s", d.Container.ID, d.Log.File.Generation, d.Stream)
		c := counts[key]
		c.lines++
		if st.sink.dead[id] {
			c.dead++
		}
		counts[key] = c
	}
	for key, c := range counts {
		r, ok := st.sink.receipts[key]
		if !ok {
			w.t.Errorf("seed %d: no receipt for %s, which has %d lines", w.seed, key, c.lines)
			continue
		}
		lost := slices.ContainsFunc(r.Gaps, func(g receipt.Gap) bool { return g.Reason != r.Unproven && g.Bytes > 0 })
		if !r.Final || lost {
			w.t.Errorf("seed %d: receipt for %s is %+v", w.seed, key, r)
		}
		if r.Lines.Total != c.lines || r.Lines.DeadLettered != c.dead {
			w.t.Errorf("seed %d: receipt for %s: %+v, stored %+v", w.seed, key, r.Lines, c)
		}
		dead := int64(0)
		for _, p := range r.Ranges {
			dead += p.Last - p.First + 1
		}
		if dead != c.dead {
			w.t.Errorf("seed %d: the ranges of %s have %d lines, dead are %d: %v", w.seed, key, dead, c.dead, r.Ranges)
		}
	}
	for key, r := range st.sink.receipts {
		b, l := r.Bytes, r.Lines
		if sum := l.Delivered + l.Duplicate + l.Quarantined + l.DeadLettered + l.DroppedByServer + l.Doubled + l.Pending; sum != l.Total || l.Delivered < 0 {
			w.t.Errorf("seed %d: lines of %s do not add up to %d: %+v", w.seed, key, sum, l)
		}
		own := b.Delivered + b.Duplicate + b.Quarantined + b.DeadLettered + b.DroppedByServer + b.Doubled + b.Truncated
		if sum := own + b.OtherStream + b.Garbage + b.Gap + b.Pending; sum != b.Size || b.Delivered < 0 || b.OtherStream < 0 {
			w.t.Errorf("seed %d: bytes of %s do not add up to %d: %+v", w.seed, key, sum, b)
		}
		// What is one stream's own is the other's other.
		other := "stderr"
		if r.stream == "stderr" {
			other = "stdout"
		}
		if o, ok := st.sink.receipts[key[:len(key)-len(r.stream)]+other]; ok && o.Bytes.OtherStream != own {
			w.t.Errorf("seed %d: %s has %d bytes of its own, for the other stream it has %d", w.seed, key, own, o.Bytes.OtherStream)
		}
	}
}

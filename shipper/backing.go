package shipper

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"
	"strings"

	"mesoscope/record"
)

// dataStreamOf is the data stream that a backing index belongs to, and whether
// the index is part of its failure store:
//
//	.ds-logs-mesos.container-default-2026.11.23-000001
//	.fs-logs-mesos.container-default-2026.11.23-000002
//
// Any other name is returned as it is.
func dataStreamOf(index []byte) (name []byte, failure bool) {
	rest, ok := bytes.CutPrefix(index, []byte(".ds-"))
	if !ok {
		if rest, failure = bytes.CutPrefix(index, []byte(".fs-")); !failure {
			return index, false
		}
	}
	// -YYYY.MM.DD-NNNNNN, the number growing beyond six digits if need be
	n := bytes.LastIndexByte(rest, '-')
	if n < 0 {
		return index, failure
	}
	d := bytes.LastIndexByte(rest[:n], '-')
	if d < 0 || n-d != len("-2026.11.23") {
		return index, failure
	}
	return rest[:d], failure
}

// generationOf is the number at the end of a backing index's name, which grows
// with each rollover; -1 if it has none. What index lifecycle management puts
// before a name (partial-, restored-, shrink-…-) does not change it.
func generationOf(index string) int {
	_, end, ok := cutLast(index, "-")
	n, err := strconv.Atoi(end)
	if !ok || err != nil {
		return -1
	}
	return n
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

func streamOf(index string) string {
	name, _ := dataStreamOf([]byte(index))
	return string(name)
}

// byGeneration sorts backing indices of one data stream, oldest first.
func byGeneration(names []string) {
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(generationOf(a), generationOf(b)) })
}

// older is the one of two values of Batch.Since that leads further back; "" is
// no value. Of two data streams nobody knows.
func older(a, b string) string {
	switch {
	case a == "" || a == b:
		return b
	case b == "":
		return a
	case a == record.Unknown || b == record.Unknown || streamOf(a) != streamOf(b):
		return record.Unknown
	case generationOf(b) < generationOf(a):
		return b
	}
	return a
}

// fromSince are those of a data stream's backing indices, oldest first, into
// which an attempt at or after since can have put something.
func fromSince(stream string, indices []string, since string) []string {
	if since == record.Unknown || streamOf(since) != stream {
		return indices
	}
	for i, name := range indices {
		if generationOf(name) >= generationOf(since) {
			return indices[i:]
		}
	}
	return indices // the data stream was made anew, its numbers begin at 1 again
}

// WriteIndex is the backing index that took the last item of a data stream, or,
// before the first one, the one that is written to. "" is not known; then it is
// asked for, and may be known the next time. It may be called at any time by any
// goroutine.
func (e *Elasticsearch) WriteIndex(dataStream string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	index, ok := e.writes[dataStream]
	if !ok {
		e.wanted[dataStream] = true
		select {
		case e.wanting <- struct{}{}:
		default:
		}
	}
	return index
}

// writesTo notes the index that took an item of the lane.
func (a *assembler) writesTo(l *lane, index string) {
	if index == "" || index == l.backing {
		return
	}
	if streamOf(index) == streamOf(l.backing) && generationOf(index) < generationOf(l.backing) {
		return // answers come in any order
	}
	l.backing = index
	a.mu.Lock()
	defer a.mu.Unlock()
	a.writes[l.index] = index
}

// learned notes what a question found out about a data stream of which nothing
// was known.
func (a *assembler) learned(stream, index string) {
	if l := a.lanes[stream]; l != nil && l.backing == "" {
		l.backing = index
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.writes[stream] == "" && index != "" {
		a.writes[stream] = index
	}
}

// wantedStream is a data stream whose write index somebody wants to know; "" is
// none.
func (a *assembler) wantedStream() (stream string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for s := range a.wanted {
		if stream == "" || s < stream {
			stream = s
		}
	}
	delete(a.wanted, stream)
	return stream
}

// Package receipt is the shape of two documents that the agent writes about its
// own work, and that `mesoscope verify` reads: a Receipt books every byte and
// every line of one log file and stream, a Gap stands in the place of lines that
// were lost before they could be read.
//
// The way of the data: agent/tail counts while it reads and while the sink
// answers -> Append encodes -> the sink stores it like a line, receipts in the
// data stream logs-mesoscope.receipt-<namespace>, gaps among the container's
// lines -> command/verify decodes it and asks the store for the same lines.
//
// It imports the standard library only, so that both sides may use it.
package receipt

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"
)

// Dataset is event.dataset of a Receipt; its data stream is
// logs-mesoscope.receipt-<namespace>.
const Dataset = "mesoscope.receipt"

// A Receipt books one generation (one file that dockerd wrote) as seen by one
// stream. It is final when the file has its end and the last line of it is
// settled; before that, open receipts say how far it is, each with the next
// Revision. The highest revision counts.
type Receipt struct {
	Revision int  `json:"revision"`
	Final    bool `json:"final"`
	// Unproven says why lines may be missing before the first one of this file,
	// e.g. because files may have come and gone while no agent ran. "": the
	// chain of files up to this one is whole.
	Unproven string `json:"unproven,omitempty"`
	Lines    Lines  `json:"lines"`
	Bytes    Bytes  `json:"bytes"`
	// First and Last are the @timestamps of the first and the last settled line.
	First time.Time `json:"first,omitzero"`
	Last  time.Time `json:"last,omitzero"`
	// Ranges are the lines that are booked, and not found once in the data
	// stream, in order of First. MoreRanges counts those for which there was no
	// room (MostRanges).
	Ranges     []Range `json:"ranges,omitempty"`
	MoreRanges int     `json:"more_ranges,omitempty"`
	Gaps       []Gap   `json:"gaps,omitempty"`
}

// MostRanges bounds Receipt.Ranges.
const MostRanges = 500

// Lines are numbers of lines of the stream that began in the file. Total is the
// sum of all others; the lines have the numbers 1 to Total as event.sequence.
type Lines struct {
	Total           int64 `json:"total"`
	Delivered       int64 `json:"delivered"`
	Duplicate       int64 `json:"duplicate,omitempty"` // sent twice, stored once
	Quarantined     int64 `json:"quarantined,omitempty"`
	DeadLettered    int64 `json:"dead_lettered,omitempty"`
	DroppedByServer int64 `json:"dropped_by_server,omitempty"`
	Doubled         int64 `json:"doubled,omitempty"` // stored twice
	Pending         int64 `json:"pending,omitempty"` // not settled yet
}

// Bytes are bytes of the uncompressed file, each booked where it lies. Size is
// the sum of all others.
type Bytes struct {
	Size            int64 `json:"size"`
	Delivered       int64 `json:"delivered"`
	Duplicate       int64 `json:"duplicate,omitempty"`
	Quarantined     int64 `json:"quarantined,omitempty"`
	DeadLettered    int64 `json:"dead_lettered,omitempty"`
	DroppedByServer int64 `json:"dropped_by_server,omitempty"`
	Doubled         int64 `json:"doubled,omitempty"`
	Truncated       int64 `json:"truncated,omitempty"`    // of lines that are longer than the limit
	OtherStream     int64 `json:"other_stream,omitempty"` // entries of the other stream
	Garbage         int64 `json:"garbage,omitempty"`      // no entries: NULs, torn entries
	Gap             int64 `json:"gap,omitempty"`          // lost before they could be read
	Pending         int64 `json:"pending,omitempty"`
}

// A Range is a run of lines by event.sequence, both ends included.
type Range struct {
	First int64  `json:"first"`
	Last  int64  `json:"last"`
	Why   string `json:"why"` // quarantined, dead_lettered, dropped_by_server, doubled
}

// A Gap says that bytes of a log were lost before they could be read.
type Gap struct {
	Reason string `json:"reason"` // a sentence for people
	From   int64  `json:"from"`   // offset in the uncompressed file
	Bytes  int64  `json:"bytes"`  // at least; 0: unknown
}

// Origin says which file and stream a receipt is about. Stream is "stdout" or
// "stderr"; "" in a Gap, because nobody knows whose the lost bytes were.
type Origin struct {
	Container  string // container.id
	Path       string // log.file.path
	Generation string // log.file.generation
	Stream     string
}

// ID is the _id of revision r of a receipt: the same for the same receipt, so
// that it is stored once however often it is sent.
func (o Origin) ID(revision int) string { return o.id("receipt", int64(revision)) }

// GapID is the _id of a gap document: of the same loss the same.
func (o Origin) GapID(g Gap) string { return o.id("gap\x00"+g.Reason, g.From) }

func (o Origin) id(kind string, n int64) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00%s\x00%s\x00%s\x00", kind, o.Container, o.Generation, o.Stream)
	sum := binary.BigEndian.AppendUint64(h.Sum(nil)[:12], uint64(n))
	return base64.RawURLEncoding.EncodeToString(sum)
}

// Append appends the members of the receipt's document that are not shared by
// all receipts of its container, as JSON without braces. at is @timestamp.
func (o Origin) Append(dst []byte, r Receipt, at time.Time) ([]byte, error) {
	state := "open"
	if r.Final {
		state = "final"
	}
	text := fmt.Sprintf("receipt (%s): %d lines of %s in %s", state, r.Lines.Total, o.Stream, o.Path)
	return o.append(dst, at, text, "state", Dataset, map[string]any{"receipt": r}, o.ID(r.Revision))
}

// AppendGap does the same for a gap document. dataset is that of the lines
// among which it stands.
func (o Origin) AppendGap(dst []byte, g Gap, dataset string, at time.Time) ([]byte, error) {
	many := "an unknown number of"
	if g.Bytes > 0 {
		many = fmt.Sprintf("at least %d", g.Bytes)
	}
	text := fmt.Sprintf("lines are missing here: %s bytes of %s from offset %d were lost (%s)", many, o.Path, g.From, g.Reason)
	return o.append(dst, at, text, "pipeline_error", dataset, map[string]any{"gap": g}, o.GapID(g))
}

func (o Origin) append(dst []byte, at time.Time, message, kind, dataset string, what any, id string) ([]byte, error) {
	type file struct {
		Path       string `json:"path"`
		Generation string `json:"generation"`
	}
	doc := struct {
		Time    time.Time `json:"@timestamp"`
		Message string    `json:"message"`
		Log     struct {
			File file `json:"file"`
		} `json:"log"`
		Event struct {
			Kind    string `json:"kind"`
			Dataset string `json:"dataset"`
			ID      string `json:"id"`
		} `json:"event"`
		Mesoscope any `json:"mesoscope"`
	}{Time: at.UTC(), Message: message, Mesoscope: what}
	doc.Log.File = file{o.Path, o.Generation}
	doc.Event.Kind, doc.Event.Dataset, doc.Event.ID = kind, dataset, id
	text, err := json.Marshal(doc)
	if err != nil {
		return dst, fmt.Errorf("encode receipt: %w", err)
	}
	return append(dst, text[1:len(text)-1]...), nil
}

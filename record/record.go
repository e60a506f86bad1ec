// Package record holds what travels from the readers to the sinks: a Stream
// (one origin of lines, with its metadata encoded once) and a Batch (a run of
// finished documents of one Stream).
//
// The way of the data: agent/tail reads bytes, agent/pipeline appends each
// line to a Batch as a piece of a ready Elasticsearch bulk body, a sink in
// shipper/ sends or stores it and calls Batch.Settle, which moves the ledger
// of the file that it came from. Nothing in a Batch is parsed again on the way.
//
// record imports the standard library only, so that every other package may
// use it.
package record

import "sync/atomic"

// A Stream is one origin of lines, e.g. the stdout of one container. It is
// immutable: when metadata changes, a new Stream with the same Name replaces
// it, and batches that are already encoded keep the old one.
type Stream struct {
	// Name is the stable identity of the origin, e.g. "docker/4f66…/stdout".
	Name string
	// Index is the data stream to write to, e.g. "logs-mesos.container-default".
	Index string
	// Dataset is what event.dataset says, e.g. "mesos.container".
	Dataset string
	// Fields are the members that all documents of the stream share, encoded
	// as JSON without the enclosing braces:
	//	"stream":"stdout","container":{"id":"4f66…"},"host":{"name":"n1"}
	// They stand at the end of every document. Never empty. They must not
	// contain the members that belong to a line: @timestamp, message, log,
	// event, error.
	Fields []byte
}

// An Item says where one document of a Batch lies in its Body. Document i
// begins with its action line at the End of item i-1 (0 for the first one).
type Item struct {
	Doc uint32 // begin of the document line: behind the action line and its '\n'
	End uint32 // behind the '\n' of the document line
}

// A Batch is a run of documents of one Stream in the order of the source.
//
// Ownership: the reader fills it and hands it to a sink. From then on nobody
// writes to it. The sink calls Settle once, when every item has its final
// answer, and must not touch the batch or any slice of it afterwards: the
// reader uses the memory again.
type Batch struct {
	Stream *Stream
	// Body is Elasticsearch bulk NDJSON, for each document
	//	{"create":{"_id":"…"}}\n
	//	{"@timestamp":"…","message":"…",…,<Stream.Fields>}\n
	Body  []byte
	Items []Item
	// Cursor says, in the reader's own words, how far the stream is done once
	// this batch and all batches before it of the same stream are settled. A
	// store that commits documents and cursors in one transaction keeps the
	// last one for each Stream.Name and gives it back at the next start.
	Cursor []byte

	onSettle func(*Batch)
	settled  atomic.Bool
}

// actionHead and actionTail enclose the id in the action line.
const (
	actionHead = `{"create":{"_id":"`
	actionTail = `"}}` + "\n"
)

// Reset makes b an empty batch of s that keeps its memory. onSettle is called
// by Settle, from whatever goroutine that is; it may be nil.
func (b *Batch) Reset(s *Stream, onSettle func(*Batch)) {
	b.Stream = s
	b.Body = b.Body[:0]
	b.Items = b.Items[:0]
	b.Cursor = b.Cursor[:0]
	b.onSettle = onSettle
	b.settled.Store(false)
}

// Len is the number of documents.
func (b *Batch) Len() int { return len(b.Items) }

// start is where the action line of document i begins.
func (b *Batch) start(i int) uint32 {
	if i == 0 {
		return 0
	}
	return b.Items[i-1].End
}

// Entry is document i with its action line, as it stands in a bulk body.
func (b *Batch) Entry(i int) []byte { return b.Body[b.start(i):b.Items[i].End] }

// ID is the _id of document i. It is a piece of Body.
func (b *Batch) ID(i int) []byte {
	return b.Body[int(b.start(i))+len(actionHead) : int(b.Items[i].Doc)-len(actionTail)]
}

// Doc is document i, a JSON object without the '\n'. It is a piece of Body.
func (b *Batch) Doc(i int) []byte { return b.Body[b.Items[i].Doc : b.Items[i].End-1] }

// Own are the members of document i that are not Stream.Fields, as JSON
// without braces and without the comma at the end. It is a piece of Body.
func (b *Batch) Own(i int) []byte {
	end := int(b.Items[i].End) - len("}\n") - len(b.Stream.Fields) - len(",")
	return b.Body[b.Items[i].Doc+1 : end]
}

// Settle says that no document of the batch needs to be read again: each is
// stored, or its end is known and counted. A second call panics, because it
// would move the ledger past bytes that nobody answered for.
func (b *Batch) Settle() {
	if !b.settled.CompareAndSwap(false, true) {
		panic("BUG: record: batch settled twice")
	}
	if b.onSettle != nil {
		b.onSettle(b)
	}
}

// AppendAction appends the action line of a document with the given id to a
// bulk body. id must need no JSON escaping (base64url).
func AppendAction(dst, id []byte) []byte {
	dst = append(dst, actionHead...)
	dst = append(dst, id...)
	return append(dst, actionTail...)
}

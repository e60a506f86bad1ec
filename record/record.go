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
	// Source is how many bytes of the log the document stands for, so that a
	// receipt can book them should it not be stored. 0 for documents that are no
	// line (gap documents, receipts).
	Source uint32
}

// An Outcome is what became of a document in the end.
type Outcome uint8

// The outcomes. All but the first are marked by the sink, see Batch.Mark.
const (
	Delivered       Outcome = iota // stored, by this attempt
	Duplicate                      // an earlier attempt had stored it: it is there once
	Quarantined                    // Elasticsearch put it into the failure store
	DeadLettered                   // in the dead-letter file
	DroppedByServer                // dropped by a pipeline of the server
	Doubled                        // there twice: a rollover came between two attempts, and the second copy may not be deleted
)

// A Mark says that document Item of a batch ended otherwise than Delivered.
type Mark struct {
	Item    uint32
	Outcome Outcome
}

// Unknown as Batch.Since: nobody knows how far back.
const Unknown = "*"

// A Batch is a run of documents of one Stream in the order of the source.
//
// Ownership: the reader fills it and hands it to a sink. From then on nobody
// writes to it. The sink ends with exactly one call of Settle (every item has
// its final answer) or Return (it keeps nothing of it), and must not touch the
// batch or any slice of it afterwards: the reader uses the memory again.
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
	// Since is "" if no document of the batch can have been sent before, which
	// is so for all but what was under way when an agent ended, or was given
	// back. Otherwise an earlier attempt may have put documents into the backing
	// index Since or any later one of the same data stream; Unknown: into any.
	Since string

	marks []Mark
	onEnd func(b *Batch, settled bool)
	ended atomic.Bool
}

// actionHead and actionTail enclose the id in the action line.
const (
	actionHead = `{"create":{"_id":"`
	actionTail = `"}}` + "\n"
)

// Reset makes b an empty batch of s that keeps its memory. onEnd is called by
// Settle (settled is true) and by Return, from whatever goroutine that is; it
// may be nil.
func (b *Batch) Reset(s *Stream, onEnd func(b *Batch, settled bool)) {
	b.Stream = s
	b.Body = b.Body[:0]
	b.Items = b.Items[:0]
	b.Cursor = b.Cursor[:0]
	b.Since = ""
	b.marks = b.marks[:0]
	b.onEnd = onEnd
	b.ended.Store(false)
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

// Mark notes that document i ended otherwise than Delivered. The sink calls it
// at most once for an item, before Settle.
func (b *Batch) Mark(i int, o Outcome) {
	b.marks = append(b.marks, Mark{Item: uint32(i), Outcome: o})
}

// Marks are the documents that did not simply end as Delivered, in no order.
func (b *Batch) Marks() []Mark { return b.marks }

// Settle says that no document of the batch needs to be read again: each is
// stored, or its end is known and marked.
func (b *Batch) Settle() { b.end(true) }

// Return gives the batch back: its destination takes nothing for now, and the
// sink keeps nothing in memory meanwhile. Documents of it may be stored already;
// all are read and sent again, with Since set.
func (b *Batch) Return() { b.end(false) }

// end panics the second time, because that would move the ledger past bytes
// that nobody answered for.
func (b *Batch) end(settled bool) {
	if !b.ended.CompareAndSwap(false, true) {
		panic("BUG: record: batch ended twice")
	}
	if b.onEnd != nil {
		b.onEnd(b, settled)
	}
}

// AppendAction appends the action line of a document with the given id to a
// bulk body. id must need no JSON escaping (base64url).
func AppendAction(dst, id []byte) []byte {
	dst = append(dst, actionHead...)
	dst = append(dst, id...)
	return append(dst, actionTail...)
}

package shipper

import (
	"bytes"
	"encoding/json"
	"time"

	"mesoscope/record"
)

// A form is how a document is sent.
type form struct {
	// reduced: Elasticsearch refused the document, it is sent once more with
	// nothing in it that a mapping could refuse.
	reduced bool
	// cuts: how often the document was found too large; its message is halved
	// each time.
	cuts   int
	reason string // of the refusal, for error.message
}

const (
	reducedMessage = 32000 // bytes; a keyword takes at most 32766
	errorMessage   = 1000
)

// kept are the members of a reduced document besides @timestamp, message and
// error.message: plain identifiers without which a line is worth nothing, and
// the numbers that receipts count. What an application or a label may name is
// not among them.
var kept = [][]string{
	{"stream"},
	{"event", "sequence"}, {"event", "created"}, {"event", "dataset"},
	{"data_stream", "type"}, {"data_stream", "dataset"}, {"data_stream", "namespace"},
	{"log", "offset"}, {"log", "lines"}, {"log", "file", "path"}, {"log", "file", "generation"}, {"log", "flags"},
	{"container", "id"}, {"container", "name"}, {"container", "runtime"},
	{"host", "name"}, {"host", "hostname"},
	{"service", "name"}, {"service", "version"},
	{"orchestrator", "type"}, {"orchestrator", "cluster", "name"},
	{"mesos", "task", "id"}, {"mesos", "framework", "id"}, {"mesos", "agent", "id"},
	{"marathon", "app", "id"},
	{"agent", "id"}, {"agent", "name"}, {"agent", "type"}, {"agent", "version"},
	{"ecs", "version"},
}

// appendForm appends document i of b with its action line in the given form.
// A document that cannot be read as JSON becomes a message of its raw bytes.
// This is the rare path: it may allocate.
func appendForm(dst []byte, b *record.Batch, i int, f form) []byte {
	dst = record.AppendAction(dst, b.ID(i))
	doc := b.Doc(i)
	var members map[string]json.RawMessage
	if err := json.Unmarshal(doc, &members); err != nil {
		members = map[string]json.RawMessage{"message": record.AppendQuoted(nil, doc)}
	}
	var message string
	if json.Unmarshal(members["message"], &message) != nil {
		message = string(members["message"]) // not a string: as it stands
	}
	full := len(message)
	if f.reduced {
		members = reduceMembers(members, f.reason)
		message = cutString(message, reducedMessage)
	}
	for range f.cuts {
		message = cutString(message, len(message)/2)
	}
	members["message"] = record.AppendQuoted(nil, message)
	if len(message) < full {
		addFlag(members, "truncated")
	}
	// Marshal of a map sorts the keys, so the same line gives the same bytes.
	out, err := json.Marshal(members)
	if err != nil { // cannot be: all values are valid JSON or were made here
		out = append(record.AppendQuoted([]byte(`{"message":`), message), '}')
	}
	return append(append(dst, out...), '\n')
}

func reduceMembers(members map[string]json.RawMessage, reason string) map[string]json.RawMessage {
	out := map[string]json.RawMessage{}
	for _, path := range kept {
		if v, ok := lookup(members, path); ok && (path[0] == "log" && path[1] == "flags" || len(v) <= 1024 && v[0] != '{' && v[0] != '[') {
			place(out, path, v)
		}
	}
	text := "refused by Elasticsearch, stored in a reduced form: " + reason
	stamp, changed := takenTime(members["@timestamp"], members["event"])
	if changed {
		text += "; its @timestamp was " + cutString(string(members["@timestamp"]), 100)
	}
	out["@timestamp"] = record.AppendQuoted(nil, stamp)
	place(out, []string{"error", "message"}, record.AppendQuoted(nil, cutString(text, errorMessage)))
	return out
}

// takenTime is the document's @timestamp if a mapping of date_nanos takes it
// (1970 to 2262), else event.created, else now.
func takenTime(stamp, event json.RawMessage) (text string, changed bool) {
	if t, ok := nanosTime(stamp); ok {
		return t, false
	}
	var e struct {
		Created json.RawMessage `json:"created"`
	}
	if json.Unmarshal(event, &e) == nil {
		if t, ok := nanosTime(e.Created); ok {
			return t, true
		}
	}
	return time.Now().UTC().Format(time.RFC3339Nano), true
}

func nanosTime(raw json.RawMessage) (string, bool) {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return "", false
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || t.Year() < 1970 || t.Year() > 2261 {
		return "", false
	}
	return s, true
}

// lookup finds a value by its path.
func lookup(members map[string]json.RawMessage, path []string) (json.RawMessage, bool) {
	v, ok := members[path[0]]
	if !ok || len(path) == 1 {
		return v, ok && len(v) > 0
	}
	var inner map[string]json.RawMessage
	if json.Unmarshal(v, &inner) != nil {
		return nil, false
	}
	return lookup(inner, path[1:])
}

// place puts a value at a path, making the objects on the way.
func place(members map[string]json.RawMessage, path []string, v json.RawMessage) {
	if len(path) == 1 {
		members[path[0]] = v
		return
	}
	inner := map[string]json.RawMessage{}
	if old, ok := members[path[0]]; ok {
		if json.Unmarshal(old, &inner) != nil {
			inner = map[string]json.RawMessage{}
		}
	}
	place(inner, path[1:], v)
	members[path[0]], _ = json.Marshal(inner)
}

// addFlag adds a value to log.flags.
func addFlag(members map[string]json.RawMessage, name string) {
	var flags []string
	if v, ok := lookup(members, []string{"log", "flags"}); ok {
		if json.Unmarshal(v, &flags) != nil {
			var one string
			if json.Unmarshal(v, &one) == nil {
				flags = []string{one}
			}
		}
	}
	for _, f := range flags {
		if f == name {
			return
		}
	}
	v, _ := json.Marshal(append(flags, name))
	place(members, []string{"log", "flags"}, v)
}

// deadDocument is document i of b as it goes into the dead-letter file: the
// JSON itself, or a JSON string of its bytes when it is not JSON.
func deadDocument(b *record.Batch, i int) json.RawMessage {
	doc := bytes.TrimSpace(b.Doc(i))
	if json.Valid(doc) {
		return bytes.Clone(doc)
	}
	return record.AppendQuoted(nil, doc)
}

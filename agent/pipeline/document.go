package pipeline

import (
	"crypto/sha256"
	"encoding/base64"
	"math"
	"strconv"

	"mesoscope/record"
)

// An Origin is what the documents of one stream in one file have in common.
type Origin struct {
	Stream *record.Stream
	id     [8]byte // the first 6 bytes of the id: the container
	file   []byte  // `"file":{"path":"…","generation":"…"}`
	// Key stands in the place of a line's time in its id, if it is not 0: in a raw
	// log the time does not follow from the bytes. It is one number for each file.
	Key int64
}

// NewOrigin encodes what repeats. container is the container's id, path the
// path of the file when it was born, generation its name.
func NewOrigin(s *record.Stream, container, path, generation string) *Origin {
	o := &Origin{Stream: s}
	sum := sha256.Sum256([]byte(container))
	base64.RawURLEncoding.Encode(o.id[:], sum[:6])
	o.file = append(o.file, `"file":{"path":`...)
	o.file = record.AppendQuoted(o.file, path)
	o.file = append(o.file, `,"generation":`...)
	o.file = record.AppendQuoted(o.file, generation)
	o.file = append(o.file, '}')
	return o
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// idLen is the length of an id: 19 bytes in base64url.
const idLen = 26

// appendID appends base64url(container, 6 bytes ‖ nanos, 8 ‖ offset, 5). The
// same bytes always give the same id, and two lines never do: at one offset of
// one file there is one entry, and offsets meet again only in another file,
// whose entries have other times. The order keeps the ids of one container
// together, which keeps the index small.
func (o *Origin) appendID(dst []byte, nanos, offset int64) []byte {
	dst = append(dst, o.id[:]...)
	t, f := uint64(nanos), uint64(offset)
	return append(dst,
		alphabet[t>>58], alphabet[t>>52&63], alphabet[t>>46&63], alphabet[t>>40&63],
		alphabet[t>>34&63], alphabet[t>>28&63], alphabet[t>>22&63], alphabet[t>>16&63],
		alphabet[t>>10&63], alphabet[t>>4&63], alphabet[t&15<<2|f>>38&3],
		alphabet[f>>32&63], alphabet[f>>26&63], alphabet[f>>20&63], alphabet[f>>14&63],
		alphabet[f>>8&63], alphabet[f>>2&63], alphabet[f&3<<4])
}

// mostMembers is more than the keys of a document and its members of limited
// length take.
const mostMembers = 512

// Size is at least as many bytes as Append will need for l.
func (o *Origin) Size(l *Line) int {
	return len(l.Text) + len(o.file) + len(o.Stream.Dataset) + len(o.Stream.Fields) + mostMembers
}

// Append writes the document of l behind its action line into b, whose Stream
// must be o's. created is when the line was read, in RFC 3339.
func (o *Origin) Append(b *record.Batch, l *Line, created []byte) {
	var id [idLen]byte
	nanos := l.Nanos
	if o.Key != 0 {
		nanos = o.Key
	}
	d := record.AppendAction(b.Body, o.appendID(id[:0], nanos, l.Offset))
	doc := uint32(len(d))
	d = append(d, `{"@timestamp":"`...)
	d = append(d, l.Time...)
	d = append(d, `","message":"`...)
	d = append(d, l.Text...)
	d = append(d, `","log":{`...)
	if level := Level(l.Text); level != "" {
		d = append(d, `"level":"`...)
		d = append(d, level...)
		d = append(d, `",`...)
	}
	if l.Cut {
		d = append(d, `"flags":["truncated"],`...)
	}
	d = append(d, `"offset":`...)
	d = strconv.AppendInt(d, l.Offset, 10)
	d = append(d, ',')
	d = append(d, o.file...)
	d = append(d, `},"event":{"sequence":`...)
	d = strconv.AppendInt(d, l.Sequence, 10)
	d = append(d, `,"created":"`...)
	d = append(d, created...)
	d = append(d, `","dataset":"`...)
	d = append(d, o.Stream.Dataset...)
	d = append(d, `"},`...)
	d = append(d, o.Stream.Fields...)
	d = append(d, "}\n"...)
	b.Body = d
	b.Items = append(b.Items, record.Item{Doc: doc, End: uint32(len(d)), Source: uint32(min(l.Source, math.MaxUint32))})
}

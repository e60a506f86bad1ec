package discover

import (
	"bytes"
	"time"
)

const journald = "journald" // the driver

// partialID is the field of the journal in which Docker names the line that a
// piece belongs to. Docker 20.10 gives it among the details of a message, later
// ones keep it for themselves.
var partialID = []byte("CONTAINER_PARTIAL_ID=")

// pieces gives the pieces of a line one time, that of the first. journald
// stamps each message by itself, while in all other logs, and so for who reads
// the copy, pieces are known by their equal time.
//
// Docker reads the driver journald back without the newline behind all pieces
// but the last. Up to 20.10 it leaves out messages without text, too: empty
// lines, and the last piece of a line of a multiple of 16 KiB. Then only the
// next line's other id tells that the one before has ended.
type pieces struct {
	open map[string]openLine // by stream
}

type openLine struct {
	id   string // "": the engine does not tell
	time time.Time
}

func newPieces() *pieces { return &pieces{open: make(map[string]openLine)} }

// place gives e the time of its line.
func (p *pieces) place(e *entry) {
	id := ""
	if i := bytes.Index(e.attrs, partialID); i >= 0 {
		value := e.attrs[i+len(partialID):]
		if end := bytes.IndexByte(value, ','); end >= 0 {
			value = value[:end]
		}
		id = string(value)
	}
	if l, open := p.open[e.stream]; open && l.id == id {
		e.time = l.time
	}
	// A short piece is the end of a container's output, without a newline.
	if n := len(e.log); n == 0 || e.log[n-1] != '\n' && (id != "" || n >= pieceSize) {
		p.open[e.stream] = openLine{id, e.time}
	} else {
		delete(p.open, e.stream)
	}
}

// endPiece puts the newline behind the last piece of a line that Docker 20.10
// leaves out when it reads its own format (the driver local, dual logging).
func endPiece(e *entry) {
	if n := len(e.log); n < pieceSize && (n == 0 || e.log[n-1] != '\n') {
		e.log = append(e.log[:n:n], '\n') // what follows in the array is the next message
	}
}

// cutDetails cuts the details, "key=value,…" with all else escaped, and the
// space behind them off a message.
func cutDetails(b []byte) (details, rest []byte) {
	details, rest, ok := bytes.Cut(b, []byte(" "))
	if !ok {
		return nil, b
	}
	return details, rest
}

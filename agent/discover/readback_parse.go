package discover

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

const (
	// stampFormat is the time in front of each message with timestamps=1:
	// RFC 3339 in UTC with always nine digits (moby's RFC3339NanoFixed).
	stampFormat = "2006-01-02T15:04:05.000000000Z07:00"
	stampLen    = len("2006-01-02T15:04:05.000000000Z")
	// maxMessage bounds one message. dockerd makes at most 1 MB; more means
	// that this is not the stream that we take it for.
	maxMessage = 16 << 20
)

// parseStamp cuts the time and the space behind it off a message.
func parseStamp(b []byte) (t time.Time, rest []byte, ok bool) {
	if len(b) <= stampLen || b[stampLen] != ' ' || b[stampLen-1] != 'Z' {
		return t, b, false
	}
	t, err := time.Parse(stampFormat, string(b[:stampLen]))
	return t, b[stampLen+1:], err == nil
}

// A messages reader gives the messages of one logs response. next returns
// io.EOF at the regular end; what it returns is valid until the next call.
type messages interface {
	next() (entry, error)
	more() bool // the next one is at hand: next will not wait long
}

// frames reads a multiplexed response: an 8-byte head [stream 0 0 0 size] and
// the message.
type frames struct {
	r          *bufio.Reader
	details    bool // asked for
	buf        []byte
	last       map[string]time.Time // by stream
	unstamped  func()
	headBuffer [8]byte
}

func newFrames(r *bufio.Reader, unstamped func()) *frames {
	return &frames{r: r, last: make(map[string]time.Time), unstamped: unstamped}
}

func (f *frames) next() (entry, error) {
	head := f.headBuffer[:]
	if _, err := io.ReadFull(f.r, head); err != nil {
		return entry{}, err // io.EOF between two frames, else ErrUnexpectedEOF
	}
	size := binary.BigEndian.Uint32(head[4:])
	if head[0] > 3 || head[1] != 0 || head[2] != 0 || head[3] != 0 || size > maxMessage {
		return entry{}, fmt.Errorf("docker api: not a frame of a multiplexed log: % x", head)
	}
	if int(size) > cap(f.buf) {
		f.buf = make([]byte, size)
	}
	msg := f.buf[:size]
	if _, err := io.ReadFull(f.r, msg); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return entry{}, err
	}
	if head[0] == 3 { // the daemon's own error, in the middle of the log
		return entry{}, fmt.Errorf("docker api: %s", bytes.TrimSpace(msg))
	}
	e := entry{stream: "stdout"}
	if head[0] == 2 {
		e.stream = "stderr"
	}
	var ok bool
	if e.time, e.log, ok = parseStamp(msg); !ok {
		f.unstamped()
		e.time = f.last[e.stream]
	} else if f.details {
		e.attrs, e.log = cutDetails(e.log)
	}
	f.last[e.stream] = e.time
	return e, nil
}

func (f *frames) more() bool { return f.r.Buffered() > 0 }

// ttyMessages reads the raw response of a container with a TTY: messages one
// behind the other. A line ends with '\n'; a piece of a line (16 KiB, or the
// last output of a container that ended without '\n') ends where the next
// message's time begins. That is recognised because it is not before the time
// of the piece and not in the future: an application cannot print the time at
// which dockerd will have read its line.
type ttyMessages struct {
	r         *bufio.Reader
	details   bool   // asked for
	buf       []byte // what is read and not returned
	done      int    // bytes of buf that the last entry took
	searched  int    // bytes of buf in which no end was found
	last      time.Time
	err       error
	unstamped func()
	now       func() time.Time
}

func (m *ttyMessages) next() (entry, error) {
	m.buf = append(m.buf[:0], m.buf[m.done:]...)
	m.done, m.searched = 0, 0
	for {
		if end := m.end(); end > 0 {
			m.done = end
			return m.entry(m.buf[:end]), nil
		}
		if m.err != nil {
			if m.err == io.EOF && len(m.buf) > 0 {
				m.done = len(m.buf)
				return m.entry(m.buf), nil
			}
			return entry{}, m.err
		}
		if len(m.buf) > maxMessage {
			return entry{}, errors.New("docker api: a message of a TTY log without an end")
		}
		m.fill()
	}
}

func (m *ttyMessages) more() bool {
	return m.r.Buffered() > 0 || bytes.IndexByte(m.buf[m.done:], '\n') >= 0
}

// fill reads what is there, at least a byte.
func (m *ttyMessages) fill() {
	if _, m.err = m.r.Peek(1); m.err != nil {
		return
	}
	part, _ := m.r.Peek(m.r.Buffered())
	m.buf = append(m.buf, part...)
	_, _ = m.r.Discard(len(part))
}

// end is where the first message of buf ends; 0: not known yet.
func (m *ttyMessages) end() int {
	limit := len(m.buf)
	newline := bytes.IndexByte(m.buf[m.searched:], '\n')
	if newline >= 0 {
		limit = m.searched + newline + 1
	}
	from, _, ok := parseStamp(m.buf)
	// A time needs stampLen+1 bytes: look again at that many when more comes.
	for i := max(stampLen+1, m.searched-stampLen); ok && i+stampLen < limit; {
		z := bytes.Index(m.buf[i+stampLen-1:limit], []byte("Z "))
		if z < 0 {
			break
		}
		i += z
		if t, _, isTime := parseStamp(m.buf[i:limit]); isTime && !t.Before(from) && !t.After(m.now()) {
			return i
		}
		i++
	}
	if newline >= 0 {
		return limit
	}
	m.searched = len(m.buf)
	return 0
}

func (m *ttyMessages) entry(msg []byte) entry {
	e := entry{stream: "stdout"}
	var ok bool
	if e.time, e.log, ok = parseStamp(msg); !ok {
		m.unstamped()
		e.time = m.last
	} else if m.details {
		e.attrs, e.log = cutDetails(e.log)
	}
	m.last = e.time
	return e
}

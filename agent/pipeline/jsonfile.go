package pipeline

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"time"
	"unicode/utf8"

	"mesoscope/record"
)

// Stream tells stdout from stderr.
type Stream uint8

// The streams of a container.
const (
	Stdout Stream = iota
	Stderr
)

// String is the name as Docker and ECS write it.
func (s Stream) String() string {
	if s == Stderr {
		return "stderr"
	}
	return "stdout"
}

// An Entry is one entry of a json-file log: a line, or a piece of at most 16
// KiB of a line. Its slices are valid until the next call of Parse.
type Entry struct {
	// Text is the log text as it stands between the quotes of a JSON string,
	// valid UTF-8, without the newline that ends a line.
	Text []byte
	// Whole says that a newline ended the text. Otherwise the line goes on in
	// the next entry with the same stream and time.
	Whole  bool
	Stream Stream
	Time   []byte // RFC 3339 with up to nine digits of fraction, UTC
	Nanos  int64  // Time in ns since 1970
	// Attrs is the raw JSON object of --log-opt labels, env and tag. Nil if
	// there is none.
	Attrs []byte
	// Size is how many bytes of the file the entry takes, for the books. Parse
	// leaves it alone: only the reader knows what stood around the line.
	Size int
}

// A Parser reads entries of one json-file log after another. It remembers
// what consecutive entries have in common, so use one for each file or worker.
// The zero value is ready.
type Parser struct {
	// Fallback is the time of entries whose own is missing or unreadable, in
	// ns. It must follow from the bytes of the file (the time of its first
	// entry), because ids are made from it.
	Fallback int64

	second   [len("2006-01-02T15:04:05")]byte // the last whole second seen …
	secondNs int64                            // … and its time in ns
	attrs    []byte                           // the last `"attrs":{…},` that was good JSON
	text     []byte                           // what the general parser wrote
	time     []byte

	stamped int64  // the time that Raw gives, as time has it
	raw     []byte // a piece behind what was torn off the one before
}

// ErrNotEntry says that a physical line is not an entry of a json-file log.
var ErrNotEntry = errors.New("not an entry of a json-file log")

const entryHead = `{"log":"`

// Parse reads one physical line, without its newline. Entries as dockerd
// writes them take a short way that only looks for the borders of the text;
// all else takes the general parser. Both give the same Entry, up to how a
// character is escaped. The error is ErrNotEntry with a reason.
func (p *Parser) Parse(line []byte, e *Entry) error {
	if p.parseFast(line, e) {
		return nil
	}
	return p.parseGeneral(line, e)
}

const (
	outMark  = `","stream":"stdout",`
	errMark  = `","stream":"stderr",`
	timeMark = `"time":"`
	entryEnd = `"}`
	timeMin  = len("2006-01-02T15:04:05Z")
	timeMax  = len("2006-01-02T15:04:05.999999999Z")
)

// parseFast reads {"log":"…","stream":"…",["attrs":{…},]"time":"…Z"} from its
// end, since only the text at the beginning has no fixed form. It answers
// false for whatever it does not know, and never a wrong entry: the text is
// checked to be one valid JSON string, the rest to be these very bytes.
func (p *Parser) parseFast(line []byte, e *Entry) bool {
	n := len(line)
	if n < len(entryHead)+len(outMark)+len(timeMark)+timeMin+len(entryEnd) ||
		string(line[:len(entryHead)]) != entryHead || string(line[n-3:]) != `Z"}` {
		return false
	}
	rest, stamp := cutTime(line[:n-len(entryEnd)])
	if stamp == nil || !p.nanos(stamp, &e.Nanos) {
		return false
	}
	e.Time = stamp
	e.Attrs = nil
	if k := len(rest) - len(p.attrs); len(p.attrs) > 0 && k > 0 && string(rest[k:]) == string(p.attrs) {
		e.Attrs = rest[k+len(`"attrs":`) : len(rest)-1]
		rest = rest[:k]
	}
	k := len(rest) - len(outMark)
	if k < len(entryHead) {
		return false
	}
	switch string(rest[k:]) {
	case outMark:
		e.Stream = Stdout
	case errMark:
		e.Stream = Stderr
	default:
		return false
	}
	text := rest[len(entryHead):k]
	newline, ok := checkText(text)
	if !ok {
		return false
	}
	e.Whole = newline
	if newline {
		text = text[:len(text)-len(`\n`)]
	}
	e.Text = text
	return true
}

// cutTime cuts `"time":"` and what follows it off the end of b. Docker trims
// the zeros at the end of the fraction, so its length varies.
func cutTime(b []byte) (rest, stamp []byte) {
	for n := timeMax; n >= timeMin; n-- {
		k := len(b) - n - len(timeMark)
		if k > 0 && string(b[k:k+len(timeMark)]) == timeMark {
			return b[:k], b[len(b)-n:]
		}
	}
	return nil, nil
}

// nanos reads a time with the zone Z. The whole second is parsed by the
// standard library once and remembered: most lines share it with the one
// before.
func (p *Parser) nanos(stamp []byte, out *int64) bool {
	const whole = len("2006-01-02T15:04:05")
	if string(stamp[:whole]) != string(p.second[:]) {
		t, err := time.Parse("2006-01-02T15:04:05", string(stamp[:whole]))
		if err != nil || !inRange(t) {
			return false
		}
		copy(p.second[:], stamp)
		p.secondNs = t.UnixNano()
	}
	frac := stamp[whole : len(stamp)-1]
	var ns int64
	if len(frac) > 0 {
		if frac[0] != '.' || len(frac) == 1 {
			return false
		}
		for _, c := range frac[1:] {
			if c < '0' || c > '9' {
				return false
			}
			ns = ns*10 + int64(c-'0')
		}
		for i := len(frac) - 1; i < 9; i++ {
			ns *= 10
		}
	}
	*out = p.secondNs + ns
	return true
}

// inRange says whether Elasticsearch's date_nanos can hold t.
func inRange(t time.Time) bool { return t.Year() >= 1970 && t.Year() < 2262 }

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// checkText says whether b is the inside of a JSON string that may be copied
// as it is (escapes are known ones, no control character, no lone quote, no
// surrogate, valid UTF-8), and whether it ends in the escape \n.
//
// Eight bytes at a time are looked at: most of a log line needs nothing else.
// In a JSON line nearly all escapes are those of quotes, which are told without
// a branch for each.
func checkText(b []byte) (newline, ok bool) {
	var high, carry uint64 // carry: a backslash stands before b[i]
	i := 0
	for i < len(b) {
		if i+8 <= len(b) {
			w := le64(b[i:])
			quote := w ^ (ones * '"')
			slash := w ^ (ones * '\\')
			// A zero byte in quote or slash, or a byte below 0x20 in w, sets
			// its high bit; a byte above 0x7f may set it wrongly for its
			// neighbour, which the closer looks below sort out.
			hit := ((quote - ones) &^ quote) | ((slash - ones) &^ slash) | ((w - ones*0x20) &^ w)
			hit &= highs
			high |= w & highs
			if hit|carry == 0 {
				i += 8
				continue
			}
			quotes, slashes := zeros(quote), zeros(slash)
			escaped := slashes<<8 | carry
			if escaped == quotes && (w&^highs+ones*(0x80-0x20)|w)&highs == highs {
				carry = slashes >> 56
				i += 8
				continue
			}
			if carry == 0 {
				i += bits.TrailingZeros64(hit) / 8
			}
		}
		if carry != 0 {
			i, carry = i-1, 0
		}
		switch c := b[i]; {
		case c == '\\':
			n := escapeLen(b[i:])
			if n == 0 {
				return false, false
			}
			newline = i+2 == len(b) && b[i+1] == 'n'
			i += n
		case c == '"' || c < 0x20:
			return false, false
		default:
			high |= uint64(c) & 0x80
			i++
		}
	}
	if carry != 0 {
		return false, false // a backslash at the end
	}
	if high != 0 && !utf8.Valid(b) {
		return false, false
	}
	return newline, true
}

// zeros has the high bit of each byte that is 0 in x, and no other.
func zeros(x uint64) uint64 { return ^((x&^highs + ones*0x7f) | x | ones*0x7f) }

func le64(b []byte) uint64 {
	_ = b[7]
	return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
		uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
}

// escapeLen is the length of the escape at the beginning of b, 0 for one that
// is not known. Surrogates count as not known: a lone one would make
// Elasticsearch refuse the document, and dockerd never writes a pair.
func escapeLen(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if len(b) < 6 {
			return 0
		}
		for _, c := range b[2:6] {
			if !isHex(c) {
				return 0
			}
		}
		if b[2]|0x20 == 'd' && b[3] >= '8' {
			return 0
		}
		return 6
	}
	return 0
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// parseGeneral reads whatever encoding/json takes for an entry: other orders
// of keys, spaces, surrogates, invalid UTF-8, no time.
func (p *Parser) parseGeneral(line []byte, e *Entry) error {
	var raw struct {
		Log    *string         `json:"log"`
		Stream *string         `json:"stream"`
		Attrs  json.RawMessage `json:"attrs"`
		Time   *string         `json:"time"`
	}
	if err := json.Unmarshal(line, &raw); err != nil {
		return fmt.Errorf("%w: %w", ErrNotEntry, err)
	}
	// dockerd leaves out an empty log or stream, but something must be there,
	// or {} and null would be lines.
	if raw.Log == nil && raw.Stream == nil && raw.Time == nil {
		return fmt.Errorf("%w: neither log, stream nor time", ErrNotEntry)
	}
	e.Stream = Stdout
	if raw.Stream != nil && *raw.Stream == "stderr" {
		e.Stream = Stderr
	}
	text := ""
	if raw.Log != nil {
		text = *raw.Log
	}
	e.Whole = len(text) > 0 && text[len(text)-1] == '\n'
	if e.Whole {
		text = text[:len(text)-1]
	}
	p.text = record.AppendEscaped(p.text[:0], text)
	e.Text = p.text
	e.Nanos = p.Fallback
	if raw.Time != nil {
		if t, err := time.Parse(time.RFC3339Nano, *raw.Time); err == nil && inRange(t.UTC()) {
			e.Nanos = t.UnixNano()
		}
	}
	p.time = time.Unix(0, e.Nanos).UTC().AppendFormat(p.time[:0], time.RFC3339Nano)
	e.Time = p.time
	e.Attrs = nil
	if len(raw.Attrs) > 0 && raw.Attrs[0] == '{' {
		e.Attrs = raw.Attrs
		p.rememberAttrs(raw.Attrs)
	}
	return nil
}

// rememberAttrs lets the fast way recognise the attrs of the next entries,
// which are the same for the whole life of a container.
func (p *Parser) rememberAttrs(attrs []byte) {
	if bytes.IndexByte(attrs, '\n') >= 0 {
		return
	}
	p.attrs = append(p.attrs[:0], `"attrs":`...)
	p.attrs = append(p.attrs, attrs...)
	p.attrs = append(p.attrs, ',')
}

// Resync finds where in a damaged physical line an entry may begin: behind a
// run of NULs (left by a truncation in place) or behind a torn entry (left by
// a power cut). It returns len(line) if there is none. from says where to
// begin looking.
func Resync(line []byte, from int) int {
	if from >= len(line) {
		return len(line)
	}
	if i := bytes.Index(line[from:], []byte(entryHead)); i >= 0 {
		return from + i
	}
	return len(line)
}

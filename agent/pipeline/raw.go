package pipeline

import (
	"time"
	"unicode/utf8"

	"mesoscope/record"
)

// A raw log holds what a program wrote and nothing else: a newline ends a line,
// there is no time, and any byte may occur. It is cut into pieces where a file or
// the reader's buffer ends, also within a character.

// A Tear is the beginning of a character that a piece of a line ended in; the
// next piece of the line has its rest.
type Tear struct {
	bytes [utf8.UTFMax - 1]byte
	n     int
}

// Raw makes an entry of a piece of a line, without its newline; whole says that
// it had one. What t has is put before it, and takes up a character that the
// piece does not complete. Nanos and Time are those of the last Stamp. The
// entry's text may be the piece itself.
func (p *Parser) Raw(piece []byte, whole bool, t *Tear, e *Entry) {
	if t.n > 0 {
		p.raw = append(append(p.raw[:0], t.bytes[:t.n]...), piece...)
		piece, t.n = p.raw, 0
	}
	if !whole {
		n := len(piece) - torn(piece)
		t.n = copy(t.bytes[:], piece[n:])
		piece = piece[:n]
	}
	e.Text, e.Whole, e.Attrs = p.escape(piece), whole, nil
	e.Nanos, e.Time = p.stamped, p.time
}

// Rest makes an entry of what t has, for a line that ends there.
func (p *Parser) Rest(t *Tear, e *Entry) (some bool) {
	if some = t.n > 0; some {
		e.Text, e.Whole, e.Attrs = p.escape(t.bytes[:t.n]), false, nil
		t.n = 0
	}
	return some
}

// Stamp sets the time of the entries that Raw makes, in ns.
func (p *Parser) Stamp(nanos int64) {
	if p.stamped != nanos {
		p.stamped = nanos
		p.time = time.Unix(0, nanos).UTC().AppendFormat(p.time[:0], time.RFC3339Nano)
	}
}

// escape is b as it stands between the quotes of a JSON string.
func (p *Parser) escape(b []byte) []byte {
	if plain(b) {
		return b
	}
	p.text = record.AppendEscaped(p.text[:0], b)
	return p.text
}

// plain says whether b is ASCII that needs no escape.
func plain(b []byte) bool {
	for len(b) >= 8 {
		w := le64(b)
		quote, slash := w^(ones*'"'), w^(ones*'\\')
		if (w|((quote-ones)&^quote)|((slash-ones)&^slash)|((w-ones*0x20)&^w))&highs != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c < 0x20 || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// torn is how many bytes at the end of b begin a character and do not end it.
func torn(b []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(b); n++ {
		if c := b[len(b)-n]; c < utf8.RuneSelf {
			return 0
		} else if utf8.RuneStart(c) {
			if utf8.FullRune(b[len(b)-n:]) {
				return 0
			}
			return n
		}
	}
	return 0
}

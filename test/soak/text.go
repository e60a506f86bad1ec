package main

import (
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"time"
	"unicode/utf8"

	"mesoscope/internal/jsonfile"
	"mesoscope/record"
)

// A kind is a sort of text. What a line says follows from the seed of its
// container, its stream, its number, its kind and its size alone, so that the
// verdict can make it again.
type kind uint8

const (
	plain    kind = iota
	empty         // nothing at all: told from others by its time only
	binary        // any bytes but '\n', also such as are no UTF-8
	unicode       // of all planes, and the two separators that are escaped
	escapes       // quotes, backslashes, tabs, control characters
	object        // JSON, with a level
	terminal      // ends with a carriage return, as behind a terminal
	exact         // of exactly this size, to hit the limits of pieces
	kinds
)

// A lineKey names a line.
type lineKey struct {
	Seed   uint64 // of the container
	Name   string // of the container
	Stream int    // 0 stdout, 1 stderr
	N      int64
}

// lineText is the text of a line without its newline. It begins with
// "<container> <stream> <number> ", unless it is empty. size is the length of
// the rest, roughly; of an exact line that of all of it.
func lineText(k lineKey, what kind, size int) []byte {
	if what == empty {
		return nil
	}
	r := rand.New(rand.NewPCG(k.Seed, uint64(k.N)<<1|uint64(k.Stream)))
	b := make([]byte, 0, size+128)
	if what == object {
		b = append(b, `{"id":"`...)
	}
	b = fmt.Appendf(b, "%s %s %d ", k.Name, streams[k.Stream], k.N)
	head := len(b)
	switch what {
	case binary:
		for range size {
			c := byte(r.Uint32())
			if c == '\n' {
				c = 0x1b
			}
			b = append(b, c)
		}
	case unicode:
		for len(b) < head+size {
			c := rune(r.IntN(utf8.MaxRune))
			switch r.IntN(4) {
			case 0:
				c = rune(0x2028 + r.IntN(2))
			case 1:
				c = rune(0x80 + r.IntN(0x700))
			}
			if utf8.ValidRune(c) && c != '\n' {
				b = utf8.AppendRune(b, c)
			}
		}
	case escapes:
		for range size {
			b = append(b, "\"\\<>&\t\r\x00\x1b/u0n"[r.IntN(13)])
		}
	case object:
		b = append(b, `","level":"warn","rest":"`...)
		b = append(blocks(b, r, len(b)+size), `"}`...)
	case exact:
		b = blocks(b, r, size)[:size]
	default:
		b = blocks(b, r, head+size)[:head+size]
	}
	if what == terminal {
		b = append(b, '\r')
	}
	return b
}

// blocks appends blocks of 16 bytes that are all different until b has size
// bytes at least: a piece that is missing or in the wrong place shows.
func blocks(b []byte, r *rand.Rand, size int) []byte {
	for len(b) < size {
		v := r.Uint64()
		for range 15 {
			b = append(b, "0123456789abcdef"[v&15])
			v >>= 4
		}
		b = append(b, ',')
	}
	return b
}

// logged is what of text can be found in Docker's file: dockerd cuts it into
// pieces, and each byte of a piece that is no UTF-8 becomes U+FFFD. A line that
// was ended loses the carriage return before its newline.
func logged(text []byte, ended bool) []byte {
	out := text
	if !utf8.Valid(text) || len(text) > jsonfile.ChunkSize {
		out = make([]byte, 0, len(text))
		for rest := text; len(rest) > 0; {
			piece := rest[:min(len(rest), jsonfile.ChunkSize)]
			rest = rest[len(piece):]
			if utf8.Valid(piece) {
				out = append(out, piece...)
				continue
			}
			out = append(out, string([]rune(string(piece)))...)
		}
	}
	if n := len(out); ended && n > 0 && out[n-1] == '\r' {
		out = out[:n-1]
	}
	return out
}

// mostMessage is the longest message of the agent, as escaped in the log.
const mostMessage = 1 << 20

// escaped is how long text is in the log, without the quotes.
func escaped(text []byte) int {
	at := time.Unix(0, 0)
	frame := len(jsonfile.AppendEntry(nil, []byte("x"), "", nil, at)) - 1
	return len(jsonfile.AppendEntry(nil, text, "", nil, at)) - frame
}

func sumOf(text []byte) uint32 { return crc32.ChecksumIEEE(text) }

// quote is text for people, and not more of it than they can read.
func quote(text []byte) string {
	if len(text) > 90 {
		text = append(append([]byte(nil), text[:70]...), fmt.Sprintf("… (%d bytes)", len(text))...)
	}
	return string(record.AppendQuoted(nil, text))
}

// Package lines says what a container of the end-to-end tests prints. The
// writer in the container and the test that compares both call Text, so that
// nothing has to be carried from one to the other but how many lines it were.
//
// The way of the data: (writer, stream, run, number, kind) -> Text -> bytes;
// AsDocker -> what dockerd makes of these bytes.
package lines

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"unicode/utf8"
)

// Kinds are all kinds of lines. Line n of a stream is of the kind n modulo the
// number of kinds that its writer was given.
var Kinds = []string{"plain", "json", "multibyte", "binary", "empty", "markup", "exact", "long"}

// pieceSize is where dockerd cuts a line into several entries.
const pieceSize = 16 << 10

// Text is line n, from 1, without its newline. writer, stream and n stand in
// all lines but empty ones, so that each is unlike all others.
func Text(kind, writer, stream string, run, n int) []byte {
	head := fmt.Sprintf("%s %s run=%d n=%d", writer, stream, run, n)
	switch kind {
	case "empty":
		return nil
	case "json":
		level := []string{"debug", "info", "warn", "error"}[n/8%4]
		return fmt.Appendf(nil, `{"level":%q,"id":%q,"number":%d,"nested":{"a":[1,2.50,null]},"message":"käse \"quoted\" \\ back"}`, level, head, n)
	case "multibyte":
		return []byte(head + " grüße, 日本語のログ, 🎉🏳️‍🌈, \u2028 \u2029 \u00a0 e\u0301")
	case "binary":
		return append([]byte(head), " \x00\x01\x1b[31mred\x1b[0m\t\xff\xfe \xc3\x28 \xe2\x82 \xf0\x9f\x8e \x80\r \x7f \"\\"...)
	case "markup":
		return []byte(head + ` <script>alert("1")</script> & 'x' ${y} %s {"log":"no entry","stream":"stderr","time":"2020-01-01T00:00:00Z"}`)
	case "exact": // ends with an entry that is a newline only
		return filled(head, 2*pieceSize, n)
	case "long":
		return filled(head, 50_000, n)
	}
	return filled(head, 120, n)
}

// filled is head and letters up to size bytes, other ones for each n.
func filled(head string, size, n int) []byte {
	const letters = "abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ 0123456789"
	random := rand.New(rand.NewPCG(uint64(n), uint64(size)))
	b := append(make([]byte, 0, size), head...)
	b = append(b, ' ')
	for len(b) < size {
		b = append(b, letters[random.IntN(len(letters))])
	}
	return b
}

// AsDocker is the text that dockerd keeps of a line: cut into pieces of 16 KiB,
// and U+FFFD in the place of each byte that is not UTF-8.
func AsDocker(line []byte) string {
	var b strings.Builder
	for len(line) > 0 {
		piece := line[:min(pieceSize, len(line))]
		line = line[len(piece):]
		for len(piece) > 0 {
			r, size := utf8.DecodeRune(piece)
			b.WriteRune(r)
			piece = piece[size:]
		}
	}
	return b.String()
}

// KindOf is the kind of line n of a writer that prints these kinds.
func KindOf(kinds []string, n int) string { return kinds[n%len(kinds)] }

// A Run is what one run of a writer printed: how many lines on each stream. A
// writer appends one to its record, as JSON, when it has printed its last line.
type Run struct {
	Run     int  `json:"run"`
	Stdout  int  `json:"stdout"`
	Stderr  int  `json:"stderr"`
	Unended bool `json:"unended"` // the last line of each stream has no newline
}

// Expected are the lines of one stream, in order, as they are to be stored.
func Expected(kinds []string, writer, stream string, runs []Run) []string {
	var out []string
	for _, r := range runs {
		count := r.Stdout
		if stream == "stderr" {
			count = r.Stderr
		}
		for n := 1; n <= count; n++ {
			text := Text(KindOf(kinds, n), writer, stream, r.Run, n)
			out = append(out, AsDocker(text))
		}
	}
	return out
}

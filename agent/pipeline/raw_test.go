package pipeline

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"

	"mesoscope/record"
)

// join puts pieces of one raw line together and gives its text.
func joinRaw(t testing.TB, p *Parser, pieces [][]byte, whole bool) string {
	t.Helper()
	var tear Tear
	var j Joiner
	var e Entry
	p.Stamp(1e18)
	var lines []Line
	for i, piece := range pieces {
		p.Raw(piece, whole && i == len(pieces)-1, &tear, &e)
		got, _ := j.Add(&e, Place{})
		for _, l := range got {
			l.Text = bytes.Clone(l.Text)
			lines = append(lines, l)
		}
	}
	if !whole {
		if p.Rest(&tear, &e) {
			e.Nanos, _ = j.Nanos()
			j.Add(&e, Place{})
		}
		lines = append(lines, j.Flush()...)
	}
	if len(lines) != 1 {
		t.Fatalf("%d lines of %q, want 1", len(lines), pieces)
	}
	var text string
	if err := json.Unmarshal([]byte(`"`+string(lines[0].Text)+`"`), &text); err != nil {
		t.Fatalf("%q is not the inside of a JSON string: %v", lines[0].Text, err)
	}
	return text
}

// However a line is cut into pieces, it is the same in the end.
func TestRawPieces(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	parts := []string{"plain ", "é", "€", "😀", "\xff", "\xe2\x82", "\xf0\x9f", "\"", "\\", "\x00", "\x1b[0m", "tab\t", strings.Repeat("x", 40)}
	var p Parser
	for range 3000 {
		var line []byte
		for range r.IntN(8) {
			line = append(line, parts[r.IntN(len(parts))]...)
		}
		want := strings.TrimSuffix(string(record.AppendEscaped(nil, line)), `\r`)
		var text string
		if err := json.Unmarshal([]byte(`"`+want+`"`), &text); err != nil {
			t.Fatal(err)
		}
		for _, whole := range []bool{true, false} {
			var pieces [][]byte
			for rest := line; ; {
				n := r.IntN(len(rest) + 1)
				pieces = append(pieces, rest[:n])
				if rest = rest[n:]; r.IntN(4) == 0 {
					pieces = append(pieces, rest)
					break
				}
			}
			if got := joinRaw(t, &p, pieces, whole); got != text {
				t.Fatalf("pieces %q (whole %v)\n got %q\nwant %q", pieces, whole, got, text)
			}
		}
	}
}

func TestRawReturn(t *testing.T) {
	var p Parser
	if got := joinRaw(t, &p, [][]byte{[]byte("windows\r")}, true); got != "windows" {
		t.Errorf("got %q", got)
	}
}

func TestPlain(t *testing.T) {
	for c := range 256 {
		for at := range 20 {
			b := bytes.Repeat([]byte("a"), 20)
			b[at] = byte(c)
			if want := bytes.Equal(record.AppendEscaped(nil, b), b) && c < 0x80; plain(b) != want {
				t.Errorf("byte %#x at %d: plain is %v", c, at, !want)
			}
		}
	}
}

func TestRawAllocs(t *testing.T) {
	var p Parser
	var tear Tear
	var e Entry
	lines := [][]byte{[]byte("plain text of a line"), []byte("Grüße \"quoted\" \x1b[0m")}
	n := testing.AllocsPerRun(100, func() {
		for _, l := range lines {
			p.Stamp(1e18)
			p.Raw(l, true, &tear, &e)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations a call, want 0", n)
	}
}

// A line's id in a raw log is of its file and place, whatever time it has.
func TestRawID(t *testing.T) {
	s := &record.Stream{Dataset: "d", Fields: []byte(`"a":1`)}
	id := func(key, nanos int64) string {
		o := NewOrigin(s, "c", "/p", "g")
		o.Key = key
		var b record.Batch
		b.Reset(s, nil)
		o.Append(&b, &Line{Place: Place{Offset: 7}, Nanos: nanos, Time: []byte("2026-11-25T00:00:00Z")}, []byte("x"))
		return string(b.ID(0))
	}
	if id(5, 1) != id(5, 2) {
		t.Error("the id depends on the time")
	}
	if id(5, 1) == id(6, 1) {
		t.Error("two files have one id")
	}
}

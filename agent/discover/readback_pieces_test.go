package discover

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestPieces(t *testing.T) {
	full := strings.Repeat("x", pieceSize)
	type message struct {
		at     int // ms
		stream string
		id     string
		log    string
		want   int // ms
	}
	for _, c := range []struct {
		name     string
		messages []message
	}{
		{"whole lines keep their times", []message{{1, "stdout", "", "a\n", 1}, {2, "stdout", "", "b\n", 2}}},
		{"with ids, the other stream in between", []message{
			{1, "stdout", "i", full, 1}, {2, "stderr", "", "e\n", 2}, {3, "stdout", "i", full, 1}, {4, "stdout", "i", "end\n", 1}, {5, "stdout", "", "b\n", 5}}},
		{"with ids, the last piece without text is left out", []message{
			{1, "stdout", "i", full, 1}, {2, "stdout", "", "b\n", 2}, {3, "stdout", "j", full, 3}, {4, "stdout", "k", full, 4}, {5, "stdout", "k", "end\n", 4}}},
		{"with ids, the container ended and came back", []message{{1, "stdout", "i", "no end", 1}, {2, "stdout", "", "b\n", 2}}},
		{"with ids, the beginning has gone", []message{{1, "stdout", "i", full, 1}, {2, "stdout", "i", "end\n", 1}}},
		{"without ids", []message{
			{1, "stdout", "", full, 1}, {2, "stderr", "", full, 2}, {3, "stdout", "", full, 1}, {4, "stdout", "", "\n", 1}, {5, "stdout", "", "b\n", 5}, {6, "stderr", "", "end\n", 2}}},
		{"without ids, the container ended and came back", []message{
			{1, "stdout", "", "no end", 1}, {2, "stdout", "", "b\n", 2}, {3, "stdout", "", full, 3}, {4, "stdout", "", "no end", 3}, {5, "stdout", "", "b\n", 5}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPieces()
			for i, m := range c.messages {
				e := entry{time: t0.Add(time.Duration(m.at) * time.Millisecond), stream: m.stream, log: []byte(m.log)}
				if m.id != "" {
					e.attrs = fmt.Appendf(nil, "CONTAINER_PARTIAL_ID=%s,CONTAINER_PARTIAL_LAST=false", m.id)
				}
				p.place(&e)
				if got := e.time.Sub(t0).Milliseconds(); got != int64(m.want) {
					t.Errorf("message %d has the time %d, want %d", i, got, m.want)
				}
			}
		})
	}
}

func TestEndPiece(t *testing.T) {
	full := strings.Repeat("x", pieceSize)
	array := []byte("endNEXT")
	for in, want := range map[string]string{"": "\n", "a\n": "a\n", "\r": "\r\n", full: full, full[1:]: full[1:] + "\n"} {
		e := entry{log: []byte(in)}
		if endPiece(&e); string(e.log) != want {
			t.Errorf("%.9q of %d bytes became %d", in, len(in), len(e.log))
		}
	}
	e := entry{log: array[:3]}
	if endPiece(&e); string(e.log) != "end\n" || string(array) != "endNEXT" {
		t.Errorf("%q, %q", e.log, array)
	}
}

func TestCutDetails(t *testing.T) {
	for in, want := range map[string][2]string{
		"a=b,c=d text of it\n": {"a=b,c=d", "text of it\n"},
		" text\n":              {"", "text\n"}, // none
		"a=b \n":               {"a=b", "\n"},
	} {
		if details, rest := cutDetails([]byte(in)); string(details) != want[0] || string(rest) != want[1] {
			t.Errorf("%q: %q, %q", in, details, rest)
		}
	}
}

// A journal, in which each piece has a time of its own, is played through a
// copy that is closed and asked for its position at random: the entries must
// come out once, in order, pieces with the time of their line, although the
// answers begin in the middle of lines.
func TestPiecesModel(t *testing.T) {
	for seed := range uint64(40) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		ids := seed%2 == 0 // Docker 20.10; else a later one
		type open struct {
			id    string
			time  time.Time
			until int // it has its last piece then
		}
		var log []entry
		var want []string
		lines := make(map[string]*open)
		now := t0
		for i := range 150 {
			now = now.Add(time.Duration(rnd.IntN(20)) * 200 * time.Millisecond) // also the same time twice
			e := entry{time: now, stream: []string{"stdout", "stderr"}[rnd.IntN(2)], log: fmt.Appendf(nil, "%d\n", rnd.IntN(3))}
			placed := e
			switch l := lines[e.stream]; {
			case l != nil:
				if i < l.until {
					e.log = []byte(strings.Repeat("y", pieceSize))
				} else {
					delete(lines, e.stream)
				}
				if ids {
					e.attrs = []byte("CONTAINER_PARTIAL_ID=" + l.id)
				}
				placed = e
				placed.time = l.time
			case rnd.IntN(6) == 0:
				now = now.Add(time.Microsecond) // no line of pieces begins in the microsecond in which another ends
				e.time = now
				l = &open{id: fmt.Sprint(i), time: now, until: i + rnd.IntN(12)}
				lines[e.stream] = l
				e.log = []byte(strings.Repeat("x", pieceSize))
				if ids {
					e.attrs = []byte("CONTAINER_PARTIAL_ID=" + l.id)
				}
				placed = e
			}
			log = append(log, e)
			want = append(want, string(encode(t, placed)))
		}
		dir := t.TempDir()
		var got []string
		for end := 0; end < len(log); {
			c := newTestCopy(t, dir)
			c.limit, c.keep = 100_000, 100 // all stay
			w, err := c.window()
			if err != nil {
				t.Fatal(err)
			}
			end = min(len(log), end+rnd.IntN(15))
			p := newPieces()
			for _, e := range log[:end] {
				if e.time.Before(w.since) {
					continue
				}
				p.place(&e)
				if b := encode(t, e); !w.known(e, b) {
					got = append(got, string(b))
					c.add(b)
					if err := c.flush(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
			}
			c.close()
		}
		if !slices.Equal(got, want) {
			for i := range min(len(got), len(want)) {
				if got[i] != want[i] {
					t.Errorf("seed %d: entry %d is\n%swant\n%s", seed, i, short([]byte(got[i])), short([]byte(want[i])))
					break
				}
			}
			t.Fatalf("seed %d: %d entries, want %d", seed, len(got), len(want))
		}
	}
}

// short leaves the middle of long lines out.
func short(b []byte) string {
	var out strings.Builder
	for line := range bytes.Lines(b) {
		if len(line) > 200 {
			fmt.Fprintf(&out, "%s … %d … %s", line[:60], len(line), line[len(line)-80:])
		} else {
			out.Write(line)
		}
	}
	return out.String()
}

package discover

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestReplays(t *testing.T) {
	full := strings.Repeat("a", pieceSize)
	other := strings.Repeat("b", pieceSize)
	type message struct {
		at     int // ns
		stream string
		log    string
		again  bool
	}
	for _, c := range []struct {
		name     string
		messages []message
	}{
		{"equal lines at two times are two lines", []message{{1, "stdout", "x\n", false}, {2, "stdout", "x\n", false}}},
		{"equal lines of two streams are two lines", []message{{1, "stdout", "x\n", false}, {1, "stderr", "x\n", false}}},
		{"the beginning of a file a second time", []message{
			{1, "stdout", "x\n", false}, {2, "stderr", "y\n", false}, {3, "stdout", "z\n", false},
			{2, "stderr", "y\n", true}, {3, "stdout", "z\n", true}, {4, "stdout", "new\n", false}}},
		{"equal pieces of one line", []message{
			{1, "stdout", full, false}, {1, "stdout", full, false}, {1, "stdout", full, false}, {1, "stdout", "a\n", false}}},
		{"pieces a second time", []message{
			{1, "stdout", other, false}, {1, "stdout", full, false}, {1, "stderr", "x\n", false}, {1, "stdout", "a\n", false},
			{1, "stdout", full, true}, {1, "stderr", "x\n", true}, {1, "stdout", "a\n", true}, {2, "stdout", full, false}}},
		{"the last piece without a newline", []message{
			{1, "stdout", full, false}, {1, "stdout", "end", false}, {1, "stdout", "end", true}, {2, "stdout", "end", false}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, seed := newReplays(), maphash.MakeSeed()
			var got, want []bool
			for _, m := range c.messages {
				e := entry{time: time.Unix(0, int64(m.at)), stream: m.stream, log: []byte(m.log)}
				var b bytes.Buffer
				if err := appendEntry(&b, e); err != nil {
					t.Fatal(err)
				}
				got, want = append(got, r.again(seed, e, b.Bytes())), append(want, m.again)
			}
			if !slices.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
	t.Run("memory is bounded", func(t *testing.T) {
		r, seed := newReplays(), maphash.MakeSeed()
		for i := range 10 * replayed {
			if r.again(seed, entry{stream: "stdout", log: []byte("x\n")}, fmt.Append(nil, i)) {
				t.Fatal(i)
			}
		}
		if len(r.seen) > replayed || len(r.order) > replayed {
			t.Errorf("%d and %d remembered", len(r.seen), len(r.order))
		}
	})
}

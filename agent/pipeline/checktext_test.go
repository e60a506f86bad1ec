package pipeline

import (
	"math/rand/v2"
	"testing"
	"unicode/utf8"
)

// slowCheck is checkText, a byte at a time.
func slowCheck(b []byte) (newline, ok bool) {
	for i := 0; i < len(b); {
		newline = false
		switch c := b[i]; {
		case c == '\\':
			n := escapeLen(b[i:])
			if n == 0 {
				return false, false
			}
			newline = n == 2 && b[i+1] == 'n'
			i += n
		case c == '"' || c < 0x20:
			return false, false
		default:
			i++
		}
	}
	if !utf8.Valid(b) {
		return false, false
	}
	return newline, true
}

// TestCheckText holds the quick look at eight bytes against the slow one: runs
// of backslashes and quotes at each place of a word, and what makes a text bad.
func TestCheckText(t *testing.T) {
	parts := []string{`\"`, `\"`, `\\`, `\n`, `a`, `bc`, `defgh`, `0123456`, `\u001b`, `é`, `/`, ` `}
	bad := []string{`"`, `\`, `\x`, "\x1f", "\x80", `\ud800`, `\u12`, "\x00"}
	random := rand.New(rand.NewPCG(1, 1))
	seen := map[bool]int{}
	for range 300_000 {
		var b []byte
		for range random.IntN(12) {
			b = append(b, parts[random.IntN(len(parts))]...)
			if random.IntN(25) == 0 {
				b = append(b, bad[random.IntN(len(bad))]...)
			}
		}
		if random.IntN(3) == 0 {
			b = append(b, `\n`...)
		}
		newline, ok := checkText(b)
		if n, o := slowCheck(b); n != newline || o != ok {
			t.Fatalf("%q: newline %v ok %v, want %v %v", b, newline, ok, n, o)
		}
		seen[ok]++
	}
	if seen[true] < 50_000 || seen[false] < 50_000 {
		t.Errorf("good and bad texts: %v", seen)
	}
}

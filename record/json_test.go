package record

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestAppendQuoted(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		if got := string(AppendQuoted(nil, in)); got != want {
			t.Errorf("AppendQuoted(%q) = %s, want %s", in, got, want)
		}
		if got := string(AppendQuoted(nil, []byte(in))); got != want {
			t.Errorf("AppendQuoted([]byte(%q)) = %s, want %s", in, got, want)
		}
	}
	f("", `""`)
	f("plain", `"plain"`)
	f("a\"b\\c", `"a\"b\\c"`)
	f("\n\r\t\x00\x1b", `"\n\r\t\u0000\u001b"`)
	f("<a&b>", `"<a&b>"`)
	f("Grüße €😀", `"Grüße €😀"`)
	f("\xff\xc3", `"\ufffd\ufffd"`) // one for each byte
	f("\xe2\x82", `"\ufffd\ufffd"`)
	f("\x7f", "\"\x7f\"")
}

func FuzzAppendQuoted(f *testing.F) {
	for _, s := range []string{"", "a", "\xff", "a\u2028b", "\xed\xa0\x80", "\"\\\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		got := AppendQuoted(nil, in)
		var back string
		if err := json.Unmarshal(got, &back); err != nil {
			t.Fatalf("not JSON: %v: %q", err, got)
		}
		if !utf8.Valid(got) {
			t.Fatalf("not UTF-8: %q", got)
		}
		// encoding/json decodes each bad byte of the original to U+FFFD as well.
		if want := string([]rune(in)); back != want {
			t.Fatalf("decoded to %q, want %q", back, want)
		}
	})
}

func TestAppendQuotedAllocs(t *testing.T) {
	dst := make([]byte, 0, 4096)
	in := []byte(strings.Repeat("plain text with \"quotes\" and Grüße\n", 20))
	if n := testing.AllocsPerRun(100, func() { dst = AppendQuoted(dst[:0], in) }); n != 0 {
		t.Errorf("%v allocations a call, want 0", n)
	}
}

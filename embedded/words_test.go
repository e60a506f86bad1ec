package embedded

import (
	"slices"
	"strings"
	"testing"
)

// What is expected here is what Elasticsearch 9.4.3 answers to _analyze with
// the standard analyzer; search/agree_e2e_test.go asks a real one again.
func TestWords(t *testing.T) {
	f := func(text string, want ...string) {
		t.Helper()
		if got := Words(text); !slices.Equal(got, want) {
			t.Errorf("Words(%q) = %q, want %q", text, got, want)
		}
	}
	f("")
	f(" \t\n--- !? ___ ")
	f("GET /api/v1/users?id=7 HTTP/1.1", "get", "api", "v1", "users", "id", "7", "http", "1.1")
	f("_foo foo_ a_1 1_a a:b a:1 1:2", "_foo", "foo_", "a_1", "1_a", "a:b", "a", "1", "1", "2")
	f("it's O’Neil 1,000.5 1.a a.1 ab.cd. x;y 1;2", "it's", "o’neil", "1,000.5", "1", "a", "a", "1", "ab.cd", "x", "y", "1;2")
	f("10.0.0.1:8080", "10.0.0.1", "8080")
	f("level=error msg='no route'", "level", "error", "msg", "no", "route")
	f("Grüße ẞ İSTANBUL ΑΣ", "grüße", "ß", "istanbul", "ασ")
	f("超时timeout のデータ ﾊﾝｶｸ 한국어", "超", "时", "timeout", "の", "データ", "ﾊﾝｶｸ", "한국어")
	f("สวัสดีครับ hello ລາວ", "สวัสดีครับ", "hello", "ລາວ")
	f("© ™ 😀 👍🏽 👨‍👩‍👧 🇩🇪 🇩 🇩🇪🇫 1️⃣ # #️⃣ ❤ ❤️ ★ Ⅷ ² Ⓐ ½", "©", "™", "😀", "👍🏽", "👨‍👩‍👧", "🇩🇪", "🇩🇪", "1️⃣", "#️⃣", "❤", "❤️", "★", "ⅷ", "ⓐ")
	f(`עב"ג d.é １２３ ٣٤ ａｂｃ`, `עב"ג`, "d.é", "１２３", "٣٤", "ａｂｃ")
	f("x\u200dy a\u200bb e\u0301t", "x\u200dy", "a", "b", "e\u0301t")
	f("ab\xffcd", "ab", "cd")
	f(strings.Repeat("a", 300), strings.Repeat("a", 255), strings.Repeat("a", 45))
	f(strings.Repeat("b", 254)+".cc", strings.Repeat("b", 254), "cc")
	f(strings.Repeat("é", 256), strings.Repeat("é", 255), "é")
}

// The quick way for ASCII and the general one must cut alike, wherever the
// text stops being ASCII.
func FuzzWords(f *testing.F) {
	for _, s := range []string{"a.b:c'd,e;f_g", "1.2:3'4,5;6_7", "__", "1.a", "a..b", "#\ufe0f\u20e3", "a.é", "_é", ":a", "x\u0301.y"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := string(appendWords(nil, text))
		want := string(appendUnicodeWords(nil, text))
		if got != want {
			t.Fatalf("%q: quick way %q, general way %q", text, got, want)
		}
		for _, w := range Words(text) {
			if w == "" || strings.ContainsAny(w, " \t\n\x00") {
				t.Fatalf("%q has the word %q, which the index would cut again", text, w)
			}
			if again := FoldCase(w); again != w {
				t.Fatalf("%q is not folded", w)
			}
		}
	})
}

func BenchmarkWords(b *testing.B) {
	line := `2026-11-23T10:00:00.123Z INFO [http-nio-8080-exec-3] c.e.shop.OrderController - GET /api/v1/orders/4711 -> 200 in 12 ms user=42 trace=9f86d081884c7d65`
	var dst []byte
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		dst = appendWords(dst[:0], line)
	}
}

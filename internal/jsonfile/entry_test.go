package jsonfile

import (
	"encoding/json"
	"testing"
	"time"
	"unicode/utf8"
)

func TestAppendEntry(t *testing.T) {
	at := time.Date(2026, 11, 23, 12, 0, 0, 120_000_000, time.FixedZone("CET", 3600))
	f := func(log, stream, attrs, want string) {
		t.Helper()
		if got := string(AppendEntry(nil, []byte(log), stream, []byte(attrs), at)); got != want+"\n" {
			t.Errorf("got  %swant %s", got, want)
		}
	}
	f("a\n", "stdout", "", `{"log":"a\n","stream":"stdout","time":"2026-11-23T11:00:00.12Z"}`)
	f("", "stdout", "", `{"stream":"stdout","time":"2026-11-23T11:00:00.12Z"}`)
	f("", "", "", `{"time":"2026-11-23T11:00:00.12Z"}`)
	f("\t<\x00\u2029\xff\n", "stderr", `{"k":"v"}`,
		`{"log":"\u0009\u003c\u0000\u2029\ufffd\n","stream":"stderr","attrs":{"k":"v"},"time":"2026-11-23T11:00:00.12Z"}`)
}

// FuzzAppendEntry holds that what is written decodes to what was given.
func FuzzAppendEntry(f *testing.F) {
	for _, s := range []string{"", "plain\n", "\xff\xc3(\n", "a\u2028b\u2029", "\"\\<>&\t\r\x7f\x00", "\xed\xa0\x80", "😀"} {
		f.Add([]byte(s), "stdout", int64(1_700_000_000_123_456_789))
	}
	f.Fuzz(func(t *testing.T, log []byte, stream string, ns int64) {
		at := time.Unix(0, ns)
		got := AppendEntry(nil, log, stream, nil, at)
		var e struct {
			Log, Stream string
			Time        time.Time
		}
		if err := json.Unmarshal(got, &e); err != nil {
			t.Fatalf("%v: %q", err, got)
		}
		if !utf8.Valid(got) {
			t.Fatalf("not UTF-8: %q", got)
		}
		for _, c := range got[:len(got)-1] {
			if c < 0x20 || c == '<' || c == '>' || c == '&' {
				t.Fatalf("raw %q in %q", c, got)
			}
		}
		// A bad byte is one U+FFFD, as in Go's own conversion to runes.
		if want := string([]rune(string(log))); e.Log != want {
			t.Fatalf("log is %q, want %q", e.Log, want)
		}
		if want := string([]rune(stream)); e.Stream != want {
			t.Fatalf("stream is %q, want %q", e.Stream, want)
		}
		if !e.Time.Equal(at) {
			t.Fatalf("time is %v, want %v", e.Time, at)
		}
	})
}

func BenchmarkAppendEntry(b *testing.B) {
	line := []byte("10.0.0.1 - - [23/Nov/2026:11:00:00 +0000] \"GET /cart/42 HTTP/1.1\" 200 512 \"-\" \"curl/8.0\"\n")
	dst := make([]byte, 0, 4096)
	at := time.Unix(1_700_000_000, 1)
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendEntry(dst[:0], line, "stdout", nil, at)
	}
}

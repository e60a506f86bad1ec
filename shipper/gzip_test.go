package shipper

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"mesoscope/record"
	"mesoscope/test/bench/corpus"
)

// inflated is what the standard library reads from c.
func inflated(t testing.TB, c *compressor) []byte {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(c.out))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// spanOf makes a batch of documents with these messages, which stand as they
// are.
func spanOf(fields string, messages []string) span {
	b := new(record.Batch)
	b.Reset(&record.Stream{Fields: []byte(fields)}, nil)
	for i, m := range messages {
		b.Body = record.AppendAction(b.Body, fmt.Appendf(nil, "%026d", i))
		it := record.Item{Doc: uint32(len(b.Body))}
		b.Body = append(b.Body, `{"message":"`+m+`",`+fields+"}\n"...)
		it.End = uint32(len(b.Body))
		b.Items = append(b.Items, it)
	}
	return span{&pending{batch: b}, 0, len(messages)}
}

func (c *compressor) check(t testing.TB, spans ...span) {
	t.Helper()
	var want []byte
	c.reset()
	for _, s := range spans {
		want = append(want, s.p.entries(s.from, s.to)...)
		c.entries(s)
	}
	c.close()
	if got := inflated(t, c); !bytes.Equal(got, want) {
		t.Fatalf("%d bytes came back, want %d", len(got), len(want))
	}
}

func TestCompressor(t *testing.T) {
	c := new(compressor)
	c.check(t) // nothing at all
	random := rand.New(rand.NewPCG(1, 2))
	noise := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		return string(b)
	}
	// skewed is such that codes without a limit would be far too long.
	var skewed strings.Builder
	for i, n := 0, 1; i < 24; i, n = i+1, n+n/2+1 {
		for range n {
			skewed.WriteString(string(rune('A'+i)) + noise(1))
		}
	}
	long := strings.Repeat("x", 700)
	for _, fields := range []string{`"a":1`, `"a":"` + long + `"`, `"a":"` + noise(40000) + `"`} {
		for _, messages := range [][]string{
			{""}, {"one", "two", "one", ""}, {noise(100), noise(40000), "x", noise(3)}, {strings.Repeat("ab", 50000), "ab", "ab"}, {skewed.String(), ""},
		} {
			s := spanOf(fields, messages)
			c.check(t, s)
			c.check(t, s, s, spanOf(`"b":2`, messages))
			if n := len(messages); n > 1 {
				c.check(t, span{s.p, 1, n}, span{s.p, 0, 1})
			}
		}
	}
	var lines []string
	for i := range 5000 {
		lines = append(lines, fmt.Sprintf("GET /cart/%d HTTP/1.1 %d %s", i, random.IntN(600), noise(random.IntN(9))))
	}
	c.check(t, spanOf(`"a":"`+long+`"`, lines))
	if s := spanOf(`"a":"`+long+`"`, lines); len(c.out) > len(s.p.batch.Body)/10 {
		t.Errorf("%d bytes of %d", len(c.out), len(s.p.batch.Body))
	}
	// The positions in the table begin again some time.
	c.base = 1<<31 - 1000
	c.check(t, spanOf(`"a":1`, lines), spanOf(`"a":1`, lines))
	c.reset()
	c.bytes([]byte("by itself, by itself"))
	c.bytes(nil)
	c.bytes([]byte("by itself"))
	c.close()
	if got := string(inflated(t, c)); got != "by itself, by itselfby itself" {
		t.Errorf("%q", got)
	}
}

func FuzzCompressor(f *testing.F) {
	f.Add("a", "bcdefgh", "abcabcabcabc", uint16(3))
	f.Add(strings.Repeat("field", 100), "x", "", uint16(300))
	c := new(compressor)
	f.Fuzz(func(t *testing.T, fields, a, b string, times uint16) {
		messages := []string{a, b, a + b}
		for i := range times % 1000 {
			messages = append(messages, b+fmt.Sprint(i)+a)
		}
		c.check(t, spanOf(fields, messages), spanOf(a, messages))
	})
}

// BenchmarkCompressor compresses 300 documents as the agent makes them, of
// about 1.8 kB each, two thirds of it shared.
func BenchmarkCompressor(b *testing.B) {
	const lines = 300
	g := corpus.NewGenerator(3)
	batch := new(record.Batch)
	batch.Reset(&record.Stream{Fields: fmt.Appendf(nil, `"stream":"stdout","labels":"%s"`, strings.Repeat("some fields ", 100))}, nil)
	offset := 0
	for i := range lines {
		text, _ := g.AppendLine(nil, i+1)
		batch.Body = record.AppendAction(batch.Body, fmt.Appendf(nil, "n8Pc4cdCGMgq%06xAAAA%04x", i*7919, offset&0xffff))
		it := record.Item{Doc: uint32(len(batch.Body))}
		batch.Body = fmt.Appendf(batch.Body, `{"@timestamp":"2026-11-23T10:00:%02d.%09dZ","message":`, i/60, i*16127993)
		batch.Body = record.AppendQuoted(batch.Body, text)
		batch.Body = fmt.Appendf(batch.Body, `,"log":{"level":"info","offset":%d,"file":{"path":"/var/lib/docker/containers/%064x/%064x-json.log","generation":"1-18f3"}},"event":{"sequence":%d,"created":"2026-11-23T10:00:01.123456789Z","dataset":"mesos.container"},`, offset, 77, 77, i)
		batch.Body = append(append(batch.Body, batch.Stream.Fields...), "}\n"...)
		it.End = uint32(len(batch.Body))
		batch.Items = append(batch.Items, it)
		offset += len(text) + 80
	}
	s := span{&pending{batch: batch}, 0, lines}
	c := new(compressor)
	b.SetBytes(int64(len(batch.Body)))
	b.ReportAllocs()
	for b.Loop() {
		c.reset()
		c.entries(s)
		c.close()
	}
	b.ReportMetric(float64(lines*b.N)/b.Elapsed().Seconds(), "lines/s")
	b.ReportMetric(float64(len(c.out))/lines, "B/line")
}

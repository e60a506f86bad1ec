package pipeline

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"mesoscope/record"
)

func TestParse(t *testing.T) {
	type want struct {
		text   string
		whole  bool
		stream Stream
		time   string
		attrs  string
		fast   bool
	}
	f := func(line string, w want) {
		t.Helper()
		var p Parser
		p.Fallback = 1e18
		var e Entry
		if err := p.Parse([]byte(line), &e); err != nil {
			t.Errorf("Parse(%s): %v", line, err)
			return
		}
		got := want{string(e.Text), e.Whole, e.Stream, string(e.Time), string(e.Attrs), false}
		got.fast = p.parseFast([]byte(line), &e)
		if got != w {
			t.Errorf("Parse(%s)\n got %+v\nwant %+v", line, got, w)
		}
	}
	const at = "2026-11-23T11:40:48.123456789Z"
	f(`{"log":"hello\n","stream":"stdout","time":"`+at+`"}`, want{"hello", true, Stdout, at, "", true})
	f(`{"log":"hello","stream":"stderr","time":"`+at+`"}`, want{"hello", false, Stderr, at, "", true})
	f(`{"log":"\n","stream":"stdout","time":"`+at+`"}`, want{"", true, Stdout, at, "", true})
	f(`{"log":"a\\n","stream":"stdout","time":"`+at+`"}`, want{`a\\n`, false, Stdout, at, "", true})
	f(`{"log":"a\\\n","stream":"stdout","time":"`+at+`"}`, want{`a\\`, true, Stdout, at, "", true})
	f(`{"log":"\u003cb\u003e \"q\" Grüße\n","stream":"stdout","time":"2026-11-23T11:40:48Z"}`,
		want{`\u003cb\u003e \"q\" Grüße`, true, Stdout, "2026-11-23T11:40:48Z", "", true})
	f(`{"log":"x\n","stream":"stdout","time":"2026-11-23T11:40:48.1Z"}`, want{"x", true, Stdout, "2026-11-23T11:40:48.1Z", "", true})
	// An entry that looks like the end of an entry within its text.
	f(`{"log":"\",\"stream\":\"stderr\",\"time\":\"x\"}\n","stream":"stdout","time":"`+at+`"}`,
		want{`\",\"stream\":\"stderr\",\"time\":\"x\"}`, true, Stdout, at, "", true})
	// Attrs are learnt by the general way, then known to the fast one.
	f(`{"log":"x\n","stream":"stdout","attrs":{"MARATHON_APP_ID":"/web"},"time":"`+at+`"}`, want{"x", true, Stdout, at, `{"MARATHON_APP_ID":"/web"}`, true})
	// What only the general way reads.
	f(`{"time":"`+at+`","log":"x\n","stream":"stderr"}`, want{"x", true, Stderr, at, "", false})
	f(` { "log" : "x\n" , "stream" : "stdout" , "time" : "`+at+`" } `, want{"x", true, Stdout, at, "", false})
	f(`{"stream":"stdout","time":"`+at+`"}`, want{"", false, Stdout, at, "", false})
	f(`{"log":"\ud83d\ude00\n","stream":"stdout","time":"`+at+`"}`, want{"😀", true, Stdout, at, "", false})
	f(`{"log":"\ud83d\n","stream":"stdout","time":"`+at+`"}`, want{"\uFFFD", true, Stdout, at, "", false})
	f("{\"log\":\"\xff\\n\",\"stream\":\"stdout\",\"time\":\""+at+"\"}", want{"\uFFFD", true, Stdout, at, "", false})
	f(`{"log":"x\n","stream":"stdout","time":"2026-11-23T12:40:48+01:00"}`, want{"x", true, Stdout, "2026-11-23T11:40:48Z", "", false})
	// Without a time the file's first one stands in.
	f(`{"log":"x\n","stream":"stdout"}`, want{"x", true, Stdout, "2001-09-09T01:46:40Z", "", false})
	f(`{"log":"x\n","stream":"stdout","time":"0001-01-01T00:00:00Z"}`, want{"x", true, Stdout, "2001-09-09T01:46:40Z", "", false})
	f(`{"log":"x\n","stream":"stdout","time":"2026-02-31T00:00:00Z"}`, want{"x", true, Stdout, "2001-09-09T01:46:40Z", "", false})
}

func TestParseRefuses(t *testing.T) {
	for _, line := range []string{
		"", "x", "{}", "null", "[]", `{"a":1}`, `{"log":"x`, `{"log":1}`, "\x00\x00",
		`{"log":"a"b\n","stream":"stdout","time":"2026-11-23T11:40:48Z"}`,
		"{\"log\":\"a\tb\\n\",\"stream\":\"stdout\",\"time\":\"2026-11-23T11:40:48Z\"}",
		`{"log":"\q\n","stream":"stdout","time":"2026-11-23T11:40:48Z"}`,
	} {
		var p Parser
		var e Entry
		if err := p.Parse([]byte(line), &e); err == nil {
			t.Errorf("Parse(%q) took it: %+v", line, e)
		}
	}
}

// FuzzParse holds the two parsers against each other: what the fast one takes,
// the general one must read as the same entry.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`{"log":"hello\n","stream":"stdout","time":"2026-11-23T11:40:48.123456789Z"}`,
		`{"log":"\u003c\\\"\n","stream":"stderr","time":"2026-11-23T11:40:48Z"}`,
		`{"log":"Grüße €","stream":"stderr","time":"2026-11-23T11:40:48.5Z"}`,
		`{"log":"x\n","stream":"stdout","attrs":{"tag":"a"},"time":"2026-11-23T11:40:48.5Z"}`,
		`{"log":"\",\"time\":\"","stream":"stdout","time":"2026-11-23T11:40:48.5Z"}`,
	} {
		f.Add(s, `{"log":"y\n","stream":"stdout","attrs":{"tag":"a"},"time":"2026-11-23T11:40:49Z"}`)
	}
	f.Fuzz(func(t *testing.T, one, two string) {
		var fast, general Parser
		for _, line := range []string{one, two, one} {
			if strings.Contains(line, "\n") {
				return
			}
			var a, b Entry
			errB := general.parseGeneral([]byte(line), &b)
			if errB == nil {
				if !json.Valid([]byte(`"` + string(b.Text) + `"`)) {
					t.Fatalf("the general parser made no JSON of %q: %q", line, b.Text)
				}
				fast.rememberAttrs(b.Attrs)
				if b.Attrs == nil {
					fast.attrs = nil
				}
			}
			if !fast.parseFast([]byte(line), &a) {
				continue
			}
			if errB != nil {
				t.Fatalf("only the fast parser takes %q: %v", line, errB)
			}
			if unquote(t, a.Text) != unquote(t, b.Text) || a.Whole != b.Whole || a.Stream != b.Stream || a.Nanos != b.Nanos || !bytes.Equal(a.Attrs, b.Attrs) {
				t.Fatalf("%q\nfast    %+v %q\ngeneral %+v %q", line, a, a.Text, b, b.Text)
			}
			if at, err := time.Parse(time.RFC3339Nano, string(a.Time)); err != nil || at.UnixNano() != a.Nanos {
				t.Fatalf("time %q is not %d: %v", a.Time, a.Nanos, err)
			}
		}
	})
}

func unquote(t *testing.T, text []byte) (s string) {
	t.Helper()
	if err := json.Unmarshal([]byte(`"`+string(text)+`"`), &s); err != nil {
		t.Fatalf("not the inside of a JSON string: %q: %v", text, err)
	}
	return s
}

func TestLevel(t *testing.T) {
	f := func(line, want string) {
		t.Helper()
		if got := Level(record.AppendEscaped(nil, line)); got != want {
			t.Errorf("Level(%s) = %q, want %q", line, got, want)
		}
	}
	f("", "")
	f("plain text", "")
	f(`{"level":"info","msg":"x"}`, "info")
	f(`{"msg":"level","level":"WARNING"}`, "warn")
	f(`{"msg":"a \"level\":\"error\" in it","severity":"debug"}`, "debug")
	f(`{"request":{"level":"error"},"lvl":"warn"}`, "warn")
	f(`{"request":{"level":"error"}}`, "")
	f(`{"log.level":"error"}`, "error")
	f(`{"log":{"level":"fatal"}}`, "fatal")
	f(`{"level":30,"msg":"pino"}`, "info")
	f(`{"level":300}`, "")
	f(`{"tags":["level","x"],"level":"trace"}`, "trace")
	f(`{"a":"b\\","level":"error"}`, "error")
	f(`{"a":"\\\"","level":"error"}`, "error")
	f(`{"level":`, "")
	f(`ts=1 level=warn msg="x"`, "warn")
	f(`ts=1 level="error" msg="x"`, "error")
	f(`loglevel=warn`, "")
	f(`I0102 15:04:05.678901    1 main.go:1] x`, "info")
	f(`E0102 15:04:05.678901    1 main.go:1] x`, "error")
	f(`2026-11-23 11:40:48,123 ERROR [main] c.e.App - boom`, "error")
	f(`2026-11-23 [WARN] x`, "warn")
	f("\tERROR x", "error")
	f(`NO_ERROR here`, "")
	f(`ERRORS 5`, "")
	f(`error: lower case is a word like any other`, "")
	f(strings.Repeat("x ", 40)+"ERROR", "")
}

func FuzzLevel(f *testing.F) {
	f.Add(`{"level":"info"}`)
	f.Add(`{"a":"\\","b":[{"level":1}]}`)
	f.Fuzz(func(t *testing.T, line string) { Level(record.AppendEscaped(nil, line)) })
}

func entry(text string, whole bool, nanos int64) *Entry {
	return &Entry{Text: []byte(text), Whole: whole, Nanos: nanos, Time: fmt.Append(nil, nanos)}
}

func TestJoiner(t *testing.T) {
	var got []string
	take := func(lines []Line) {
		for _, l := range lines {
			got = append(got, fmt.Sprintf("%s@%d/%d t%s cut=%v", l.Text, l.Generation, l.Offset, l.Time, l.Cut))
		}
	}
	j := Joiner{Max: 10}
	add := func(text string, whole bool, nanos, gen, off int64) {
		lines, _ := j.Add(entry(text, whole, nanos), Place{Generation: gen, Offset: off})
		take(lines)
	}
	expect := func(want ...string) {
		t.Helper()
		if strings.Join(got, "|") != strings.Join(want, "|") {
			t.Errorf("got  %q\nwant %q", got, want)
		}
		got = nil
	}
	add("one", true, 1, 1, 0)
	expect("one@1/0 t1 cut=false")
	add("ab", false, 2, 1, 10)
	expect()
	if p, ok := j.Open(); !ok || p.Offset != 10 {
		t.Errorf("Open() = %v %v", p, ok)
	}
	add("cd", true, 2, 2, 0) // in the next file
	expect("abcd@1/10 t2 cut=false")
	// Exactly n pieces: the last one is only the newline.
	add("ab", false, 3, 2, 10)
	add("", true, 3, 2, 20)
	expect("ab@2/10 t3 cut=false")
	// Stopped in the middle, started again, with a whole line and with a piece.
	add("dangling", false, 4, 2, 30)
	add("next", true, 5, 2, 40)
	expect("dangling@2/30 t4 cut=false", "next@2/40 t5 cut=false")
	add("dangling", false, 6, 2, 50)
	add("pi", false, 7, 2, 60)
	add("ece", true, 7, 2, 70)
	expect("dangling@2/50 t6 cut=false", "piece@2/60 t7 cut=false")
	// Too long: sent once at the limit, the rest passed over, also after a restart.
	add("12345678", false, 8, 3, 0)
	add("90abc", false, 8, 3, 10)
	expect("1234567890@3/0 t8 cut=true")
	if _, ok := j.Open(); ok || j.CutTime() != 8 {
		t.Errorf("a cut line is still open, or its time is %d", j.CutTime())
	}
	var after Joiner
	after.Resume(j.CutTime())
	for _, k := range []*Joiner{&j, &after} {
		lines, began := k.Add(entry("more", true, 8), Place{3, 20, 0})
		if len(lines) != 0 || began {
			t.Errorf("the rest of a cut line gave %v, began %v", lines, began)
		}
		lines, began = k.Add(entry("next", true, 9), Place{3, 30, 0})
		take(lines)
		expect("next@3/30 t9 cut=false")
		if !began {
			t.Error("a new line did not begin")
		}
	}
	// A terminal ends lines with \r\n, also across pieces.
	add(`tty\r`, true, 20, 3, 31)
	add(`tt`, false, 21, 3, 32)
	add(`y\r`, false, 21, 3, 33)
	add(``, true, 21, 3, 34)
	add(`\\r`, true, 22, 3, 35)
	add(`a\rb`, true, 23, 3, 36)
	expect("tty@3/31 t20 cut=false", "tty@3/32 t21 cut=false", `\\r@3/35 t22 cut=false`, `a\rb@3/36 t23 cut=false`)
	// The end of the container.
	add("last", false, 10, 3, 40)
	take(j.Flush())
	take(j.Flush())
	expect("last@3/40 t10 cut=false")
}

func TestCutBefore(t *testing.T) {
	f := func(text string, n, want int) {
		t.Helper()
		if got := cutBefore([]byte(text), n); got != want {
			t.Errorf("cutBefore(%q, %d) = %d, want %d", text, n, got, want)
		}
	}
	f("abcdef", 3, 3)
	f(`ab\ndef`, 3, 2)
	f(`ab\ndef`, 4, 4)
	f(`ab\\ndef`, 3, 2)
	f(`ab\\ndef`, 4, 4)
	f(`ab\u003cdef`, 7, 2)
	f(`ab\u003cdef`, 8, 8)
	f(`ab\\u003cdef`, 7, 7)
	f("aüb", 2, 1)
	f("a€b", 3, 1)
	f("a€b", 4, 4)
}

func TestAppendDocument(t *testing.T) {
	s := &record.Stream{Name: "docker/abc/stdout", Dataset: "mesos.container", Fields: []byte(`"stream":"stdout"`)}
	o := NewOrigin(s, "abc", "/var/lib/docker/containers/abc/abc-json.log", "g1")
	var b record.Batch
	b.Reset(s, nil)
	l := Line{Place: Place{1, 77, 5}, Text: []byte(`ERROR \u003cboom\u003e`), Time: []byte("2026-11-23T11:40:48.123456789Z"), Nanos: 1795434048123456789, Cut: true}
	o.Append(&b, &l, []byte("2026-11-23T11:40:49Z"))
	const want = `{"@timestamp":"2026-11-23T11:40:48.123456789Z","message":"ERROR \u003cboom\u003e",` +
		`"log":{"level":"error","flags":["truncated"],"offset":77,"file":{"path":"/var/lib/docker/containers/abc/abc-json.log","generation":"g1"}},` +
		`"event":{"sequence":5,"created":"2026-11-23T11:40:49Z","dataset":"mesos.container"},"stream":"stdout"}`
	if got := string(b.Doc(0)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	raw, err := base64.RawURLEncoding.DecodeString(string(b.ID(0)))
	if err != nil || len(raw) != 19 {
		t.Fatalf("id %q: %v, %d bytes", b.ID(0), err, len(raw))
	}
	if at := binary.BigEndian.Uint64(raw[6:14]); at != 1795434048123456789 {
		t.Errorf("time in the id is %d", at)
	}
	if off := binary.BigEndian.Uint64(append([]byte{0, 0, 0}, raw[14:]...)); off != 77 {
		t.Errorf("offset in the id is %d", off)
	}
}

func TestIDs(t *testing.T) {
	o := NewOrigin(&record.Stream{}, "abc", "", "")
	r := rand.New(rand.NewPCG(1, 2))
	for range 10000 {
		nanos, offset := r.Int64(), r.Int64N(1<<40)
		raw := make([]byte, 19)
		binary.BigEndian.PutUint64(raw[6:], uint64(nanos))
		off := binary.BigEndian.AppendUint64(nil, uint64(offset))
		copy(raw[14:], off[3:])
		id := string(o.appendID(nil, nanos, offset))
		if want := base64.RawURLEncoding.EncodeToString(raw); id[8:] != want[8:] {
			t.Fatalf("id of %d, %d = %s, want %s", nanos, offset, id, want)
		}
	}
}

const sample = `{"log":"172.17.0.1 - - [23/Nov/2026:11:40:48 +0000] \"GET /cart/17 HTTP/1.1\" 200 512 \"-\" \"curl/8.5\"\n","stream":"stdout","time":"2026-11-23T11:40:48.123456789Z"}`

func lineOf(p *Parser, j *Joiner, o *Origin, b *record.Batch, line, created []byte) {
	var e Entry
	if p.Parse(line, &e) != nil {
		panic("sample does not parse")
	}
	lines, _ := j.Add(&e, Place{1, 77, 5})
	for i := range lines {
		o.Append(b, &lines[i], created)
	}
}

func TestNoAllocationPerLine(t *testing.T) {
	o := NewOrigin(&record.Stream{Fields: bytes.Repeat([]byte("x"), 700)}, "abc", "/p", "g")
	b := &record.Batch{Body: make([]byte, 0, 1<<20), Items: make([]record.Item, 0, 1000)}
	var p Parser
	var j Joiner
	line, created := []byte(sample), []byte("2026-11-23T11:40:49Z")
	if n := testing.AllocsPerRun(100, func() {
		b.Body, b.Items = b.Body[:0], b.Items[:0]
		lineOf(&p, &j, o, b, line, created)
	}); n != 0 {
		t.Errorf("%v allocations a line, want 0", n)
	}
}

// Whoever makes room for a document relies on its size.
func TestSizeIsEnough(t *testing.T) {
	o := NewOrigin(&record.Stream{Dataset: "mesos.container", Fields: []byte(`"stream":"stdout"`)}, "abc", "/p", "g")
	l := Line{
		Place: Place{math.MaxInt64, math.MaxInt64, math.MaxInt64}, Text: []byte("level=error"), Nanos: math.MaxInt64,
		Time: []byte("2026-11-23T11:40:48.123456789Z"), Cut: true,
	}
	var b record.Batch
	o.Append(&b, &l, []byte("2026-11-23T11:40:48.123456789+00:00"))
	if len(b.Body) > o.Size(&l) {
		t.Errorf("%d bytes, Size says %d", len(b.Body), o.Size(&l))
	}
}

func BenchmarkLine(b *testing.B) {
	o := NewOrigin(&record.Stream{Fields: bytes.Repeat([]byte("x"), 700)}, "abc", "/p", "g")
	batch := &record.Batch{Body: make([]byte, 0, 1<<20), Items: make([]record.Item, 0, 1000)}
	var p Parser
	var j Joiner
	line, created := []byte(sample), []byte("2026-11-23T11:40:49Z")
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		if len(batch.Items) == cap(batch.Items) {
			batch.Body, batch.Items = batch.Body[:0], batch.Items[:0]
		}
		lineOf(&p, &j, o, batch, line, created)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "lines/s")
}

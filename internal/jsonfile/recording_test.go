package jsonfile

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// A recording is what dockerd 20.10.24 wrote for an input, kept in
// testdata/<name> as <suffix>.gz for each file of the log: "log", "log.1"…
type recording struct {
	name       string
	dockerArgs []string
	options    Options
	input      func() []byte // what the container printed on stdout
}

var recordings = []recording{
	{name: "bytes", input: oddBytes},
	{
		name:       "attrs",
		dockerArgs: []string{"--label", "team=a<b", "-e", "MARATHON_APP_ID=/shop/cart", "--log-opt", "env=MARATHON_APP_ID", "--log-opt", "labels=team"},
		options:    Options{Attrs: map[string]string{"MARATHON_APP_ID": "/shop/cart", "team": "a<b"}},
		input:      func() []byte { return []byte("one\ntwo") },
	},
	{
		name:       "rename",
		dockerArgs: []string{"--log-opt", "max-size=20000", "--log-opt", "max-file=4"},
		options:    Options{MaxSize: 20000, MaxFile: 4},
		input:      func() []byte { return manyLines(520) },
	},
	{
		name:       "compress",
		dockerArgs: []string{"--log-opt", "max-size=20000", "--log-opt", "max-file=4", "--log-opt", "compress=true"},
		options:    Options{MaxSize: 20000, MaxFile: 4, Compress: true},
		input:      func() []byte { return manyLines(520) },
	},
}

// oddBytes holds each byte and each length that the writer treats in its own way.
func oddBytes() []byte {
	var b bytes.Buffer
	line := func(s string) { b.WriteString(s + "\n") }
	line("plain")
	line("")
	line(`quotes " and \ and / and <script>&amp;</script>`)
	for c := range 256 {
		if c != '\n' {
			line(fmt.Sprintf("%02x:%c%s.", c, '|', []byte{byte(c)}))
		}
	}
	line("Grüße € 😀 \u2028 \u2029 \ufffd \ufeff \U0010ffff")
	line("cut \xe2\x82 surrogate \xed\xa0\x80 overlong \xc0\xaf beyond \xf4\x90\x80\x80")
	line("\x1b[31mred\x1b[0m\r")
	for _, n := range []int{ChunkSize - 1, ChunkSize, ChunkSize + 1, 2 * ChunkSize, 2*ChunkSize + 1, 40 << 10} {
		line(strings.Repeat("x", n))
	}
	line(strings.Repeat("x", ChunkSize-1) + "€ cut between two pieces")
	line(strings.Repeat("\x01", ChunkSize+1))
	b.WriteString(strings.Repeat("y", ChunkSize) + "no newline at the end")
	return b.Bytes()
}

func manyLines(n int) []byte {
	var b bytes.Buffer
	r := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		fmt.Fprintf(&b, "%d %s\n", i, strings.Repeat("z", r.IntN(120)))
	}
	return b.Bytes()
}

// logSet is a log: suffix behind the current file's name ("", ".1", ".2.gz")
// to content, decompressed, and for .gz files the Extra of the header.
type logSet struct {
	content map[string][]byte
	extra   map[string]string
}

func readLog(t *testing.T, path string) logSet {
	t.Helper()
	s := logSet{map[string][]byte{}, map[string]string{}}
	names, err := filepath.Glob(path + "*")
	if err != nil || len(names) == 0 {
		t.Fatalf("no log at %s: %v", path, err)
	}
	for _, name := range names {
		suffix := strings.TrimPrefix(name, path)
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(suffix, ".gz") {
			data, s.extra[suffix] = gunzip(t, data)
		}
		s.content[suffix] = data
	}
	return s
}

func gunzip(t *testing.T, data []byte) ([]byte, string) {
	t.Helper()
	zr, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	extra := string(zr.Extra)
	out, err := io.ReadAll(zr)
	if err != nil {
		t.Fatal(err)
	}
	return out, extra
}

func readRecording(t *testing.T, r recording) logSet {
	t.Helper()
	s := logSet{map[string][]byte{}, map[string]string{}}
	names, _ := filepath.Glob(filepath.Join("testdata", r.name, "log*.gz"))
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		suffix := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(name), "log"), ".gz")
		content, extra := gunzip(t, data)
		if extra != "" {
			suffix += ".gz"
			s.extra[suffix] = extra
		}
		s.content[suffix] = content
	}
	if len(names) == 0 {
		t.Fatalf("no recording of %s", r.name)
	}
	return s
}

var timeMember = regexp.MustCompile(`"time":"([^"]*)"\}\n`)

// inOrder is the whole log, oldest file first.
func (s logSet) inOrder() []byte {
	var names []string
	for n := range s.content {
		names = append(names, n)
	}
	slices.Sort(names)
	slices.Reverse(names) // .3, .2, .1, ""
	var b []byte
	for _, n := range names {
		b = append(b, s.content[n]...)
	}
	return b
}

// check writes the recording's input with the times that dockerd gave and
// wants the same files; then lets Copy give the times and wants the same bytes
// with the same entries sharing a time.
func check(t *testing.T, r recording, want logSet) {
	var times []time.Time
	for _, m := range timeMember.FindAllSubmatch(want.inOrder(), -1) {
		at, err := time.Parse(time.RFC3339Nano, string(m[1]))
		if err != nil {
			t.Fatal(err)
		}
		times = append(times, at)
	}
	path := filepath.Join(t.TempDir(), "x-json.log")
	w, err := Open(path, r.options)
	if err != nil {
		t.Fatal(err)
	}
	i := 0
	for _, line := range bytes.SplitAfter(r.input(), []byte("\n")) {
		text, whole := bytes.CutSuffix(line, []byte("\n"))
		if whole {
			err = w.WriteLine("stdout", text, times[i])
			i += len(text)/ChunkSize + 1
		} else {
			for len(text) > 0 && err == nil {
				n := min(len(text), ChunkSize)
				err = w.WritePartial("stdout", text[:n], times[i], false)
				text = text[n:]
				i++
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	equalLogs(t, readLog(t, path), want)
	if i != len(times) {
		t.Errorf("%d entries, dockerd wrote %d", i, len(times))
	}

	path = filepath.Join(t.TempDir(), "copy-json.log")
	options := r.options
	options.MaxSize, options.Compress = 0, false
	if w, err = Open(path, options); err != nil {
		t.Fatal(err)
	}
	if err := w.Copy("stdout", bytes.NewReader(r.input())); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if got, want := sharedTimes(readLog(t, path).content[""]), sharedTimes(want.inOrder()); !bytes.Equal(got, want) {
		t.Errorf("Copy wrote\n%.2000s\nwant\n%.2000s", got, want)
	}
}

// sharedTimes replaces each time by whether it is that of the entry before.
func sharedTimes(b []byte) []byte {
	last := ""
	return timeMember.ReplaceAllFunc(b, func(m []byte) []byte {
		out := "NEW\n"
		if string(m) == last {
			out = "SAME\n"
		}
		last = string(m)
		return []byte(out)
	})
}

func equalLogs(t *testing.T, got, want logSet) {
	t.Helper()
	for suffix, data := range want.content {
		if !bytes.Equal(got.content[suffix], data) {
			t.Errorf("file %q is\n%.2000s\nwant\n%.2000s", suffix, got.content[suffix], data)
		}
		if strings.HasSuffix(suffix, ".gz") && !json.Valid([]byte(got.extra[suffix])) {
			t.Errorf("file %q has Extra %q", suffix, got.extra[suffix])
		}
		if g, w := got.extra[suffix], want.extra[suffix]; g != w {
			t.Errorf("file %q has Extra %q, dockerd's %q", suffix, g, w)
		}
	}
	if len(got.content) != len(want.content) {
		t.Errorf("%d files, want %d", len(got.content), len(want.content))
	}
}

func TestRecordings(t *testing.T) {
	for _, r := range recordings {
		t.Run(r.name, func(t *testing.T) { check(t, r, readRecording(t, r)) })
	}
}

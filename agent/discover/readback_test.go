package discover

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

var t0 = time.Date(2026, 11, 23, 12, 0, 0, 123456789, time.UTC)

func stamp(t time.Time) string { return t.UTC().Format(stampFormat) + " " }

func frame(kind byte, msg string) string {
	head := [8]byte{kind}
	binary.BigEndian.PutUint32(head[4:], uint32(len(msg)))
	return string(head[:]) + msg
}

// all reads messages to the end: "stream@offset:text" with the offset to t0.
func all(m messages) (list []string, err error) {
	for {
		e, err := m.next()
		if err != nil {
			return list, err
		}
		list = append(list, fmt.Sprintf("%s@%d:%s", e.stream, e.time.Sub(t0), e.log))
	}
}

func TestFrames(t *testing.T) {
	f := func(in, want, wantErr string) {
		t.Helper()
		for name, r := range map[string]io.Reader{"whole": strings.NewReader(in), "bytes": iotest.OneByteReader(strings.NewReader(in))} {
			list, err := all(newFrames(bufio.NewReader(r), func() {}))
			if got := strings.Join(list, "|"); got != want || err.Error() != wantErr {
				t.Errorf("%s: %q, %v; want %q, %s", name, got, err, want, wantErr)
			}
		}
	}
	one := frame(1, stamp(t0)+"one\n")
	f("", "", "EOF")
	f(one+frame(2, stamp(t0.Add(1))+"two\n"), "stdout@0:one\n|stderr@1:two\n", "EOF")
	f(one+frame(1, stamp(t0.Add(5))), "stdout@0:one\n|stdout@5:", "EOF") // an empty piece
	f(one[:5], "", "unexpected EOF")
	f(one[:20], "", "unexpected EOF")
	f(one+frame(3, "daemon trouble\n"), "stdout@0:one\n", "docker api: daemon trouble")
	f(one+"HTTP/1.1 200", "stdout@0:one\n", "docker api: not a frame of a multiplexed log: 48 54 54 50 2f 31 2e 31")
	f(one+frame(1, "no time\n"), "stdout@0:one\n|stdout@0:no time\n", "EOF")
}

func TestTTY(t *testing.T) {
	now := t0.Add(time.Hour)
	f := func(in string, want ...string) {
		t.Helper()
		for name, r := range map[string]io.Reader{"whole": strings.NewReader(in), "bytes": iotest.OneByteReader(strings.NewReader(in)), "half": iotest.HalfReader(strings.NewReader(in))} {
			list, err := all(&ttyMessages{r: bufio.NewReader(r), unstamped: func() {}, now: func() time.Time { return now }})
			if strings.Join(list, "|") != strings.Join(want, "|") || err != io.EOF {
				t.Errorf("%s: %q, %v; want %q", name, list, err, want)
			}
		}
	}
	x := strings.Repeat("x", 16384)
	f("")
	f(stamp(t0)+"one\r\n"+stamp(t0.Add(1))+"two\r\n", "stdout@0:one\r\n", "stdout@1:two\r\n")
	f(stamp(t0)+x+stamp(t0)+"rest\n", "stdout@0:"+x, "stdout@0:rest\n")
	f(stamp(t0)+x+stamp(t0)+"\n", "stdout@0:"+x, "stdout@0:\n")
	f(stamp(t0)+"open end"+stamp(t0.Add(9))+"next run\n", "stdout@0:open end", "stdout@9:next run\n")
	f(stamp(t0)+"open end", "stdout@0:open end")
	// Times that an application prints are in the past, or in the future.
	f(stamp(t0)+"at "+stamp(t0.Add(-1))+"x\n", "stdout@0:at "+stamp(t0.Add(-1))+"x\n")
	f(stamp(t0)+"until "+stamp(now.Add(1))+"x\n", "stdout@0:until "+stamp(now.Add(1))+"x\n")
	f(stamp(t0)+"Z Z Z \n", "stdout@0:Z Z Z \n")
	f("no time\n"+stamp(t0)+"one\n", fmt.Sprintf("stdout@%d:no time\n", time.Time{}.Sub(t0)), "stdout@0:one\n")
}

func FuzzTTY(f *testing.F) {
	f.Add([]byte(stamp(t0)+"one\n"+stamp(t0)+"two"), 3)
	f.Add([]byte("Z Z \n\n"), 1)
	f.Fuzz(func(t *testing.T, in []byte, chunk int) {
		read := func(r io.Reader) (string, string) {
			var text strings.Builder
			m := &ttyMessages{r: bufio.NewReader(r), unstamped: func() {}, now: func() time.Time { return t0.Add(time.Hour) }}
			list, err := all(m)
			if err != io.EOF {
				t.Fatal(err)
			}
			text.WriteString(strings.Join(list, "|"))
			return text.String(), fmt.Sprint(len(list))
		}
		// The same messages however the bytes arrive.
		a, _ := read(bytes.NewReader(in))
		b, _ := read(iotest.OneByteReader(bytes.NewReader(in)))
		if a != b {
			t.Fatalf("%q\n%q", a, b)
		}
	})
}

func newTestCopy(t *testing.T, dir string) *copyFile {
	c := newCopy(filepath.Join(dir, "x-json.log"), func(os.FileInfo) bool { return true })
	c.limit = 4000
	if err := c.open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	return c
}

func encode(t *testing.T, e entry) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := appendEntry(&b, e); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// docker plays a log through a copy that is closed and opened at random, torn
// at random, with the API's answer to since= after each: all entries must come
// out once, in order.
func TestCopyModel(t *testing.T) {
	for seed := range uint64(15) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		var log []entry
		late := make(map[int]entry) // the rest of a line that stays open for long, by place
		now := t0
		blocked := "" // the stream of that line: dockerd reads it one byte behind the other
		for i := range 400 {
			if e, due := late[i]; due {
				log = append(log, e)
				blocked = ""
			}
			now = now.Add(time.Duration(rnd.IntN(40)) * 100 * time.Millisecond) // also the same time twice
			at := now.Add(-time.Duration(rnd.IntN(3)) * time.Second)            // not in order
			text := fmt.Sprintf("%d <é> %s", rnd.IntN(3), strings.Repeat("y", rnd.IntN(80)))
			stream := []string{"stdout", "stderr"}[rnd.IntN(2)]
			if stream == blocked {
				continue
			}
			for range rnd.IntN(4) {
				if rnd.IntN(5) == 0 { // pieces
					log = append(log, entry{time: at, stream: stream, log: []byte(text)})
				}
			}
			if rnd.IntN(40) == 0 && blocked == "" && i < 360 { // its other pieces come when its time is long past
				log = append(log, entry{time: at, stream: stream, log: []byte("open")})
				blocked = stream
				late[i+30] = entry{time: at, stream: stream, log: []byte("end\n")}
				continue
			}
			log = append(log, entry{time: at, stream: stream, log: []byte(text + "\n")})
		}
		dir := t.TempDir()
		var files []string // what a reader would have got, in order of names
		for end := 0; end < len(log); {
			c := newTestCopy(t, dir)
			c.keep = 100 // all stay, to be compared
			w, err := c.window()
			if err != nil {
				t.Fatal(err)
			}
			end = min(len(log), end+rnd.IntN(40))
			for _, e := range log[:end] {
				if e.time.Before(w.since) {
					continue
				}
				if b := encode(t, e); !w.known(e, b) {
					c.add(b)
					if rnd.IntN(3) == 0 {
						if err := c.flush(t.Context()); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
			if err := c.flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			if rnd.IntN(2) == 0 { // killed in the middle of a write
				if _, err := c.file.WriteString(`{"log":"torn`); err != nil {
					t.Fatal(err)
				}
			}
			c.close()
		}
		c := newTestCopy(t, dir)
		c.keep = 100
		if err := c.scan(func(_ int, line []byte) { files = append(files, string(line)) }); err != nil {
			t.Fatal(err)
		}
		if len(files) != len(log) {
			t.Fatalf("seed %d: %d entries, want %d", seed, len(files), len(log))
		}
		for i, e := range log {
			if files[i] != string(encode(t, e)) {
				t.Fatalf("seed %d: entry %d is %s, want %s", seed, i, files[i], encode(t, e))
			}
		}
	}
}

// A full copy waits for its reader instead of deleting what is unread.
func TestCopyWaitsForReader(t *testing.T) {
	c := newTestCopy(t, t.TempDir())
	c.limit, c.keep = 100, 2
	asked := make(chan struct{})
	answer := make(chan bool)
	c.settled = func(os.FileInfo) bool { asked <- struct{}{}; return <-answer }
	line := encode(t, entry{time: t0, stream: "stdout", log: []byte(strings.Repeat("x", 100) + "\n")})
	for range 2 { // .1 and .2
		c.add(line)
		if err := c.flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan error, 1)
	c.add(line)
	go func() { done <- c.flush(t.Context()) }()
	<-asked
	answer <- false
	<-asked // asks again
	select {
	case err := <-done:
		t.Fatalf("did not wait: %v", err)
	default:
	}
	answer <- true
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	// A hard link of the reader does as well; and the end of ctx ends the wait.
	if err := os.Link(c.old(2), c.path+".held"); err != nil {
		t.Fatal(err)
	}
	c.add(line)
	if err := c.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c.settled = func(os.FileInfo) bool { return false }
	c.add(line)
	if err := c.flush(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end: %v", err)
	}
	if _, err := os.Stat(c.old(3)); err == nil {
		t.Error("more files than kept")
	}
}

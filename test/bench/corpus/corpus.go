// Package corpus makes the log lines of the benchmarks: always the same bytes
// for the same numbers, on every machine. Of 1,000 lines of a container 630 are
// an access log of about 120 bytes, 260 JSON of about 300, 100 full of unicode
// and escapes, and 10 a Java stack trace.
//
// Every line carries a marker, "mk:<container>#<number>;", so that whoever
// receives lines can tell which are missing and which came twice.
//
// Write makes a Docker root of such lines, by internal/jsonfile's encoder.
package corpus

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"strconv"
	"time"

	"mesoscope/internal/jsonfile"
)

// Begin is the time of the first line of each container. Lines are 1 ms apart.
var Begin = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// MeanEntry is about how many bytes of a log a line takes.
const MeanEntry = 245

// A Spec says how large a corpus is.
type Spec struct {
	Containers int
	Lines      int // in all; divided evenly, the remainder goes to the first containers
}

// PerContainer is how many lines container i has.
func (s Spec) PerContainer(i int) int {
	n := s.Lines / s.Containers
	if i < s.Lines%s.Containers {
		n++
	}
	return n
}

// ID is the id of container i.
func ID(i int) string { return fmt.Sprintf("%x", sha256.Sum256([]byte("corpus "+strconv.Itoa(i)))) }

// Write makes the containers of s below a Docker root and returns how many
// bytes their logs have.
func Write(root string, s Spec) (size int64, err error) {
	for i := range s.Containers {
		if err := jsonfile.WriteConfig(root, Container(i)); err != nil {
			return 0, err
		}
		n, err := writeLog(jsonfile.LogPath(root, ID(i)), i, s.PerContainer(i))
		if err != nil {
			return 0, err
		}
		size += n
	}
	return size, nil
}

func writeLog(path string, container, lines int) (size int64, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o666)
	if err != nil {
		return 0, err
	}
	return appendLines(f, container, 1, lines)
}

// Append writes lines first to last behind what a container's log has, which
// must exist.
func Append(root string, container, first, last int) error {
	f, err := os.OpenFile(jsonfile.LogPath(root, ID(container)), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = appendLines(f, container, first, last)
	return err
}

// appendLines writes to f and closes it.
func appendLines(f *os.File, container, first, last int) (size int64, err error) {
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	w := bufio.NewWriterSize(f, 1<<20)
	g := NewGenerator(container)
	var line, entry []byte
	for n := first; n <= last; n++ {
		var stream string
		line, stream = g.AppendLine(line[:0], n)
		line = append(line, '\n')
		entry = jsonfile.AppendEntry(entry[:0], line, stream, nil, Time(n))
		size += int64(len(entry))
		if _, err := w.Write(entry); err != nil {
			return size, err
		}
	}
	return size, w.Flush()
}

// Time is when line n of a container was written.
func Time(n int) time.Time {
	return Begin.Add(time.Duration(n)*time.Millisecond + time.Duration(n*7919%1_000_000))
}

// Container is what Docker knows about container i: a Marathon task with what
// such tasks usually carry.
func Container(i int) jsonfile.Container {
	app := fmt.Sprintf("/prod/shop/service-%02d", i)
	id := ID(i)
	task := fmt.Sprintf("prod_shop_service-%02d.%s-%s-11f0-%s-%s", i, id[:8], id[8:12], id[12:16], id[16:28])
	return jsonfile.Container{
		ID:    id,
		Name:  fmt.Sprintf("mesos-%s-%s-%s-%s-%s", id[:8], id[8:12], id[12:16], id[16:20], id[20:32]),
		Image: fmt.Sprintf("registry.example.com/shop/service-%02d:2.%d.1", i, i),
		Labels: map[string]string{
			"team": "shop", "com.example.git-commit": id[:40], "org.opencontainers.image.version": fmt.Sprintf("2.%d.1", i),
		},
		Env: []string{
			"MARATHON_APP_ID=" + app, "MARATHON_APP_VERSION=2026-10-31T09:12:44.120Z", "MESOS_TASK_ID=" + task,
			"MESOS_SANDBOX=/mnt/mesos/sandbox", "HOST=node-1.example.com", "PORT0=31017",
		},
		Created: Begin,
		Running: true,
	}
}

// MarkerHead begins each marker.
const MarkerHead = "mk:"

// AppendMarker appends the marker of a line.
func AppendMarker(dst []byte, container, number int) []byte {
	dst = append(dst, MarkerHead...)
	dst = strconv.AppendInt(dst, int64(container), 10)
	dst = append(dst, '#')
	dst = strconv.AppendInt(dst, int64(number), 10)
	return append(dst, ';')
}

// FindMarker finds the first marker in a document or line.
func FindMarker(b []byte) (container, number int, ok bool) {
	for {
		i := bytes.Index(b, []byte(MarkerHead))
		if i < 0 {
			return 0, 0, false
		}
		b = b[i+len(MarkerHead):]
		c, rest, ok := digits(b, '#')
		if !ok {
			continue
		}
		if n, _, ok := digits(rest, ';'); ok {
			return c, n, true
		}
	}
}

// digits reads a number up to end.
func digits(b []byte, end byte) (n int, rest []byte, ok bool) {
	for i, c := range b {
		switch {
		case c == end && i > 0:
			return n, b[i+1:], true
		case c < '0' || c > '9' || i > 9:
			return 0, nil, false
		}
		n = n*10 + int(c-'0')
	}
	return 0, nil, false
}

package discover

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/docker/docker/daemon/logger/jsonfilelog/jsonlog"
)

const (
	// copySize is when a copy is rotated, copyKeep how many old files stay.
	// Together they are what can be compared after a reconnect.
	copySize = 10 << 20
	copyKeep = 4
	// reorder is by how much an entry may stand behind a later one: stdout and
	// stderr have a goroutine each in dockerd that stamps first and writes then.
	reorder = 10 * time.Second
	// slowest is how long the pieces of a line that has ended may have taken to
	// be recognised after a reconnect, where the API gives each a time of its own.
	slowest = time.Minute
	// settleLook is how often a full copy asks whether its oldest file may go.
	settleLook = 250 * time.Millisecond
)

// An entry is one message as the Docker API gives it: a line with its '\n', or
// a piece of one.
type entry struct {
	time   time.Time
	stream string // stdout or stderr
	log    []byte // valid until the next entry
	attrs  []byte // what Docker calls details, if asked for; valid as long
}

// copyFile is a local copy of a log, written as dockerd writes its json-file
// and rotated by rename. It is used by one goroutine, but for allSettled.
type copyFile struct {
	path    string
	settled func(os.FileInfo) bool
	limit   int64
	keep    int

	file *os.File
	size int64
	enc  bytes.Buffer // whole entries that are not written yet
}

func newCopy(path string, settled func(os.FileInfo) bool) *copyFile {
	return &copyFile{path: path, settled: settled, limit: copySize, keep: copyKeep}
}

// open opens the copy for appending. What stands behind the last '\n' was cut
// by a crash; no reader has used it, and the API gives that entry again.
func (c *copyFile) open() error {
	if c.file != nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(c.path), 0o700); err != nil {
		return fmt.Errorf("open local copy: %w", err)
	}
	f, err := os.OpenFile(c.path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open local copy: %w", err)
	}
	size, err := wholeSize(f)
	if err == nil {
		err = f.Truncate(size)
	}
	if err != nil {
		_ = f.Close()
		return fmt.Errorf("open local copy: %w", err)
	}
	c.file, c.size = f, size
	return nil
}

func (c *copyFile) close() {
	if c.file != nil {
		_ = c.file.Close()
		c.file = nil
	}
}

// wholeSize is the size of f up to and with its last '\n'.
func wholeSize(f *os.File) (int64, error) {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, err
	}
	buf := make([]byte, 64<<10)
	for end > 0 {
		n := min(int64(len(buf)), end)
		if _, err := f.ReadAt(buf[:n], end-n); err != nil {
			return 0, err
		}
		if i := bytes.LastIndexByte(buf[:n], '\n'); i >= 0 {
			return end - n + int64(i) + 1, nil
		}
		end -= n
	}
	return 0, nil
}

// appendEntry encodes e behind b as dockerd does.
func appendEntry(b *bytes.Buffer, e entry) error {
	if err := (&jsonlog.JSONLogs{Log: e.log, Stream: e.stream, Created: e.time}).MarshalJSONBuf(b); err != nil {
		return fmt.Errorf("encode entry: %w", err)
	}
	b.WriteByte('\n')
	return nil
}

// add puts an entry, encoded by appendEntry, behind those not written yet.
func (c *copyFile) add(encoded []byte) { c.enc.Write(encoded) }

// flush writes what was added and rotates when the file is full. After an
// error the rest stays and the next flush goes on at the same byte, so that a
// reader who saw half an entry sees its other half.
func (c *copyFile) flush(ctx context.Context) error {
	for c.enc.Len() > 0 {
		n, err := c.file.Write(c.enc.Bytes())
		c.enc.Next(n)
		c.size += int64(n)
		if err != nil {
			return fmt.Errorf("write local copy: %w", err)
		}
	}
	if c.size >= c.limit {
		return c.rotate(ctx)
	}
	return nil
}

func (c *copyFile) old(n int) string { return fmt.Sprintf("%s.%d", c.path, n) }

// rotate renames the files by one, as dockerd does: close, rename, open anew.
// If the oldest is still needed it waits; meanwhile nothing is read from
// Docker, which keeps its lines as long as it is told to.
func (c *copyFile) rotate(ctx context.Context) error {
	for {
		fi, err := os.Stat(c.old(c.keep))
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return fmt.Errorf("rotate local copy: %w", err)
		}
		if links(fi) > 1 || c.settled(fi) {
			break
		}
		if sleep(ctx, settleLook); ctx.Err() != nil {
			return ctx.Err()
		}
	}
	if err := c.file.Sync(); err != nil {
		return fmt.Errorf("rotate local copy: %w", err)
	}
	c.close()
	for n := c.keep - 1; n >= 0; n-- {
		from := c.path
		if n > 0 {
			from = c.old(n)
		}
		if err := os.Rename(from, c.old(n+1)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("rotate local copy: %w", err)
		}
	}
	return c.open()
}

// allSettled says whether nobody needs any file of the copy any more.
func (c *copyFile) allSettled() bool {
	for n := 0; n <= c.keep; n++ {
		path := c.path
		if n > 0 {
			path = c.old(n)
		}
		fi, err := os.Stat(path)
		if err == nil && fi.Size() > 0 && !c.settled(fi) {
			return false
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false
		}
	}
	return true
}

// A window is where a copy ends: what the API is asked for next, and what of
// its answer is there already.
type window struct {
	since time.Time // what the API is asked from; zero: the beginning
	last  time.Time // of the latest entry
	// floor is where the comparison begins. What is older is in the copy, or was
	// in a file of it that has gone, but for the pieces of the lines in across.
	floor  time.Time
	across map[string]time.Time // by stream: the line that began before floor and may have pieces behind it
	// seen counts the entries that are compared, by hash of the whole encoded
	// entry (time, stream, text). A count, because an entry can occur twice.
	seen map[uint64]int
	seed maphash.Seed
}

// A span is a line of several pieces in a copy.
type span struct {
	stream string
	from   time.Time // of the line
	until  time.Time // of the stream's next one; zero: there is none
	ended  bool
}

// window reads the position back from the files of the copy. It goes back by
// reorder before the latest entry, but not behind the oldest file that is left
// if others have been deleted; and to the first piece of a line that has more of
// them later, since all of them carry its time.
func (c *copyFile) window() (*window, error) {
	w := &window{seed: maphash.MakeSeed(), seen: make(map[uint64]int), across: make(map[string]time.Time)}
	var oldest time.Time // end of the oldest file, if all old ones are there
	var long []span
	at := make(map[string]*span) // by stream: its latest line
	several := make(map[string]bool)
	err := c.scan(func(n int, line []byte) {
		t, stream, ended, ok := entryHead(line)
		if !ok {
			return
		}
		if t.After(w.last) {
			w.last = t
		}
		if n == c.keep && t.After(oldest) {
			oldest = t
		}
		switch s := at[stream]; {
		case s != nil && !s.ended && s.from.Equal(t):
			s.ended, several[stream] = ended, true
			return
		case s != nil && several[stream]:
			s.until = t
			long = append(long, *s)
		}
		at[stream], several[stream] = &span{stream: stream, from: t, ended: ended}, false
	})
	if err != nil || w.last.IsZero() {
		return w, err
	}
	for stream, s := range at {
		if several[stream] || !s.ended {
			long = append(long, *s)
		}
	}
	w.floor = w.last.Add(-reorder)
	if oldest.After(w.floor) {
		w.floor = oldest
	}
	w.since = w.floor
	for _, s := range long {
		last := s.until.IsZero()
		if !s.from.Before(w.floor) || !last && s.until.Before(w.floor) ||
			(s.ended || !last) && s.from.Before(w.floor.Add(-slowest)) {
			continue // all of it lies on one side of floor
		}
		w.across[s.stream] = s.from
		if s.from.Before(w.since) {
			w.since = s.from
		}
	}
	err = c.scan(func(_ int, line []byte) {
		if t, stream, _, ok := entryHead(line); ok && w.compared(t, stream) {
			w.seen[maphash.Bytes(w.seed, line)]++
		}
	})
	return w, err
}

// compared says whether entries of that time are among those that are counted.
func (w *window) compared(t time.Time, stream string) bool {
	if !t.Before(w.floor) {
		return true
	}
	from, ok := w.across[stream]
	return ok && from.Equal(t)
}

// known says whether the encoded entry is in the copy already, and takes it
// off the account.
func (w *window) known(e entry, encoded []byte) bool {
	if !w.compared(e.time, e.stream) {
		return true
	}
	if len(w.seen) == 0 {
		return false
	}
	key := maphash.Bytes(w.seed, encoded)
	n := w.seen[key]
	switch {
	case n > 1:
		w.seen[key] = n - 1
	case n == 1:
		delete(w.seen, key)
	}
	if n == 0 && e.time.Sub(w.last) > reorder {
		clear(w.seen) // Docker has dropped the rest; free the memory
	}
	return n > 0
}

// scan calls f with every entry, '\n' included, oldest file first. n is the
// number of the file, 0 for the current one.
func (c *copyFile) scan(f func(n int, line []byte)) error {
	for n := c.keep; n >= 0; n-- {
		path := c.path
		if n > 0 {
			path = c.old(n)
		}
		file, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read local copy: %w", err)
		}
		r := bufio.NewReaderSize(file, 256<<10)
		var long []byte
		for {
			part, err := r.ReadSlice('\n')
			if err == bufio.ErrBufferFull {
				long = append(long, part...)
				continue
			}
			if err == io.EOF {
				break // a torn end is not an entry
			}
			if err != nil {
				_ = file.Close()
				return fmt.Errorf("read local copy: %w", err)
			}
			if len(long) > 0 {
				part = append(long, part...)
			}
			f(n, part)
			long = long[:0]
		}
		_ = file.Close()
	}
	return nil
}

// entryHead finds time and stream of an encoded entry, and whether its line
// ends with it. The quick way takes what appendEntry wrote from its end.
func entryHead(line []byte) (t time.Time, stream string, ended, ok bool) {
	rest, ok := bytes.CutSuffix(line, []byte("\"}\n"))
	if i := bytes.LastIndex(rest, []byte(`","time":"`)); ok && i >= 0 {
		t, err := time.Parse(time.RFC3339Nano, string(rest[i+len(`","time":"`):]))
		if j := bytes.LastIndex(rest[:i], []byte(`,"stream":"`)); err == nil && j > 0 {
			return t, string(rest[j+len(`,"stream":"`) : i]), bytes.HasSuffix(rest[:j], []byte(`\n"`)), true
		}
	}
	var v struct {
		Log    string    `json:"log"`
		Stream string    `json:"stream"`
		Time   time.Time `json:"time"`
	}
	if json.Unmarshal(line, &v) != nil {
		return t, "", false, false
	}
	return v.Time, v.Stream, len(v.Log) > 0 && v.Log[len(v.Log)-1] == '\n', true
}

package jsonfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"
)

// Options are the log options of a container that change its files.
type Options struct {
	MaxSize  int64             // bytes after which the next entry goes to a new file; 0 = never
	MaxFile  int               // how many files are kept, the current one included; below 2 the current file is unlinked
	Compress bool              // rotated files are gzipped; needs MaxFile of at least 2
	Attrs    map[string]string // what --log-opt labels, env and tag put on each entry
	// InPlace truncates the current file instead of unlinking it when MaxFile
	// is below 2, as Docker up to 19.03 does.
	InPlace bool
}

// A Writer is the log of one run of one container. Its methods may be called
// from several goroutines, as dockerd has one for each stream.
type Writer struct {
	path  string
	opt   Options
	attrs []byte

	mu     sync.Mutex // guards the following
	f      *os.File
	size   int64
	last   time.Time // of the last entry, for the gzip header
	buf    []byte    // the entry
	line   []byte    // a piece with its newline
	closed bool
	failed error // of a compression

	// rotating is held from the begin of a rotation to the end of its
	// compression: the next rotation, and with it the container, waits.
	rotating sync.Mutex
}

// Open opens or creates the log at path and appends to it, as dockerd does
// when a container starts, for the first time or again.
func Open(path string, o Options) (*Writer, error) {
	if o.Compress && (o.MaxFile < 2 || o.MaxSize <= 0) {
		return nil, errors.New("compress needs a max-file of at least 2 and a max-size")
	}
	w := &Writer{path: path, opt: o}
	if len(o.Attrs) > 0 {
		var err error
		if w.attrs, err = json.Marshal(o.Attrs); err != nil {
			return nil, fmt.Errorf("encode attrs: %w", err)
		}
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
	if err != nil {
		return nil, err
	}
	if w.size, err = f.Seek(0, io.SeekEnd); err != nil {
		return nil, errors.Join(fmt.Errorf("seek to end: %w", err), f.Close())
	}
	w.f = f
	return w, nil
}

// Path is where the current file lies.
func (w *Writer) Path() string { return w.path }

// WriteLine writes one line, given without its newline. It becomes one entry
// for each full ChunkSize bytes and a last one with the newline, which holds
// nothing else when the line is an exact multiple of ChunkSize. All have the
// same time.
func (w *Writer) WriteLine(stream string, line []byte, t time.Time) error {
	for len(line) >= ChunkSize {
		if err := w.WritePartial(stream, line[:ChunkSize], t, false); err != nil {
			return err
		}
		line = line[ChunkSize:]
	}
	return w.WritePartial(stream, line, t, true)
}

// WritePartial writes one entry: a piece of at most ChunkSize bytes of a line,
// which ends with it if last. dockerd gives all pieces of a line the same time
// and ends a process's output without a last piece if a newline is missing.
func (w *Writer) WritePartial(stream string, chunk []byte, t time.Time, last bool) error {
	if len(chunk) > ChunkSize {
		return fmt.Errorf("a piece of %d bytes: dockerd writes at most %d", len(chunk), ChunkSize)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return fs.ErrClosed
	}
	if w.opt.MaxSize > 0 && w.size >= w.opt.MaxSize {
		if err := w.rotate(); err != nil {
			return fmt.Errorf("rotate %s: %w", w.path, err)
		}
	}
	if last {
		w.line = append(append(w.line[:0], chunk...), '\n')
		chunk = w.line
	}
	w.buf = AppendEntry(w.buf[:0], chunk, stream, w.attrs, t)
	n, err := w.f.Write(w.buf)
	w.size += int64(n)
	w.last = t
	return err
}

// Close closes the file once a compression that is under way has ended, and
// returns that one's error as well. A second call does nothing.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil
	}
	w.closed = true
	err := w.f.Close()
	w.rotating.Lock()
	defer w.rotating.Unlock()
	return errors.Join(err, w.failed)
}

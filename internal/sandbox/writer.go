package sandbox

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Chunk is how much the logrotate logger reads from its pipe at once. It looks at
// its limit before each chunk, so a file ends where a chunk ends: within a line.
const Chunk = 4096

// Options are those of the container logger.
type Options struct {
	// MaxSize is what a file may have at most, in bytes; 0: there is no rotation, as
	// with the default logger.
	MaxSize int64
	// Rotate is how many old files logrotate keeps. By default it keeps none.
	Rotate int
	// Compress has old files compressed.
	Compress bool
}

// A Writer is the logger of one stream of one container.
type Writer struct {
	path string
	opt  Options
	f    *os.File
	size int64
}

// Open begins to write the file at path. Its logger makes it at once, the files
// that control logrotate beside it.
func Open(path string, o Options) (*Writer, error) {
	w := &Writer{path: path, opt: o}
	if o.MaxSize > 0 {
		conf := fmt.Sprintf("%q {\n  rotate %d\n  size %d\n}\n", path, o.Rotate, o.MaxSize-Chunk)
		if err := os.WriteFile(path+".logrotate.conf", []byte(conf), 0o600); err != nil {
			return nil, err
		}
	}
	return w, w.open()
}

func (w *Writer) open() (err error) {
	if w.f, err = os.OpenFile(w.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644); err != nil {
		return err
	}
	w.size, err = w.f.Seek(0, io.SeekEnd)
	return err
}

// Path is where the current file lies.
func (w *Writer) Path() string { return w.path }

// Size is what the current file has.
func (w *Writer) Size() int64 { return w.size }

// Rotates says whether the next Write of n bytes rotates before it writes.
func (w *Writer) Rotates(n int) bool {
	return w.opt.MaxSize > 0 && w.size+int64(min(n, Chunk)) > w.opt.MaxSize
}

// Write writes p in chunks.
func (w *Writer) Write(p []byte) (n int, err error) {
	for n < len(p) {
		chunk := p[n:min(len(p), n+Chunk)]
		if w.Rotates(len(chunk)) {
			if err := w.Rotate(); err != nil {
				return n, err
			}
		}
		if w.f == nil {
			if err := w.open(); err != nil {
				return n, err
			}
		}
		m, err := w.f.Write(chunk)
		w.size += int64(m)
		if n += m; err != nil {
			return n, err
		}
	}
	return n, nil
}

// Close ends the logger.
func (w *Writer) Close() error {
	if w.f == nil {
		return nil
	}
	return w.f.Close()
}

// Rotate is what logrotate does: the oldest file goes, the others are renamed, and
// no file has the name until the logger makes one.
func (w *Writer) Rotate() error {
	err := w.f.Close()
	w.f, w.size = nil, 0
	if err != nil {
		return err
	}
	if err := os.WriteFile(w.path+".logrotate.state", []byte("logrotate state -- version 2\n"), 0o600); err != nil {
		return err
	}
	if w.opt.Rotate == 0 {
		return os.Remove(w.path)
	}
	gz := ""
	if w.opt.Compress {
		gz = ".gz"
	}
	name := func(i int) string { return fmt.Sprintf("%s.%d%s", w.path, i, gz) }
	for i := w.opt.Rotate; i > 0; i-- {
		if err := os.Rename(name(i), name(i+1)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	plain := w.path + ".1"
	if err := os.Rename(w.path, plain); err != nil {
		return err
	}
	if w.opt.Compress {
		if err := compress(plain, name(1)); err != nil {
			return err
		}
	}
	if err := os.Remove(name(w.opt.Rotate + 1)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// compress makes to of from, which it removes. The copy is as old as it was.
func compress(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	fi, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	z := gzip.NewWriter(out)
	z.Name = filepath.Base(from)
	_, err = io.Copy(z, in)
	if err = errors.Join(err, z.Close(), os.Chtimes(to, fi.ModTime(), fi.ModTime()), out.Close()); err != nil {
		return err
	}
	return os.Remove(from)
}

package jsonfile

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// rotate puts the current file aside and begins a new one. The order of the
// steps is dockerd's: the descriptor is closed before the name changes, so a
// reader that finds another inode at the path knows that the old one is final.
// Caller holds w.mu.
func (w *Writer) rotate() error {
	w.rotating.Lock()
	if w.failed != nil {
		w.rotating.Unlock()
		return w.failed
	}
	if err := w.replace(); err != nil {
		w.rotating.Unlock()
		return err
	}
	if !w.opt.Compress {
		w.rotating.Unlock()
		return nil
	}
	last := w.last
	go func() {
		defer w.rotating.Unlock()
		w.failed = compress(w.path+".1", last)
	}()
	return nil
}

func (w *Writer) replace() error {
	if err := w.f.Close(); err != nil && !errors.Is(err, fs.ErrClosed) {
		return err
	}
	if err := w.shift(); err != nil {
		return err
	}
	// No O_APPEND here, unlike at the first opening: after somebody else has
	// truncated the file dockerd goes on at its old offset, which leaves NULs.
	f, err := os.OpenFile(w.path, os.O_WRONLY|os.O_TRUNC|os.O_CREATE, 0o640)
	if err != nil {
		return err
	}
	w.f, w.size = f, 0
	return nil
}

// shift renames .1 to .2 and so on, and the current file to .1.
func (w *Writer) shift() error {
	if w.opt.MaxFile < 2 {
		if w.opt.InPlace {
			return nil
		}
		return ignoreMissing(os.Remove(w.path))
	}
	ext := ""
	if w.opt.Compress {
		ext = ".gz"
	}
	name := func(i int) string { return fmt.Sprintf("%s.%d%s", w.path, i, ext) }
	if err := ignoreMissing(os.Remove(name(w.opt.MaxFile - 1))); err != nil {
		return err
	}
	for i := w.opt.MaxFile - 1; i > 1; i-- {
		if err := ignoreMissing(os.Rename(name(i-1), name(i))); err != nil {
			return err
		}
	}
	return ignoreMissing(os.Rename(w.path, w.path+".1"))
}

// compress writes path.gz under its final name, as dockerd does: a reader can
// meet it half written, and path is there until it is whole.
func compress(path string, last time.Time) (err error) {
	in, err := os.Open(path)
	if err != nil {
		return ignoreMissing(err)
	}
	defer in.Close()
	out, err := os.OpenFile(path+".gz", os.O_RDWR|os.O_TRUNC|os.O_CREATE, 0o640)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, out.Close()); err != nil {
			err = errors.Join(err, os.Remove(out.Name()))
			return
		}
		err = ignoreMissing(os.Remove(path))
	}()
	zw := gzip.NewWriter(out)
	zw.Extra, err = json.Marshal(struct {
		LastTime time.Time `json:"lastTime"`
	}{last.UTC()})
	if err != nil {
		return err
	}
	if _, err := io.Copy(zw, in); err != nil {
		return err
	}
	return zw.Close()
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

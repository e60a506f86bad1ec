package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// A file system gives the number of a file that has gone to a new one, mostly
// soon. The fault reuse-inode makes that likely for the next file of a log: it
// takes free numbers with files of its own until one of them has the number of
// an earlier file of the log, and lets that one go just before the rotation.

const mostScratch = 300 // files

// reuse looks for such a number. When it finds one, the next rotation gets it.
func (w *writer) reuse() error {
	if w.spec.Log.MaxSize <= 0 || w.spec.Log.InPlace || w.spare != nil {
		return errNotNow
	}
	s := &scratch{dir: filepath.Dir(w.path())}
	for len(s.taken) < mostScratch {
		// Beside the log, since numbers are given by folder.
		name := filepath.Join(s.dir, fmt.Sprintf("scratch%d", len(s.taken)))
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			return errors.Join(err, s.drop())
		}
		fi, err := os.Stat(name)
		if err != nil {
			return errors.Join(err, s.drop())
		}
		if w.inodes[inode(fi)] {
			s.number = name
			w.spare = s
			return nil
		}
		s.taken = append(s.taken, name)
	}
	return errors.Join(s.drop(), errNotNow)
}

// A scratch holds free numbers.
type scratch struct {
	dir    string
	taken  []string // files that keep the others' numbers
	number string   // the file whose number is to be used again
}

func (s *scratch) drop() error {
	var errs []error
	for _, name := range s.taken {
		errs = append(errs, os.Remove(name))
	}
	s.taken = nil
	return errors.Join(errs...)
}

// offer frees the number just before a rotation.
func (w *writer) offer() error {
	if w.spare == nil || w.spare.number == "" {
		return nil
	}
	err := os.Remove(w.spare.number)
	w.spare.number = ""
	return err
}

// taken notes the number of a new file, and lets the others go.
func (w *writer) taken(number uint64) error {
	if w.inodes == nil {
		w.inodes = map[uint64]bool{}
	}
	w.inodes[number] = true
	if w.spare == nil || w.spare.number != "" {
		return nil
	}
	err := w.spare.drop()
	w.spare = nil
	return err
}

// hole puts NULs behind what is in the live file, as a file system does whose
// last growth was noted and whose data was not, and goes on as after a boot.
func (w *writer) hole(bytes int64) error {
	if w.spec.Endless || w.file == nil || w.other != "" {
		return errNotNow
	}
	return w.reopen(func() error {
		fi, err := os.Stat(w.path())
		if err != nil {
			return err
		}
		return os.Truncate(w.path(), fi.Size()+bytes)
	})
}

// nulHole makes a hole, with the agent there or not.
func nulHole(h *harness) error {
	c := h.one(func(c *container) bool { return !c.spec.Endless })
	if c == nil {
		return errNotNow
	}
	bytes := int64(1+h.r.IntN(3<<20)) >> h.r.IntN(18)
	put := func() error {
		h.note("%d bytes in %s", bytes, c.spec.Name)
		_, err := c.call(command{Do: "hole", Bytes: max(1, bytes)})
		return err
	}
	if h.r.IntN(2) == 0 {
		return put()
	}
	return h.killed(put)
}

// reused counts the files that have the number of an earlier one.
func (t *history) reused() int {
	different := map[uint64]bool{}
	for _, f := range t.files {
		different[f.Ino] = true
	}
	return len(t.files) - len(different)
}

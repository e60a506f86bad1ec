package tail

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Whether files can be held is a matter of the mounts: links do not reach from
// one to another, even if both show the same file system. So each mount that
// logs lie on is tried once, before anything depends on it.

// A mount tells the files that links can reach from those that they cannot.
// The zero mount stands for the hold folder itself.
type mount struct{ dev, id uint64 }

// tryName is the link that try makes in the hold folder and removes at once.
const tryName = "mesoscope-try"

// try makes a link to a log file and removes it again, the first time that a
// file of its mount is met. The link of a generation would say the same, but
// only when the log has its first line, which may be when nobody looks at the
// agent any more; and that links cannot be removed it would say when they have
// filled the disk.
func (h *hold) try(t Target) {
	dir := h.base(t.ID)
	if dir == "" || t.Steady {
		return
	}
	// A folder that somebody else writes to may have anything in the place of a
	// log: a pipe, on which an open would wait for ever, or a symbolic link.
	f, err := os.OpenFile(t.Path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return // no log yet, or none that can be read: that is said elsewhere
	}
	defer f.Close()
	if fi, err := f.Stat(); err != nil || !fi.Mode().IsRegular() {
		return
	}
	on := mountOf(f)
	h.mu.Lock()
	tried := h.tried[on]
	if h.tried == nil {
		h.tried = map[mount]bool{}
	}
	h.tried[on] = true
	h.mu.Unlock()
	if tried {
		return
	}
	name := filepath.Join(dir, tryName)
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		h.fail(t.ID, f, err) // an earlier run left it
		return
	}
	if err := linkOpen(f, name); err != nil {
		if !errors.Is(err, os.ErrNotExist) { // rotated away since
			h.fail(t.ID, f, err)
		}
		return
	}
	if err := os.Remove(name); err != nil {
		h.mu.Lock()
		h.kept = true
		h.mu.Unlock()
		h.fail(t.ID, f, err)
	}
}

// keeps says whether links cannot be removed. Then none may be made: they would
// stay, and fill the disk.
func (h *hold) keeps() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.kept
}

// fail notes why f, of the log of id, cannot be held; nil: why the folder cannot be
// used at all.
func (h *hold) fail(id string, f *os.File, err error) {
	dir := h.base(id)
	var on mount
	var path string
	if f != nil {
		on, path = mountOf(f), f.Name()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.problems == nil {
		h.problems = map[mount]string{}
	}
	// One text for each mount, whichever of its files came last: what changes
	// would be logged again.
	text := holdReason(dir, path, err)
	if old, said := h.problems[on]; !said || reasonOf(old) != reasonOf(text) {
		h.problems[on] = text
	}
}

// works notes that files on the mount of f can be held, maybe again.
func (h *hold) works(f *os.File) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.problems) == 0 {
		return
	}
	delete(h.problems, mountOf(f))
	delete(h.problems, mount{})
}

// Problem says why log files cannot be held, or "".
func (h *hold) Problem() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(slices.SortedFunc(maps.Values(h.problems), func(a, b string) int {
		return cmp.Compare(reasonOf(a), reasonOf(b))
	}), "; ")
}

// HoldReason says why files cannot be held in dir, and what to do about it.
func HoldReason(dir string, err error) string { return holdReason(dir, "", err) }

func holdReason(dir, path string, err error) string {
	files := "log files"
	if path != "" {
		files = "log files like " + path
	}
	return fmt.Sprintf("%s cannot be held in %s (%s); they are kept open instead, so what is rotated away while the agent restarts would be lost", files, dir, why(err))
}

// reasonOf is a problem without the file that showed it.
func reasonOf(problem string) string {
	_, rest, _ := strings.Cut(problem, " cannot be held in ")
	return rest
}

func why(err error) string {
	var pathError *os.PathError
	remove := errors.As(err, &pathError) && pathError.Op == "remove"
	switch {
	case remove:
		return fmt.Sprintf("a link can be made there and not be removed again: %v; give the folder to the user that mesoscope runs as", pathError.Err)
	case errors.Is(err, syscall.EXDEV):
		return "the log files lie on another mount: mount the folder that contains both once, read-write"
	case errors.Is(err, syscall.EROFS):
		return "the mount is read-only: mount it read-write"
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EACCES):
		return "not permitted: run as the owner of the log files, or with CAP_DAC_OVERRIDE (where the folder is yours, CAP_FOWNER will do); as root, see whether this file system has hard links"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "the file system is full"
	}
	return err.Error()
}

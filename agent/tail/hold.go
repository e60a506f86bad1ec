package tail

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// A hold is the folder of hard links that keep log files from vanishing before
// their last line is settled: <dir>/<container>/<generation>. A link costs
// nothing while the file has other names, and no copying ever.
type hold struct {
	dir string

	mu      sync.Mutex
	problem string
}

// folder is where the links of one container lie.
func (h *hold) folder(id string) string { return filepath.Join(h.dir, id) }

// link holds the open file of g, and closes it. Where no link can be made, the
// file stays open instead: that keeps it as long as this process lives.
func (h *hold) link(id string, g *generation) {
	if h.dir == "" {
		return
	}
	name := g.holdName()
	path := filepath.Join(h.folder(id), name)
	err := linkOpen(g.file, path)
	if errors.Is(err, os.ErrNotExist) {
		if _, statErr := os.Stat(h.folder(id)); statErr != nil {
			if err = os.MkdirAll(h.folder(id), 0o700); err == nil {
				err = linkOpen(g.file, path)
			}
		}
	}
	switch {
	case err == nil, errors.Is(err, os.ErrExist):
		g.Hold = name
		g.close()
		h.works()
	case errors.Is(err, os.ErrNotExist):
		// It has no name left: only the descriptor keeps it.
	default:
		h.fail(err)
	}
}

// fail notes why links cannot be made.
func (h *hold) fail(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.problem = holdReason(h.dir, err)
}

// works notes that links can be made, maybe again.
func (h *hold) works() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.problem = ""
}

func holdReason(dir string, err error) string {
	why := err.Error()
	switch {
	case errors.Is(err, syscall.EXDEV):
		why = "the log files lie on another mount: mount the folder that contains both once, read-write"
	case errors.Is(err, syscall.EROFS):
		why = "the mount is read-only: mount it read-write"
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EACCES):
		why = "not permitted: run as the owner of the log files, or with CAP_FOWNER and CAP_DAC_OVERRIDE"
	}
	return fmt.Sprintf("log files cannot be held in %s (%s); they are kept open instead, so what is rotated away while the agent restarts would be lost", dir, why)
}

// Problem says why log files cannot be held, or "".
func (h *hold) Problem() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.problem
}

// release unlinks what is not needed any more.
func (h *hold) release(id, name string) error {
	err := os.Remove(filepath.Join(h.folder(id), name))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// forget removes what was kept of a container that is finished.
func (h *hold) forget(id string) {
	if h.dir == "" {
		return
	}
	names, _ := os.ReadDir(h.folder(id))
	for _, e := range names {
		if ours(e.Name()) {
			os.Remove(filepath.Join(h.folder(id), e.Name()))
		}
	}
	os.Remove(h.folder(id)) // stays if somebody else has put something there
}

// ours says whether name is that of a link, or of what is known of a container
// (see Follower.HoldFolder). The hold folder may be the root of a disk, or have
// been chosen by mistake: whatever else lies there is not touched.
func ours(name string) bool {
	_, link := parseHoldName(name)
	return link || strings.HasPrefix(name, "container.json")
}

// Bytes is what the held files take that exist only because they are held.
func (h *hold) Bytes() (n int64) {
	folders, _ := os.ReadDir(h.dir)
	for _, folder := range folders {
		files, _ := os.ReadDir(filepath.Join(h.dir, folder.Name()))
		for _, e := range files {
			if _, held := parseHoldName(e.Name()); !held {
				continue // what is known of the container lies beside its files
			}
			if fi, err := e.Info(); err == nil {
				if size, names := diskBytes(fi); names == 1 {
					n += size
				}
			}
		}
	}
	return n
}

// ids are the containers that something is held of.
func (h *hold) ids() (ids []string) {
	folders, _ := os.ReadDir(h.dir)
	for _, e := range folders {
		files, _ := os.ReadDir(filepath.Join(h.dir, e.Name()))
		if slices.ContainsFunc(files, func(f os.DirEntry) bool { return ours(f.Name()) }) {
			ids = append(ids, e.Name())
		}
	}
	return ids
}

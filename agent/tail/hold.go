package tail

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// A hold is the folder of hard links that keep log files from vanishing before
// their last line is settled: <dir>/<container>/<generation>. A link costs
// nothing while the file has other names, and no copying ever.
type hold struct {
	dir string // for all that have no other one; "": nothing of these is held

	mu       sync.Mutex
	places   map[string]string // the folder in the place of dir, by container
	more     []string          // such folders
	tried    map[mount]bool    // where a link was made and removed again, or that could not be
	problems map[mount]string  // why nothing on a mount can be held
	kept     bool              // links can be made and not be removed, so none is made
}

// place says where the folder of a container lies, if not in dir.
func (h *hold) place(id, dir string) {
	if dir == "" {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.places == nil {
		h.places = map[string]string{}
	}
	h.places[id] = dir
	if !slices.Contains(h.more, dir) {
		h.more = append(h.more, dir)
	}
}

// add says of one more folder that links may lie in it.
func (h *hold) add(dir string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !slices.Contains(h.more, dir) {
		h.more = append(h.more, dir)
	}
}

// base is where the folder of a container lies; "": nothing of it is held.
func (h *hold) base(id string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if dir, ok := h.places[id]; ok {
		return dir
	}
	return h.dir
}

// folder is where the links of one container lie.
func (h *hold) folder(id string) string { return filepath.Join(h.base(id), id) }

// dirs are all folders of folders.
func (h *hold) dirs() (list []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.dir != "" {
		list = append(list, h.dir)
	}
	return append(list, h.more...)
}

// link holds the open file of g, and closes it. Where no link can be made, the
// file stays open instead: that keeps it as long as this process lives. nameless
// says that it has no name left to link to.
func (h *hold) link(id string, g *generation) (nameless bool) {
	if h.base(id) == "" || h.keeps() {
		return false
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
		h.works(g.file)
		g.Hold, g.HoldIno = name, 0
		if fi, err := g.file.Stat(); err == nil && inode(fi) != g.Ino {
			g.HoldIno = inode(fi)
		}
		g.close()
	case errors.Is(err, os.ErrNotExist):
		return true // only the descriptor keeps it
	default:
		h.fail(id, g.file, err)
	}
	return false
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
	if h.base(id) == "" {
		return
	}
	names, _ := os.ReadDir(h.folder(id))
	for _, e := range names {
		if ours(e.Name()) {
			os.Remove(filepath.Join(h.folder(id), e.Name()))
		}
	}
	os.Remove(h.folder(id)) // stays if somebody else has put something there
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.places, id)
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
	for _, dir := range h.dirs() {
		folders, _ := os.ReadDir(dir)
		for _, folder := range folders {
			files, _ := os.ReadDir(filepath.Join(dir, folder.Name()))
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
	}
	return n
}

// ids are the containers that something is held of.
func (h *hold) ids() (ids []string) {
	for _, dir := range h.dirs() {
		folders, _ := os.ReadDir(dir)
		for _, e := range folders {
			files, _ := os.ReadDir(filepath.Join(dir, e.Name()))
			if slices.ContainsFunc(files, func(f os.DirEntry) bool { return ours(f.Name()) }) {
				ids = append(ids, e.Name())
				if dir != h.dir {
					h.place(e.Name(), dir)
				}
			}
		}
	}
	return ids
}

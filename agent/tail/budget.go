package tail

import (
	"cmp"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A log agent must never be what fills the disk. The budget counts only what
// giving up would really free: files that have no other name than their link
// in the hold folder, or none at all and are only kept open, by the blocks that
// they take.

// budgetEvery is how often the budget is looked at: a container would have to
// write faster than the free space allows within this time to get past it.
const budgetEvery = 5 * time.Second

var errBudget = errors.New("hold.budget is used up")
var errMinFree = errors.New("the free space is below hold.min_free")

// keepBudget gives up held files until the budget and the free space are kept:
// first those that are read and only not settled yet, then the oldest of the
// container that holds most.
func (f *Follower) keepBudget() {
	var used int64
	var holders []*holder
	f.mu.Lock()
	for _, s := range f.sources {
		if h := f.costs(s); h.bytes > 0 {
			used += h.bytes
			holders = append(holders, h)
		}
	}
	f.mu.Unlock()
	missing, why := int64(0), errBudget
	if f.budget > 0 {
		missing = used - f.budget
	}
	if len(holders) == 0 {
		return
	}
	if free, total := freeSpace(cmp.Or(f.hold.dir, holders[0].root)); total > 0 && f.minFree != nil {
		if m := f.minFree(total) - free; m > 0 && m > missing {
			missing, why = m, errMinFree
		}
	}
	for missing > 0 {
		var most *holder
		for _, h := range holders {
			if len(h.files) > 0 && (most == nil || h.prefer(most)) {
				most = h
			}
		}
		if most == nil {
			return
		}
		file := most.files[0]
		most.files = most.files[1:]
		most.bytes -= file.bytes
		missing -= file.bytes
		f.giveUp(most.source, file.g, why)
	}
}

// A holder is what one container costs.
type holder struct {
	source *source
	root   string // a folder on the same file system
	bytes  int64
	files  []heldFile // oldest first
}

type heldFile struct {
	g     *generation
	bytes int64
	read  bool // to its end
}

// prefer says whether the oldest file of h is to be given up before that of o.
func (h *holder) prefer(o *holder) bool {
	if h.files[0].read != o.files[0].read {
		return h.files[0].read
	}
	return h.bytes > o.bytes
}

// costs are the files that s alone keeps on the disk.
func (f *Follower) costs(s *source) *holder {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := &holder{source: s, root: filepath.Dir(s.dir())}
	for _, g := range s.gens {
		var fi os.FileInfo
		var err error
		ours := uint64(0) // names that are ours
		switch {
		case g.Lost, g.at != "" && !strings.HasSuffix(g.at, ".gz"):
			continue // a file with a place in the folder has another name
		case g.Hold != "":
			ours = 1
			fi, err = os.Stat(filepath.Join(f.hold.folder(s.id), g.Hold))
		case g.file != nil:
			fi, err = g.file.Stat()
		default:
			continue
		}
		if err != nil {
			continue
		}
		if bytes, names := diskBytes(fi); names == ours && bytes > 0 {
			h.bytes += bytes
			h.files = append(h.files, heldFile{g: g, bytes: bytes, read: s.gen != nil && g.N < s.gen.N})
		}
	}
	return h
}

// giveUp frees a held file before its last line is settled.
func (f *Follower) giveUp(s *source, g *generation, why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g.Lost {
		return
	}
	if g.Hold != "" {
		if err := f.hold.release(s.id, g.Hold); err != nil {
			f.log.Warn("a held file cannot be removed", "error", err)
			return
		}
		g.Hold = ""
	}
	g.close()
	s.dirty = true
	if s.gen != nil && g.N < s.gen.N {
		// Read, on its way, and lost only should the agent end before the
		// sink has answered.
		return
	}
	if g.at != "" {
		f.reads.push(&s.reading) // its compressed copy can be read instead
		return
	}
	from := int64(0)
	if s.gen == g {
		from = s.off
	}
	f.lose(s, g, from, why)
	f.reads.push(&s.reading)
}

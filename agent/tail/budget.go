package tail

import (
	"cmp"
	"errors"
	"os"
	"path/filepath"
	"slices"
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

// keepBudget gives up held files until the budget and the free space are kept,
// and notes how fast they fill up.
func (f *Follower) keepBudget() {
	var holders []*holder
	dirs := f.hold.dirs()
	f.mu.Lock()
	for _, s := range f.sources {
		h := f.costs(s)
		if h.bytes > 0 {
			holders = append(holders, h)
		}
		if len(dirs) == 0 {
			dirs = append(dirs, h.root)
		}
	}
	f.mu.Unlock()
	used := heldBy(holders)
	room := f.budgetFor(used)
	f.giveUpFor(holders, room)
	for _, dir := range dirs {
		here := slices.DeleteFunc(slices.Clone(holders), func(h *holder) bool { return cmp.Or(h.base, dir) != dir })
		free := f.freeIn(dir)
		f.giveUpFor(here, free)
		room = room.tighter(free)
	}
	f.fill.note(f.log, holdSample{at: time.Now(), grown: used + f.fill.released.Load(), room: room.bytes, limit: room.why})
}

// giveUpFor gives up files of holders if there is no room for them.
func (f *Follower) giveUpFor(holders []*holder, room space) {
	for _, c := range choose(holders, -room.bytes) {
		if f.giveUp(c.source, c.file.g, room.why) {
			f.fill.released.Add(c.file.bytes)
		}
	}
}

// A space is how many bytes more may be held, below 0: too many are, and what
// bounds that; nil: nothing does.
type space struct {
	bytes int64
	why   error
}

// tighter is that of two spaces that bounds more.
func (s space) tighter(t space) space {
	if t.why != nil && (s.why == nil || t.bytes < s.bytes) {
		return t
	}
	return s
}

// budgetFor is the space beside used bytes in the budget.
func (f *Follower) budgetFor(used int64) space {
	if f.budget <= 0 {
		return space{}
	}
	return space{f.budget - used, errBudget}
}

// freeIn is the space above hold.min_free on the file system of dir.
func (f *Follower) freeIn(dir string) space {
	if f.minFree == nil {
		return space{}
	}
	free, total := freeSpace(dir)
	if total == 0 {
		return space{}
	}
	return space{free - f.minFree(total), errMinFree}
}

func heldBy(holders []*holder) (n int64) {
	for _, h := range holders {
		n += h.bytes
	}
	return n
}

// A choice is a file to give up.
type choice struct {
	source *source
	file   heldFile
}

// choose picks files of at least missing bytes: first those that are read and
// only not settled yet, then the oldest of the container that holds most.
func choose(holders []*holder, missing int64) (chosen []choice) {
	for missing > 0 {
		var most *holder
		for _, h := range holders {
			if len(h.files) > 0 && (most == nil || h.prefer(most)) {
				most = h
			}
		}
		if most == nil {
			return chosen
		}
		file := most.files[0]
		most.files = most.files[1:]
		most.bytes -= file.bytes
		missing -= file.bytes
		chosen = append(chosen, choice{most.source, file})
	}
	return chosen
}

// A holder is what one container costs.
type holder struct {
	source *source
	root   string // a folder on the same file system
	base   string // of its links; "": it has none
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
	h := &holder{source: s, root: filepath.Dir(s.dir()), base: f.hold.base(s.id)}
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
			h.files = append(h.files, heldFile{g: g, bytes: bytes, read: s.hasRead(g)})
		}
	}
	return h
}

// giveUp frees a held file before its last line is settled, if it is still held.
func (f *Follower) giveUp(s *source, g *generation, why error) (freed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g.Lost || g.Hold == "" && g.file == nil {
		return false // it has ended by itself since it was chosen
	}
	if g.Hold != "" {
		if err := f.hold.release(s.id, g.Hold); err != nil {
			f.log.Warn("a held file cannot be removed", "error", err)
			return false
		}
		g.Hold = ""
	}
	g.close()
	s.dirty = true
	if s.hasRead(g) {
		// Read, on its way, and lost only should the agent end before the
		// sink has answered.
		return true
	}
	if g.at != "" {
		f.reads.push(&s.reading) // its compressed copy can be read instead
		return true
	}
	from := int64(0)
	if s.gen == g {
		from = s.off
	}
	f.lose(s, g, from, why)
	f.reads.push(&s.reading)
	return true
}

// hasRead says whether g was read to its end.
func (s *source) hasRead(g *generation) bool {
	return s.gen != nil && (g.N < s.gen.N || g == s.gen && g.Closed)
}

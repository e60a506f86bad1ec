package tail

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// A logFile is one file of a container's log as it lies in the folder.
type logFile struct {
	path string
	age  int // 0: the live file
	gz   bool
	ino  uint64
	size int64
	// modified is when it was written last, ns
	modified int64
}

// listLogs lists the files of the log whose live file is path, the youngest
// first. A missing folder is fs.ErrNotExist.
func listLogs(path string) ([]logFile, error) {
	dir, base := filepath.Split(path)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var files []logFile
	for _, e := range entries {
		age, gz, ok := isLogFile(e.Name(), base)
		if !ok {
			continue
		}
		fi, err := e.Info()
		if err != nil {
			continue // gone since, which the second look notices
		}
		if !fi.Mode().IsRegular() {
			if age == 0 && !gz {
				return nil, fmt.Errorf("%s is not a regular file, and is not followed", path)
			}
			continue
		}
		files = append(files, logFile{path: filepath.Join(dir, e.Name()), age: age, gz: gz, ino: inode(fi), size: fi.Size(), modified: fi.ModTime().UnixNano()})
	}
	slices.SortFunc(files, func(a, b logFile) int {
		// Plain before compressed: while dockerd compresses, both are there and
		// only the plain one is whole.
		return cmp.Or(cmp.Compare(a.age, b.age), boolCompare(a.gz, b.gz))
	})
	return files, nil
}

func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

func sameFiles(a, b []logFile) bool {
	return slices.EqualFunc(a, b, func(x, y logFile) bool { return x.path == y.path && x.ino == y.ino })
}

// scan brings the chain of generations up to date with the folder. Every
// change between two looks at the folder makes it look again, since a rotation
// in between could hide a file.
//
// changed says whether that made a difference. errRestless: look again soon.
func (s *source) scan(h *hold, watch *watcher) (changed bool, err error) {
	const looks = 20
	s.checkHeld(h.folder(s.id))
	for range looks {
		watch.catchUp()
		now := s.births.heard()
		files, err := listLogs(s.target.Path)
		gone := errors.Is(err, os.ErrNotExist)
		if err != nil && !gone {
			return false, fmt.Errorf("look at %s: %w", s.dir(), err)
		}
		found := s.identify(files, h)
		if found.short != nil {
			return false, found.short
		}
		again, err := listLogs(s.target.Path)
		watch.catchUp()
		// The births tell when the same inodes have come back under the same names.
		if gone != errors.Is(err, os.ErrNotExist) || !sameFiles(files, again) || now != s.births.heard() {
			found.drop()
			continue
		}
		return s.take(found, gone, now, h), nil
	}
	return false, errRestless
}

var errRestless = errors.New("its folder changes faster than it can be looked at")

// found is what a look at the folder says.
type found struct {
	known []match
	fresh []*generation // not known before, youngest first, with their open files
	empty uint64        // inode of the live file, if it has no entry yet
	err   error         // a file that could not be read
	short error         // nothing could be found out, because this machine is short of something
}

type match struct {
	g    *generation
	file logFile
}

func (fd *found) drop() {
	for _, g := range fd.fresh {
		g.close()
	}
}

// identify tells which generation each file is. It goes from the youngest to
// the oldest: what lies behind a known generation is older than it, and so was
// read before, or never to be read.
func (s *source) identify(files []logFile, h *hold) found {
	var fd found
	taken := func(g *generation) bool {
		return slices.ContainsFunc(fd.known, func(m match) bool { return m.g == g })
	}
	for _, file := range files {
		s.compressed = s.compressed || file.gz
		if g := s.find(func(g *generation) bool { return g.Ino == file.ino && !g.Lost && g.pinned() }); g != nil && !file.gz {
			// A held or open file keeps its inode from being used again.
			fd.known = append(fd.known, match{g, file})
			continue
		}
		// While dockerd compresses a file, the plain one still lies beside it.
		half := file.gz && slices.ContainsFunc(files, func(f logFile) bool { return f.age == file.age && !f.gz })
		fresh, err := s.openFresh(file)
		if err != nil && file.path == s.target.Path {
			fd.empty = file.ino
		}
		if errors.Is(err, errNoEntry) || errors.Is(err, os.ErrNotExist) || err != nil && half {
			continue // not born yet, or gone since
		}
		if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOMEM) {
			// Nothing is wrong with the file. Taking the other ones would mean
			// that it is never read, because it would be older than they are.
			fd.drop()
			return found{short: err}
		}
		if err != nil {
			fd.err = err
			continue
		}
		same := func(g *generation) bool { return !taken(g) && s.same(fresh, g, file, h) }
		if g := s.find(same); g != nil {
			fd.known = append(fd.known, match{g, file})
			fresh.close()
			continue
		}
		if half || len(fd.known) > 0 {
			fresh.close()
			continue
		}
		fd.fresh = append(fd.fresh, fresh)
	}
	return fd
}

// same says whether fresh, which was found as file, is g.
func (s *source) same(fresh, g *generation, file logFile, h *hold) bool {
	switch {
	case g.raw:
		return s.sameRaw(fresh, g, file, h) || s.copiesRaw(fresh, g, file)
	case g.Head != fresh.Head:
		return false
	case file.gz:
		return compresses(fresh, g, h.folder(s.id), s.shares(g))
	case copies(fresh, g):
		return true
	case g.HeadSum != 0 && g.HeadSum != fresh.HeadSum, g.Modified != 0 && g.Modified != file.modified:
		return false
	}
	// The file of a generation that is lost, or of which the copy is held, has
	// gone: what has its inode now is another one, even if it begins within the
	// same huge line.
	return g.Ino == file.ino && g.From == fresh.From && !g.Lost && g.HoldIno == 0
}

// openFresh opens a file and reads what tells it from others.
func (s *source) openFresh(file logFile) (*generation, error) {
	f, err := os.Open(file.path)
	if err != nil {
		return nil, err
	}
	// In a storm of rotations the name may lead to another file by now, while the
	// inode that was listed comes back for the one after it.
	if fi, err := f.Stat(); err != nil || inode(fi) != file.ino {
		f.Close()
		return nil, cmp.Or(err, os.ErrNotExist)
	}
	g := &generation{Ino: file.ino, at: file.path, size: file.size}
	if g.raw = s.target.Format.raw(); g.raw {
		if err := g.openRaw(f, file.gz); err != nil {
			f.Close()
			return nil, err
		}
		g.file = f
		return g, nil
	}
	var h head
	if file.gz {
		var z *inflater
		if z, err = newInflater(f); err == nil {
			if h, err = readHead(z, nil); err == nil {
				g.inflate, err = newInflater(f)
			}
		}
	} else if h, err = readHead(f, holeSkipper(f, nil)); err == nil {
		err = g.rememberHead(f, h)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	g.file, g.Head, g.headEnd, g.whole = f, h.nanos, h.end, h.whole
	if !file.gz {
		g.From = h.from
	} else if sum, _, ok := gzipTrailer(f); ok {
		g.Sum = &sum
	}
	return g, nil
}

// take enters what was found into the chain.
func (s *source) take(fd found, gone bool, now heard, h *hold) (changed bool) {
	var before []string
	for _, g := range s.gens {
		before = append(before, g.at)
		g.at = ""
	}
	severed := true // the last file that is known has no name any more
	for _, m := range fd.known {
		m.g.at = m.file.path
		if !m.file.gz {
			m.g.size = max(m.g.size, m.file.size)
		}
		if m.g.Hold == "" && !m.g.Done && !m.g.Lost && !s.target.Steady && (m.g.Ino == m.file.ino || m.file.gz) {
			s.holdLate(m.g, m.file, h)
		}
		if m.g == s.gens[len(s.gens)-1] {
			severed = false
		}
	}
	if severed && len(s.gens) > 0 && len(fd.fresh) > 0 && !s.births.counts(now) {
		// Others may have come and gone after it.
		s.missed = s.chainBroken(fd, h.folder(s.id))
	}
	s.countBirths(now, fd, severed, gone)
	for i, at := range before {
		s.gens[i].fresh = false
		changed = changed || s.gens[i].at != at
	}
	if s.missed != "" && len(fd.fresh) > 0 {
		s.next++ // see holes.go
	}
	for i := len(fd.fresh) - 1; i >= 0; i-- { // oldest first
		fd.fresh[i].fresh = true
		s.append(fd.fresh[i], h)
		changed = true
	}
	for i, g := range s.gens {
		// What is not named any more is read as far as it goes now.
		ended := i+1 < len(s.gens) || gone || g.Lost || s.target.Gone
		changed = changed || ended != g.ended
		g.ended = ended
	}
	s.gens = slices.DeleteFunc(s.gens, func(g *generation) bool {
		if g.Done && g.Hold == "" && g.at == "" && g != s.gen && !g.owes(s) {
			s.dirty = true
			return true
		}
		return false
	})
	s.unreadable = fd.err
	return changed || gone
}

// append makes g the youngest generation, and holds it.
func (s *source) append(g *generation, h *hold) {
	if g.Head == 0 {
		g.Head = time.Now().UnixNano() // of a raw file whose birth nobody knows
	}
	g.N, g.Path, g.Run = s.next, s.target.Path, s.heads.meet(g.Head)
	s.next++
	if !s.target.Steady {
		s.holdNew(g, h)
	}
	s.gens = append(s.gens, g)
	s.dirty = true
}

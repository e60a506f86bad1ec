package main

import (
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// A history is what one container wrote, as its writer noted it.
type history struct {
	c     *container
	lines [2][]*truth // by number; [0] is number 1
	times map[int64]*truth
	files map[int]logFile
	lost  map[int][]lostPart
	// tails are files with the rest of a line whose beginning was destroyed: it may
	// count as a line there.
	tails map[int]bool
	// rests are files that begin with the rest of a line: without the checkpoint and
	// the files before it, that counts as a line.
	rests map[int]bool
}

// A truth is a line with what became of it.
type truth struct {
	line
	damaged bool  // some of it was destroyed at source
	ordinal int64 // among the lines of its stream that begin in its file, from 1
	stored  int   // times
	dead    bool  // it is in the dead-letter file
	arrival int   // of its first copy
}

func (h *harness) readHistory(c *container) (*history, error) {
	t := &history{c: c, times: map[int64]*truth{}, files: map[int]logFile{}, lost: map[int][]lostPart{}, tails: map[int]bool{}, rests: map[int]bool{}}
	err := readJournal(c.spec.Journal, func(e entry) {
		switch {
		case e.Line != nil:
			l := &truth{line: *e.Line}
			t.lines[l.Stream] = append(t.lines[l.Stream], l)
			t.times[l.Time] = l
		case e.File != nil:
			t.files[e.File.N] = *e.File
		case e.Lost != nil:
			t.lost[e.Lost.File] = append(t.lost[e.Lost.File], *e.Lost)
		}
	})
	if err != nil {
		return nil, err
	}
	for k := range t.lines {
		count := map[int]int64{}
		for i, l := range t.lines[k] {
			if l.N != int64(i+1) {
				return nil, fmt.Errorf("journal of %s: line %d of %s is noted as %d", c.spec.Name, i+1, streams[k], l.N)
			}
			l.damaged = slices.ContainsFunc(l.Parts, t.destroyed)
			for i, p := range l.Parts {
				t.rests[p.File] = t.rests[p.File] || i > 0
			}
			if l.damaged {
				for _, p := range l.Parts[1:] {
					t.tails[p.File] = true
				}
			}
			if len(l.Parts) > 0 {
				count[l.Parts[0].File]++
				l.ordinal = count[l.Parts[0].File]
			}
		}
	}
	return t, nil
}

// destroyed says whether some of p was destroyed at source.
func (t *history) destroyed(p part) bool {
	return slices.ContainsFunc(t.lost[p.File], func(l lostPart) bool { return p.From < l.To && p.To > l.From })
}

// whole says whether nothing of a file was ever destroyed, nor of a line that ends
// in it, so that its lines have the numbers that they were given.
func (t *history) whole(file int) bool { return len(t.lost[file]) == 0 && !t.tails[file] }

// number is how many lines of stream k begin in a file.
func (t *history) number(k, file int) (n int64) {
	from := sort.Search(len(t.lines[k]), func(i int) bool { return t.place(k, i).File >= file })
	for i := from; i < len(t.lines[k]) && t.place(k, i).File <= file; i++ {
		if len(t.lines[k][i].Parts) > 0 {
			n++
		}
	}
	return n
}

// place is where line i of stream k begins, or would have begun.
func (t *history) place(k, i int) part {
	for ; i < len(t.lines[k]); i++ {
		if p := t.lines[k][i].Parts; len(p) > 0 {
			return p[0]
		}
	}
	return part{File: 1 << 30}
}

// find is the file that a generation of the agent stands for. A compressed copy
// has another inode than the file that was compressed. A huge line that fills
// many files can have several that cannot be told apart.
func (t *history) find(ino uint64, head int64) (file logFile, ok bool) {
	heads, both := 0, 0
	for _, f := range t.files {
		if f.Head == head && f.Ino == ino {
			file = f
			both++
		}
	}
	if both > 0 {
		return file, both == 1
	}
	for _, f := range t.files {
		if f.Head == head {
			file = f
			heads++
		}
	}
	return file, heads == 1
}

// alone says whether no other file begins with the same time. Of those that share
// it, a compressed copy cannot be told from the others by its name.
func (t *history) alone(f logFile) bool {
	for _, o := range t.files {
		if o.N != f.N && o.Head == f.Head {
			return false
		}
	}
	return true
}

// generation is what log.file.generation says of a file.
func (f logFile) generation() string {
	return strconv.FormatInt(f.Head, 36) + "-" + strconv.FormatUint(f.Ino, 36)
}

// parseGeneration is its inverse. A third part counts the files before it that
// begin with the same time.
func parseGeneration(name string) (ino uint64, head int64, ok bool) {
	first, rest, _ := strings.Cut(name, "-")
	second, _, _ := strings.Cut(rest, "-")
	head, err1 := strconv.ParseInt(first, 36, 64)
	ino, err2 := strconv.ParseUint(second, 36, 64)
	return ino, head, err1 == nil && err2 == nil
}

// where is for people: the file and the bytes of a line.
func (t *history) where(l *truth) string {
	s := fmt.Sprintf("%s %s line %d", t.c.spec.Name, streams[l.Stream], l.N)
	for i, p := range l.Parts {
		if i == 3 && len(l.Parts) > 4 {
			s += fmt.Sprintf(", … %d files", len(l.Parts))
			break
		}
		f := t.files[p.File]
		s += fmt.Sprintf(", file %d (%s, inode %d) bytes %d to %d", p.File, f.generation(), f.Ino, p.From, p.To)
	}
	for _, p := range l.Parts {
		for _, x := range t.lost[p.File] {
			if p.From < x.To && p.To > x.From {
				s += fmt.Sprintf("; bytes %d to %d of file %d were destroyed: %s", x.From, x.To, x.File, x.Why)
			}
		}
	}
	return s
}

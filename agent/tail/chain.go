package tail

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// While no agent runs nobody links, so after a down time a file may have come
// and gone that nobody has seen. As long as the last file that was known still
// has a name, all younger ones have one too: Docker removes the oldest first.
// When it has none, everything depends on how often Docker has rotated since:
//
//	the last known file loses its name  ─┐
//	the present live file is born       ─┴─ in one and the same rotation?
//
// If so, nothing is missing, whatever max-file is: a rotation removes one file,
// this was the last rotation, and before it the last known file had a name. If
// there was one more rotation in between, the file that it removed is unknown.
//
// The file system knows both moments: the last known file, which our link keeps,
// has as its ctime when its names changed last (Docker's unlink; with max-file
// above 1 at the end of a row of renames; with compress the unlink that follows
// the compression), and the live file has its time of birth. Nobody else's hand
// counts as proof: a chmod or a link made later moves the ctime behind the
// birth, and then nothing is proven.
//
// How near is near enough? A rotation in between means that a whole file was
// filled in between, and Docker fills none in less than its size allows. So the
// bound follows from the size of the last known file, which had reached max-size
// when it was rotated away. Where that is small, as are 64 KiB, nothing is ever
// proven by time; with the usual 10 MiB and more it is.

// fastest is more than dockerd can write into one log: each entry of at most 16
// KiB is found, encoded as JSON and written by a call of its own, under one
// lock. That gave at most 0.24 GB/s where it was measured (NULs, which grow
// sixfold when they are encoded).
const fastest = 2e9 // bytes a second

// slowest is how long one rotation may take that the times of entries prove
// instead, see chainWhole: a disk that is busy, or a process that is stopped.
const slowest = time.Second

// A lastStat is what the file system says of the last known file.
type lastStat struct {
	known    bool
	why      string    // it is not known
	size     int64     // its bytes, without holes
	written  time.Time // mtime
	unlinked time.Time // ctime
}

// A nextStat is what is found of the files behind it.
type nextStat struct {
	unbroken bool      // the live file and its rotations, none missing between them
	why      string    // it is not
	born     time.Time // of the live file; zero: unknown
	head     time.Time // of the live file's first entry
}

// chainWhole says whether no file can have come and gone between the last known
// one, which has no name left, and those that are there now; if not, why says
// what is missing for the proof. tick is how coarse the clock of the file
// system is.
//
// Two proofs are taken. By birth: the last known file lost its name so short a
// time before the birth of the live one that no file can have been filled in
// between. By entry: the entry that made Docker rotate, which is the first of
// the live file, was stamped before the last known file lost its name, so there
// was no rotation before that one; but an entry that continues a line of the
// last known file carries that line's old time, and says nothing.
func chainWhole(last lastStat, next nextStat, tick time.Duration) (whole bool, why string) {
	const gone = "the last file that was known before the agent was away has no name any more, and "
	switch {
	case !last.known:
		return false, gone + last.why
	case !next.unbroken:
		return false, gone + next.why
	case next.born.IsZero():
		return false, gone + "this file system does not tell when a file was born"
	case coarse(last.unlinked) && coarse(next.born):
		return false, gone + "this file system keeps times in whole seconds only"
	}
	gap := next.born.Sub(last.unlinked)
	if gap < 0 {
		return false, gone + "it was changed after the present file was born, so that nothing tells when it lost its name"
	}
	fill := time.Duration(float64(last.size) / fastest * float64(time.Second))
	if gap+tick <= fill {
		return true, ""
	}
	fresh := next.head.After(last.written.Add(tick))
	if fill > tick && gap <= slowest && fresh && !next.head.After(last.unlinked.Add(tick)) {
		return true, ""
	}
	return false, gone + fmt.Sprintf("the present file was born %s later, in which time another file of %d bytes may have come and gone", round(gap), last.size)
}

func coarse(t time.Time) bool { return t.Nanosecond() == 0 }

func round(d time.Duration) time.Duration {
	for unit := time.Duration(time.Second); unit > 1; unit /= 1000 {
		if d >= 10*unit {
			return d.Round(unit)
		}
	}
	return d
}

// chainBroken says why files may be missing between the generation that was the
// youngest at the last checkpoint and those that were found now, or "" if that
// is impossible.
func (s *source) chainBroken(fd found, holdDir string) string {
	last, next := s.gens[len(s.gens)-1], nextStat{}
	switch live := fd.fresh[0]; {
	case len(fd.known) > 0:
		next.why = "an older one has"
	case fd.err != nil:
		next.why = fmt.Sprintf("there is one that cannot be read: %v", fd.err)
	case live.at != s.target.Path:
		next.why = "there is no present one with an entry yet"
	case !s.adjoining(fd.fresh):
		next.why = "the numbers of those that are there have a gap"
	default:
		next.unbroken, next.born = true, birth(live.file)
		if !live.raw {
			next.head = time.Unix(0, live.Head)
		}
	}
	_, why := chainWhole(last.stat(holdDir), next, fileClockTick())
	return why
}

// adjoining says whether fresh, which begins with the live file, goes on with
// .1, .2 and so on.
func (s *source) adjoining(fresh []*generation) bool {
	for i, g := range fresh {
		age, _, ok := isLogFile(filepath.Base(g.at), filepath.Base(s.target.Path))
		if !ok || age != i {
			return false
		}
	}
	return true
}

// stat looks at the link of g.
func (g *generation) stat(holdDir string) (st lastStat) {
	if g.Hold == "" {
		st.why = "it was not held"
		return st
	}
	f, err := os.Open(filepath.Join(holdDir, g.Hold))
	if err != nil {
		st.why = fmt.Sprintf("the link to it cannot be read: %v", err)
		return st
	}
	defer f.Close()
	fi, err := f.Stat()
	switch {
	case err != nil:
		st.why = fmt.Sprintf("the link to it cannot be read: %v", err)
	case g.packed(f):
		st.why = "only its compressed copy is held"
	default:
		disk, _ := diskBytes(fi)
		changed := changeTime(fi)
		st = lastStat{known: !changed.IsZero(), why: "this system does not tell when it lost its name",
			size: min(fi.Size(), disk), written: fi.ModTime(), unlinked: changed}
	}
	return st
}

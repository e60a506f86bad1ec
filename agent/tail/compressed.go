package tail

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"time"
)

// compresses says whether the compressed file z holds what g holds. The time of
// the first entry alone does not tell: the files that a huge line fills share it,
// and may even be the same to the last byte. So size and checksum are compared
// where g's file is held or open, or was when it was released, and then the times:
// dockerd unlinks a file when its copy is complete, before it begins another one.
// shared says that others begin with that time too, and so may others that were
// forgotten if the first entry does not end its line.
func compresses(z, g *generation, holdDir string, shared bool) bool {
	sum, size, ok := gzipTrailer(z.file)
	if !ok {
		return false
	}
	alone := z.whole && !shared
	f, done := g.kept(holdDir)
	if f == nil {
		if g.Sum != nil {
			return *g.Sum == sum
		}
		return alone && (g.Size == 0 || uint32(g.Size) == size)
	}
	defer done()
	if g.packed(f) {
		if keptSum, keptSize, ok := gzipTrailer(f); !ok || keptSum != sum || keptSize != size {
			return false
		}
		return alone || sameInode(z.file, f)
	}
	fi, err := f.Stat()
	if err != nil || uint32(fi.Size()) != size || g.Sum == nil && !g.sumUp(f) || *g.Sum != sum {
		return false
	}
	return alone || !laterThan(z.file, changeTime(fi))
}

func sameInode(a, b *os.File) bool {
	x, errX := a.Stat()
	y, errY := b.Stat()
	return errX == nil && errY == nil && os.SameFile(x, y)
}

// laterThan says whether f was written to after t, as far as the clock of the file
// system tells.
func laterThan(f *os.File, t time.Time) bool {
	fi, err := f.Stat()
	return err == nil && !t.IsZero() && fi.ModTime().After(t.Add(fileClockTick()))
}

// packed says whether f, a file of g, is compressed. The bytes of a raw file do not
// tell, but it has another inode than its copy.
func (g *generation) packed(f *os.File) bool {
	if !g.raw || g.Gz {
		return compressed(f)
	}
	fi, err := f.Stat()
	return err == nil && inode(fi) != g.Ino
}

// kept is the file of g that is open or held, and what is to be done with it
// afterwards; nil if there is none.
func (g *generation) kept(holdDir string) (f *os.File, done func()) {
	if g.file != nil {
		return g.file, func() {}
	}
	if g.Hold == "" {
		return nil, nil
	}
	f, err := os.Open(filepath.Join(holdDir, g.Hold))
	if err != nil {
		return nil, nil
	}
	return f, func() { f.Close() }
}

// sumUp computes the checksum of the file of g, which is not compressed.
func (g *generation) sumUp(f *os.File) bool {
	h := crc32.NewIEEE()
	if _, err := io.Copy(h, io.NewSectionReader(f, 0, 1<<62)); err != nil {
		return false
	}
	n := h.Sum32()
	g.Sum = &n
	return true
}

// gzipTrailer is what a compressed file says of its content: the checksum, and
// the size modulo 2^32.
func gzipTrailer(f *os.File) (sum, size uint32, ok bool) {
	var trailer [8]byte
	fi, err := f.Stat()
	if err != nil || fi.Size() < int64(len(trailer)) {
		return 0, 0, false
	}
	if _, err := f.ReadAt(trailer[:], fi.Size()-int64(len(trailer))); err != nil {
		return 0, 0, false
	}
	return binary.LittleEndian.Uint32(trailer[:]), binary.LittleEndian.Uint32(trailer[4:]), true
}

// sumHeld remembers the checksum of the file that is held.
func (g *generation) sumHeld(holdDir string) {
	f, done := g.kept(holdDir)
	if f == nil {
		return
	}
	defer done()
	if !g.packed(f) { // else that would be the sum of other bytes
		g.sumUp(f)
	}
}

// copies says whether the file of fresh is a copy of that of g, as logrotate makes
// one before it truncates the file (copytruncate): it begins with the very same
// entry. Pieces of a huge line may be the same in all of its files, but for the
// last one.
func copies(fresh, g *generation) bool {
	return fresh.whole && g.HeadSum != 0 && g.HeadSum == fresh.HeadSum && g.From == fresh.From
}

// shares says whether another file begins with the same time as g.
func (s *source) shares(g *generation) bool { return s.heads.runs(g.Head) > 0 }

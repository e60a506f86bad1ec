package tail

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
)

// compresses says whether the compressed file z holds what g holds. The time of
// the first entry alone does not tell: the files that a huge line fills share
// it. So the size is compared, and the checksum where g's file is held, or was
// when it was released. shared says that others begin with that time too,
// and so may others that were forgotten if the first entry does not end its line.
func compresses(z, g *generation, holdDir string, shared bool) bool {
	sum, size, ok := gzipTrailer(z.file)
	switch {
	case !ok:
		return false
	case g.Sum != nil:
		return *g.Sum == sum
	case g.Hold == "":
		return z.whole && !shared && (g.Size == 0 || uint32(g.Size) == size)
	}
	same, ok := g.heldSize(holdDir, sum, size)
	return same || ok && g.sumHeld(holdDir) && *g.Sum == sum
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

// heldSize compares what is held of g. same: it is a compressed copy itself, of
// the same content; ok: it is as large.
func (g *generation) heldSize(holdDir string, sum, size uint32) (same, ok bool) {
	f, err := os.Open(filepath.Join(holdDir, g.Hold))
	if err != nil {
		return false, false
	}
	defer f.Close()
	if compressed(f) {
		heldSum, heldSize, ok := gzipTrailer(f)
		return ok && heldSum == sum && heldSize == size, false
	}
	fi, err := f.Stat()
	return false, err == nil && uint32(fi.Size()) == size
}

// sumHeld computes the checksum of the file that is held.
func (g *generation) sumHeld(holdDir string) bool {
	f, err := os.Open(filepath.Join(holdDir, g.Hold))
	if err != nil {
		return false
	}
	defer f.Close()
	if compressed(f) {
		return false // that would be the sum of other bytes
	}
	h := crc32.NewIEEE()
	if _, err := io.Copy(h, f); err != nil {
		return false
	}
	n := h.Sum32()
	g.Sum = &n
	return true
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

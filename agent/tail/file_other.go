//go:build unix && !linux

package tail

import (
	"os"
	"syscall"
)

func skipHole(_ *os.File, off int64) int64 { return off }

// linkOpen links by name: the file may have been renamed since, so the link is
// checked to be the same file.
func linkOpen(f *os.File, path string) error {
	if err := os.Link(f.Name(), path); err != nil {
		return err
	}
	a, errA := f.Stat()
	b, errB := os.Stat(path)
	if errA != nil || errB != nil || !os.SameFile(a, b) {
		os.Remove(path)
		return &os.LinkError{Op: "link", Old: f.Name(), New: path, Err: os.ErrNotExist}
	}
	return nil
}

func syncData(f *os.File) error { return f.Sync() }

// diskBytes is what a file takes, and how many names it has.
func diskBytes(fi os.FileInfo) (bytes int64, names uint64) {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return st.Blocks * 512, uint64(st.Nlink)
	}
	return fi.Size(), 1
}

func inode(fi os.FileInfo) uint64 {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return st.Ino
	}
	return 0
}

func freeSpace(string) (free, total int64) { return 0, 0 }

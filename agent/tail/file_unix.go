//go:build unix

package tail

import (
	"os"
	"syscall"
)

// diskBytes is what a file really takes, and how many names it has.
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

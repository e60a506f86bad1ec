//go:build unix && !linux

package tail

import (
	"os"
	"syscall"
)

// mountOf is the file system of f: elsewhere a mount shows no more.
func mountOf(f *os.File) (m mount) {
	if fi, err := f.Stat(); err == nil {
		if st, ok := fi.Sys().(*syscall.Stat_t); ok {
			m.dev = uint64(st.Dev)
		}
	}
	return m
}

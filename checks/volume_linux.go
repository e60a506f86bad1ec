package checks

import (
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// lookAtVolume asks the file system at a path. Each step can hang for ever.
func lookAtVolume(path string, canary bool) (l volumeLook) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		l.err = err
		return l
	}
	mounts, err := readMounts()
	if err != nil {
		l.err = err
		return l
	}
	l.mount, _ = findMount(mounts, real)
	l.isMountPoint = l.mount.path == real
	var s unix.Statfs_t
	if l.err = unix.Statfs(real, &s); l.err != nil {
		return l
	}
	unit := float64(s.Bsize)
	if s.Frsize > 0 {
		unit = float64(s.Frsize)
	}
	l.readOnly = s.Flags&unix.ST_RDONLY != 0
	l.free, l.used = float64(s.Bavail)*unit, float64(s.Blocks-min(s.Blocks, s.Bfree))*unit
	l.inodes, l.inodesFree = float64(s.Files), float64(s.Ffree)
	if canary {
		began := time.Now()
		l.canary = writeCanary(real)
		l.written = time.Since(began)
	}
	return l
}

// readMounts reads the mounts that this process sees.
func readMounts() (string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 8<<20))
	return string(b), err
}

package tail

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// skipHole is the offset of the first byte at or behind off that is not in a
// hole of the file, or off if that cannot be told.
func skipHole(f *os.File, off int64) int64 {
	if at, err := unix.Seek(int(f.Fd()), off, unix.SEEK_DATA); err == nil && at > off {
		return at
	}
	return off
}

// linkOpen makes a hard link to an open file, whatever its name is by now.
// fs.ErrNotExist: it has no name left to link to.
func linkOpen(f *os.File, path string) error {
	err := unix.Linkat(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(int(f.Fd())), unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW)
	if err != nil {
		return &os.LinkError{Op: "link", Old: f.Name(), New: path, Err: err}
	}
	return nil
}

// syncData makes the content of f durable, and no more of its metadata than
// reading it needs.
func syncData(f *os.File) error { return unix.Fdatasync(int(f.Fd())) }

// freeSpace is what others than root may still write, and the size of the file
// system, in bytes. 0, 0: unknown.
func freeSpace(dir string) (free, total int64) {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return 0, 0
	}
	return int64(st.Bavail) * st.Bsize, int64(st.Blocks) * st.Bsize
}

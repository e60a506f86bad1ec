package tail

import (
	"os"

	"golang.org/x/sys/unix"
)

// mountOf is the mount that f was opened on. Before Linux 5.8 two mounts of one
// file system cannot be told apart.
func mountOf(f *os.File) (m mount) {
	var st unix.Statx_t
	if unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &st) != nil {
		return m
	}
	m.dev = unix.Mkdev(st.Dev_major, st.Dev_minor)
	if st.Mask&unix.STATX_MNT_ID != 0 {
		m.id = st.Mnt_id
	}
	return m
}

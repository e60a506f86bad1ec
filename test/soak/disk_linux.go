package main

import (
	"fmt"
	"os"
	"syscall"
)

// mountSmall puts a file system of its own at dir, which can be filled without
// harm to anybody else. why says what is missing for that.
func mountSmall(dir string, bytes int64) (unmount func() error, why string) {
	if os.Geteuid() != 0 {
		return nil, "mounting needs root"
	}
	if err := syscall.Mount("mesoscope-soak", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", bytes)); err != nil {
		return nil, "mount: " + err.Error()
	}
	return func() error { return syscall.Unmount(dir, syscall.MNT_DETACH) }, ""
}

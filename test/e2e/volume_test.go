//go:build e2e && linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// mounted mounts a file system until the test ends.
func mounted(t *testing.T, source, fstype, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount(source, dir, fstype, 0, options); err != nil {
		t.Fatalf("mount -t %s %s %s: %v", fstype, source, dir, err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// TestCheckVolume fills, write-protects, unmounts and hangs real volumes.
func TestCheckVolume(t *testing.T) {
	dir := mounted(t, "shop", "tmpfs", "size=1m,nr_inodes=50")
	volume := func(code int, text string, more ...string) {
		t.Helper()
		check(t, code, text, append([]string{"volume", dir}, more...)...)
	}
	volume(0, "is tmpfs on shop, 1.0 MiB free", "--mount-point", "--source", "shop", "--canary")
	volume(2, "shop is mounted at", "--source", "/dev/sdb1")
	volume(2, "of type tmpfs, wanted ext4", "--fstype", "ext4")
	for i := range 42 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	volume(1, "inodes are free")
	big := filepath.Join(dir, "0")
	if err := os.WriteFile(big, make([]byte, 870<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	volume(1, "KiB are free (disk is 85", "--warning", "inodes=")
	_ = os.WriteFile(big, make([]byte, 2<<20), 0o600) // fills it and fails
	volume(2, "cannot be written to: no space left on device", "--canary")
	if err := os.Remove(big); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	volume(2, "is read-only", "--canary")
	volume(0, "tmpfs", "--read-only", "--warning", "inodes=")
	if err := unix.Unmount(dir, 0); err != nil {
		t.Fatal(err)
	}
	volume(2, "nothing is mounted at "+dir, "--mount-point")

	// a file system in user space whose program never answers
	fuse, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		lacking(t, "no /dev/fuse, so nothing hangs on purpose: "+err.Error())
	}
	t.Cleanup(func() { unix.Close(fuse) }) // ends what waits
	hung := mounted(t, "hung", "fuse", fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fuse))
	check(t, 2, "hangs: no answer for", "volume", hung, "--timeout", "1s")
	if left, _ := filepath.Glob(filepath.Join(dir, ".mesoscope*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

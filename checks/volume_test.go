//go:build linux

package checks

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// with replaces what looks at volumes for one test.
func withVolumes(t *testing.T, most int, look func(string, bool) volumeLook) {
	t.Helper()
	before := volumes
	volumes = &volumeLooks{pending: map[string]*pendingLook{}, most: most, look: look}
	t.Cleanup(func() { volumes = before })
}

func TestVolume(t *testing.T) {
	good := volumeLook{mount: mountPoint{path: "/data", fstype: "ext4", source: "/dev/sdb1"}, isMountPoint: true, used: 50 << 30, free: 50 << 30, inodes: 1000, inodesFree: 900, written: 1500 * time.Microsecond}
	looks := map[string]volumeLook{}
	add := func(name string, change func(*volumeLook)) string {
		l := good
		change(&l)
		looks["/"+name] = l
		return "/" + name
	}
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	withVolumes(t, 2, func(path string, _ bool) volumeLook {
		if strings.HasPrefix(path, "/hung") {
			<-hang
		}
		return looks[path]
	})
	trials := []trial{
		{name: "good", address: add("data", func(*volumeLook) {}), options: opt("mount-point", "true", "source", "/dev/sdb1", "fstype", "ext4"), text: "/data is ext4 on /dev/sdb1, 50.0 GiB free", metrics: "disk=50%;80;90 inodes=10%;80;90 free=53687091200B"},
		{name: "no numbers", address: add("proc", func(l *volumeLook) { l.used, l.free, l.inodes = 0, 0, 0 }), text: "/proc is ext4"},
		{name: "missing", address: add("missing", func(l *volumeLook) { l.err = &os.PathError{Op: "lstat", Path: "/x", Err: unix.ENOENT} }), want: Critical, signal: "missing"},
		{name: "not mounted", address: add("below", func(l *volumeLook) { l.isMountPoint = false; l.mount.path = "/" }), options: opt("mount-point", "true"), want: Critical, signal: "missing", text: "nothing is mounted at /below"},
		{name: "a folder", address: "/below"},
		{name: "other source", address: "/data", options: opt("source", "/dev/sdc1"), want: Critical, signal: "other", text: "wanted /dev/sdc1"},
		{name: "other type", address: "/data", options: opt("fstype", "nfs4"), want: Critical, signal: "other", text: "of type ext4, wanted nfs4"},
		{name: "read-only mount", address: add("ro", func(l *volumeLook) { l.mount.readOnly = true }), want: Critical, signal: "read_only"},
		{name: "read-only file system", address: add("rofs", func(l *volumeLook) { l.readOnly = true }), want: Critical, signal: "read_only"},
		{name: "may be read-only", address: "/ro", options: opt("read-only", "true")},
		{name: "error", address: add("stale", func(l *volumeLook) { l.err = unix.ESTALE }), want: Critical, signal: "error", text: "stale"},
		{name: "disk", address: add("disk", func(l *volumeLook) { l.free = 5 << 30 }), want: Critical, signal: "disk", text: "only 5.0 GiB are free"},
		{name: "inodes", address: add("inodes", func(l *volumeLook) { l.inodesFree = 150 }), want: Warning, signal: "inodes", text: "only 150 inodes are free"},
		{name: "canary", address: "/data", options: opt("canary", "true"), metrics: "write=0.0015s"},
		{name: "canary fails", address: add("full", func(l *volumeLook) { l.canary = &os.PathError{Op: "write", Path: "/full/x", Err: unix.ENOSPC} }), options: opt("canary", "true"), want: Critical, signal: "canary", text: "/full cannot be written to: no space left"},
		{name: "other system", address: add("mac", func(l *volumeLook) { *l = volumeLook{unsupported: true} }), want: Unknown, signal: "options", text: "Linux"},
		{name: "hung", address: "/hung", options: opt("timeout", "100ms"), want: Critical, signal: "hung", text: "/hung hangs: no answer for"},
		{name: "hung still", address: "/hung", options: opt("timeout", "100ms"), want: Critical, signal: "hung"},
		{name: "another hung", address: "/hung2", options: opt("timeout", "100ms"), want: Critical, signal: "hung"},
		{name: "crowded", address: "/data", want: Unknown, signal: "crowded", text: "2 other volumes hang"},
		{name: "relative path", address: "data", want: Unknown, signal: "options", text: "no absolute path"},
		{name: "condition", address: "/data", options: opt("expect", "[STATUS] == 200"), want: Unknown, signal: "options", text: "--expect"},
	}
	testKind(t, "volume", "", trials)
	if len(volumes.pending) != 2 {
		t.Errorf("%d looks are under way, want one for each path that hangs", len(volumes.pending))
	}
}

// TestVolumeComesBack: when a volume answers again, the next check sees it.
func TestVolumeComesBack(t *testing.T) {
	hang := make(chan struct{})
	withVolumes(t, 2, func(string, bool) volumeLook { <-hang; return volumeLook{used: 1, free: 1} })
	target, err := New("volume", "/data", nil, opt("timeout", "50ms"))
	if err != nil {
		t.Fatal(err)
	}
	if r := Run(context.Background(), target); r.State != Critical {
		t.Errorf("%+v", r)
	}
	close(hang)
	target.Timeout = 20 * time.Second
	if r := Run(context.Background(), target); r.State != OK {
		t.Errorf("%+v", r)
	}
}

// TestVolumeForReal looks at file systems that are there.
func TestVolumeForReal(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	none := opt("warning", "disk=", "critical", "disk=", "warning", "inodes=", "critical", "inodes=", "canary", "true")
	for _, c := range []trial{
		{name: "folder", address: dir, options: none, text: dir + " is "},
		{name: "link", address: link, options: none, text: "free"},
		{name: "no such folder", address: dir + "/nope", want: Critical, signal: "missing"},
		{name: "no mount point", address: dir, options: opt("mount-point", "true"), want: Critical, signal: "missing"},
		{name: "a mount point", address: "/proc", options: opt("mount-point", "true", "fstype", "proc"), text: "/proc is proc on "},
		{name: "no folder", address: "/proc/version", options: opt("canary", "true"), want: Critical, signal: "canary"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := c.run(t, "volume", "")
			if r.State != c.want || !strings.Contains(r.Text, c.text) || c.signal != "" && r.Findings[0].Signal != c.signal {
				t.Errorf("%s: %s", r.State, r.Text)
			}
		})
	}
	left, err := filepath.Glob(filepath.Join(dir, ".mesoscope*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if err := writeCanary("/nope"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

const mountLines = `21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro
30 21 8:2 / /data rw - ext4 /dev/sdb1 ro
31 21 0:40 / /data\040two rw master:1 - nfs4 nfs1:/a\134b rw
32 30 0:41 / /data rw - tmpfs none rw
33 21 0:42 / /dat ro - tmpfs short rw
nonsense
`

func TestFindMount(t *testing.T) {
	for path, want := range map[string]mountPoint{
		"/data":       {"/data", "tmpfs", "none", false},
		"/data/x":     {"/data", "tmpfs", "none", false},
		"/database":   {"/", "ext4", "/dev/sda1", false},
		"/dat":        {"/dat", "tmpfs", "short", true},
		"/data two/a": {"/data two", "nfs4", `nfs1:/a\b`, false},
	} {
		if got, ok := findMount(mountLines, path); !ok || got != want {
			t.Errorf("%s: %+v, want %+v", path, got, want)
		}
	}
	if m, _ := parseMount(strings.Split(mountLines, "\n")[1]); !m.readOnly {
		t.Error("a file system that is read-only is not seen as that")
	}
	if _, ok := findMount("", "/"); ok {
		t.Error("a mount where there is none")
	}
}

// FuzzMounts: a mount that is found holds the path.
func FuzzMounts(f *testing.F) {
	f.Add(mountLines, "/data/x")
	f.Add("1 2 3 4 / - ", "/")
	f.Fuzz(func(t *testing.T, text, path string) {
		if m, ok := findMount(text, path); ok && m.path != "/" && path != m.path && !strings.HasPrefix(path, m.path+"/") {
			t.Errorf("%q is found for %q", m.path, path)
		}
	})
}

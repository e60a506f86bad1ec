package tail

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"mesoscope/internal/jsonfile"
)

// These tests mount real file systems, and so need root.

// mounted mounts in a fresh folder, and unmounts at the end.
func mounted(t *testing.T, source, kind string, flags uintptr) string {
	t.Helper()
	if os.Geteuid() != 0 {
		lacking(t, "needs root, to mount")
	}
	dir := t.TempDir()
	if err := unix.Mount(source, dir, kind, flags&^unix.MS_RDONLY, ""); err != nil {
		lacking(t, "needs a machine where root may mount: "+err.Error())
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	if flags&unix.MS_RDONLY != 0 {
		readOnly(t, dir)
	}
	return dir
}

// readOnly makes a mount read-only. A bind mount takes that only afterwards.
func readOnly(t *testing.T, dir string) {
	t.Helper()
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
}

// TestTwoMountsOfOne: logs and hold folder lie on one file system, but come
// through two bind mounts, as `docker run -v logs -v hold` gives them. Nothing
// is lost while the agent runs, and the reason is named before the first line.
func TestTwoMountsOfOne(t *testing.T) {
	w := newWorld(t, 1)
	w.hold = mounted(t, t.TempDir(), "", unix.MS_BIND)
	c := w.container(0, jsonfile.Options{MaxSize: 3000, MaxFile: 1})
	w.start()
	w.until("the trial says why", func() bool {
		return strings.Contains(w.agent.f.HoldProblem(), "another mount")
	})
	c.write(200, true)
	w.check([]*container{c})
	w.until("settled", func() bool { return w.source(c).LagBytes == 0 })
	if s := w.source(c); s.Held || s.Gaps > 0 {
		t.Errorf("%+v", s)
	}
	w.kill()
}

// TestOneMountOfTwo: some logs lie on the mount of the hold folder, others do
// not. Each is told apart.
func TestOneMountOfTwo(t *testing.T) {
	w := newWorld(t, 1)
	c, other := w.container(0, jsonfile.Options{}), w.container(1, jsonfile.Options{})
	c.line(0, "one")
	other.line(0, "two")
	bind := mounted(t, filepath.Dir(other.writer.Path()), "", unix.MS_BIND)
	target := w.targets[other.id]
	target.Path = filepath.Join(bind, filepath.Base(target.Path))
	w.targets[other.id] = target
	w.start()
	w.expect(c, 0, "one")
	w.expect(other, 0, "two")
	if s := w.source(c); !s.Held {
		t.Errorf("%+v", s)
	}
	if s := w.source(other); s.Held {
		t.Errorf("%+v", s)
	}
	if p := w.agent.f.HoldProblem(); !strings.Contains(p, target.Path) || strings.Contains(p, c.id) {
		t.Errorf("problem %q", p)
	}
	w.kill()
}

// TestHoldReadOnly: the mount of logs and hold folder is read-only.
func TestHoldReadOnly(t *testing.T) {
	w := newWorld(t, 1)
	dir := mounted(t, "tmpfs", "tmpfs", 0)
	w.root, w.hold = dir, filepath.Join(dir, "hold")
	if err := os.Mkdir(w.hold, 0o700); err != nil {
		t.Fatal(err)
	}
	c := w.container(0, jsonfile.Options{})
	c.line(0, "one")
	c.writer.Close() // a file that is open for writing keeps the mount writable
	readOnly(t, dir)
	w.start()
	w.expect(c, 0, "one")
	if p := w.agent.f.HoldProblem(); !strings.Contains(p, "read-only") {
		t.Errorf("problem %q", p)
	}
	w.kill()
}

// asNobody runs do with the rights that nobody has on files. The kernel takes
// CAP_FOWNER and CAP_DAC_OVERRIDE from the thread as long as its file system
// user is not root.
func asNobody(t *testing.T, do func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		lacking(t, "needs root, to be somebody else")
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := unix.Setfsuid(65534)
		if err == nil {
			do()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// open are folders and files that nobody may pass and, as mode says, read.
func shared(t *testing.T, holdMode, logMode os.FileMode) (h *hold, log string) {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "mesoscope-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	h, log = &hold{dir: filepath.Join(dir, "hold")}, filepath.Join(dir, "log")
	must(t, os.Chmod(dir, 0o755), os.Mkdir(h.dir, 0o700), os.Chmod(h.dir, holdMode), os.WriteFile(log, nil, 0o600), os.Chmod(log, logMode))
	return h, log
}

// TestForeignOwner: a log that may be read and not be written cannot be linked
// without CAP_FOWNER.
func TestForeignOwner(t *testing.T) {
	h, log := shared(t, 0o777, 0o644)
	asNobody(t, func() { h.try(Target{Path: log}) })
	protected, err := os.ReadFile("/proc/sys/fs/protected_hardlinks")
	if err != nil {
		t.Fatal(err)
	}
	switch p := h.Problem(); {
	case strings.TrimSpace(string(protected)) == "0" && p != "":
		t.Errorf("this kernel lets everybody link, but %q", p)
	case strings.TrimSpace(string(protected)) != "0" && !strings.Contains(p, "CAP_FOWNER"):
		t.Errorf("problem %q", p)
	}
}

// TestForeignFolder: the hold folder cannot be written to.
func TestForeignFolder(t *testing.T) {
	h, log := shared(t, 0o755, 0o666)
	asNobody(t, func() { h.try(Target{Path: log}) })
	if p := h.Problem(); !strings.Contains(p, "CAP_DAC_OVERRIDE") {
		t.Errorf("problem %q", p)
	}
}

// TestLinksThatStay: in a sticky folder of somebody else, links can be made and
// not be removed. None is made then, or they would fill the disk.
func TestLinksThatStay(t *testing.T) {
	h, log := shared(t, 0o777|os.ModeSticky, 0o666)
	g := &generation{N: 1}
	asNobody(t, func() {
		h.try(Target{Path: log})
		f, err := os.Open(log)
		if err != nil {
			t.Error(err)
			return
		}
		g.file = f
		h.link("c", g)
	})
	defer g.close()
	if p := h.Problem(); !strings.Contains(p, "not be removed again") {
		t.Errorf("problem %q", p)
	}
	if g.Hold != "" || len(glob(filepath.Join(h.dir, "c"))) > 0 {
		t.Errorf("held as %q", g.Hold)
	}
}

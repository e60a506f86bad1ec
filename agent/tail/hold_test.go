package tail

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"mesoscope/internal/jsonfile"
)

// TestUnlinkedBeforeHeld: a file that has lost its name when its turn comes is
// kept by its descriptor, and nothing is wrong with the folder.
func TestUnlinkedBeforeHeld(t *testing.T) {
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.Remove(f.Name()); err != nil {
		t.Fatal(err)
	}
	h := hold{dir: filepath.Join(dir, "hold")}
	g := &generation{N: 1, file: f}
	h.link("c", g)
	if g.Hold != "" || g.file == nil || h.Problem() != "" {
		t.Errorf("hold %q, open %v, problem %q", g.Hold, g.file != nil, h.Problem())
	}
}

// TestHoldFolderIsPrivate: logs are not for everybody, and neither are links to
// them.
func TestHoldFolderIsPrivate(t *testing.T) {
	w, c := one(t, jsonfile.Options{})
	w.start()
	c.line(0, "one")
	w.until("held", func() bool { return w.source(c).Held })
	for _, dir := range []string{w.hold, filepath.Join(w.hold, c.id)} {
		if fi, err := os.Stat(dir); err != nil || fi.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v %v", dir, fi.Mode(), err)
		}
	}
	if left := glob(filepath.Join(w.hold, tryName)); len(left) > 0 {
		t.Errorf("the trial has left %v", left)
	}
	w.kill()
}

// TestTryOnce: each mount is tried once; a link that an earlier trial left is
// removed, because it would keep its file for ever.
func TestTryOnce(t *testing.T) {
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	h := hold{dir: filepath.Join(dir, "hold")}
	must(t, os.WriteFile(log, nil, 0o600), os.Mkdir(h.dir, 0o700), os.Link(log, filepath.Join(h.dir, tryName)))
	h.try(Target{Path: filepath.Join(dir, "missing")})
	must(t, syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600), os.Symlink(log, filepath.Join(dir, "link")))
	h.try(Target{Path: filepath.Join(dir, "pipe")})
	h.try(Target{Path: filepath.Join(dir, "link")})
	h.try(Target{Path: log, Steady: true}) // is not held, wherever it lies
	if len(h.tried) != 0 {
		t.Errorf("what is missing or no log counts as tried: %v", h.tried)
	}
	h.try(Target{Path: log})
	if left := glob(filepath.Join(h.dir, "*")); len(left) > 0 || h.Problem() != "" || len(h.tried) != 1 {
		t.Errorf("left %v, problem %q, tried %v", left, h.Problem(), h.tried)
	}
	if err := os.Remove(h.dir); err != nil {
		t.Fatal(err)
	}
	h.try(Target{Path: log}) // would fail
	if h.Problem() != "" {
		t.Errorf("tried again: %s", h.Problem())
	}
}

// TestHoldReasons: each reason says what to do, and a restart's danger.
func TestHoldReasons(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{syscall.EXDEV, "another mount"},
		{syscall.EROFS, "read-only"},
		{syscall.EPERM, "CAP_FOWNER"},
		{syscall.EACCES, "CAP_FOWNER"},
		{syscall.ENOSPC, "full"},
		{syscall.EIO, "input/output error"},
	} {
		text := HoldReason("/hold", &os.LinkError{Op: "link", Old: "a", New: "b", Err: c.err})
		if !strings.Contains(text, c.want) || !strings.Contains(text, "cannot be held in /hold") || !strings.Contains(text, "would be lost") {
			t.Errorf("%v: %s", c.err, text)
		}
	}
	text := HoldReason("/hold", &os.PathError{Op: "remove", Path: "b", Err: syscall.EPERM})
	if !strings.Contains(text, "not be removed again") {
		t.Error(text)
	}
}

// TestProblemsByMount: what cannot be held on one mount stays a problem when
// another mount works, and is said in one text whichever file showed it.
func TestProblemsByMount(t *testing.T) {
	other, err := os.MkdirTemp("/dev/shm", "mesoscope-")
	if err != nil {
		lacking(t, "needs a second file system at /dev/shm: "+err.Error())
	}
	defer os.RemoveAll(other)
	dir := t.TempDir()
	open := func(dir, name string) *os.File {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	here, there, too := open(dir, "a"), open(other, "b"), open(other, "c")
	h := hold{dir: "/hold"}
	h.fail("", there, syscall.EXDEV)
	said := h.Problem()
	h.fail("", too, syscall.EXDEV)
	h.works(here)
	if p := h.Problem(); p != said || !strings.Contains(p, there.Name()) {
		t.Errorf("%q, then %q", said, p)
	}
	h.fail("", nil, syscall.EROFS)
	if p := h.Problem(); strings.Count(p, "cannot be held") != 2 {
		t.Errorf("two problems: %q", p)
	}
	h.works(too)
	if p := h.Problem(); p != "" {
		t.Errorf("works again, but %q", p)
	}
}

// lacking ends a test for want of something: a failure in CI, else a skip.
func lacking(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("MESOSCOPE_TEST_CI") != "" {
		t.Fatal(what)
	}
	t.Skip(what)
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

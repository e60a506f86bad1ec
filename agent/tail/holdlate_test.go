package tail

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mesoscope/internal/jsonfile"
)

// A huge line over several files, whose rotations the test makes itself.
type huge struct {
	t    *testing.T
	c    *container
	path string
	want strings.Builder
}

func hugeLine(t *testing.T) (*world, *huge) {
	w, c := one(t, jsonfile.Options{})
	return w, &huge{t: t, c: c, path: c.writer.Path()}
}

// piece writes the next file of the line, as the live one.
func (h *huge) piece(text string, last bool) {
	h.want.WriteString(text)
	if last {
		text += "\n"
	}
	must(h.t, os.WriteFile(h.path, jsonfile.AppendEntry(nil, []byte(text), "stdout", nil, h.c.now), 0o600))
}

// shift puts the live file aside as .1, and what is there further.
func (h *huge) shift() {
	for _, names := range [][2]string{{".1.gz", ".2.gz"}, {"", ".1"}} {
		if err := os.Rename(h.path+names[0], h.path+names[1]); err != nil && !os.IsNotExist(err) {
			h.t.Fatal(err)
		}
	}
}

// compress makes .1.gz of .1, and keeps nothing else.
func (h *huge) compress() {
	text, err := os.ReadFile(h.path + ".1")
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if err == nil {
		_, err = z.Write(text)
	}
	must(h.t, err, z.Close(), os.WriteFile(h.path+".1.gz", packed.Bytes(), 0o600), os.Remove(h.path+".1"))
}

// TestCompressedBeforeHeld: a file loses its name to its compressed copy between
// the look that found it and the link, and the agent dies right behind that. What
// follows in the line was held, so the next run would never look for it.
func TestCompressedBeforeHeld(t *testing.T) {
	w, l := hugeLine(t)
	l.piece(strings.Repeat("a", 100), false)
	l.shift()
	l.piece(strings.Repeat("b", 100), false)
	s := w.stepper(Config{})
	src := s.f.sources[l.c.id]
	look := func(between func()) {
		t.Helper()
		src.mu.Lock()
		defer src.mu.Unlock()
		files, err := listLogs(l.path)
		must(t, err)
		found := src.identify(files, &s.f.hold)
		between()
		src.take(found, false, src.births.heard(), &s.f.hold)
	}
	look(func() {
		l.compress()
		l.shift() // and one more rotation: the copy is .2.gz by now
		l.compress()
		l.piece(strings.Repeat("c", 100), false)
	})
	if n := len(src.gens); n != 2 {
		t.Fatalf("%d files, want both", n)
	}
	for _, g := range src.gens {
		if g.Hold == "" || g.HoldIno == 0 {
			t.Errorf("the copy of file %d is not held", g.N)
		}
	}
	s.killed()
	// Both are rotated away while no agent runs.
	must(t, os.Remove(l.path+".1.gz"), os.Remove(l.path+".2.gz"))
	s = w.stepper(Config{})
	s.store(s.turn(l.c.id))
	must(t, os.Remove(l.path))
	l.piece("the end", true)
	for range 3 {
		s.save()
		s.store(s.turn(l.c.id))
	}
	w.expect(l.c, 0, l.want.String())
	s.killed()
}

// TestSameBytes: the files of a huge line of one character are the same to the last
// byte. One of them came and was compressed while no agent ran.
func TestSameBytes(t *testing.T) {
	w, l := hugeLine(t)
	s := w.stepper(Config{})
	piece := strings.Repeat("=", 100)
	l.piece(piece, false)
	s.store(s.turn(l.c.id))
	s.save()
	s.killed()
	for range 2 {
		l.shift()
		l.compress()
		l.piece(piece, false)
	}
	later := time.Now().Add(time.Second) // it takes a while to fill a file
	must(t, os.Chtimes(l.path+".1.gz", later, later))
	s = w.stepper(Config{})
	s.turn(l.c.id)
	if n := len(s.f.sources[l.c.id].gens); n != 3 {
		t.Errorf("%d files are known, want all three", n)
	}
	must(t, os.Remove(l.path))
	l.piece("the end", true)
	for range 3 {
		s.save()
		s.store(s.turn(l.c.id))
	}
	w.expect(l.c, 0, l.want.String())
	s.killed()
}

// TestLinkOfAReusedInode: the inode of a file whose copy is held comes back to
// another file of the same huge line, which an agent links and then dies. That link
// is not the one of the first file.
func TestLinkOfAReusedInode(t *testing.T) {
	dir := t.TempDir()
	g := &generation{N: 7, Ino: 4711, Head: 1, Hold: "7_4711_1_0", HoldIno: 4712}
	must(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	fi, err := os.Stat(filepath.Join(dir, "file"))
	must(t, err)
	g.HoldIno = inode(fi)
	other := generation{N: 8, Ino: 4711, Head: 1}
	must(t, os.Link(filepath.Join(dir, "file"), filepath.Join(dir, g.Hold)), os.WriteFile(filepath.Join(dir, other.holdName()), nil, 0o600))
	s := newSource(Target{ID: "c", Path: filepath.Join(dir, "log")}, state{}, false)
	s.gens = []*generation{g}
	s.adoptHeld(dir)
	if len(s.gens) != 2 || s.gens[1].N != 8 {
		t.Errorf("%d files, want the link that is no known file's too", len(s.gens))
	}
}

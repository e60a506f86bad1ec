package tail

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"testing"

	"mesoscope/internal/jsonfile"
)

// TestCompressesHeldCopy: what is held of a generation may be a compressed file
// itself. Another compressed file that begins with the same huge line is not it,
// even if it holds the same bytes.
func TestCompressesHeldCopy(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) *generation {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		z := gzip.NewWriter(f)
		if _, err := z.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return &generation{file: f}
	}
	held := write("held", "one piece of a line")
	g := &generation{Hold: "held"}
	if compresses(write("other", "the next one of it!"), g, dir, true) {
		t.Error("another file is taken for the one that is held")
	}
	same := write("same", "one piece of a line")
	if compresses(same, g, dir, true) {
		t.Error("one with the same bytes is taken for the one that is held")
	}
	if !compresses(held, g, dir, true) {
		t.Error("what is held is not recognised")
	}
	if same.whole = true; !compresses(same, g, dir, false) {
		t.Error("a copy is not recognised, although no other file begins so")
	}
}

// TestCopyTruncate: an operator's logrotate copies the file and truncates it. The
// copy is what was read already.
func TestCopyTruncate(t *testing.T) {
	w, c := one(t, jsonfile.Options{})
	w.start()
	c.line(0, "one")
	c.line(0, "two")
	w.expect(c, 0, "one", "two")
	text, err := os.ReadFile(c.writer.Path())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.writer.Path()+".1", text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(c.writer.Path(), 0); err != nil {
		t.Fatal(err)
	}
	c.line(0, "three")
	w.expect(c, 0, "one", "two", "three")
	w.until("settled", func() bool { return w.source(c).LagBytes == 0 })
	if err := w.agent.f.writeCheckpointNow(); err != nil {
		t.Fatal(err)
	}
	w.kill()
	w.start()
	c.line(0, "four")
	w.expect(c, 0, "one", "two", "three", "four")
	if n := w.store.sink.repeated; n > 0 {
		t.Errorf("%d lines were sent again, as if nobody had known the copy", n)
	}
	w.kill()
}

// TestHeldTooLate: a file loses its name to its compressed copy between the look
// that found it and the link. The copy is held instead.
func TestHeldTooLate(t *testing.T) {
	w, c := one(t, jsonfile.Options{})
	s := w.stepper(Config{})
	c.line(0, "one")
	s.turn(c.id)
	src := s.f.sources[c.id]
	g := src.gens[0]
	path := c.writer.Path()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.f.hold.release(c.id, g.Hold); err != nil { // as if it could not be made
		t.Fatal(err)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".1.gz", packed.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	s.turn(c.id)
	if g.Hold == "" || g.HoldIno == 0 {
		t.Fatalf("the copy is not held: %q, inode %d", g.Hold, g.HoldIno)
	}
	s.save()
	s.killed()
	if err := os.Remove(path + ".1.gz"); err != nil { // rotated away
		t.Fatal(err)
	}
	s = w.stepper(Config{})
	s.rounds(c.id, 2)
	w.expect(c, 0, "one")
	if n := w.source(c).Gaps; n != 0 {
		t.Errorf("%d gaps", n)
	}
	s.killed()
}

package tail

import (
	"compress/gzip"
	"os"
	"path/filepath"
	"testing"
)

// TestCompressesHeldCopy: what is held of a generation may be a compressed file
// itself. Another compressed file that begins with the same huge line is not its
// copy.
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
	write("held", "one piece of a line")
	g := &generation{Hold: "held"}
	if compresses(write("other", "the next one of it!"), g, dir, true) {
		t.Error("another file is taken for the one that is held")
	}
	if !compresses(write("copy", "one piece of a line"), g, dir, true) {
		t.Error("a copy is not recognised")
	}
}

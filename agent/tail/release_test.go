package tail

import (
	"os"
	"path/filepath"
	"testing"

	"mesoscope/internal/jsonfile"
)

// TestInspectHold: what is settled is not called lost, and what has another
// name is not called freed.
func TestInspectHold(t *testing.T) {
	w, c := one(t, jsonfile.Options{})
	hold := filepath.Join(w.hold, c.id)
	must(t, os.MkdirAll(hold, 0o700), os.MkdirAll(w.state, 0o700))
	add := func(n int64) *generation {
		path := filepath.Join(hold, "new")
		must(t, os.WriteFile(path, make([]byte, 1000), 0o600))
		ino, _ := live(path)
		g := &generation{N: n, Ino: ino, Head: n}
		g.Hold = g.holdName()
		must(t, os.Rename(path, filepath.Join(hold, g.Hold)))
		return g
	}
	done, half, named, later, unknown := add(1), add(2), add(3), add(4), add(5)
	must(t, os.Link(filepath.Join(hold, named.Hold), filepath.Join(w.root, "other")), os.WriteFile(filepath.Join(hold, "container.json"), nil, 0o600))
	ck, _, err := openCheckpoint(w.state, false)
	must(t, err)
	must(t, ck.save([]state{{ID: c.id, Generations: []generation{*done, *half, *named, *later},
		Settled: [2]Position{{Generation: 2, Offset: 300}, {Generation: 3}}}}), ck.close())
	before, err := os.ReadFile(checkpointIn(w.state))
	must(t, err)
	list, err := InspectHold(w.hold, w.state, filepath.Join(w.root, "missing"))
	must(t, err)
	var disk int64
	for _, g := range []*generation{done, half, later, unknown} {
		fi, err := os.Stat(filepath.Join(hold, g.Hold))
		must(t, err)
		n, _ := diskBytes(fi)
		disk += n
	}
	want := HeldContainer{ID: c.id, Folder: hold, Files: 5, Only: 4, Bytes: disk, UnstoredFiles: 3, Unstored: 700 + 1000 + 1000}
	if len(list) != 1 || list[0] != want {
		t.Errorf("%+v\nwant %+v", list, want)
	}
	if after, err := os.ReadFile(checkpointIn(w.state)); err != nil || string(after) != string(before) {
		t.Errorf("the checkpoint was changed, or %v", err)
	}
	if list, err := InspectHold(filepath.Join(w.root, "missing"), w.state); len(list) != 0 || err != nil {
		t.Errorf("%+v %v", list, err)
	}
}

// TestReleaseHoldSaysWhatStays: a link that cannot be removed is an error.
func TestReleaseHoldSaysWhatStays(t *testing.T) {
	dir := t.TempDir()
	stuck := (&generation{N: 1}).holdName() // a folder in the place of a link, and not empty
	must(t, os.MkdirAll(filepath.Join(dir, "c", stuck, "x"), 0o700), os.WriteFile(filepath.Join(dir, "c", "container.json"), nil, 0o600))
	if err := ReleaseHold(dir, "c"); err == nil {
		t.Error("no error")
	}
	if left := glob(filepath.Join(dir, "c", "*")); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
	if err := ReleaseHold(dir, "missing"); err == nil {
		t.Error("no error for a container that is not there")
	}
}

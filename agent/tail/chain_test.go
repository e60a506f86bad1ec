package tail

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestChainWhole(t *testing.T) {
	const tick = 4 * time.Millisecond
	noon := time.Date(2026, 11, 24, 12, 0, 0, 123456789, time.UTC)
	at := func(d time.Duration) time.Time { return noon.Add(d) }
	const mb = 1e6
	// A rotation at noon of a log with max-size=20m, the writer of which was
	// silent for a second before.
	last := lastStat{known: true, size: 20 * mb, written: at(-time.Second), unlinked: noon}
	next := nextStat{unbroken: true, born: noon, head: at(-50 * time.Microsecond)}
	type both struct {
		lastStat
		nextStat
	}
	with := func(change func(b *both)) both {
		b := both{last, next}
		change(&b)
		return b
	}
	noBirth := "does not tell when a file was born"
	for _, c := range []struct {
		name string
		both
		why string // "": whole
	}{
		{"one rotation", both{last, next}, ""},
		{"one rotation, in two ticks", with(func(b *both) { b.born = at(tick) }), ""},
		{"a busy writer", with(func(b *both) { b.written = noon }), ""},
		{"just enough bytes for a file in between, busy writer", with(func(b *both) { b.written, b.born = noon, at(6*time.Millisecond+1) }), "was born 6ms later, in which time another file of 20000000 bytes"},
		{"just not enough", with(func(b *both) { b.written, b.born = noon, at(6*time.Millisecond) }), ""},
		{"small files, busy writer", with(func(b *both) { b.size, b.written = 64<<10, noon }), "another file of 65536 bytes"},
		{"small files, silent writer", with(func(b *both) { b.size = 64 << 10 }), "another file of 65536 bytes"},
		{"10m, busy writer, in one tick", with(func(b *both) { b.size, b.written = 10*mb, noon }), ""},
		{"10m, busy writer, in two ticks", with(func(b *both) { b.size, b.written, b.born = 10*mb, noon, at(tick) }), "may have come and gone"},
		{"one slow rotation, by the first entry", with(func(b *both) { b.born = at(400 * time.Millisecond) }), ""},
		{"too slow", with(func(b *both) { b.born = at(slowest + 1) }), "was born 1s later"},
		{"slow, and the first entry came later", with(func(b *both) { b.born, b.head = at(400*time.Millisecond), at(399*time.Millisecond) }), "was born 400ms later"},
		{"slow, and the first entry continues a line of the last file", with(func(b *both) { b.born, b.head = at(400*time.Millisecond), at(-time.Second) }), "was born 400ms later"},
		{"slow, and the first entry may be a line of the last file", with(func(b *both) { b.born, b.written = at(400*time.Millisecond), at(-tick) }), "was born 400ms later"},
		{"an hour", with(func(b *both) { b.born, b.head = at(time.Hour), at(time.Hour) }), "was born 1h0m0s later"},
		{"chmod, a link or a clock behind the birth", with(func(b *both) { b.unlinked = at(1) }), "changed after the present file was born"},
		{"no birth times", with(func(b *both) { b.born = time.Time{} }), noBirth},
		{"whole seconds", with(func(b *both) { b.born, b.unlinked = noon.Truncate(time.Second), noon.Truncate(time.Second) }), "whole seconds"},
		{"not held", with(func(b *both) { b.lastStat = lastStat{why: "it was not held"} }), "and it was not held"},
		{"a hole in the names", with(func(b *both) { b.unbroken, b.nextStat.why = false, "the numbers have a gap" }), "and the numbers have a gap"},
	} {
		whole, why := chainWhole(c.lastStat, c.nextStat, tick)
		if whole != (c.why == "") || whole != (why == "") || !strings.Contains(why, c.why) {
			t.Errorf("%s: %v %q, want %q", c.name, whole, why, c.why)
		}
	}
}

// TestChainBroken: what the folder has to look like for a proof.
func TestChainBroken(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, text string) *generation {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, []byte(text), 0o600))
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return &generation{at: path, file: f}
	}
	log := filepath.Join(dir, "x-json.log")
	live, one, two := file("x-json.log", "{}"), file("x-json.log.1", "{}"), file("x-json.log.2.gz", "\x1f\x8b")
	held, packed := file("held", "{}"), file("packed", "\x1f\x8b")
	held.Hold, packed.Hold = "held", "packed"
	for _, c := range []struct {
		name string
		last *generation
		found
		want string
	}{
		{"an older one has a name", held, found{fresh: []*generation{live}, known: []match{{}}}, "an older one has"},
		{"one cannot be read", held, found{fresh: []*generation{live}, err: os.ErrPermission}, "cannot be read: permission denied"},
		{"the live one has no entry", held, found{fresh: []*generation{one}}, "no present one with an entry"},
		{"a hole", held, found{fresh: []*generation{live, two}}, "have a gap"},
		{"not held", &generation{}, found{fresh: []*generation{live}}, "it was not held"},
		{"the link has gone", &generation{Hold: "gone"}, found{fresh: []*generation{live}}, "the link to it cannot be read"},
		{"compressed", packed, found{fresh: []*generation{live}}, "compressed copy"},
	} {
		s := &source{target: Target{Path: log}, gens: []*generation{c.last}}
		if why := s.chainBroken(c.found, dir); !strings.Contains(why, c.want) {
			t.Errorf("%s: %q, want %q", c.name, why, c.want)
		}
	}
}

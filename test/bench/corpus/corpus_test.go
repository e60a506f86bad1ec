package corpus

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"mesoscope/internal/jsonfile"
)

// TestSameEverywhere holds the bytes: numbers of two machines or two versions
// can be compared only if they read the same.
func TestSameEverywhere(t *testing.T) {
	root := t.TempDir()
	s := Spec{Containers: 3, Lines: 10_000}
	size, err := Write(root, s)
	if err != nil {
		t.Fatal(err)
	}
	h := sha256.New()
	var total int64
	for i := range s.Containers {
		data, err := os.ReadFile(jsonfile.LogPath(root, ID(i)))
		if err != nil {
			t.Fatal(err)
		}
		h.Write(data)
		total += int64(len(data))
		number := 0
		for entry := range bytes.Lines(data) {
			var e struct{ Log string }
			if err := json.Unmarshal(entry, &e); err != nil {
				t.Fatal(err)
			}
			number++
			if c, n, ok := FindMarker([]byte(e.Log)); !ok || c != i || n != number {
				t.Fatalf("container %d line %d has marker %d#%d %v: %s", i, number, c, n, ok, e.Log)
			}
		}
		if number != s.PerContainer(i) {
			t.Errorf("container %d has %d lines, want %d", i, number, s.PerContainer(i))
		}
	}
	if total != size {
		t.Errorf("%d bytes, Write said %d", total, size)
	}
	if mean := size / int64(s.Lines); mean < MeanEntry*95/100 || mean > MeanEntry*105/100 {
		t.Errorf("%d bytes an entry, MeanEntry says %d", mean, MeanEntry)
	}
	const want = "245cb4af2fc0b3b610838af9a4d93a993e6c14a871b994abb0856cc008c0b52a"
	if got := fmt.Sprintf("%x", h.Sum(nil)); got != want {
		t.Errorf("the corpus has changed: %s, %.1f bytes an entry", got, float64(size)/float64(s.Lines))
	}
}

func TestMix(t *testing.T) {
	g := NewGenerator(1)
	count, size := map[string]int{}, map[string]int{}
	for n := 1; n <= 1000; n++ {
		line, stream := g.AppendLine(nil, n)
		kind := "text"
		switch {
		case stream == "stderr":
			kind = "stack"
		case bytes.HasPrefix(line, []byte("10.32.")):
			kind = "access"
		case line[0] == '{':
			kind = "json"
			if !json.Valid(line) {
				t.Errorf("not JSON: %s", line)
			}
		}
		count[kind]++
		size[kind] += len(line)
	}
	if want := map[string]int{"access": 630, "json": 260, "text": 100, "stack": 10}; fmt.Sprint(count) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", count, want)
	}
	for kind, want := range map[string]int{"access": 120, "json": 300} {
		if mean := size[kind] / count[kind]; mean < want*9/10 || mean > want*11/10 {
			t.Errorf("%s lines have %d bytes, want about %d", kind, mean, want)
		}
	}
}

// TestAnyOrder holds that a line does not depend on those made before it.
func TestAnyOrder(t *testing.T) {
	a, b := NewGenerator(2), NewGenerator(2)
	for n := 1; n <= 500; n++ {
		a.AppendLine(nil, n)
	}
	x, _ := a.AppendLine(nil, 77)
	y, _ := b.AppendLine(nil, 77)
	if !bytes.Equal(x, y) {
		t.Errorf("%s and %s", x, y)
	}
}

func TestFindMarker(t *testing.T) {
	f := func(in string, container, number int, ok bool) {
		t.Helper()
		if c, n, found := FindMarker([]byte(in)); c != container || n != number || found != ok {
			t.Errorf("%q: %d#%d %v, want %d#%d %v", in, c, n, found, container, number, ok)
		}
	}
	f("mk:3#17;", 3, 17, true)
	f("x mk:0#1; mk:9#9;", 0, 1, true)
	f("mk: mk:a#1; mk:4#5;", 4, 5, true)
	f("mk:3#17", 0, 0, false)
	f("mk:3#;", 0, 0, false)
	f("mk:#3;", 0, 0, false)
	f("mk:99999999999#1;", 0, 0, false)
	f("", 0, 0, false)
}

package demo

import (
	"os"
	"testing"
)

func TestTally(t *testing.T) {
	f := func(want int64, texts ...string) {
		t.Helper()
		root := t.TempDir()
		if err := os.MkdirAll(tallyDir(root), 0o755); err != nil {
			t.Fatal(err)
		}
		c, err := newTally(root, "x")
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range texts {
			if text == "END" {
				c.endRun()
			} else if err := c.add(stderr, text); err != nil {
				t.Fatal(err)
			}
		}
		got, per, err := readTallies(root) // before the file is closed: a killed process has no more to say
		if err != nil || got != want || per["x"] != want {
			t.Errorf("%q: %d lines, %v, %v, want %d", texts, got, per, err, want)
		}
		if err := c.close(); err != nil {
			t.Error(err)
		}
	}
	f(0)
	f(0, "")
	f(1, "a\n")
	f(3, "a\nb\nc\n")
	f(1, "a")                  // a line without its end is one
	f(1, "a", "b", "c\n")      // and stays one
	f(2, "a", "b\nc", "\n")    //
	f(2, "a", "END", "b\n")    // the next run does not continue it
	f(3, "a\nb", "END", "c\n") //
	f(1, "a\n", "END")         //
}

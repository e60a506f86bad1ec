package lockfile

import (
	"errors"
	"os"
	"testing"
)

func TestTake(t *testing.T) {
	dir := t.TempDir()
	l, err := Take(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Take(dir) // flock locks belong to the open file, so a second one is refused
	var taken *TakenError
	if !errors.As(err, &taken) || taken.PID != os.Getpid() {
		t.Fatalf("second Take: %v", err)
	}
	if err := l.Release(); err != nil {
		t.Fatal(err)
	}
	if l, err = Take(dir); err != nil {
		t.Fatal(err)
	}
	l.Release()
}

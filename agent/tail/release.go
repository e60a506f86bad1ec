package tail

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A HeldContainer is what a hold folder has of one container.
type HeldContainer struct {
	ID     string
	Folder string
	Files  int   // links
	Only   int   // of these, files that have no other name: removing the link frees them
	Bytes  int64 // on the disk, of the files that have no other name
	// Unstored are the bytes of the files that have no other name which the
	// checkpoint does not know to be stored. They may be: an agent that was
	// killed had no time to write down what was answered last.
	Unstored      int64
	UnstoredFiles int
}

// InspectHold says what the folder holdDir has, and how much of it is not known
// to be stored by the checkpoints in stateDirs. It changes nothing. A folder
// that is missing holds nothing; a checkpoint that is missing knows nothing.
func InspectHold(holdDir string, stateDirs ...string) ([]HeldContainer, error) {
	if _, err := os.ReadDir(holdDir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("look at the hold folder: %w", err)
	}
	var known []map[string]state
	for _, dir := range stateDirs {
		last, err := readCheckpoint(dir)
		if err != nil {
			return nil, err
		}
		known = append(known, last)
	}
	var list []HeldContainer
	h := hold{dir: holdDir}
	for _, id := range h.ids() {
		c := HeldContainer{ID: id, Folder: h.folder(id)}
		var states []state
		for _, last := range known {
			if st, ok := last[id]; ok {
				states = append(states, st)
			}
		}
		if err := c.inspect(states); err != nil {
			return nil, fmt.Errorf("look at the hold folder: %w", err)
		}
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b HeldContainer) int { return strings.Compare(a.ID, b.ID) })
	return list, nil
}

func (c *HeldContainer) inspect(states []state) error {
	names, err := os.ReadDir(c.Folder)
	if err != nil {
		return err
	}
	for _, e := range names {
		g, link := parseHoldName(e.Name())
		if !link {
			continue
		}
		fi, err := os.Stat(filepath.Join(c.Folder, e.Name()))
		if err != nil {
			return err
		}
		c.Files++
		bytes, names := diskBytes(fi)
		if names > 1 {
			continue
		}
		c.Only++
		c.Bytes += bytes
		left := fi.Size()
		for _, st := range states {
			left = min(left, unstored(st, g, fi.Size()))
		}
		if left > 0 {
			c.Unstored += left
			c.UnstoredFiles++
		}
	}
	return nil
}

// HoldDirs are the hold folders that the checkpoints in stateDirs name, besides that
// of the configuration. See Target.HoldDir.
func HoldDirs(stateDirs ...string) (dirs []string, err error) {
	for _, dir := range stateDirs {
		last, err := readCheckpoint(dir)
		if err != nil {
			return nil, err
		}
		for _, st := range last {
			if st.HoldDir != "" && !slices.Contains(dirs, st.HoldDir) {
				dirs = append(dirs, st.HoldDir)
			}
		}
	}
	slices.Sort(dirs)
	return dirs, nil
}

// readCheckpoint reads the states without beginning a new file.
func readCheckpoint(dir string) (map[string]state, error) {
	c := &checkpoint{path: checkpointIn(dir), last: map[string]state{}, lens: map[string]int64{}}
	text, err := os.ReadFile(c.path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read checkpoint: %w", err)
	}
	if _, err := c.load(text); err != nil {
		return nil, err
	}
	return c.last, nil
}

func checkpointIn(stateDir string) string { return filepath.Join(stateDir, "checkpoint") }

// unstored is how many bytes of a held file are not settled.
func unstored(st state, link generation, size int64) int64 {
	low := lower(st.Settled)
	for _, g := range st.Generations {
		if g.Ino != link.Ino || g.Head != link.Head {
			continue
		}
		switch {
		case g.Done || g.N < low.Generation:
			return 0
		case g.N == low.Generation:
			return max(0, size-low.Offset)
		}
	}
	return size
}

// ReleaseHold removes what an agent has put into holdDir for one container, and
// nothing else that lies there. The caller has the lock of the folder.
func ReleaseHold(holdDir, id string) error {
	folder := filepath.Join(holdDir, id)
	names, err := os.ReadDir(folder)
	for _, e := range names {
		if ours(e.Name()) {
			err = errors.Join(err, os.Remove(filepath.Join(folder, e.Name())))
		}
	}
	if err != nil {
		return fmt.Errorf("release what is held: %w", err)
	}
	os.Remove(folder) // stays if somebody else has put something there
	return nil
}

// LastWritten is when an agent with these folders wrote something last that
// says it lives: its checkpoint, or one of its locks. Zero: never.
func LastWritten(holdDir string, stateDirs ...string) (at time.Time, path string) {
	paths := []string{filepath.Join(holdDir, "lock")}
	for _, dir := range stateDirs {
		paths = append(paths, checkpointIn(dir), filepath.Join(dir, "lock"))
	}
	for _, p := range paths {
		if fi, err := os.Stat(p); err == nil && fi.ModTime().After(at) {
			at, path = fi.ModTime(), p
		}
	}
	return at, path
}

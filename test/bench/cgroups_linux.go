package main

import (
	"fmt"
	"os"
	"path/filepath"

	"mesoscope/test/bench/corpus"
)

// silentCgroups gives each of n containers an empty cgroup of the kernel in each
// hierarchy, so that the agent measures them as it measures Docker's. It returns
// what removes them; nil if this process may not make any.
func silentCgroups(n int) (remove func()) {
	mounts, _ := filepath.Glob("/sys/fs/cgroup/*/cgroup.procs") // v1, and v2 beside it
	if own := "/sys/fs/cgroup/cgroup.procs"; len(mounts) == 0 {
		mounts = []string{own}
	}
	var made []string
	remove = func() {
		for i := len(made) - 1; i >= 0; i-- {
			_ = os.Remove(made[i]) // nothing is in it
		}
	}
	for _, procs := range mounts {
		dir := filepath.Join(filepath.Dir(procs), fmt.Sprint("mesoscope-bench-", os.Getpid()))
		if os.Mkdir(dir, 0o755) != nil {
			continue
		}
		made = append(made, dir)
		for i := range n {
			if below := filepath.Join(dir, corpus.ID(i)); os.Mkdir(below, 0o755) == nil {
				made = append(made, below)
			}
		}
	}
	if len(made) == 0 {
		return nil
	}
	return remove
}

package agent

import (
	"os"
	"path/filepath"
	"strings"

	"mesoscope/agent/discover"
	"mesoscope/agent/tail"
	"mesoscope/config"
	"mesoscope/internal/lockfile"
)

// A container of the Mesos containerizer has two logs, one for each of its streams,
// so tail follows it as two sources. The lines that its executor prints on stderr can
// be a third stream.

// The ends of the ids of its sources.
const (
	stdoutSource = "_stdout"
	stderrSource = "_stderr"
)

// containerOf is the id of the container of a source.
func containerOf(source string) string {
	return strings.TrimSuffix(strings.TrimSuffix(source, stdoutSource), stderrSource)
}

func isSandbox(source string) bool { return containerOf(source) != source }

// sourcesOf are the ids of the sources of a container.
func sourcesOf(c discover.Container) []string {
	if c.Runtime != discover.RuntimeMesos {
		return []string{c.ID}
	}
	return []string{c.ID + stdoutSource, c.ID + stderrSource}
}

// runtime is what ids of streams and sources begin with.
func runtime(c discover.Container) string {
	if c.Runtime != "" {
		return c.Runtime
	}
	return "docker"
}

// sandboxTargets are the logs in a sandbox.
func (a *Agent) sandboxTargets(c *container) []tail.Target {
	out := a.target(c)
	out.HoldDir = a.holds[c.WorkDir()].dir
	err := out
	out.ID, out.Path, out.Format = c.ID+stdoutSource, c.Stdout(), tail.RawStdout
	err.ID, err.Path, err.Format = c.ID+stderrSource, c.Stderr(), tail.RawExecutor
	err.Streams[0] = c.executor
	switch a.opt.Config.Mesos.ExecutorLines {
	case config.ExecutorKeep:
		err.Format = tail.RawStderr
	case config.ExecutorDrop:
		err.DropExecutor = true
	}
	return []tail.Target{out, err}
}

// A hold is a hold folder beside the sandboxes of a Mesos agent.
type hold struct {
	dir  string // "": it cannot be used
	lock *lockfile.Lock
}

// holdName is the folder in work_dir: hard links need the sandboxes' own file system.
const holdName = "mesoscope-hold"

// holdBeside takes the hold folder of a work_dir, and what an earlier run has left in
// it. The caller has a.mu.
func (a *Agent) holdBeside(work string) {
	if _, known := a.holds[work]; known || !a.opt.Hold {
		return
	}
	h := hold{dir: filepath.Join(work, holdName)}
	err := os.MkdirAll(h.dir, 0o700)
	if err == nil {
		h.lock, err = lockfile.Take(h.dir)
	}
	if err != nil {
		a.log.Warn(tail.HoldReason(h.dir, err))
		h.dir = ""
	} else {
		a.tail.AddHold(h.dir)
		a.recalled = false // there may be more
	}
	a.holds[work] = h
}

// recallSandbox is for a sandbox that Mesos has not told of yet in this run: if its
// folder is there, it is followed as before, whether Mesos answers or not.
func (a *Agent) recallSandbox(source string, known discover.Container) {
	if known.Runtime == "" { // nothing was written down
		known.Runtime, known.Sandbox = discover.RuntimeMesos, filepath.Join(a.tail.HoldPath(source), "unknown")
	}
	c := &container{Container: known, stays: exists(known.Sandbox)}
	c.gone, c.Waiting = !c.stays, known.Undecided
	a.encode(c)
	a.containers[known.ID] = c
	if work := known.WorkDir(); work != "" {
		a.holdBeside(work)
	}
}

func exists(dir string) bool {
	_, err := os.Stat(dir)
	return dir != "" && err == nil
}

package command

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"mesoscope/agent/discover"
	"mesoscope/agent/tail"
	"mesoscope/config"
	"mesoscope/internal/lockfile"
)

// A released is what was removed of one container, or of all.
type released struct {
	ID            string `json:"id,omitempty"`
	Name          string `json:"name,omitempty"`
	Dir           string `json:"dir,omitempty"`
	Containers    int    `json:"containers,omitempty"`
	Files         int    `json:"files"`          // links that were removed
	FreedFiles    int    `json:"freed_files"`    // of these, files that had no other name
	FreedBytes    int64  `json:"freed_bytes"`    // on the disk
	UnstoredFiles int    `json:"unstored_files"` // of the freed ones, not known to be stored to their end
	UnstoredBytes int64  `json:"unstored_bytes"` // of log in them that is not known to be stored
}

func (r *released) add(o released) {
	r.Containers++
	r.Files += o.Files
	r.FreedFiles += o.FreedFiles
	r.FreedBytes += o.FreedBytes
	r.UnstoredFiles += o.UnstoredFiles
	r.UnstoredBytes += o.UnstoredBytes
}

// release is `mesoscope agent --release-hold`.
func (c *Agent) release(io IO) (err error) {
	if c.IfAgentDead < 0 {
		return Exit{Usage, errors.New("--if-agent-dead: a time like 1h, not a negative one")}
	}
	// Nothing is sent, so a configuration without an output will do: of this
	// kind it need not have one.
	cfg, err := config.Load(c.Config, config.Standalone)
	if err != nil {
		return Exit{Bad, err}
	}
	states := []string{filepath.Join(cfg.DataDir, string(config.Agent)), filepath.Join(cfg.DataDir, string(config.Standalone))}
	// Taking the locks below counts as a sign of life, so that a node where
	// nothing is left must not get as far.
	beside, err := tail.HoldDirs(states...)
	if err != nil {
		return Exit{Unknown, err}
	}
	dirs := append([]string{cfg.Hold.Dir}, beside...)
	if held, err := inspectHolds(dirs, states); err != nil {
		return Exit{Unknown, err}
	} else if len(held) == 0 {
		return c.printReleased(io, released{Dir: cfg.Hold.Dir}, nil)
	}
	if c.IfAgentDead > 0 {
		for _, dir := range dirs {
			if err := dead(c.IfAgentDead, dir, states); err != nil {
				return Exit{Bad, err}
			}
		}
	}
	for _, dir := range append(slices.Clone(dirs), states[0]) {
		lock, err := takeExisting(dir)
		if err != nil {
			return refused(err)
		}
		if lock != nil {
			defer lock.Release()
		}
	}
	held, err := inspectHolds(dirs, states)
	if err != nil {
		return Exit{Unknown, err}
	}
	var list []released
	all, failed := released{Dir: strings.Join(dirs, ", ")}, error(nil)
	for _, h := range held {
		r := released{ID: h.ID, Files: h.Files, FreedFiles: h.Only, FreedBytes: h.Bytes, UnstoredFiles: h.UnstoredFiles, UnstoredBytes: h.Unstored}
		if known, err := discover.ReadContainer(h.Folder); err == nil {
			r.Name = known.Name
		}
		if err := tail.ReleaseHold(filepath.Dir(h.Folder), h.ID); err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		all.add(r)
		list = append(list, r)
	}
	if err := c.printReleased(io, all, list); err != nil {
		return err
	}
	if failed != nil {
		return Exit{Bad, failed}
	}
	return nil
}

// inspectHolds is what all hold folders have.
func inspectHolds(dirs, states []string) (held []tail.HeldContainer, err error) {
	for _, dir := range dirs {
		list, err := tail.InspectHold(dir, states...)
		if err != nil {
			return nil, err
		}
		held = append(held, list...)
	}
	return held, nil
}

// takeExisting locks dir if it is there.
func takeExisting(dir string) (*lockfile.Lock, error) {
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return lockfile.Take(dir)
}

// refused says why a lock was not got.
func refused(err error) error {
	var taken *lockfile.TakenError
	if errors.As(err, &taken) {
		return Exit{Bad, fmt.Errorf("an agent runs here and needs what it holds: %w; nothing was released. End it first", err)}
	}
	return Exit{Unknown, err}
}

// dead is an error if an agent has written something within the last d.
func dead(d time.Duration, holdDir string, states []string) error {
	at, path := tail.LastWritten(holdDir, states...)
	age := time.Since(at)
	if at.IsZero() || age >= d {
		return nil
	}
	who := "an agent"
	if pid := lockedBy(filepath.Dir(path)); pid != "" {
		who = "an agent (process " + pid + ")"
	}
	return fmt.Errorf("%s has written %s %s ago, which is less than %s; nothing was released", who, path, ago(max(0, age.Seconds())), d)
}

// lockedBy is the process that locked dir last, as its file says.
func lockedBy(dir string) string {
	text, err := os.ReadFile(filepath.Join(dir, "lock"))
	if err != nil || len(text) > 20 {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// printReleased says what was released, and what it means.
func (c *Agent) printReleased(io IO, all released, list []released) error {
	if c.Output == "json" {
		out := json.NewEncoder(io.Out)
		for _, r := range list {
			if err := out.Encode(map[string]any{"container": r}); err != nil {
				return err
			}
		}
		return out.Encode(map[string]any{"released": all})
	}
	var b strings.Builder
	if len(list) == 0 {
		fmt.Fprintf(&b, "nothing is held in %s\n", clean(all.Dir))
	} else {
		t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "CONTAINER\tID\tFILES\tFREED\tNOT STORED")
		for _, r := range list {
			fmt.Fprintf(t, "%s\t%.12s\t%s\t%s\t%s\n", cell(cmp.Or(r.Name, "?")), clean(r.ID), count(int64(r.Files)), size(r.FreedBytes), size(r.UnstoredBytes))
		}
		t.Flush()
		fmt.Fprintf(&b, "\nreleased %s of %s in %s; %s freed\n", plural(all.Files, "file"), plural(all.Containers, "container"), clean(all.Dir), size(all.FreedBytes))
		if n := all.Files - all.FreedFiles; n > 0 {
			fmt.Fprintf(&b, "%s of them still lie in Docker's folder and freed nothing: an agent that starts here again reads them\n", count(int64(n)))
		}
		if all.UnstoredFiles == 0 {
			b.WriteString("every line of the freed files was stored\n")
		} else {
			fmt.Fprintf(&b, "%s of log in %s were not known to be stored: these lines are gone. An agent that starts here again writes down a gap for them\n",
				size(all.UnstoredBytes), plural(all.UnstoredFiles, "freed file"))
		}
	}
	_, err := fmt.Fprint(io.Out, b.String())
	return err
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return count(int64(n)) + " " + what + "s"
}

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A fault is one thing that can go wrong. do returns errNotNow when it does not
// fit at present; whatever else it returns ends the run.
type fault struct {
	name   string
	weight int
	do     func(h *harness) error
}

// faults is the table of all that can go wrong. -only and -not choose by name.
func faults() []fault {
	list := []fault{
		{"kill", 40, func(h *harness) error { return h.killed(h.pauseShort) }},
		{"kill-early", 8, killEarly},
		{"term", 4, terminated},
		{"burst", 6, (*harness).burst},
		{"long", 3, longLine},
		{"truncate", 3, onOne("truncate", isDocker)},
		{"copytruncate", 2, onOne("copytruncate", isUnlimited)},
		{"rename", 3, onOne("rename", isUnlimited)},
		{"nul-hole", 3, nulHole},
		{"reuse-inode", 3, onOne("reuse-inode", isRotated)},
		{"restart", 3, restarted},
		{"remove", 4, removed},
		{"brief", 2, brief},
		{"clock", 2, clockStep},
		{"pause", 2, paused},
		{"power", 3, powerCut},
		{"checkpoint-lost", 1, checkpoint(func(_ *harness, path string, _ []byte) error { return os.Remove(path) })},
		{"checkpoint-torn", 1, checkpoint(func(h *harness, path string, text []byte) error {
			return os.Truncate(path, int64(h.r.IntN(len(text))))
		})},
		{"checkpoint-corrupt", 1, checkpoint(func(h *harness, path string, text []byte) error {
			for range 1 + h.r.IntN(20) {
				text[h.r.IntN(len(text))] ^= byte(1 + h.r.IntN(255))
			}
			return os.WriteFile(path, text, 0o600)
		})},
		{"disk-full", 3, diskFull},
		{"flood-stage", 2, floodStage},
		{"rollover", 4, func(h *harness) error { return h.sink.Rollover() }},
		{"rollover-down", 4, func(h *harness) error { return h.killed(func() error { return h.sink.Rollover() }) }},
	}
	for _, w := range weathers() {
		list = append(list, fault{"sink-" + w.name, 2, func(h *harness) error {
			h.sky.set(w, time.Duration(300+h.r.IntN(2500))*time.Millisecond)
			return nil
		}})
	}
	return list
}

// killed kills the agent, does something while none runs, and starts it again.
func (h *harness) killed(meanwhile func() error) error {
	if err := h.kill(); err != nil {
		return err
	}
	err := meanwhile()
	if err != nil && !errors.Is(err, errNotNow) {
		return err
	}
	return errors.Join(h.agent.start(), err)
}

// kill kills the agent, and remembers what its checkpoint said.
func (h *harness) kill() error {
	err := h.agent.kill()
	h.kills++
	h.remember()
	return err
}

// pauseShort lets the writers work while no agent runs.
func (h *harness) pauseShort() error {
	h.wait(time.Duration(h.r.IntN([]int{50, 300, 1200}[h.r.IntN(3)])) * time.Millisecond)
	return nil
}

// killEarly kills agents that have just begun: before they follow, while they
// link, at their first checkpoint.
func killEarly(h *harness) error {
	if err := h.kill(); err != nil {
		return err
	}
	for range 1 + h.r.IntN(4) {
		if err := h.agent.launch(); err != nil {
			return err
		}
		h.wait(time.Duration(h.r.IntN(200)) * time.Millisecond)
		if err := h.kill(); err != nil {
			return err
		}
	}
	return h.agent.start()
}

// terminated ends the agent in an orderly way; with the store away that may
// fail, which its exit code says.
func terminated(h *harness) error {
	code, err := h.agent.terminate()
	if err != nil {
		return err
	}
	if code != 0 && code != 1 {
		return failure{crash, fmt.Sprintf("exit code %d after SIGTERM", code)}
	}
	h.remember()
	return errors.Join(h.pauseShort(), h.agent.start())
}

// one is a container that ok.
func (h *harness) one(ok func(*container) bool) *container {
	var list []*container
	for _, c := range h.containers {
		if !c.removed && ok(c) {
			list = append(list, c)
		}
	}
	if len(list) == 0 {
		return nil
	}
	return list[h.r.IntN(len(list))]
}

func isLive(c *container) bool      { return true }
func isUnlimited(c *container) bool { return c.spec.Log.MaxSize == 0 && c.box == nil }
func isRotated(c *container) bool   { return c.spec.Log.MaxSize > 0 && !c.lossy && c.box == nil }
func isDocker(c *container) bool    { return c.box == nil }

// onOne is a command to one container.
func onOne(what string, ok func(*container) bool) func(*harness) error {
	return func(h *harness) error {
		c := h.one(ok)
		if c == nil {
			return errNotNow
		}
		h.note("%s of %s", what, c.spec.Name)
		_, err := c.call(command{Do: what})
		return err
	}
}

// burst has all containers write without a pause for a while.
func (h *harness) burst() error {
	for _, c := range h.containers {
		if !c.removed {
			if _, err := c.call(command{Do: "burst", Bytes: int64(100 + h.r.IntN(1000))}); err != nil {
				return err
			}
		}
	}
	return nil
}

// longLine begins a line of up to 50 MB, over many generations, and kills the
// agent within it.
func longLine(h *harness) error {
	c := h.one(func(c *container) bool { return !c.spec.Endless })
	if c == nil {
		return errNotNow
	}
	size := 2<<20 + h.r.IntN(48<<20)>>h.r.IntN(5)
	h.note("%d bytes in %s", size, c.spec.Name)
	if _, err := c.call(command{Do: "long", Bytes: int64(size)}); err != nil {
		return err
	}
	for range h.r.IntN(3) {
		h.wait(time.Duration(h.r.IntN(300)) * time.Millisecond)
		if err := h.killed(h.pauseShort); err != nil {
			return err
		}
	}
	return nil
}

// restarted stops a container and starts it again: a line may stay without its
// end.
func restarted(h *harness) error {
	c := h.one(func(c *container) bool { return !c.spec.Endless && c.box == nil })
	if c == nil {
		return errNotNow
	}
	h.note("%s", c.spec.Name)
	err := c.running(false)
	if err == nil {
		_, err = c.call(command{Do: "restart"})
	}
	return errors.Join(c.running(true), err)
}

// removed is docker rm right behind the last line, and a new container in its
// place. The agent runs, and holds what there is; it may be killed right then.
func removed(h *harness) error {
	c := h.one(func(c *container) bool { return !c.steady })
	if c == nil {
		return errNotNow
	}
	h.note("%s", c.spec.Name)
	if err := h.removeContainer(c); err != nil {
		return err
	}
	if h.r.IntN(2) == 0 {
		if err := h.killed(h.pauseShort); err != nil {
			return err
		}
	}
	return h.newContainer(logOptions{Options: c.spec.Log, box: c.box.again()}, c.spec.Rate)
}

// removeContainer removes a container when its last file is held, together with
// what is known of it.
func (h *harness) removeContainer(c *container) error {
	if err := c.stop(h.r.IntN(2) == 0); err != nil {
		return err
	}
	if err := h.held(c, true); err != nil {
		return err
	}
	return errors.Join(c.quit(), c.remove())
}

// held waits until an agent holds the last file of a container, and has written
// down what is known of it.
func (h *harness) held(c *container, known bool) error {
	return h.until("an agent to hold the last lines of "+c.spec.Name, func() (bool, error) {
		r, err := c.call(command{Do: "ask"})
		if err != nil || !r.Live {
			return false, err
		}
		_, err = os.Stat(filepath.Join(c.spec.hold(), "container.json"))
		return err == nil || !known, nil
	})
}

// brief is a container that lives for 50 ms while an agent runs; for longer only
// if the machine is so busy that the agent was not there by then.
func brief(h *harness) error {
	c, err := h.briefContainer()
	if err != nil {
		return err
	}
	h.note("%s", c.spec.Name)
	h.wait(50 * time.Millisecond)
	if err := h.held(c, false); err != nil {
		return err
	}
	return errors.Join(c.stop(false), c.quit(), c.remove())
}

func clockStep(h *harness) error {
	c := h.one(isDocker)
	if c == nil {
		return errNotNow
	}
	step := time.Duration(h.r.Int64N(int64(2*time.Hour))) - time.Hour
	h.note("%s in %s", step.Round(time.Second), c.spec.Name)
	_, err := c.call(command{Do: "clock", Step: step})
	return err
}

func paused(h *harness) error {
	c := h.one(isLive)
	if _, err := c.call(command{Do: "pause"}); err != nil {
		return err
	}
	h.wait(time.Duration(h.r.IntN(1500)) * time.Millisecond)
	_, err := c.call(command{Do: "resume"})
	return err
}

// powerCut ends agent and container at once, and takes off the log file what
// was not synced.
func powerCut(h *harness) error {
	c := h.one(func(c *container) bool { return !c.spec.Endless && c.box == nil })
	if c == nil {
		return errNotNow
	}
	bytes, zeros := int64(1+h.r.IntN(20_000)>>h.r.IntN(8)), h.r.IntN(3) == 0
	return h.killed(func() error {
		h.note("%d bytes of %s, NULs: %t", bytes, c.spec.Name, zeros)
		_, err := c.call(command{Do: "power", Bytes: bytes, Flag: zeros})
		return err
	})
}

// checkpoint changes the file while no agent runs.
func checkpoint(change func(h *harness, path string, text []byte) error) func(*harness) error {
	return func(h *harness) error {
		return h.killed(func() error {
			path := h.checkpointPath()
			text, err := os.ReadFile(path)
			if err != nil || len(text) == 0 {
				return errNotNow
			}
			h.forgotten++
			return change(h, path, text)
		})
	}
}

// diskFull fills the file system of data_dir for a while, maybe with a start of
// the agent meanwhile, which then cannot be expected to succeed.
func diskFull(h *harness) error {
	if h.unmount == nil {
		return errNotNow
	}
	ballast := filepath.Join(h.data, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		return err
	}
	chunk := make([]byte, 64<<10)
	for err == nil {
		_, err = f.Write(chunk)
	}
	f.Close() // it is full
	h.wait(time.Duration(200+h.r.IntN(2500)) * time.Millisecond)
	if h.r.IntN(2) == 0 {
		return os.Remove(ballast)
	}
	if err := h.kill(); err != nil {
		return err
	}
	if err := h.agent.launch(); err != nil {
		return err
	}
	h.wait(time.Duration(h.r.IntN(600)) * time.Millisecond)
	// It may have found that it cannot work and ended; that is no fault.
	if err := h.agent.kill(); err != nil && h.agent.crashed() != nil {
		return err
	}
	return errors.Join(os.Remove(ballast), h.agent.start())
}

// floodStage is a full disk of the store.
func floodStage(h *harness) error {
	h.sink.Block(true)
	h.wait(time.Duration(200+h.r.IntN(2500)) * time.Millisecond)
	if h.r.IntN(2) == 0 {
		if err := h.killed(h.pauseShort); err != nil {
			return err
		}
	}
	h.sink.Block(false)
	return nil
}

// choose makes the table of those faults that -only and -not leave.
func choose(only, not string) ([]fault, error) {
	all := faults()
	known := func(list string) ([]string, error) {
		if list == "" {
			return nil, nil
		}
		names := strings.Split(list, ",")
		for _, n := range names {
			if !slices.ContainsFunc(all, func(f fault) bool { return f.name == n }) {
				var there []string
				for _, f := range all {
					there = append(there, f.name)
				}
				return nil, fmt.Errorf("no fault %q; there are %s", n, strings.Join(there, ", "))
			}
		}
		return names, nil
	}
	yes, err := known(only)
	if err != nil {
		return nil, fmt.Errorf("-only: %w", err)
	}
	no, err := known(not)
	if err != nil {
		return nil, fmt.Errorf("-not: %w", err)
	}
	var list []fault
	for _, f := range all {
		if (only == "" || slices.Contains(yes, f.name)) && !slices.Contains(no, f.name) {
			list = append(list, f)
		}
	}
	return list, nil
}

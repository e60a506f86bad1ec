package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"mesoscope/internal/jsonfile"
)

// A container is a writer process and what Docker's folder says about it.
type container struct {
	spec    writerSpec
	config  jsonfile.Container
	box     *box   // nil: it runs in Docker
	service string // what service.name has to be
	lossy   bool   // its files are truncated in place by rotations
	steady  bool   // it stays to the end
	removed bool

	patience time.Duration

	cmd     *exec.Cmd
	in      io.WriteCloser
	enc     *json.Encoder
	replies chan reply
	errs    *os.File
}

// startContainer makes the folder as dockerd does, and starts the writer.
func (h *harness) startContainer(c *container) error {
	if err := h.makeFolder(c); err != nil {
		return err
	}
	text, err := json.Marshal(c.spec)
	if err != nil {
		return err
	}
	c.cmd = exec.Command(h.self, "writer", string(text))
	c.cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "GOMEMLIMIT=200MiB")
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if c.errs, err = os.Create(filepath.Join(h.dir, "writers", c.spec.Name)); err != nil {
		return err
	}
	c.cmd.Stderr = c.errs
	if err := c.cmd.Start(); err != nil {
		return err
	}
	c.enc, c.replies = json.NewEncoder(c.in), make(chan reply)
	go func() {
		defer close(c.replies)
		dec := json.NewDecoder(out)
		for {
			var r reply
			if dec.Decode(&r) != nil {
				return
			}
			c.replies <- r
		}
	}()
	h.containers = append(h.containers, c)
	return nil
}

// call has a command carried out.
func (c *container) call(what command) (reply, error) {
	if err := c.enc.Encode(what); err != nil {
		return reply{}, c.failed(err)
	}
	select {
	case r, ok := <-c.replies:
		if !ok {
			return r, c.failed(errors.New("it has ended"))
		}
		if r.Stuck {
			return r, failure{stuck, fmt.Sprintf("%s: no agent has taken hold of its file for %s", c.spec.Name, c.patience)}
		}
		switch r.Err {
		case "":
			return r, nil
		case errNotNow.Error():
			return r, errNotNow
		}
		return r, fmt.Errorf("%s: %s: %s", c.spec.Name, what.Do, r.Err)
	case <-time.After(c.patience):
		return reply{}, failure{stuck, fmt.Sprintf("%s: %s: no answer within %s; no agent has taken hold of its file?", c.spec.Name, what.Do, c.patience)}
	}
}

func (c *container) failed(err error) error {
	text, readErr := os.ReadFile(c.errs.Name())
	return fmt.Errorf("writer %s: %w", c.spec.Name, errors.Join(err, readErr, errors.New(string(text))))
}

// running tells in Docker's own words whether the container runs.
func (c *container) running(yes bool) error {
	if c.box != nil {
		c.box.ended.Store(!yes)
		return nil
	}
	c.config.Running = yes
	if yes {
		c.config.Started = time.Now()
	} else {
		c.config.Finished = time.Now()
	}
	return jsonfile.WriteConfig(c.spec.Root, c.config)
}

// stop ends the container; hasty leaves lines that are open without their ends.
// What it was writing is held by an agent when stop returns.
func (c *container) stop(hasty bool) error {
	if _, err := c.call(command{Do: "end", Flag: hasty}); err != nil {
		return err
	}
	return c.running(false)
}

// quit ends the writer process.
func (c *container) quit() error {
	_, err := c.call(command{Do: "quit"})
	return errors.Join(err, c.in.Close(), c.cmd.Wait(), c.errs.Close())
}

// kill ends the writer process, whatever it does.
func (c *container) kill() {
	if c.cmd == nil || c.cmd.ProcessState != nil {
		return
	}
	_ = c.cmd.Process.Kill() // fails if it has ended
	_ = c.cmd.Wait()         // killed
}

// remove is docker rm.
func (c *container) remove() error {
	c.removed = true
	if c.box != nil {
		return c.box.remove()
	}
	return os.RemoveAll(jsonfile.Dir(c.spec.Root, c.spec.ID))
}

func (c *container) path() string { return c.spec.path() }

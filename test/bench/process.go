package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// exitTimeout is how long a process may take to end after SIGTERM.
const exitTimeout = 20 * time.Second

// A process is what is measured, or the sink.
type process struct {
	cmd    *exec.Cmd
	stderr bytes.Buffer
	ended  chan struct{}
	err    error // of Wait; set before ended is closed
	begun  time.Time
}

// A seat is the cores that a process may use: 0 is the first of those that we
// may use ourselves.
type seat []int

// The usual seats: what is measured has a core for itself, as the sink has.
var (
	measured = seat{0}
	beside   = seat{1}
)

// start runs argv on its seat, with as many Go processors. It is pinned where
// taskset is there and there are so many cores.
func start(on seat, argv ...string) (*process, error) {
	p := command(on, argv...)
	return p, p.start()
}

// command is such a process, not started yet.
func command(on seat, argv ...string) *process {
	if path, err := exec.LookPath("taskset"); err == nil {
		if list := cores(); len(list) > slices.Max(on) {
			var names []string
			for _, i := range on {
				names = append(names, strconv.Itoa(list[i]))
			}
			argv = append([]string{path, "-c", strings.Join(names, ",")}, argv...)
		}
	}
	p := &process{cmd: exec.Command(argv[0], argv[1:]...), ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), "GOMAXPROCS="+strconv.Itoa(len(on)))
	p.cmd.Stderr = &p.stderr
	return p
}

func (p *process) start() error {
	p.begun = time.Now()
	if err := p.cmd.Start(); err != nil {
		return err
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	return nil
}

// stop ends the process, which may have ended by itself, and returns an error
// if it did not end well.
func (p *process) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.ended:
	case <-time.After(exitTimeout):
		p.kill()
		return fmt.Errorf("%s did not end within %v of SIGTERM: %s", p.cmd.Path, exitTimeout, p.said())
	}
	if p.err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(p.cmd.Args, " "), p.err, p.said())
	}
	return nil
}

func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.ended
}

// said is the end of what the process wrote to stderr. It has ended.
func (p *process) said() string {
	s := p.stderr.String()
	return strings.TrimSpace(s[max(0, len(s)-2000):])
}

// died is an error if the process has ended.
func (p *process) died() error {
	select {
	case <-p.ended:
		return fmt.Errorf("%s ended: %v: %s", strings.Join(p.cmd.Args, " "), p.err, p.said())
	default:
		return nil
	}
}

// cpu is what the process has used in all its life. It has ended.
func (p *process) cpu() time.Duration {
	return p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
}

// waitFor asks done each step until it is true. It fails when the process ends
// or ctx is done, and when done has made no progress for a minute: done also
// returns a number that grows while it gets nearer.
func (p *process) waitFor(ctx context.Context, step time.Duration, done func() (bool, int64, error)) error {
	const patience = time.Minute
	tick := time.NewTicker(step)
	defer tick.Stop()
	last, since := int64(-1), time.Now()
	for {
		ok, progress, err := done()
		if ok || err != nil {
			return err
		}
		if progress != last {
			last, since = progress, time.Now()
		}
		if time.Since(since) > patience {
			return fmt.Errorf("no progress for %v at %d", patience, last)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.ended:
			// What it sent last may only be counted now.
			if ok, _, err := done(); ok || err != nil {
				return err
			}
			return p.died()
		case <-tick.C:
		}
	}
}

// freeAddr is a loopback address that nobody listens on at this moment.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

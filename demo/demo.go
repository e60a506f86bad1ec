package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// stopTimeout is how long a service may take to print its last line.
const stopTimeout = 10 * time.Second

// A Demo is a running workload.
type Demo struct {
	root     string
	log      *slog.Logger
	children []*child
	stopping chan struct{} // closed when the services are told to end
	stop     sync.Once
	ended    chan struct{} // closed when all have ended
	err      error         // set before ended is closed
}

// A child is the process of one service.
type child struct {
	name   string
	cmd    *exec.Cmd
	stdin  io.Closer // the service ends when this is closed, by us or by our death
	stderr bytes.Buffer
}

// Names are the services that Start runs, sorted.
func Names() []string { return slices.Sorted(maps.Keys(services)) }

// Start runs the services as child processes. root becomes a Docker root: the
// logs are <root>/containers/<id>/<id>-json.log. self is the command line that
// runs Service; a name and "--root", root are appended to it.
//
// The services end when Stop is called, when ctx is done, and when this process
// dies. A service that ends before is reported to log and by Stop.
func Start(ctx context.Context, root string, self []string, log *slog.Logger) (*Demo, error) {
	for _, dir := range []string{filepath.Join(root, "containers"), tallyDir(root)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("start demo: %w", err)
		}
	}
	d := &Demo{root: root, log: log, stopping: make(chan struct{}), ended: make(chan struct{})}
	for _, name := range Names() {
		c, err := startChild(name, root, self)
		if err != nil {
			d.end()
			go d.wait()
			<-d.ended
			return nil, fmt.Errorf("start demo service %s: %w", name, err)
		}
		d.children = append(d.children, c)
	}
	go d.wait()
	// The registration is given back when the demo ends by itself.
	release := context.AfterFunc(ctx, d.end)
	go func() { <-d.ended; release() }()
	return d, nil
}

func startChild(name, root string, self []string) (*child, error) {
	c := &child{name: name, cmd: exec.Command(self[0], append(slices.Clone(self[1:]), name, "--root", root)...)}
	c.cmd.Stderr = &c.stderr
	c.cmd.Env = append(os.Environ(), "GOMAXPROCS=1") // ten small processes on a small machine
	c.cmd.SysProcAttr = childAttr()
	stdin, err := c.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	c.stdin = stdin
	return c, c.cmd.Start()
}

// wait waits for all children and keeps their errors.
func (d *Demo) wait() {
	errs := make([]error, len(d.children))
	var wg sync.WaitGroup
	for i, c := range d.children {
		wg.Go(func() {
			err := c.cmd.Wait()
			if err != nil {
				errs[i] = fmt.Errorf("demo service %s: %w: %s", c.name, err, bytes.TrimSpace(c.stderr.Bytes()))
			}
			select {
			case <-d.stopping:
			default:
				if err == nil {
					errs[i] = fmt.Errorf("demo service %s ended by itself", c.name)
				}
				d.log.Error("a demo service has ended", "service", c.name, "err", errs[i])
			}
		})
	}
	wg.Wait()
	d.err = errors.Join(errs...)
	close(d.ended)
}

// end tells the services to end.
func (d *Demo) end() {
	d.stop.Do(func() {
		close(d.stopping)
		// A closed stdin also reaches a child that has not come to its signal
		// handler yet, which a SIGTERM would kill before it has counted.
		for _, c := range d.children {
			c.stdin.Close()
		}
	})
}

// Stop ends the services: each finishes its line and its count. It returns
// what went wrong with any of them since Start; then Written may be too high.
func (d *Demo) Stop() error {
	d.end()
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case <-d.ended:
	case <-timer.C:
		for _, c := range d.children {
			c.cmd.Process.Kill() // fails for those that have ended
		}
		<-d.ended
	}
	return d.err
}

// Written is how many lines the containers have printed, in all and for each
// container id. A line is what an event should be: long ones count once, and so
// does the piece without a newline at the end of a run. While the services run
// it is at least what the files hold; after Stop it is exactly that.
func (d *Demo) Written() (int64, map[string]int64, error) { return readTallies(d.root) }

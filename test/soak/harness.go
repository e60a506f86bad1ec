package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"mesoscope/internal/jsonfile"
)

// A harness is one run.
type harness struct {
	opt     options
	self    string // this program, which is the writers too
	dir     string // of the run
	root    string // Docker's
	data    string // data_dir
	r       *rand.Rand
	out     io.Writer
	ctx     context.Context
	began   time.Time
	unmount func() error // of data, nil if it is no file system of its own
	mesos   *mesosAgent

	sink       sink
	sky        *sky
	agent      *agent
	containers []*container
	made       int

	notes     []string // the faults so far
	detail    string   // of the present one
	counts    map[string]int
	kills     int
	forgotten int // checkpoints lost
	snapshots []snapshot
}

// A failure is what a run finds wrong. kind is one word.
type failure struct{ kind, text string }

func (f failure) Error() string { return f.kind + ": " + f.text }

// The kinds of failures.
const (
	lost       = "lost"       // a line is not there
	doubled    = "doubled"    // it is there more than once
	order      = "order"      // it is not in its place
	text       = "text"       // it says something else than was written
	metadata   = "metadata"   // somebody else's fields stand on it
	unknown    = "unknown"    // nobody wrote it
	undeclared = "undeclared" // it was destroyed at source, and nothing says so
	ahead      = "checkpoint" // the checkpoint had passed it before it was stored
	receipts   = "receipt"    // a receipt says something else
	stuck      = "stuck"      // something did not happen in time
	crash      = "crash"      // the agent has ended by itself
)

func newHarness(ctx context.Context, opt options, out io.Writer) (*harness, error) {
	h := &harness{opt: opt, out: out, ctx: ctx, r: rand.New(rand.NewPCG(opt.seed, 0)), began: time.Now(), counts: map[string]int{}}
	var err error
	if h.self, err = os.Executable(); err != nil {
		return nil, err
	}
	if h.dir, err = os.MkdirTemp(opt.dir, "mesoscope-soak-"); err != nil {
		return nil, err
	}
	h.root, h.data = filepath.Join(h.dir, "docker"), filepath.Join(h.dir, "data")
	for _, dir := range []string{filepath.Join(h.root, "containers"), h.data, filepath.Join(h.dir, "journal"), filepath.Join(h.dir, "writers")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// open puts everything in place: the sink, the agent, the first containers.
func (h *harness) open(bin string) error {
	if h.opt.cycles == 0 {
		why := ""
		if h.unmount, why = mountSmall(h.data, 64<<20); why != "" {
			fmt.Fprintf(h.out, "the fault disk-full is left out: %s\n", why)
		}
	}
	h.sky = &sky{r: rand.New(rand.NewPCG(h.opt.seed, 1))}
	var err error
	if h.sink, err = h.newSink(); err != nil {
		return err
	}
	h.mesos = newMesosAgent(filepath.Join(h.dir, "mesos"))
	if h.agent, err = newAgent(bin, h.dir, fmt.Sprintf(`data_dir: %s
http: {listen: "127.0.0.1:0"}
docker: {root: %s, socket: ""}
mesos: {agent: %q}
hold: {min_free: "0"}
output:
  elasticsearch:
    hosts: [%q]
    namespace: %s
`, h.data, h.root, h.mesos.URL, h.sink.URL(), h.opt.namespace()), h.opt.patience); err != nil {
		return err
	}
	if h.opt.unguarded {
		// Nobody can know of a file that went before the first agent began; guarded
		// writers wait for it.
		if err := h.agent.start(); err != nil {
			return err
		}
	}
	for _, o := range h.opt.logs() {
		if err := h.newContainer(o, 0); err != nil {
			return err
		}
	}
	if h.opt.unguarded {
		return nil
	}
	return h.agent.start()
}

func (h *harness) newSink() (sink, error) {
	if h.opt.elasticsearch == "" {
		return newFakeSink(h.sky, h.opt.linesIndex())
	}
	s, err := newRealSink(h.sky, h.opt.elasticsearch, h.opt.linesIndex())
	if err != nil {
		return nil, err // and not a sink that is none
	}
	return s, nil
}

// close ends everything that still runs, and removes the folder unless it is of
// interest.
func (h *harness) close(keep bool) error {
	var errs []error
	if h.agent != nil && h.agent.cmd != nil {
		_ = h.agent.kill() // its faults have been found by now
	}
	for _, c := range h.containers {
		c.kill()
	}
	if h.mesos != nil {
		h.mesos.Close()
	}
	if h.sink != nil {
		errs = append(errs, h.sink.Close())
	}
	if keep && h.unmount != nil {
		errs = append(errs, os.CopyFS(filepath.Join(h.dir, "data-kept"), os.DirFS(h.data)))
	}
	if h.unmount != nil {
		errs = append(errs, h.unmount())
	}
	if !keep {
		errs = append(errs, os.RemoveAll(h.dir))
	}
	return errors.Join(errs...)
}

// wait lets time pass, unless the run is given up.
func (h *harness) wait(d time.Duration) {
	select {
	case <-time.After(d):
	case <-h.ctx.Done():
	}
}

// until waits until ok.
func (h *harness) until(what string, ok func() (bool, error)) error {
	for deadline := time.Now().Add(h.opt.patience); ; h.wait(5 * time.Millisecond) {
		if done, err := ok(); err != nil || done {
			return err
		}
		if err := h.ctx.Err(); err != nil {
			return err
		}
		if err := h.agent.crashed(); err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return failure{stuck, "waited in vain for " + what}
		}
	}
}

// note says more about the present fault.
func (h *harness) note(format string, args ...any) {
	h.detail = strings.TrimPrefix(h.detail+"; "+fmt.Sprintf(format, args...), "; ")
}

// newContainer makes a container with the given log options. rate 0 lets the
// dice decide.
func (h *harness) newContainer(o logOptions, rate float64) error {
	c := h.describe(o)
	if c.spec.Rate = rate; rate == 0 {
		c.spec.Rate = h.opt.rate * (0.3 + 1.4*h.r.Float64())
	}
	if err := h.startContainer(c); err != nil || !h.opt.unguarded {
		return err
	}
	return h.held(c, false) // an agent that has never seen it cannot miss anything
}

// briefContainer makes one that will not live long.
func (h *harness) briefContainer() (*container, error) {
	c := h.describe(logOptions{})
	c.spec.Rate = 200
	return c, h.startContainer(c)
}

func (h *harness) describe(o logOptions) *container {
	h.made++
	name := fmt.Sprintf("c%d", h.made)
	c := &container{patience: h.opt.patience, service: name, steady: o.steady, lossy: o.InPlace}
	seed := h.r.Uint64()
	id := fmt.Sprintf("%016x%016x%032x", seed, h.opt.seed, h.made)
	c.config = jsonfile.Container{ID: id, Name: name, Image: "soak:1", Running: true, Created: time.Now(), Log: o.Options}
	switch h.r.IntN(3) {
	case 0:
		c.service = "/soak/" + name
		c.config.Env = []string{"MARATHON_APP_ID=" + c.service, "MESOS_TASK_ID=soak_" + name}
	case 1:
		c.service = "label-" + name
		c.config.Labels = map[string]string{"mesoscope.service": c.service}
	}
	c.spec = writerSpec{Seed: seed, Root: h.root, Journal: filepath.Join(h.dir, "journal", name), ID: id, Name: name, Log: o.Options,
		Guarded: !h.opt.unguarded, Patience: h.opt.patience, Endless: o.endless, Long: o.long, Longest: 6 << 20}
	if o.box != nil {
		h.describeBox(c, *o.box)
	}
	return c
}

// Command soak is the fault harness: it runs the real agent against containers
// that write and rotate as under Docker, makes everything go wrong that can, and
// then compares what is stored with what was written, line by line.
//
//	go run ./test/soak -duration 30m               # a seed of the time
//	go run ./test/soak -duration 2m -seed 4711     # the same faults again
//	go run ./test/soak -cycles 1000                # kill -9, a thousand times
//	go run ./test/soak -only kill,power            # -not leaves some out
//	go run ./test/soak -mutants                    # is the harness any good?
//
// A seed gives the same faults in the same order and the same lines; in which
// moment of the agent's work they fall is up to the machine.
//
// The way of the data: writer processes (writer.go, one a container) make up
// lines (text.go), write them through internal/jsonfile into a Docker root, and
// note each one in a journal -> the agent, a child process (agent.go), which
// faults.go kills and starves -> the fake Elasticsearch, or a proxy before a
// real one (sink.go), under a weather of refusals and cut connections
// (weather.go) -> verdict.go reads the journals (oracle.go) and the documents:
// each line once, in its place, with its text and its metadata, and no
// checkpoint ever ahead of the store (checkpoint.go).
//
// What a fault destroys at source (truncated, lost by a power cut) is noted in
// the journal too: those lines may be missing, if the agent says so.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "writer" {
		if err := writerMain(os.Args[2:], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	opt, err := parseOptions(args, out)
	if err != nil {
		return err
	}
	if opt.mutants {
		return runMutants(ctx, opt, out)
	}
	bin := opt.bin
	if bin == "" {
		dir, err := os.MkdirTemp("", "mesoscope-soak-bin-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		bin = filepath.Join(dir, "mesoscope")
		if err := build(ctx, bin, opt.race); err != nil {
			return err
		}
	}
	v, err := soak(ctx, opt, bin, out)
	if err != nil {
		return err
	}
	if len(v.counts) > 0 {
		return errors.New("not exactly once: " + v.summary())
	}
	return nil
}

// build builds the agent. more are further arguments of go build.
func build(ctx context.Context, bin string, race bool, more ...string) error {
	args := append([]string{"build", "-o", bin}, more...)
	env := append(os.Environ(), "CGO_ENABLED=0")
	if race {
		args, env = append(args, "-race"), append(os.Environ(), "CGO_ENABLED=1")
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "mesoscope")...)
	cmd.Env = env
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the agent: %w: %s", err, out)
	}
	return nil
}

// soak is one run: faults, quiet, verdict.
func soak(ctx context.Context, opt options, bin string, out io.Writer) (v *verdict, err error) {
	list, err := choose(opt.only, opt.not)
	if err != nil {
		return nil, err
	}
	h, err := newHarness(ctx, opt, out)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(out, "seed %d, folder %s\n", opt.seed, h.dir)
	defer func() {
		keep := opt.keep || err != nil && ctx.Err() == nil || v != nil && len(v.counts) > 0
		if closed := h.close(keep); closed != nil && err == nil {
			err = closed
		}
		if keep {
			fmt.Fprintf(out, "kept for a look: %s\n", h.dir)
		}
	}()
	broken := h.open(bin)
	if broken == nil && opt.cycles > 0 {
		broken = h.cycles()
	} else if broken == nil {
		broken = h.storm(list)
	}
	if broken == nil {
		broken = h.calm()
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	var wrong failure
	if broken != nil && !errors.As(broken, &wrong) {
		return nil, broken
	}
	if h.sink == nil || h.agent == nil {
		return nil, broken
	}
	if v, err = h.judge(broken != nil); err != nil {
		return nil, errors.Join(broken, err)
	}
	if broken != nil {
		v.counts[wrong.kind]++
		v.failures = append([]failure{wrong}, v.failures...)
	}
	h.report(v)
	return v, nil
}

// storm makes faults until the time is over.
func (h *harness) storm(list []fault) error {
	total := 0
	for _, f := range list {
		total += f.weight
	}
	said := time.Now()
	for time.Since(h.began) < h.opt.duration && h.ctx.Err() == nil {
		n := h.r.IntN(total)
		i := slices.IndexFunc(list, func(f fault) bool { n -= f.weight; return n < 0 })
		f := list[i]
		h.detail = ""
		begun := time.Since(h.began)
		err := f.do(h)
		word := f.name
		if errors.Is(err, errNotNow) {
			word, err = "("+f.name+")", nil
		} else {
			h.counts[f.name]++
		}
		h.notes = append(h.notes, fmt.Sprintf("%8.3f s  %s  %s", begun.Seconds(), word, h.detail))
		if err == nil {
			err = h.agent.crashed()
		}
		if err != nil {
			return fmt.Errorf("fault %s: %w", f.name, err)
		}
		if time.Since(said) > 10*time.Second {
			said = time.Now()
			fmt.Fprintf(h.out, "%5.0f s: %d faults, %d kills, %d stored\n", time.Since(h.began).Seconds(), len(h.notes), h.kills, h.sink.Arrived())
		}
		h.wait(time.Duration(h.r.Int64N(int64(h.opt.pace))))
	}
	return h.ctx.Err()
}

// calm ends all faults and waits until nothing more comes.
func (h *harness) calm() error {
	h.sky.clear()
	h.sink.Block(false)
	for _, c := range h.containers {
		if c.removed {
			continue
		}
		if _, err := c.call(command{Do: "resume"}); err != nil {
			return err
		}
		if err := c.stop(h.r.IntN(2) == 0); err != nil {
			return err
		}
	}
	// A request that hangs is given up with its agent.
	if err := h.killed(func() error { return nil }); err != nil {
		return err
	}
	err := h.settled()
	for _, c := range h.containers {
		if !c.removed {
			err = errors.Join(err, c.quit())
		}
	}
	if err != nil {
		return err
	}
	code, err := h.agent.terminate()
	if err == nil && code != 0 {
		err = failure{crash, fmt.Sprintf("exit code %d after SIGTERM with nothing left to do", code)}
	}
	return err
}

// settled waits until all lines are stored and nothing more is sent. As long as
// something is sent, it is not stuck.
func (h *harness) settled() error {
	bulks, since := int64(-1), time.Now()
	for h.ctx.Err() == nil {
		text, err := h.agent.metrics()
		if err != nil {
			return failure{stuck, "the agent does not answer: " + err.Error()}
		}
		if err := h.agent.crashed(); err != nil {
			return err
		}
		if n := h.sink.Bulks(); n != bulks {
			bulks, since = n, time.Now()
		}
		done := strings.Contains(text, "\nmesoscope_source_lag_bytes 0\n") && strings.Contains(text, "\nmesoscope_output_waiting_bytes 0\n")
		if done && time.Since(since) > 3*time.Second {
			return nil
		}
		if time.Since(since) > h.opt.patience {
			return failure{stuck, fmt.Sprintf("nothing was sent for %s, and not everything is settled: %s", h.opt.patience, lagOf(text))}
		}
		h.wait(100 * time.Millisecond)
	}
	return h.ctx.Err()
}

// lagOf is what the metrics say about what is missing.
func lagOf(metrics string) string {
	var lines []string
	for row := range strings.Lines(metrics) {
		if strings.HasPrefix(row, "mesoscope_source") || strings.HasPrefix(row, "mesoscope_output") || strings.HasPrefix(row, "mesoscope_lines_retrying") {
			lines = append(lines, strings.TrimSpace(row))
		}
	}
	return strings.Join(lines, ", ")
}

// Command bench measures the agent: how many lines it ships for a second of
// CPU, what it costs when nothing happens, and how long a line takes.
//
//	go run ./test/bench                # builds the binary and measures all
//	go run ./test/bench -only idle     # or others, see -h
//
// The way of the data: corpus (written once below -dir, kept) -> the process
// that is measured, pinned to one core -> sink, a process on another core, that
// counts -> one table. Throughput also runs a reference, a plain loop over the
// same files that writes as many bytes to the same sink (reference.go): numbers
// of two machines are compared by the ratio to it.
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
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A bench is one invocation.
type bench struct {
	self    string // this program, which is sink and reference too
	bin     string // mesoscope
	dir     string // corpora and runs
	lines   int
	runs    int
	silent  []int // containers of a measurement of silence
	idle    time.Duration
	settle  time.Duration
	latency int // lines

	elasticsearch string  // URL of a real one; "" = none
	growth        []int   // containers
	backlogs      []int   // GiB
	bulks         []int   // MiB
	targets       int     // of the measurement of a collector
	guard         bool    // against recorded ratios
	record        string  // folder of the record; "" = no
	minRatio      float64 // of the agent to the reference
	engines       []engineCase
	profile       string // file for profiles of the engine's CPU; "" = none
	out           io.Writer
	err           io.Writer // progress
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out, progress io.Writer) error {
	if len(args) > 0 {
		switch args[0] {
		case "sink":
			return serveSink(ctx, args[1:], out)
		case "reference":
			// A SIGTERM comes when the sink has the last line, perhaps before its
			// answer is here: then it is finished, not given up.
			return reference(context.WithoutCancel(ctx), args[1:])
		case "target":
			return serveTarget(ctx, args[1:], out)
		case "engine":
			return serveEngine(ctx, args[1:], out)
		case "prober":
			return serveProber(ctx, args[1:])
		case "indexer":
			return index(context.WithoutCancel(ctx), args[1:])
		case "answering":
			return answerAll(ctx, strings.Join(args[1:], ""))
		case "dials":
			return dialBare(ctx, strings.Join(args[1:], ""))
		}
	}
	b := &bench{out: out, err: progress, engines: engineCases}
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(progress)
	fs.StringVar(&b.bin, "bin", "", "the mesoscope binary; empty: build the module that the working directory is in")
	fs.StringVar(&b.dir, "dir", filepath.Join("test", "bench", "out"), "folder for corpora and runs, on a disk like the one that holds Docker's logs")
	fs.IntVar(&b.lines, "lines", 1_000_000, "lines of a corpus")
	fs.IntVar(&b.runs, "runs", 5, "runs of each throughput case; the median is printed")
	silent := fs.String("silent", "200,5000", "containers of the idle and the start measurements")
	growth := fs.String("growth", "1,20,200,1000,5000", "containers of the growth measurement")
	backlogs := fs.String("backlog", "", "GiB of the growth measurement's backlogs, e.g. 1,10; they are written below -dir, and removed")
	bulks := fs.String("bulks", "", "MiB of bulk_max_bytes that the server measurement tries too, e.g. 2,4")
	fs.IntVar(&b.targets, "targets", 50_000, "targets of the measurement of a collector")
	fs.BoolVar(&b.guard, "guard", false, "fail if a row's ratio to the reference is a quarter worse than recorded")
	fs.StringVar(&b.record, "record", "", "record the ratios in this folder, test/bench")
	fs.DurationVar(&b.idle, "idle", 30*time.Second, "how long the idle measurement lasts")
	fs.DurationVar(&b.settle, "settle", 5*time.Second, "how long a process is left alone after its last line before it counts as idle")
	fs.IntVar(&b.latency, "latency", 300, "lines of a latency measurement, about 10 a second")
	fs.StringVar(&b.elasticsearch, "elasticsearch", "", "URL of a real server, to measure there too how long a line takes to be found")
	fs.Float64Var(&b.minRatio, "min-ratio", 0, "fail if the agent ships fewer lines per CPU second than so many times the reference")
	fs.StringVar(&b.profile, "profile", "", "write CPU profiles of the checks measurement to files that begin so")
	withPeers := fs.Bool("peers", false, "measure also the other agents that are on the PATH")
	only := fs.String("only", "", "measure only these, comma separated: throughput, cores, growth, start, idle, latency, searchable, checks, collector, peers, probe (beside blackbox_exporter), server (a real one, see -elasticsearch)")
	err := fs.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("%q is no flag", fs.Arg(0))
	}
	parts := []string{"throughput", "cores", "growth", "start", "idle", "latency", "searchable", "checks"}
	all := slices.Concat(parts, []string{"collector", "peers", "server", "probe"})
	if *withPeers {
		parts = append(parts, "peers")
	}
	if *only != "" {
		for _, p := range strings.Split(*only, ",") {
			if !slices.Contains(all, p) {
				return fmt.Errorf("-only %s: there are %s", p, strings.Join(all, ", "))
			}
		}
		parts = strings.Split(*only, ",")
	}
	if b.lines < 1 || b.runs < 1 || b.latency < 1 {
		return errors.New("-lines, -runs and -latency must be at least 1")
	}
	for _, list := range []struct {
		flag, value string
		to          *[]int
	}{{"silent", *silent, &b.silent}, {"growth", *growth, &b.growth}, {"backlog", *backlogs, &b.backlogs}, {"bulks", *bulks, &b.bulks}} {
		if *list.to, err = numbers(list.value); err != nil {
			return fmt.Errorf("-%s: %w", list.flag, err)
		}
	}
	if err := b.prepare(ctx); err != nil {
		return err
	}
	fmt.Fprintf(b.out, "%s\n", machine())
	measure := map[string]func(context.Context) (*table, error){
		"throughput": b.measureThroughput, "cores": b.measureCores, "growth": b.measureGrowth, "start": b.measureStart, "idle": b.measureIdle, "latency": b.measureLatency, "searchable": b.measureSearchable,
		"checks": b.measureChecks, "collector": b.measureCollector, "peers": b.measurePeers, "probe": b.measureProbe, "server": b.measureServer,
	}
	var errs []error
	for _, p := range parts {
		t, err := measure[p](ctx)
		if t != nil {
			fmt.Fprintln(b.out)
			errs = append(errs, t.print(b.out))
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", p, err)) // the others are still worth their time
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(errs...)
}

// numbers reads "1,20"; nothing is no number.
func numbers(list string) (out []int, err error) {
	if list == "" {
		return nil, nil
	}
	for _, field := range strings.Split(list, ",") {
		n, err := strconv.Atoi(field)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%q is not a list of numbers from 1 on", list)
		}
		out = append(out, n)
	}
	return out, nil
}

// prepare finds this program and builds mesoscope.
func (b *bench) prepare(ctx context.Context) (err error) {
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	if b.dir, err = filepath.Abs(b.dir); err != nil {
		return err
	}
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		return err
	}
	if b.bin != "" {
		b.bin, err = filepath.Abs(b.bin)
		return err
	}
	b.bin = filepath.Join(b.dir, "mesoscope")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", b.bin, "mesoscope")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build mesoscope: %w: %s", err, out)
	}
	return nil
}

func (b *bench) progress(format string, args ...any) {
	fmt.Fprintf(b.err, "%s  %s\n", time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
}

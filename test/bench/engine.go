package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/pprof"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"mesoscope/checks"
	"mesoscope/checks/schedule"
	"mesoscope/collector/state"
)

// An engineResult is what an engine did between its warm-up and its end.
type engineResult struct {
	Checks, Bad int64
	CPU, Wall   time.Duration
	Missed      uint64
	Late        []float64 // ms: p50, p99, the latest
	Peak        int64     // bytes; the driver adds it
}

// serveEngine checks targets as the collector does: schedule -> checks.Run ->
// state, whose journal is on disk, and the last result of each is kept.
func serveEngine(ctx context.Context, args []string, out io.Writer) error {
	fs := flag.NewFlagSet("engine", flag.ContinueOnError)
	kind := fs.String("kind", "http", "kind of the checks")
	port := fs.String("port", "", "of the target")
	jobs := fs.Int("jobs", 2000, "checks")
	every := fs.Duration("every", 10*time.Second, "interval of each")
	last := fs.Duration("for", 5*time.Second, "how long is measured")
	dir := fs.String("dir", "", "for the state")
	profile := fs.String("profile", "", "file for a profile of the CPU")
	if err := fs.Parse(args); err != nil {
		return err
	}
	book, _, err := state.Open(*dir, time.Now())
	if err != nil {
		return err
	}
	e := &engine{book: book, latest: make([]checks.Result, *jobs)}
	list, rules := make([]schedule.Job, *jobs), map[string]state.Rule{}
	for i := range list {
		job, err := e.job(i, *kind, *port, *every)
		if err != nil {
			return err
		}
		list[i], rules[job.ID] = job, state.Rule{Fail: 3, Of: 3, Pass: 2, Expire: time.Hour}
	}
	book.Set(rules, time.Now())
	s := schedule.New(schedule.Options{Late: e.started})
	s.Set(list)
	running, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan struct{})
	go func() { s.Run(running); close(ended) }()
	time.Sleep(min(*every, 2*time.Second)) // the first turns are warm-up
	if *profile != "" {
		f, err := os.Create(*profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	e.reset()
	cpu, began, missed := usedCPU(), time.Now(), s.Stats().Missed
	time.Sleep(*last)
	r := e.result()
	r.CPU, r.Wall, r.Missed = usedCPU()-cpu, time.Since(began), s.Stats().Missed-missed
	stop()
	<-ended
	if err := book.Close(); err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(r)
}

type engine struct {
	book   *state.Book
	latest []checks.Result // of each check
	done   atomic.Int64
	bad    atomic.Int64
	mu     sync.Mutex
	late   []float64 // ms
}

func (e *engine) job(i int, kind, port string, every time.Duration) (schedule.Job, error) {
	address := net.JoinHostPort(targetHost(i), port)
	if kind == "http" {
		address = "http://" + address + "/health"
	}
	t, err := checks.New(kind, address, nil, nil)
	id := "check-" + strconv.Itoa(i)
	return schedule.Job{ID: id, Every: every, Limit: t.Timeout * 2, Run: func(ctx context.Context) {
		r := checks.Run(ctx, t)
		e.latest[i] = r
		if r.State != checks.OK {
			e.bad.Add(1)
		}
		e.done.Add(1)
		e.book.Observe(id, state.Status(r.State), time.Now())
	}}, err
}

// started takes in how late a check began.
func (e *engine) started(_ schedule.Class, late time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.late = append(e.late, float64(late)/1e6)
}

func (e *engine) reset() {
	e.mu.Lock()
	e.late = make([]float64, 0, 1<<17)
	e.mu.Unlock()
	e.done.Store(0)
	e.bad.Store(0)
}

func (e *engine) result() engineResult {
	r := engineResult{Checks: e.done.Load(), Bad: e.bad.Load()}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.late) > 0 {
		r.Late = []float64{percentile(e.late, 50), percentile(e.late, 99), slices.Max(e.late)}
	}
	return r
}

// usedCPU is what this process has used.
func usedCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(fmt.Sprintf("BUG: getrusage: %v", err)) // it cannot fail with these arguments
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

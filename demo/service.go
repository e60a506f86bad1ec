package demo

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"mesoscope/internal/jsonfile"
)

const (
	restartDelay = 2 * time.Second  // from a crash to the next run, in the same container
	jobEvery     = 10 * time.Second // how often a job runs, in a new container
	firstJob     = time.Second
	removeAfter  = 4 * time.Second // from the end of a job to its docker rm, where there is one
)

// Service runs one service of the demo below root until ctx is done, the
// process gets SIGTERM or SIGINT, or stdin ends, which it does when the parent
// dies. It is what the hidden command of Start calls.
func Service(ctx context.Context, name, root string) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, os.Interrupt)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		io.Copy(io.Discard, os.Stdin) // whatever ends it, the parent has gone
		cancel()
	}()
	return run(ctx, name, root)
}

func run(ctx context.Context, name, root string) error {
	s, ok := services[name]
	if !ok {
		return fmt.Errorf("no demo service %q; there are %s", name, strings.Join(Names(), ", "))
	}
	h := fnv.New64a()
	io.WriteString(h, name)
	random := rand.New(rand.NewPCG(1, h.Sum64()))
	if s.job != "" {
		return runJob(ctx, root, s, random)
	}
	return runForever(ctx, root, s, random)
}

// runForever runs one container, and again when it exits.
func runForever(ctx context.Context, root string, s service, random *rand.Rand) (err error) {
	now := time.Now()
	c, err := create(root, s, now.Add(-s.past))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.tally.close()) }()
	if err := c.start(now.Add(-s.past)); err != nil {
		return err
	}
	if s.past > 0 {
		// A container that has been up for a while, as most are when an agent
		// begins: the page has something to show at once, and the first
		// rotation is near.
		if err := c.past(newProcess(s, random, now.Add(-s.past)), now); err != nil {
			return errors.Join(err, c.end(1))
		}
	}
	for {
		code, err := c.live(ctx, newProcess(s, random, time.Now()))
		if err := errors.Join(err, c.end(code)); err != nil || ctx.Err() != nil {
			return err
		}
		if !wait(ctx, restartDelay) {
			return nil
		}
		if err := c.start(time.Now()); err != nil {
			return err
		}
	}
}

// runJob runs a new container each jobEvery. Of two, one is removed soon
// after, as by docker rm: its lines count all the same.
func runJob(ctx context.Context, root string, s service, random *rand.Rand) error {
	if !wait(ctx, firstJob) {
		return nil
	}
	for i := 0; ; i++ {
		id, err := runOnce(ctx, root, s, random)
		if err != nil {
			return err
		}
		rest := jobEvery
		if i%2 == 0 {
			if !wait(ctx, removeAfter) {
				return nil
			}
			if err := os.RemoveAll(jsonfile.Dir(root, id)); err != nil {
				return err
			}
			rest -= removeAfter
		}
		if !wait(ctx, rest) {
			return nil
		}
	}
}

func runOnce(ctx context.Context, root string, s service, random *rand.Rand) (id string, err error) {
	c, err := create(root, s, time.Now())
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, c.tally.close()) }()
	if err := c.start(time.Now()); err != nil {
		return "", err
	}
	// A job that has begun ends: it takes milliseconds.
	code, err := c.live(context.WithoutCancel(ctx), newProcess(s, random, time.Now()))
	return c.conf.ID, errors.Join(err, c.end(code))
}

// wait waits and says whether ctx is still alive.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

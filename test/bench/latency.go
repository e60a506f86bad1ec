package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"mesoscope/internal/jsonfile"
	"mesoscope/test/bench/corpus"
	"mesoscope/test/bench/sink"
)

const latencyContainers = 20

// pause is between two lines: about ten a second, never in step with a timer.
func pause(random *rand.Rand) time.Duration {
	return 50*time.Millisecond + time.Duration(random.Int64N(int64(100*time.Millisecond)))
}

func (b *bench) measureLatency(ctx context.Context) (*table, error) {
	t := &table{title: fmt.Sprintf("Latency: from write to arrival at the sink, ms, %d lines at about 10/s in %d containers", b.latency, latencyContainers)}
	t.add("", "p50", "p99", "max", "bulks/s", "lost")
	for _, delay := range []time.Duration{0, time.Millisecond, 50 * time.Millisecond} {
		name := "sink answers at once"
		if delay > 0 {
			name = fmt.Sprintf("sink takes %v", delay)
		}
		b.progress("latency: %s", name)
		if err := b.latencyTo(ctx, t, name, delay); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func (b *bench) latencyTo(ctx context.Context, t *table, name string, delay time.Duration) error {
	root, err := b.silentRoot(latencyContainers)
	if err != nil {
		return err
	}
	defer root.remove()
	var (
		mu      sync.Mutex
		arrived = map[int]time.Time{}
	)
	s, err := startLocal(sink.Options{Delay: delay, OnLine: func(_, number int, at time.Time) {
		mu.Lock()
		defer mu.Unlock()
		if _, ok := arrived[number]; !ok {
			arrived[number] = at
		}
	}})
	if err != nil {
		return err
	}
	defer s.stop()
	p, set, err := b.startAgent(ctx, s, root.dir, "agent", toSink(s.addr, 1), latencyContainers)
	if err != nil {
		return err
	}
	defer set.remove()
	defer p.kill()
	if err := sleep(ctx, time.Second); err != nil {
		return err
	}
	begin, bulks := time.Now(), s.Stats().Bulks
	written, err := writeSlowly(ctx, root.dir, b.latency)
	if err != nil {
		return err
	}
	count := func() (n int) {
		mu.Lock()
		defer mu.Unlock()
		for number := range written {
			if _, ok := arrived[number]; ok {
				n++
			}
		}
		return n
	}
	if err := p.waitFor(ctx, 10*time.Millisecond, func() (bool, int64, error) {
		n := count()
		return n == len(written), int64(n), nil
	}); err != nil {
		return fmt.Errorf("%d of %d lines arrived: %w", count(), len(written), err)
	}
	rate := float64(s.Stats().Bulks-bulks) / time.Since(begin).Seconds()
	var ms []float64
	for number, at := range written {
		ms = append(ms, float64(arrived[number].Sub(at).Microseconds())/1000)
	}
	t.add(name, fmt.Sprintf("%.1f", percentile(ms, 50)), fmt.Sprintf("%.1f", percentile(ms, 99)), fmt.Sprintf("%.1f", percentile(ms, 100)),
		fmt.Sprintf("%.1f", rate), fmt.Sprint(len(written)-count()))
	return p.stop()
}

// writeSlowly writes n lines in turn to the containers of root, numbered from
// 1000 over all of them, and returns when each was written.
func writeSlowly(ctx context.Context, root string, n int) (map[int]time.Time, error) {
	var writers [latencyContainers]*jsonfile.Writer
	for i := range writers {
		w, err := jsonfile.Open(jsonfile.LogPath(root, corpus.ID(i)), jsonfile.Options{})
		if err != nil {
			return nil, err
		}
		defer w.Close()
		writers[i] = w
	}
	random := rand.New(rand.NewPCG(1, 1))
	written := map[int]time.Time{}
	for number := 1000; number < 1000+n; number++ {
		if err := sleep(ctx, pause(random)); err != nil {
			return nil, err
		}
		c := number % latencyContainers
		line := corpus.AppendMarker([]byte("a line that is waited for "), c, number)
		now := time.Now()
		if err := writers[c].WriteLine("stdout", line, now); err != nil {
			return nil, err
		}
		written[number] = now
	}
	return written, nil
}

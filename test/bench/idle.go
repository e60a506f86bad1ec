package main

import (
	"context"
	"fmt"
	"time"

	"mesoscope/internal/jsonfile"
	"mesoscope/test/bench/corpus"
	"mesoscope/test/bench/sink"
)

func (b *bench) measureIdle(ctx context.Context) (*table, error) {
	t := &table{title: fmt.Sprintf("Idle: containers that print nothing, %v", b.idle)}
	t.add("", "CPU ms/s", "RSS MiB", "bulks")
	for _, n := range b.silent {
		if err := b.idleWith(ctx, t, n); err != nil {
			return t, err
		}
	}
	return t, nil
}

func (b *bench) idleWith(ctx context.Context, t *table, n int) error {
	root, err := b.silentRoot(n)
	if err != nil {
		return err
	}
	defer root.remove()
	row := fmt.Sprintf("%4d containers", n)
	if remove := silentCgroups(n); remove != nil {
		defer remove()
	} else {
		row += ", not measured" // by agent/usage
	}
	s, err := startLocal(sink.Options{})
	if err != nil {
		return err
	}
	defer s.stop()
	p, set, err := b.startAgent(ctx, s, root.dir, "agent", toSink(s.addr, 1), int64(n))
	if err != nil {
		return err
	}
	defer set.remove()
	defer p.kill()
	b.progress("idle: %d silent containers for %v", n, b.idle)
	if err := b.quiet(ctx, p); err != nil {
		return err
	}
	before, err := p.cpuNow()
	if err != nil {
		return err
	}
	begin, bulks := time.Now(), s.Stats().Bulks
	if err := sleep(ctx, b.idle); err != nil {
		return err
	}
	after, err := p.cpuNow()
	if err != nil {
		return err
	}
	took := time.Since(begin)
	rss, err := p.memory("VmRSS")
	if err != nil {
		return err
	}
	t.add(row, fmt.Sprintf("%.3f", float64((after-before).Microseconds())/1000/took.Seconds()), mib(rss), fmt.Sprint(s.Stats().Bulks-bulks))
	return p.stop()
}

// silentRoot makes a Docker root in which each of n containers has one line.
func (b *bench) silentRoot(n int) (setup, error) {
	root, err := b.newSetup("", "")
	if err != nil {
		return root, err
	}
	for i := range n {
		if err := silentContainer(root.dir, i); err != nil {
			return root, err
		}
	}
	return root, nil
}

// silentContainer makes container i with its first line.
func silentContainer(root string, i int) error {
	if err := jsonfile.WriteConfig(root, corpus.Container(i)); err != nil {
		return err
	}
	return appendLine(root, i, 1)
}

// appendLine writes line number of a container.
func appendLine(root string, container, number int) error {
	w, err := jsonfile.Open(jsonfile.LogPath(root, corpus.ID(container)), jsonfile.Options{})
	if err != nil {
		return err
	}
	line, stream := corpus.NewGenerator(container).AppendLine(nil, number)
	err = w.WriteLine(stream, line, time.Now())
	if cerr := w.Close(); err == nil {
		err = cerr
	}
	return err
}

// startAgent starts the binary over root and waits until lines lines are in s.
func (b *bench) startAgent(ctx context.Context, s counter, root, command, output string, lines int64) (*process, setup, error) {
	set, err := b.newSetup(root, output)
	if err != nil {
		return nil, set, err
	}
	file, err := set.write()
	if err != nil {
		set.remove()
		return nil, set, err
	}
	p, err := start(measured, b.bin, command, "--config", file)
	if err != nil {
		set.remove()
		return nil, set, err
	}
	err = p.waitFor(ctx, 10*time.Millisecond, func() (bool, int64, error) {
		n, err := s.distinct()
		return n >= lines, n, err
	})
	if err != nil {
		p.kill()
		set.remove()
		return nil, set, fmt.Errorf("the first lines did not arrive: %w", err)
	}
	return p, set, nil
}

// quiet waits until the process has used next to nothing for as long as settle:
// beside its lines it writes down what it has found, on the disk, with time.
func (b *bench) quiet(ctx context.Context, p *process) error {
	const most = time.Minute
	for begun := time.Now(); time.Since(begun) < most; {
		before, err := p.cpuNow()
		if err != nil {
			return err
		}
		if err := sleep(ctx, b.settle); err != nil {
			return err
		}
		after, err := p.cpuNow()
		if err != nil {
			return err
		}
		if after-before < max(b.settle/50, 2*time.Millisecond) {
			return nil
		}
	}
	return fmt.Errorf("it has something to do for longer than %v", most)
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"mesoscope/internal/jsonfile"
	"mesoscope/test/bench/corpus"
	"mesoscope/test/bench/sink"
)

// A grown is a corpus that is larger than others in one respect.
type grown struct {
	containers int
	lines      int
	backlog    int // GiB; 0 = not what it is about
}

func (g grown) String() string {
	if g.backlog > 0 {
		return fmt.Sprintf("%2d GiB in %d containers", g.backlog, g.containers)
	}
	return fmt.Sprintf("%4d containers", g.containers)
}

// measureGrowth measures whether a line costs the same however many containers
// there are and however much waits.
func (b *bench) measureGrowth(ctx context.Context) (*table, error) {
	s, err := b.startSink(ctx, beside)
	if err != nil {
		return nil, err
	}
	defer s.kill()
	var cases []grown
	for _, n := range b.growth {
		cases = append(cases, grown{containers: n, lines: b.lines})
	}
	seen := map[grown][]result{}
	for i := range b.runs {
		for _, g := range cases {
			r, err := b.grow(ctx, s, g)
			if err != nil {
				return nil, err
			}
			b.progress("growth %d/%d: %v: %s lines/CPU s", i+1, b.runs, g, thousands(r.perCPU()))
			seen[g] = append(seen[g], r)
		}
	}
	for _, gib := range b.backlogs { // once each: they take long, and even out themselves
		g := grown{containers: 20, backlog: gib}
		g.lines = gib << 30 / corpus.MeanEntry
		r, err := b.grow(ctx, s, g)
		if err != nil {
			return nil, err
		}
		b.progress("growth: %v: %s lines/CPU s", g, thousands(r.perCPU()))
		seen[g] = append(seen[g], r)
		cases = append(cases, g)
		// The large ones are not worth their room.
		if root, _, err := b.corpus(g.containers, g.lines); err != nil {
			return nil, err
		} else if err := os.RemoveAll(root); err != nil {
			return nil, err
		}
	}
	t := &table{title: fmt.Sprintf("Growth: CPU of a line on one core, gzip off, start and end of the agent included, median of %d", b.runs)}
	t.add("", "lines", "CPU µs/line", "range", "lines/s", "peak MiB", "bulks", "lost", "doubled")
	for _, g := range cases {
		per := summary(seen[g], func(r result) float64 { return 1e6 / r.perCPU() })
		lost, doubled := losses(seen[g])
		last := seen[g][len(seen[g])-1]
		t.add(g.String(), thousands(float64(g.lines)), fmt.Sprintf("%.3f", per.median), fmt.Sprintf("%.3f-%.3f", per.low, per.high),
			thousands(summary(seen[g], func(r result) float64 { return float64(r.lines) / r.wall.Seconds() }).median),
			mib(int64(summary(seen[g], func(r result) float64 { return float64(r.peak) }).high)),
			thousands(float64(last.stats.Bulks)), strconv.FormatInt(lost, 10), strconv.FormatInt(doubled, 10))
	}
	return t, nil
}

func (b *bench) grow(ctx context.Context, s *remote, g grown) (result, error) {
	root, _, err := b.corpus(g.containers, g.lines)
	if err != nil {
		return result{}, err
	}
	r, err := b.runOnce(ctx, s, task{root: root, lines: g.lines, on: measured}, []string{b.bin, "agent"})
	if err != nil {
		return r, fmt.Errorf("%v: %w", g, err)
	}
	return r, nil
}

// measureStart measures how long an agent that knows many files takes until a
// line goes out that was written while it was away.
func (b *bench) measureStart(ctx context.Context) (*table, error) {
	t := &table{title: fmt.Sprintf("Start: from exec to the arrival of lines that were written meanwhile, one in each hundredth container, median of %d", b.runs)}
	t.add("", "first ms", "last ms", "CPU ms", "peak MiB")
	for _, n := range b.silent {
		if err := b.startWith(ctx, t, n); err != nil {
			return t, err
		}
	}
	return t, nil
}

func (b *bench) startWith(ctx context.Context, t *table, n int) error {
	root, err := b.silentRoot(n)
	if err != nil {
		return err
	}
	defer root.remove()
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
	if err := sleep(ctx, b.settle); err != nil { // the checkpoint has all of them
		p.kill()
		return err
	}
	if err := p.stop(); err != nil {
		return err
	}
	var first, last, cpu, peak []float64
	for i := range b.runs {
		known := s.Stats().Distinct
		lines := int64(0)
		for c := 0; c < n; c += 100 {
			if err := appendLine(root.dir, c, i+2); err != nil {
				return err
			}
			lines++
		}
		p, err := start(measured, b.bin, "agent", "--config", set.path())
		if err != nil {
			return err
		}
		var began time.Duration
		err = p.waitFor(ctx, time.Millisecond, func() (bool, int64, error) {
			got := s.Stats().Distinct - known
			if got > 0 && began == 0 {
				began = time.Since(p.begun)
			}
			return got >= lines, got, nil
		})
		if err != nil {
			p.kill()
			return fmt.Errorf("start with %d containers: %w", n, err)
		}
		took := time.Since(p.begun)
		used, err := p.cpuNow()
		if err != nil {
			p.kill()
			return err
		}
		hwm, err := p.memory("VmHWM")
		if err != nil {
			p.kill()
			return err
		}
		if err := p.stop(); err != nil {
			return err
		}
		b.progress("start %d/%d: %d containers: %v", i+1, b.runs, n, took.Round(time.Millisecond))
		first, last = append(first, ms(began)), append(last, ms(took))
		cpu, peak = append(cpu, ms(used)), append(peak, float64(hwm))
	}
	t.add(fmt.Sprintf("%4d containers", n), fmt.Sprintf("%.0f", median(first)), fmt.Sprintf("%.0f", median(last)), fmt.Sprintf("%.0f", median(cpu)), mib(int64(median(peak))))
	return nil
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

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

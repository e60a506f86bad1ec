package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"mesoscope/test/bench/corpus"
	"mesoscope/test/bench/sink"
)

// measureGrowth measures whether a line costs the same however many containers
// there are and however much waits.
func (b *bench) measureGrowth(ctx context.Context) (*table, error) {
	s, err := b.startSink(ctx, beside)
	if err != nil {
		return nil, err
	}
	defer s.kill()
	t := &table{title: fmt.Sprintf("Growth: CPU of a line on one core, gzip off, median of %d; backlogs once", b.runs)}
	t.add("", "lines", "CPU µs/line", "range", "of the first", "CPU µs/new container", "RSS MiB", "lost", "doubled")
	first := 0.0
	row := func(name string, lines int, perLine []float64, perContainer string, peak, lost, doubled int64) {
		m := median(perLine)
		if first == 0 {
			first = m
		}
		t.add(name, thousands(float64(lines)), fmt.Sprintf("%.3f", m), fmt.Sprintf("%.3f-%.3f", perLine[0], perLine[len(perLine)-1]),
			fmt.Sprintf("%.2f", m/first), perContainer, mib(peak), strconv.FormatInt(lost, 10), strconv.FormatInt(doubled, 10))
	}
	seen := make([][]steadily, len(b.growth))
	for i := range b.runs {
		for j, n := range b.growth {
			r, err := b.steady(ctx, s, n)
			if err != nil {
				return t, fmt.Errorf("%d containers: %w", n, err)
			}
			b.progress("growth %d/%d: %d containers: %.3f µs/line", i+1, b.runs, n, r.line)
			seen[j] = append(seen[j], r)
		}
	}
	for j, n := range b.growth {
		var lines, fresh []float64
		var peak, lost, doubled int64
		for _, r := range seen[j] {
			lines, fresh = append(lines, r.line), append(fresh, r.fresh)
			peak, lost, doubled = max(peak, r.rss), lost+r.lost, doubled+r.doubled
		}
		row(fmt.Sprintf("%4d containers", n), b.lines, lines, fmt.Sprintf("%.0f", median(fresh)), peak, lost, doubled)
	}
	for _, gib := range b.backlogs {
		const containers = 20
		lines := gib << 30 / corpus.MeanEntry
		root, _, err := b.corpus(containers, lines)
		if err != nil {
			return t, err
		}
		r, err := b.runOnce(ctx, s, task{root: root, lines: lines, on: measured}, []string{b.bin, "agent"})
		if err := errors.Join(err, os.RemoveAll(root)); err != nil { // it is not worth its room
			return t, fmt.Errorf("%d GiB: %w", gib, err)
		}
		b.progress("growth: %d GiB: %s lines/CPU s", gib, thousands(r.perCPU()))
		lost, doubled := losses([]result{r})
		row(fmt.Sprintf("%2d GiB of backlog, %d containers", gib, containers), lines, []float64{1e6 / r.perCPU()}, "", r.peak, lost, doubled)
	}
	t.notes = []string{
		"containers: lines that are appended, a container at a time, while the agent runs and knows all of them. new container: the agent's CPU from its start until it has",
		"found, held and read a container with one line. backlog: the lines were there before the agent, whose whole life counts, first reads from the disk included.",
	}
	return t, nil
}

// steadily is what one agent used.
type steadily struct {
	line, fresh   float64 // µs of CPU
	rss           int64
	lost, doubled int64
}

// steady starts an agent over n containers with one line each, and then writes
// the rest of b.lines.
func (b *bench) steady(ctx context.Context, s *remote, n int) (r steadily, err error) {
	root, err := b.silentRoot(n)
	if err != nil {
		return r, err
	}
	defer root.remove()
	if err := s.reset(); err != nil {
		return r, err
	}
	p, set, err := b.startAgent(ctx, s, root.dir, "agent", toSink(s.addr, 0), int64(n))
	if err != nil {
		return r, err
	}
	defer set.remove()
	defer p.kill()
	if err := b.quiet(ctx, p); err != nil {
		return r, err
	}
	before, err := p.cpuNow()
	if err != nil {
		return r, err
	}
	spec := corpus.Spec{Containers: n, Lines: b.lines}
	lines := int64(n)
	for i := range n {
		lines += int64(max(0, spec.PerContainer(i)-1))
		if err := corpus.Append(root.dir, i, 2, spec.PerContainer(i)); err != nil {
			return r, err
		}
	}
	err = p.waitFor(ctx, 10*time.Millisecond, func() (bool, int64, error) {
		st, err := s.stats()
		return st.Distinct >= lines, st.Distinct, err
	})
	if err != nil {
		return r, err
	}
	after, err := p.cpuNow()
	if err != nil {
		return r, err
	}
	if r.rss, err = p.memory("VmRSS"); err != nil {
		return r, err
	}
	st, err := s.stats()
	r.fresh = ms(before) * 1000 / float64(n)
	r.line = ms(after-before) * 1000 / float64(lines-int64(n))
	r.lost, r.doubled = lines-st.Distinct, st.Duplicates
	return r, errors.Join(err, p.stop())
}

// measureStart measures how long an agent that knows many files takes until a
// line goes out that was written while it was away.
func (b *bench) measureStart(ctx context.Context) (*table, error) {
	t := &table{title: fmt.Sprintf("Start: from exec to the arrival of lines that were written meanwhile, one in each hundredth container, median of %d", b.runs)}
	t.add("", "ms, a new container's", "ms, the last", "CPU ms", "peak MiB")
	t.notes = []string{"Lines of containers that were known before wait for a second: a request of the run before may be on its way still, and could have them."}
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
	if err := b.quiet(ctx, p); err != nil { // the checkpoint has all of them
		p.kill()
		return err
	}
	if err := p.stop(); err != nil {
		return err
	}
	var first, last, cpu, peak []float64
	for i := range b.runs {
		known := s.Stats().Distinct
		lines := int64(1)
		if err := silentContainer(root.dir, n+i); err != nil {
			return err
		}
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

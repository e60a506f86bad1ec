package main

import (
	"context"
	"fmt"
	"strconv"
)

// measureCores measures what a second core brings. Where there is a third one
// the sink has it, else agent and sink share: one core in the one case, two in
// the other.
func (b *bench) measureCores(ctx context.Context) (*table, error) {
	available := len(cores())
	if available < 2 {
		return nil, fmt.Errorf("there is %d core", available)
	}
	root, _, err := b.corpus(20, b.lines)
	if err != nil {
		return nil, err
	}
	seats := []struct{ agent, sink seat }{{seat{0}, seat{0}}, {seat{0, 1}, seat{0, 1}}}
	shared := "agent and sink share the cores"
	if available > 2 {
		seats[0].sink, seats[1].sink = seat{2}, seat{2}
		shared = "the sink has a core of its own"
	}
	seen := map[[2]int][]result{}
	for i := range b.runs {
		for j, s := range seats {
			for gzip := range 2 {
				r, err := b.onCores(ctx, s.agent, s.sink, task{root: root, lines: b.lines, gzip: gzip, on: s.agent})
				if err != nil {
					return nil, err
				}
				b.progress("cores %d/%d: %d, gzip %d: %s lines/s", i+1, b.runs, j+1, gzip, thousands(float64(r.lines)/r.wall.Seconds()))
				seen[[2]int{j, gzip}] = append(seen[[2]int{j, gzip}], r)
			}
		}
	}
	t := &table{title: fmt.Sprintf("Cores: 20 containers, %s, median of %d", shared, b.runs)}
	t.add("", "lines/s", "of one core", "lines/CPU s", "peak MiB", "lost", "doubled")
	for gzip := range 2 {
		speed := func(j int) float64 {
			return summary(seen[[2]int{j, gzip}], func(r result) float64 { return float64(r.lines) / r.wall.Seconds() }).median
		}
		for j := range seats {
			rs := seen[[2]int{j, gzip}]
			lost, doubled := losses(rs)
			t.add(fmt.Sprintf("%d of them, gzip %s", j+1, onOff(gzip)), thousands(speed(j)), fmt.Sprintf("%.2f", speed(j)/speed(0)),
				thousands(summary(rs, (result).perCPU).median), mib(int64(summary(rs, func(r result) float64 { return float64(r.peak) }).high)),
				strconv.FormatInt(lost, 10), strconv.FormatInt(doubled, 10))
		}
	}
	return t, nil
}

func (b *bench) onCores(ctx context.Context, agent, sink seat, t task) (result, error) {
	s, err := b.startSink(ctx, sink)
	if err != nil {
		return result{}, err
	}
	defer s.kill()
	return b.runOnce(ctx, s, t, []string{b.bin, "agent"})
}

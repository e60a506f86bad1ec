package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"mesoscope/test/bench/corpus"
	"mesoscope/test/bench/sink"
)

// A throughputCase is one row, measured for the agent and for the reference.
type throughputCase struct {
	containers int
	gzip       int
}

// String names the case in the record of ratios.
func (c throughputCase) String() string {
	return fmt.Sprintf("%d containers, gzip %s", c.containers, strings.TrimSpace(onOff(c.gzip)))
}

var throughputCases = []throughputCase{{1, 0}, {1, 1}, {20, 0}, {20, 1}}

// A result is one run over a whole corpus.
type result struct {
	cpu   time.Duration // user and system, from start to exit
	wall  time.Duration // from start to the arrival of the last line
	peak  int64         // bytes of memory; 0 = not known
	lines int           // that the corpus has
	stats sink.Stats
}

func (b *bench) measureThroughput(ctx context.Context) (*table, error) {
	s, err := b.startSink(ctx, beside)
	if err != nil {
		return nil, err
	}
	defer s.kill()
	subjects := []struct {
		name string
		argv []string
	}{{"agent", []string{b.bin, "agent"}}, {"reference", []string{b.self, "reference"}}}
	results := map[throughputCase][2][]result{}
	sizes := map[throughputCase]int64{}
	// All runs of a case are apart and take turns, because a machine's speed
	// changes over minutes: only what ran in turns can be compared.
	for i := range b.runs {
		for _, c := range throughputCases {
			root, size, err := b.corpus(c.containers, b.lines)
			if err != nil {
				return nil, fmt.Errorf("write the corpus: %w", err)
			}
			sizes[c] = size
			rs := results[c]
			for j, subject := range subjects {
				argv := subject.argv
				if j == 1 { // as large bodies as the agent's
					st := rs[0][0].stats
					argv = append(slices.Clone(argv), "-fields", strconv.Itoa(referenceFields(float64(st.BodyBytes)/float64(st.Lines), float64(size)/float64(b.lines))))
				}
				r, err := b.runOnce(ctx, s, task{root: root, lines: b.lines, gzip: c.gzip, on: measured}, argv)
				if err != nil {
					return nil, fmt.Errorf("%s, %d containers, gzip %d: %w", subject.name, c.containers, c.gzip, err)
				}
				b.progress("throughput %d/%d: %-9s %2d containers, gzip %d: %s lines/CPU s", i+1, b.runs, subject.name, c.containers, c.gzip, thousands(r.perCPU()))
				rs[j] = append(rs[j], r)
			}
			results[c] = rs
		}
	}
	t := &table{title: fmt.Sprintf("Throughput: %s lines from json-file to acknowledged _bulk on one core, median of %d", thousands(float64(b.lines)), b.runs)}
	t.add("", "lines/CPU s", "range", "ratio", "CPU µs/line", "lines/s", "MB/s", "peak MiB", "wire B/line", "body B/line", "bulks", "lost", "doubled")
	old, err := readGuard(recorded)
	if err != nil {
		return nil, err
	}
	ratios := guard{}
	var slow []error
	for _, c := range throughputCases {
		reference := summary(results[c][1], (result).perCPU)
		for j, subject := range subjects {
			rs := results[c][j]
			last := rs[len(rs)-1]
			per := summary(rs, (result).perCPU)
			lines := float64(last.lines)
			bulks := summary(rs, func(r result) float64 { return float64(r.stats.Bulks) })
			speed := summary(rs, func(r result) float64 { return float64(r.lines) / r.wall.Seconds() })
			lost, doubled := losses(rs)
			ratio := per.median / reference.median
			if j == 0 {
				ratios[c.String()] = math.Round(ratio*100) / 100
				if b.guard {
					slow = append(slow, old.check(c.String(), ratio))
				}
			}
			if ratio < b.minRatio {
				slow = append(slow, fmt.Errorf("%s, %d containers, gzip %s: %.2f times the reference, want %.2f", subject.name, c.containers, onOff(c.gzip), ratio, b.minRatio))
			}
			t.add(fmt.Sprintf("%-9s %2d containers, gzip %s", subject.name, c.containers, onOff(c.gzip)),
				thousands(per.median), thousands(per.low)+"-"+thousands(per.high), fmt.Sprintf("%.2f", ratio),
				fmt.Sprintf("%.3f", 1e6/per.median), thousands(speed.median), fmt.Sprintf("%.0f", speed.median*float64(sizes[c])/lines/1e6),
				mib(int64(summary(rs, func(r result) float64 { return float64(r.peak) }).high)),
				fmt.Sprintf("%.0f", float64(last.stats.WireBytes)/lines), fmt.Sprintf("%.0f", float64(last.stats.BodyBytes)/lines),
				thousands(bulks.median), strconv.FormatInt(lost, 10), strconv.FormatInt(doubled, 10))
		}
	}
	t.notes = []string{
		"ratio: lines per CPU second against the reference, a plain loop that reads the same files and writes bodies of the same size to the same sink, in the same run.",
		"CPU: user and system of the whole process with its start and end. MB/s: of json-file. lost, doubled: by the marker of each line, all runs together.",
	}
	if b.record != "" {
		slow = append(slow, ratios.write(b.record))
	}
	return t, errors.Join(slow...)
}

func (r result) perCPU() float64 { return float64(r.lines) / r.cpu.Seconds() }

func losses(rs []result) (lost, doubled int64) {
	for _, r := range rs {
		lost += int64(r.lines) - r.stats.Distinct
		doubled += r.stats.Duplicates
	}
	return lost, doubled
}

type spread struct{ low, median, high float64 }

func summary(rs []result, of func(result) float64) spread {
	values := make([]float64, len(rs))
	for i, r := range rs {
		values[i] = of(r)
	}
	m := median(values) // sorts
	return spread{values[0], m, values[len(values)-1]}
}

func onOff(level int) string {
	if level == 0 {
		return "off"
	}
	return "on "
}

// corpus writes so many lines in so many containers, or finds them written.
func (b *bench) corpus(containers, lines int) (root string, size int64, err error) {
	root = filepath.Join(b.dir, fmt.Sprintf("corpus-%d-%d", containers, lines))
	done := filepath.Join(root, "size") // written last: what lacks it is not whole
	data, err := os.ReadFile(done)
	if err == nil {
		size, err = strconv.ParseInt(string(data), 10, 64)
		return root, size, err
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", 0, err
	}
	if err := os.RemoveAll(root); err != nil {
		return "", 0, err
	}
	b.progress("write a corpus of %s lines in %d containers", thousands(float64(lines)), containers)
	if size, err = corpus.Write(root, corpus.Spec{Containers: containers, Lines: lines}); err != nil {
		return "", 0, err
	}
	return root, size, os.WriteFile(done, []byte(strconv.FormatInt(size, 10)), 0o644)
}

// A task is one way of a whole corpus to the sink.
type task struct {
	root  string // Docker's, with the corpus
	lines int
	gzip  int
	on    seat
	// cut takes a document without a marker for a line: some agents end a message
	// at a NUL, and the marker stands behind it.
	cut bool
}

// arrived is how many lines the sink has.
func (t task) arrived(st sink.Stats) int64 {
	if t.cut {
		return st.Distinct + st.Unmarked
	}
	return st.Distinct
}

// runOnce runs mesoscope, or what understands its configuration, with a fresh
// state over a corpus until the sink has it all.
func (b *bench) runOnce(ctx context.Context, s *remote, r task, argv []string) (result, error) {
	set, err := b.newSetup(r.root, toSink(s.addr, r.gzip))
	if err != nil {
		return result{}, err
	}
	defer set.remove()
	file, err := set.write()
	if err != nil {
		return result{}, err
	}
	return b.ship(ctx, s, r, append(slices.Clone(argv), "--config", file))
}

// ship runs argv until the sink has all lines.
func (b *bench) ship(ctx context.Context, s *remote, r task, argv []string) (res result, err error) {
	if err := s.reset(); err != nil {
		return res, err
	}
	p, err := start(r.on, argv...)
	if err != nil {
		return res, err
	}
	res.lines = r.lines
	err = p.waitFor(ctx, 10*time.Millisecond, func() (bool, int64, error) {
		st, err := s.stats()
		if peak, err := p.memory("VmHWM"); err == nil {
			res.peak = peak // the last look before a process ends by itself
		}
		n := r.arrived(st)
		return n >= int64(r.lines), n, err
	})
	res.wall = time.Since(p.begun)
	if err != nil {
		p.kill()
		st, _ := s.stats()
		return res, fmt.Errorf("%s of %s lines arrived: %w: %s", thousands(float64(r.arrived(st))), thousands(float64(r.lines)), err, p.said())
	}
	if err := p.stop(); err != nil {
		return res, err
	}
	res.cpu = p.cpu()
	res.stats, err = s.stats() // again: what came twice came late
	return res, err
}

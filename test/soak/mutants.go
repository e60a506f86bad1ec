package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A mutant is the agent with one mistake in it. A harness that does not find it
// proves nothing about an agent without it.
type mutant struct {
	name string
	file string // below the root of the module
	old  string // stands there exactly once
	new  string
	only string   // the faults that bring it out
	logs string   // the containers
	calm bool     // fewer faults, for longer
	want []string // kinds of failures, one of which must be found; nil: none at all
}

func mutants() []mutant {
	return []mutant{
		{name: "none", only: "kill,kill-early,burst,sink-items,sink-cut-after,sink-cut-and-roll,rollover,remove,restart", logs: "1,3,4,9"},
		{
			name: "the checkpoint is ahead of the store", file: "agent/tail/snapshot.go",
			old: "Settled: [2]Position{s.ledgers[0].settled, s.ledgers[1].settled}", new: "Settled: [2]Position{s.ledgers[0].scanned, s.ledgers[1].scanned}",
			// It has to live until a checkpoint, and to die while a bulk has no answer.
			only: "kill-early,sink-hang,sink-429,sink-503,sink-slow-cut,burst", logs: "1,3,9", calm: true, want: []string{lost, ahead},
		},
		{
			name: "an item's 429 counts as stored", file: "shipper/verdict.go",
			old: "case o.status == http.StatusTooManyRequests, o.status >= 500", new: "case o.status == http.StatusTooManyRequests:\n\t\treturn isFinal, \"\"\n\tcase o.status >= 500",
			only: "sink-items,burst", logs: "1,3,9", want: []string{lost},
		},
		{
			name: "a piece of a line is forgotten", file: "agent/pipeline/join.go",
			old: "j.text = append(j.text, e.Text...)", new: "if len(j.text) == 0 || len(e.Text) > 8 {\n\t\t\tj.text = append(j.text, e.Text[len(e.Text)/9:]...)\n\t\t}",
			only: "burst,kill", logs: "1,3,9", want: []string{text},
		},
		{
			name: "no look before a resend", file: "shipper/resend.go",
			old: "if b.since == \"\" {\n\t\tl.queue", new: "if b.since == \"\" || true {\n\t\tl.queue",
			only: "kill,rollover-down,sink-cut-and-roll,sink-late,burst", logs: "1,3,9", want: []string{doubled},
		},
		{
			name: "a line of a sandbox ends where its file does", file: "agent/tail/rawread.go",
			old: "w.parser.Raw(piece, newline > 0, ", new: "w.parser.Raw(piece, newline > 0 || s.gen.ended && s.off+int64(len(piece)) >= s.gen.size, ",
			only: "kill,burst", logs: "10,11", want: []string{text, unknown},
		},
		{
			name: "files are not linked", file: "agent/tail/hold.go",
			old: "if h.base(id) == \"\" || h.keeps() {\n\t\treturn false\n\t}\n\tname :=", new: "if h.base(id) != \"\" {\n\t\treturn false\n\t}\n\tname :=",
			only: "kill,burst", logs: "2,3", want: []string{lost, stuck},
		},
	}
}

// runMutants runs the harness against each of them.
func runMutants(ctx context.Context, opt options, out io.Writer) error {
	dir, err := os.MkdirTemp("", "mesoscope-soak-mutants-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return fmt.Errorf("find the module: %w", err)
	}
	var errs []error
	for _, m := range mutants() {
		err := m.try(ctx, opt, strings.TrimSpace(string(root)), dir)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			err = fmt.Errorf("mutant %q: %w", m.name, err)
			errs = append(errs, err)
			fmt.Fprintf(out, "FAIL  %v\n", err)
			continue
		}
		fmt.Fprintf(out, "ok    mutant %q: found %s\n", m.name, strings.Join(append(m.want, "nothing")[:max(1, len(m.want))], " or "))
	}
	return errors.Join(errs...)
}

func (m mutant) try(ctx context.Context, opt options, root, dir string) error {
	bin := filepath.Join(dir, "mesoscope")
	if err := m.build(ctx, root, dir, bin); err != nil {
		return err
	}
	opt.mutants, opt.cycles, opt.bin = false, 0, bin
	opt.only, opt.not, opt.containers = m.only, "", m.logs
	opt.duration, opt.patience, opt.rate = 12*time.Second, 10*time.Second, 200
	if m.calm {
		opt.duration, opt.pace = 20*time.Second, 2*time.Second
	}
	var said strings.Builder
	v, err := soak(ctx, opt, bin, &said)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, said.String())
	}
	defer os.RemoveAll(v.h.dir)
	found := slices.ContainsFunc(m.want, func(kind string) bool { return v.counts[kind] > 0 })
	if m.want == nil && len(v.counts) > 0 || m.want != nil && !found {
		return fmt.Errorf("found %s, want one of %q\n%s", v.summary(), m.want, said.String())
	}
	return nil
}

// build builds the agent with the mistake, which the sources do not have.
func (m mutant) build(ctx context.Context, root, dir, bin string) error {
	if m.file == "" {
		return build(ctx, bin, false)
	}
	path := filepath.Join(root, m.file)
	source, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if n := strings.Count(string(source), m.old); n != 1 {
		return fmt.Errorf("%s has %d times, not once: %s", m.file, n, m.old)
	}
	changed := filepath.Join(dir, filepath.Base(m.file))
	if err := os.WriteFile(changed, []byte(strings.Replace(string(source), m.old, m.new, 1)), 0o600); err != nil {
		return err
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{path: changed}})
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		return err
	}
	return build(ctx, bin, false, "-overlay", file)
}

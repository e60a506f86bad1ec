package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// report prints the verdict.
func (h *harness) report(v *verdict) {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(h.counts)) {
		list = append(list, fmt.Sprintf("%d %s", h.counts[name], name))
	}
	if len(v.counts) > 0 {
		fmt.Fprintf(h.out, "FAILED with seed %d\nfaults:\n", h.opt.seed)
		for _, n := range h.notes[max(0, len(h.notes)-200):] {
			fmt.Fprintf(h.out, "  %s\n", n)
		}
		for _, f := range v.failures {
			fmt.Fprintf(h.out, "  %s\n", f)
		}
	}
	if len(list) > 0 {
		fmt.Fprintf(h.out, "faults: %s\n", strings.Join(list, ", "))
	}
	fmt.Fprintf(h.out, "%d containers, %d lines in %d files (%d with a used inode), %d kills, %d bulks; of %d lines some was destroyed at source, %d of those are not there; %d gap documents, %d remnants, %d dead letters, %d receipts\n",
		len(h.containers), v.Lines, v.Files, v.Reused, h.kills, h.sink.Bulks(), v.Damaged, v.Missing, v.Gaps, v.Remnants, v.Dead, v.Receipts)
	fmt.Fprintf(h.out, "seed %d, %s: %s\n", h.opt.seed, time.Since(h.began).Round(time.Second), v.summary())
}

// summary is the verdict in a few words.
func (v *verdict) summary() string {
	s := fmt.Sprintf("%d lost, %d doubled", v.counts[lost], v.counts[doubled])
	for _, k := range v.kinds() {
		if k != lost && k != doubled {
			s += fmt.Sprintf(", %d %s", v.counts[k], k)
		}
	}
	return s
}

//go:build e2e

package main

import (
	"context"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"mesoscope/test/elasticsearch"
)

// TestRealElasticsearch: 50 kill -9 against a real server, with answers that are
// cut off and rollovers; then items that are refused.
func TestRealElasticsearch(t *testing.T) {
	server := elasticsearch.Start(t, elasticsearch.Options{})
	bin := filepath.Join(t.TempDir(), "mesoscope")
	if err := build(t.Context(), bin, false); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"-cycles", "50"},
		// Refusals of items, some of them for good, among kills and rollovers.
		{"-duration", "60s", "-only", "sink-items,sink-poison,sink-429,sink-cut-after,rollover,rollover-down"},
	} {
		t.Run(args[0], func(t *testing.T) { againstReal(t, server, bin, args) })
	}
}

func againstReal(t *testing.T, server *elasticsearch.Server, bin string, args []string) {
	opt, err := parseOptions(append(args, "-elasticsearch", server.URL, "-dir", t.TempDir()), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	v, err := soak(context.WithoutCancel(t.Context()), opt, bin, &said)
	if err != nil || len(v.counts) > 0 {
		t.Fatalf("%v\n%s", err, said.String())
	}
	t.Log(said.String())
}

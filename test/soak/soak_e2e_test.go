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
// cut off and rollovers.
func TestRealElasticsearch(t *testing.T) {
	server := elasticsearch.Start(t, elasticsearch.Options{})
	bin := filepath.Join(t.TempDir(), "mesoscope")
	if err := build(t.Context(), bin, false); err != nil {
		t.Fatal(err)
	}
	opt, err := parseOptions([]string{"-cycles", "50", "-elasticsearch", server.URL, "-dir", t.TempDir()}, io.Discard)
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

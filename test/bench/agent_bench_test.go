package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"mesoscope/agent"
	"mesoscope/config"
	"mesoscope/record"
	"mesoscope/shipper"
	"mesoscope/test/bench/corpus"
)

// BenchmarkAgent is the way of a line from the file to the answer of the sink,
// in this process but for the sink, so that a profile shows nothing else:
//
//	go test ./test/bench -run '^$' -bench Agent -cpuprofile cpu.prof
func BenchmarkAgent(b *testing.B) {
	for _, c := range throughputCases {
		b.Run(fmt.Sprintf("containers=%d/gzip=%d", c.containers, c.gzip), func(b *testing.B) { benchmarkAgent(b, c) })
	}
}

func benchmarkAgent(b *testing.B, c throughputCase) {
	const lines = 100_000
	dir := b.TempDir()
	root := filepath.Join(dir, "docker")
	size, err := corpus.Write(root, corpus.Spec{Containers: c.containers, Lines: lines})
	if err != nil {
		b.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	sink, err := (&bench{self: self, err: io.Discard}).startSink(b.Context(), beside)
	if err != nil {
		b.Fatal(err)
	}
	defer sink.kill()
	b.SetBytes(size)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if err := sink.reset(); err != nil {
			b.Fatal(err)
		}
		cfg := config.Default(config.Agent)
		es := config.DefaultElasticsearch()
		es.Hosts, es.CompressionLevel = []string{"http://" + sink.addr}, c.gzip
		cfg.Output.Elasticsearch = &es
		cfg.Docker = config.Docker{Root: root}
		cfg.Hold.Dir = filepath.Join(dir, fmt.Sprint("hold", i))
		if err := shipAll(b.Context(), cfg, filepath.Join(dir, fmt.Sprint("state", i)), sink, lines); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(lines*b.N)/b.Elapsed().Seconds(), "lines/s")
}

// shipAll runs an agent until the sink has so many lines.
func shipAll(ctx context.Context, cfg config.Config, state string, sink *remote, lines int64) error {
	log := slog.New(slog.DiscardHandler)
	out := make(chan *record.Batch, 64)
	a, err := agent.New(agent.Options{
		Config: cfg, StateDir: state, Dataset: cfg.Output.Elasticsearch.Dataset, Namespace: cfg.Output.Elasticsearch.Namespace, Hold: true, Out: out, Log: log,
	})
	if err != nil {
		return err
	}
	es, err := shipper.NewElasticsearch(*cfg.Output.Elasticsearch, shipper.WithLogger(log))
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	read, sent := make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(read)
		a.Run(ctx)
	}()
	go func() { sent <- es.Run(context.WithoutCancel(ctx), out) }()
	err = sink.waitFor(ctx, time.Millisecond, func() (bool, int64, error) {
		st, err := sink.stats()
		return st.Distinct >= lines, st.Distinct, err
	})
	stop()
	<-read
	close(out)
	if e := <-sent; err == nil {
		err = e
	}
	if e := a.Close(); err == nil {
		err = e
	}
	return err
}

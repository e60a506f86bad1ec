package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"mesoscope/test/bench/sink"
)

// measureServer measures what a real Elasticsearch does with our bulks, and with
// the same documents from esutil.BulkIndexer: all of them once as the agent made
// them are kept in a file, which the indexer (indexer.go) reads.
func (b *bench) measureServer(ctx context.Context) (*table, error) {
	if b.elasticsearch == "" {
		return nil, errors.New("-elasticsearch is not given")
	}
	root, _, err := b.corpus(20, b.lines)
	if err != nil {
		return nil, err
	}
	documents := filepath.Join(b.dir, "documents.ndjson")
	defer os.Remove(documents)
	if err := b.capture(ctx, root, documents); err != nil {
		return nil, fmt.Errorf("keep the documents: %w", err)
	}
	output := func(namespace, more string) string {
		return fmt.Sprintf("{elasticsearch: {hosts: [%q], namespace: %s%s}}", b.elasticsearch, namespace, more)
	}
	indexer := func(namespace string, _ setup) []string {
		return []string{b.self, "indexer", "-url", b.elasticsearch, "-index", dataStream(namespace), "-documents", documents}
	}
	agent := func(more string) func(string, setup) []string {
		return func(namespace string, s setup) []string {
			s.output = output(namespace, more)
			if _, err := s.write(); err != nil {
				return nil // it will not start
			}
			return []string{b.bin, "agent", "--config", s.path()}
		}
	}
	subjects := []struct {
		name string
		argv func(namespace string, s setup) []string
		seen []served
	}{{name: "agent", argv: agent("")}, {name: "esutil.BulkIndexer", argv: indexer}}
	for _, mib := range b.bulks {
		subjects = append(subjects, subjects[0])
		s := &subjects[len(subjects)-1]
		s.name, s.argv = fmt.Sprintf("agent, bulk_max_bytes %d MiB", mib), agent(fmt.Sprintf(", bulk_max_bytes: %dMiB", mib))
	}
	for i := range b.runs + 1 { // the first one is for the server's compiler, and not counted
		for j := range subjects {
			s := &subjects[j]
			r, err := b.serve(ctx, root, fmt.Sprintf("bench%d%d", time.Now().Unix(), j), s.argv)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", s.name, err)
			}
			b.progress("server %d/%d: %s: %.0f docs/s, %.1f µs of the server", i, b.runs, s.name, r.rate, r.server)
			if i > 0 {
				s.seen = append(s.seen, r)
			}
		}
	}
	t := &table{title: fmt.Sprintf("Server: %s documents into a fresh data stream of a real Elasticsearch, gzip, 2 requests at a time, median of %d", thousands(float64(b.lines)), b.runs)}
	t.add("", "docs/s", "range", "server CPU µs/doc", "docs/server CPU s", "client CPU µs/doc")
	for _, s := range subjects {
		var rate, server, client []float64
		for _, r := range s.seen {
			rate, server, client = append(rate, r.rate), append(server, r.server), append(client, r.client)
		}
		m := median(rate)
		t.add(s.name, thousands(m), thousands(rate[0])+"-"+thousands(rate[len(rate)-1]), fmt.Sprintf("%.1f", median(server)),
			thousands(1e6/median(server)), fmt.Sprintf("%.2f", median(client)))
	}
	t.notes = []string{"The agent reads json-files, the indexer documents that are made already. Server and client share all cores."}
	return t, nil
}

// served is one run.
type served struct{ rate, server, client float64 }

func dataStream(namespace string) string { return "logs-mesos.container-" + namespace }

func (b *bench) serve(ctx context.Context, root, namespace string, argv func(string, setup) []string) (r served, err error) {
	set, err := b.newSetup(root, fmt.Sprintf("{elasticsearch: {hosts: [%q], namespace: %s}}", b.elasticsearch, namespace))
	if err != nil {
		return r, err
	}
	defer set.remove()
	if _, err := set.write(); err != nil {
		return r, err
	}
	if out, err := exec.CommandContext(ctx, b.bin, "setup", "--config", set.path()).CombinedOutput(); err != nil {
		return r, fmt.Errorf("setup: %w: %s", err, out)
	}
	before, err := b.serverCPU(ctx)
	if err != nil {
		return r, err
	}
	everywhere := seat{}
	for i := range max(1, len(cores())) {
		everywhere = append(everywhere, i)
	}
	p, err := start(everywhere, argv(namespace, set)...)
	if err != nil {
		return r, err
	}
	defer b.ask(context.WithoutCancel(ctx), http.MethodDelete, "/_data_stream/logs-*-"+namespace, nil)
	err = p.waitFor(ctx, 20*time.Millisecond, func() (bool, int64, error) {
		var st struct {
			All struct {
				Primaries struct {
					Indexing struct {
						Total int64 `json:"index_total"`
					}
				}
			} `json:"_all"`
		}
		err := b.ask(ctx, http.MethodGet, "/"+dataStream(namespace)+"/_stats/indexing?ignore_unavailable=true", &st)
		n := st.All.Primaries.Indexing.Total
		if errors.Is(err, errNotFound) {
			return false, 0, nil // no document yet
		}
		return n >= int64(b.lines), n, err
	})
	took := time.Since(p.begun)
	if err != nil {
		p.kill()
		return r, fmt.Errorf("%w: %s", err, p.said())
	}
	if err := p.stop(); err != nil {
		return r, err
	}
	// What is left for the server to do belongs to it.
	if err := b.ask(ctx, http.MethodPost, "/"+dataStream(namespace)+"/_flush", nil); err != nil {
		return r, err
	}
	after, err := b.serverCPU(ctx)
	lines := float64(b.lines)
	return served{lines / took.Seconds(), float64((after - before).Microseconds()) / lines, float64(p.cpu().Microseconds()) / lines}, err
}

func (b *bench) serverCPU(ctx context.Context) (time.Duration, error) {
	var st struct {
		Nodes map[string]struct {
			Process struct {
				CPU struct {
					Millis int64 `json:"total_in_millis"`
				}
			}
		}
	}
	err := b.ask(ctx, http.MethodGet, "/_nodes/stats/process", &st)
	var sum time.Duration
	for _, n := range st.Nodes {
		sum += time.Duration(n.Process.CPU.Millis) * time.Millisecond
	}
	return sum, err
}

var errNotFound = errors.New("not found")

// ask calls the server and decodes the answer, unless v is nil.
func (b *bench) ask(ctx context.Context, method, path string, v any) error {
	r, err := http.NewRequestWithContext(ctx, method, b.elasticsearch+path, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound {
		return errNotFound
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s", method, path, resp.Status)
	}
	if v == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		return err
	}
	return json.NewDecoder(resp.Body).Decode(v)
}

// capture lets the agent ship a corpus to a sink that writes the documents to a
// file, as they stand in the bulks.
func (b *bench) capture(ctx context.Context, root, path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s := &local{Sink: sink.New(sink.Options{}), addr: l.Addr().String()}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	bodies := make(chan struct{}, 1) // one writes at a time
	bodies <- struct{}{}
	go func() {
		ended <- serve(ctx, l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/logs-mesos.container-") && strings.HasSuffix(r.URL.Path, "/_bulk") {
				body, err := io.ReadAll(r.Body)
				if err == nil {
					<-bodies
					_, err = f.Write(body)
					bodies <- struct{}{}
				}
				if err != nil {
					http.Error(w, err.Error(), http.StatusInternalServerError)
					return
				}
				r.Body = io.NopCloser(bytes.NewReader(body))
			}
			s.ServeHTTP(w, r)
		}))
	}()
	defer func() { cancel(); <-ended }()
	p, set, err := b.startAgent(ctx, s, root, "agent", toSink(s.addr, 0), int64(b.lines))
	if err != nil {
		return err
	}
	defer set.remove()
	return errors.Join(p.stop(), f.Close())
}

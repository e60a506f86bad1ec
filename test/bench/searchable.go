package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"time"

	"mesoscope/internal/jsonfile"
	"mesoscope/test/bench/corpus"
)

// A searched is a store that can be asked for a word.
type searched struct {
	name    string
	command string                   // of mesoscope, which writes to it
	output  string                   // of the configuration
	url     func(word string) string // answers {"lines": […]} or {"hits": {"hits": […]}}
}

// measureSearchable measures how long it takes until a written line is found
// by a search, which is asked again and again: over standalone's HTTP API, and
// in a real Elasticsearch if one is given.
func (b *bench) measureSearchable(ctx context.Context) (*table, error) {
	listen, err := freeAddr()
	if err != nil {
		return nil, err
	}
	stores := []searched{{"embedded store (standalone)", "standalone", "{embedded: {}}", func(word string) string {
		return "http://" + listen + "/api/v1/search?limit=1&q=" + word
	}}}
	if b.elasticsearch != "" {
		// A namespace of its own: what other runs have written is not found.
		namespace := fmt.Sprintf("bench%d", time.Now().Unix())
		stores = append(stores, searched{"Elasticsearch", "agent",
			fmt.Sprintf("{elasticsearch: {hosts: [%q], namespace: %s}}", b.elasticsearch, namespace),
			func(word string) string {
				return b.elasticsearch + "/logs-mesos.container-" + namespace + "/_search?size=1&q=" + url.QueryEscape("message:"+word)
			}})
	}
	t := &table{title: fmt.Sprintf("Latency: from write to found by a search, ms, %d lines at about 10/s", b.latency)}
	t.add("", "p50", "p99", "max")
	t.notes = []string{"With the time that the searches themselves take. Elasticsearch shows a document at its next refresh, each second by default."}
	for _, s := range stores {
		b.progress("searchable: %s", s.name)
		ms, err := b.searchable(ctx, s, listen)
		if err != nil {
			return t, fmt.Errorf("%s: %w", s.name, err)
		}
		t.add(s.name, fmt.Sprintf("%.1f", percentile(ms, 50)), fmt.Sprintf("%.1f", percentile(ms, 99)), fmt.Sprintf("%.1f", percentile(ms, 100)))
	}
	return t, nil
}

func (b *bench) searchable(ctx context.Context, s searched, listen string) (ms []float64, err error) {
	root, err := b.silentRoot(latencyContainers)
	if err != nil {
		return nil, err
	}
	defer root.remove()
	set, err := b.newSetup(root.dir, s.output)
	if err != nil {
		return nil, err
	}
	defer set.remove()
	set.listen = listen
	file, err := set.write()
	if err != nil {
		return nil, err
	}
	p, err := start(measured, b.bin, s.command, "--config", file)
	if err != nil {
		return nil, err
	}
	defer p.kill()
	ready := func() (bool, int64, error) {
		n, err := search(ctx, s.url("mk"))
		return err == nil && n > 0, 0, nil // not listening yet, no index yet
	}
	if err := p.waitFor(ctx, 10*time.Millisecond, ready); err != nil {
		return nil, fmt.Errorf("the first lines are not found: %w", err)
	}
	w, err := jsonfile.Open(jsonfile.LogPath(root.dir, corpus.ID(0)), jsonfile.Options{})
	if err != nil {
		return nil, err
	}
	defer w.Close()
	random := rand.New(rand.NewPCG(1, 2))
	for i := range b.latency {
		if err := sleep(ctx, pause(random)); err != nil {
			return nil, err
		}
		word := fmt.Sprintf("needle%dx", i)
		begin := time.Now()
		if err := w.WriteLine("stdout", []byte("a line with "+word), begin); err != nil {
			return nil, err
		}
		err := p.waitFor(ctx, time.Millisecond, func() (bool, int64, error) {
			n, err := search(ctx, s.url(word))
			return n > 0, 0, err
		})
		if err != nil {
			return nil, fmt.Errorf("%s is not found: %w", word, err)
		}
		ms = append(ms, float64(time.Since(begin).Microseconds())/1000)
	}
	return ms, p.stop()
}

// search returns how many lines are in the answer.
func search(ctx context.Context, url string) (int, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("GET %s: %s", url, resp.Status)
	}
	var found struct {
		Lines []json.RawMessage
		Hits  struct{ Hits []json.RawMessage }
	}
	err = json.NewDecoder(resp.Body).Decode(&found)
	return len(found.Lines) + len(found.Hits.Hits), err
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"mesoscope/internal/jsonfile"
	"mesoscope/test/bench/corpus"
)

// measureEmbedded measures how long it takes until a written line is found by
// a search over standalone's HTTP API, which is asked again and again.
func (b *bench) measureEmbedded(ctx context.Context) (*table, error) {
	root, err := b.silentRoot(latencyContainers)
	if err != nil {
		return nil, err
	}
	defer root.remove()
	set, err := b.newSetup(root.dir, "{embedded: {}}")
	if err != nil {
		return nil, err
	}
	defer set.remove()
	file, err := set.write()
	if err != nil {
		return nil, err
	}
	p, err := start(0, b.bin, "standalone", "--config", file)
	if err != nil {
		return nil, err
	}
	defer p.kill()
	ready := func() (bool, int64, error) {
		n, err := search(ctx, set.listen, "mk")
		return err == nil && n > 0, int64(n), nil // not listening yet
	}
	if err := p.waitFor(ctx, 10*time.Millisecond, ready); err != nil {
		return nil, fmt.Errorf("standalone finds no line: %w", err)
	}
	b.progress("embedded: write to searchable")
	w, err := jsonfile.Open(jsonfile.LogPath(root.dir, corpus.ID(0)), jsonfile.Options{})
	if err != nil {
		return nil, err
	}
	defer w.Close()
	random := rand.New(rand.NewPCG(1, 2))
	var ms []float64
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
			n, err := search(ctx, set.listen, word)
			return n > 0, 0, err
		})
		if err != nil {
			return nil, fmt.Errorf("%s is not found: %w", word, err)
		}
		ms = append(ms, float64(time.Since(begin).Microseconds())/1000)
	}
	t := &table{title: fmt.Sprintf("Latency: from write to found by a search of standalone, ms, %d lines at about 10/s", b.latency)}
	t.add("", "p50", "p99", "max")
	t.add("embedded store", fmt.Sprintf("%.1f", percentile(ms, 50)), fmt.Sprintf("%.1f", percentile(ms, 99)), fmt.Sprintf("%.1f", percentile(ms, 100)))
	t.notes = []string{"With the time that the searches themselves take."}
	return t, p.stop()
}

// search returns how many lines, at most one, have the word.
func search(ctx context.Context, addr, word string) (int, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/api/v1/search?limit=1&q="+word, nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("search answered %s", resp.Status)
	}
	var found struct{ Lines []json.RawMessage }
	err = json.NewDecoder(resp.Body).Decode(&found)
	return len(found.Lines), err
}

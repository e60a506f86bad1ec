// Command ids measures what deterministic document ids, and the settings beside
// them, cost a real Elasticsearch: the server process' CPU time for each
// document, and the store's size.
//
// The way of the data: lines -> agent/pipeline's documents, 20 containers ->
// another id in the action line -> gzip bulks over two connections -> a fresh
// index of each variant, with the mappings of `mesoscope setup`; the variants in
// turns, so that a machine that is slow for a while slows all -> medians.
//
//	test/elasticsearch/start.sh 9200 DATADIR       (as root, ES_HEAP=2g)
//	mesoscope setup --config mesoscope.yml          (puts the templates)
//	go run ./test/bench/ids -url http://127.0.0.1:9200 -pid "$(cat DATADIR/pid)"
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// sample is one run of a variant.
type sample struct {
	cpu    float64 // µs of the server for a document, merges included
	merge  float64 // the same for the merge to one segment; in the last round only
	before int64   // bytes of the store, as it settled
	after  int64   // and merged to one segment
}

type bench struct {
	url, pid string
	docs     int
	mappings json.RawMessage
}

func main() {
	b := &bench{}
	flag.StringVar(&b.url, "url", "http://127.0.0.1:9200", "of the server")
	flag.StringVar(&b.pid, "pid", "", "of the server's process")
	flag.IntVar(&b.docs, "docs", 400_000, "documents of a run")
	rounds := flag.Int("rounds", 3, "runs of each variant")
	only := flag.String("only", ".", "expression for the names of variants")
	flag.Parse()
	if err := b.run(*rounds, *only); err != nil {
		fmt.Fprintln(os.Stderr, "ids:", err)
		os.Exit(1)
	}
}

func (b *bench) run(rounds int, only string) error {
	chosen, err := regexp.Compile(only)
	if err != nil {
		return fmt.Errorf("-only: %w", err)
	}
	if err := b.template(); err != nil {
		return err
	}
	list := slices.DeleteFunc(variants(), func(v variant) bool { return !chosen.MatchString(v.name) })
	if len(list) == 0 {
		return fmt.Errorf("no variant is called %s", only)
	}
	if _, err := b.once(list[0], "warm", false); err != nil { // the JIT compiler
		return err
	}
	all := make(map[string][]sample)
	for round := range rounds {
		for _, v := range list {
			s, err := b.once(v, fmt.Sprint(round), round == rounds-1)
			if err != nil {
				fmt.Fprintf(os.Stderr, "%s: %v\n", v.name, err)
				continue
			}
			all[v.name] = append(all[v.name], s)
			fmt.Fprintf(os.Stderr, "%d %-30s %5.1f µs/doc, merge %4.1f, %6.1f -> %6.1f MB\n", round, v.name, s.cpu, s.merge, mb(s.before), mb(s.after))
		}
	}
	fmt.Printf("| variant | server CPU, µs/doc (all runs) | merge to one segment, µs/doc | store, MB | merged, MB |\n|---|---|---|---|---|\n")
	for _, v := range list {
		if runs := all[v.name]; len(runs) > 0 {
			last := runs[len(runs)-1]
			fmt.Printf("| %s | **%.1f** (%s) | %.1f | %.0f | %.0f |\n", v.name, median(runs, func(s sample) float64 { return s.cpu }), each(runs),
				last.merge, median(runs, func(s sample) float64 { return mb(s.before) }), mb(last.after))
		}
	}
	return nil
}

func mb(n int64) float64 { return float64(n) / 1e6 }

func median(runs []sample, of func(sample) float64) float64 {
	var list []float64
	for _, s := range runs {
		list = append(list, of(s))
	}
	slices.Sort(list)
	return list[len(list)/2]
}

func each(runs []sample) string {
	var list []string
	for _, s := range runs {
		list = append(list, fmt.Sprintf("%.1f", s.cpu))
	}
	return strings.Join(list, ", ")
}

// once loads one fresh index, measures and deletes it.
func (b *bench) once(v variant, round string, merge bool) (s sample, err error) {
	index := "ids-" + regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(strings.ToLower(v.name), "-") + "-" + round
	set := settings{"index.store.stats_refresh_interval": "0s"} // or the size is that of 10 s ago
	maps.Copy(set, v.settings)
	body, err := json.Marshal(map[string]any{"settings": set, "mappings": b.mappings})
	if err != nil {
		return s, err
	}
	if err := b.ask("PUT", "/"+index, body, nil); err != nil {
		return s, err
	}
	defer func() { _ = b.ask("DELETE", "/"+index, nil, nil) }()
	began, err := b.cpu()
	if err != nil {
		return s, err
	}
	if err := b.load(index, v.id); err != nil {
		return s, err
	}
	if s.before, err = b.settle(index); err != nil {
		return s, err
	}
	loaded, err := b.cpu()
	if err != nil {
		return s, err
	}
	if !merge {
		s.cpu = (loaded - began) / float64(b.docs) * 1e6
		return s, nil
	}
	if err := b.ask("POST", "/"+index+"/_forcemerge?max_num_segments=1&flush=true", nil, nil); err != nil {
		return s, err
	}
	if s.after, err = b.settle(index); err != nil {
		return s, err
	}
	merged, err := b.cpu()
	s.cpu, s.merge = (loaded-began)/float64(b.docs)*1e6, (merged-loaded)/float64(b.docs)*1e6
	return s, err
}

// settle waits until nothing merges any more and returns the store's size.
func (b *bench) settle(index string) (size int64, err error) {
	if err := b.ask("POST", "/"+index+"/_flush", nil, nil); err != nil {
		return 0, err
	}
	for {
		var a struct {
			All struct {
				Primaries struct {
					Docs struct {
						Count int `json:"count"`
					} `json:"docs"`
					Store struct {
						Size int64 `json:"size_in_bytes"`
					} `json:"store"`
					Merges struct {
						Current int `json:"current"`
					} `json:"merges"`
				} `json:"primaries"`
			} `json:"_all"`
		}
		if err := b.ask("POST", "/"+index+"/_refresh", nil, nil); err != nil {
			return 0, err
		}
		if err := b.ask("GET", "/"+index+"/_stats/docs,store,merge", nil, &a); err != nil {
			return 0, err
		}
		if p := a.All.Primaries; p.Merges.Current == 0 {
			if p.Docs.Count != b.docs {
				return 0, fmt.Errorf("%d documents, want %d: two have one id", p.Docs.Count, b.docs)
			}
			return p.Store.Size, nil
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// template takes over the mappings and settings of `mesoscope setup`.
func (b *bench) template() error {
	var a struct {
		Template struct {
			Mappings json.RawMessage `json:"mappings"`
			Settings json.RawMessage `json:"settings"`
		} `json:"template"`
	}
	if err := b.ask("POST", "/_index_template/_simulate_index/logs-mesos.container-default", nil, &a); err != nil {
		return err
	}
	b.mappings = a.Template.Mappings
	fmt.Fprintf(os.Stderr, "settings of mesoscope setup: %s\n", a.Template.Settings)
	return nil
}

// ask sends a request and decodes the answer.
func (b *bench) ask(method, path string, body []byte, answer any) error {
	req, err := http.NewRequest(method, b.url+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	text, err := do(req)
	if err != nil || answer == nil {
		return err
	}
	return json.Unmarshal(text, answer)
}

// post sends a compressed bulk.
func (b *bench) post(path string, body []byte) ([]byte, error) {
	req, err := http.NewRequest("POST", b.url+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	req.Header.Set("Content-Encoding", "gzip")
	return do(req)
}

func do(req *http.Request) ([]byte, error) {
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode >= 300 {
		err = fmt.Errorf("%s %s: %s: %.500s", req.Method, req.URL.Path, res.Status, text)
	}
	return text, err
}

// cpu is utime and stime of the server, in seconds.
func (b *bench) cpu() (float64, error) {
	text, err := os.ReadFile("/proc/" + b.pid + "/stat")
	if err != nil {
		return 0, err
	}
	f := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	user, err := strconv.ParseFloat(f[11], 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseFloat(f[12], 64)
	return (user + system) / 100, err // USER_HZ
}

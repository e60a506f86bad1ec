// Package sink answers as an Elasticsearch 8 that takes every document, and
// counts. It is what the benchmarks write to: cheap enough that the writer is
// the bottleneck, yet with one answer for each document, as a real server gives.
//
// The way of the data: POST _bulk -> body, inflated if gzip -> each action and
// document counted, its marker noted -> one item in the answer for each.
package sink

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"mesoscope/test/bench/corpus"
)

// Options say what the sink does beside counting.
type Options struct {
	// IDs keeps the id of each document, as a real server: a second `create`
	// of an id is answered 409, and _mget knows what is there. It takes about
	// 100 bytes and a microsecond a document.
	IDs bool
	// Delay is waited before each answer to a bulk.
	Delay time.Duration
	// OnLine is told each marker with the time at which its bulk was read.
	OnLine func(container, number int, at time.Time)
}

// Stats are counts since New or the last Reset.
type Stats struct {
	Bulks      int64 `json:"bulks"`
	Lines      int64 `json:"lines"`      // documents answered 201
	WireBytes  int64 `json:"wire_bytes"` // bodies of bulks as they were sent
	BodyBytes  int64 `json:"body_bytes"` // the same, inflated
	Conflicts  int64 `json:"conflicts"`  // documents answered 409, with Options.IDs
	Distinct   int64 `json:"distinct"`   // different markers
	Duplicates int64 `json:"duplicates"` // markers stored again, under another id
	Unmarked   int64 `json:"unmarked"`   // documents without a marker
}

// A Sink is an http.Handler.
type Sink struct {
	opt Options
	mux *http.ServeMux

	mu    sync.Mutex // guards the following
	stats Stats
	ids   map[string]bool
	lines map[int][]uint64 // container -> a bit for each line number
}

// New makes an empty Sink.
func New(o Options) *Sink {
	s := &Sink{opt: o, mux: http.NewServeMux()}
	s.Reset()
	s.mux.HandleFunc("POST /_bulk", s.bulk)
	s.mux.HandleFunc("PUT /_bulk", s.bulk)
	s.mux.HandleFunc("POST /{index}/_bulk", s.bulk)
	s.mux.HandleFunc("PUT /{index}/_bulk", s.bulk)
	s.mux.HandleFunc("POST /v1/logs", s.otlp)
	s.mux.HandleFunc("POST /_mget", s.mget)
	s.mux.HandleFunc("POST /{index}/_mget", s.mget)
	s.mux.HandleFunc("GET /_data_stream/{name}", dataStream)
	s.mux.HandleFunc("GET /_sink/stats", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, s.Stats()) })
	s.mux.HandleFunc("POST /_sink/reset", func(w http.ResponseWriter, _ *http.Request) { s.Reset(); writeJSON(w, s.Stats()) })
	s.mux.HandleFunc("/", other)
	return s
}

// ServeHTTP answers one request. Paths below /_sink are the sink's own:
// GET /_sink/stats and POST /_sink/reset answer with Stats.
func (s *Sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Elastic-Product", "Elasticsearch")
	w.Header().Set("Content-Type", "application/json")
	s.mux.ServeHTTP(w, r)
}

// Stats returns the counts.
func (s *Sink) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

// Reset forgets everything.
func (s *Sink) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats, s.ids, s.lines = Stats{}, map[string]bool{}, map[int][]uint64{}
}

// take counts a document and returns the status of its item. Caller holds s.mu.
func (s *Sink) take(create bool, id, doc []byte, at time.Time) int {
	if s.opt.IDs && create && len(id) > 0 {
		if s.ids[string(id)] {
			s.stats.Conflicts++
			return http.StatusConflict
		}
		s.ids[string(id)] = true
	}
	s.stats.Lines++
	c, n, ok := corpus.FindMarker(doc)
	if !ok || n > maxNumber {
		s.stats.Unmarked++
		return http.StatusCreated
	}
	if s.mark(c, n) {
		s.stats.Distinct++
	} else {
		s.stats.Duplicates++
	}
	if s.opt.OnLine != nil {
		s.opt.OnLine(c, n, at)
	}
	return http.StatusCreated
}

// maxNumber bounds the memory that a line number can ask for.
const maxNumber = 1 << 28

// mark notes a line and says whether it is new.
func (s *Sink) mark(container, number int) bool {
	bits := s.lines[container]
	word, bit := number/64, uint64(1)<<(number%64)
	if word >= len(bits) {
		bits = append(bits, make([]uint64, word-len(bits)+1)...)
		s.lines[container] = bits
	}
	seen := bits[word]&bit != 0
	bits[word] |= bit
	return !seen
}

// other answers what a client asks before it writes, and the setting up of
// templates and policies, which it accepts and forgets: asked for one, it
// says that it is not there.
func other(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/" && r.Method == http.MethodGet:
		fmt.Fprint(w, `{"name":"sink","cluster_name":"sink","cluster_uuid":"c2luaw","version":{"number":"8.19.7","build_flavor":"default","build_type":"tar",`+
			`"build_hash":"0","build_date":"2026-01-01T00:00:00Z","build_snapshot":false,"lucene_version":"9.12.2",`+
			`"minimum_wire_compatibility_version":"7.17.0","minimum_index_compatibility_version":"7.0.0"},"tagline":"You Know, for Search"}`+"\n")
	case r.Method == http.MethodPut || r.Method == http.MethodPost || r.Method == http.MethodDelete:
		fmt.Fprint(w, `{"acknowledged":true}`)
	case isNamed(r.URL.Path):
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"error":{"type":"resource_not_found_exception","reason":"not found"},"status":404}`)
	case r.Method != http.MethodHead:
		fmt.Fprint(w, `{}`)
	}
}

// isNamed says whether path asks for one template or policy.
func isNamed(path string) bool {
	for _, kind := range []string{"/_index_template/", "/_component_template/", "/_ilm/policy/", "/_ingest/pipeline/"} {
		if strings.HasPrefix(path, kind) {
			return true
		}
	}
	return false
}

// mget says of each id whether it is there, which only a Sink that keeps ids knows.
func (s *Sink) mget(w http.ResponseWriter, r *http.Request) {
	type doc struct {
		Index string `json:"_index"`
		ID    string `json:"_id"`
		Found bool   `json:"found"`
	}
	var q struct {
		Docs []doc    `json:"docs"`
		IDs  []string `json:"ids"`
	}
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		refuse(w, "parse_exception", err)
		return
	}
	for _, id := range q.IDs {
		q.Docs = append(q.Docs, doc{ID: id, Index: backing(r.PathValue("index"))})
	}
	s.mu.Lock()
	for i := range q.Docs {
		q.Docs[i].Found = s.ids[q.Docs[i].ID]
	}
	s.mu.Unlock()
	writeJSON(w, map[string]any{"docs": q.Docs})
}

func dataStream(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	writeJSON(w, map[string]any{"data_streams": []any{map[string]any{
		"name": name, "timestamp_field": map[string]string{"name": "@timestamp"}, "generation": 1, "status": "GREEN",
		"indices": []any{map[string]string{"index_name": backing(name), "index_uuid": "c2luaw"}},
	}}})
}

// backing is the one backing index of a data stream.
func backing(name string) string {
	if name == "" || strings.HasPrefix(name, ".ds-") {
		return name
	}
	return ".ds-" + name + "-2026.11.23-000001"
}

func refuse(w http.ResponseWriter, kind string, err error) {
	w.WriteHeader(http.StatusBadRequest)
	writeJSON(w, map[string]any{"status": 400, "error": map[string]string{"type": kind, "reason": err.Error()}})
}

// writeJSON does not look at errors: they mean that the client has gone.
func writeJSON(w http.ResponseWriter, v any) { _ = json.NewEncoder(w).Encode(v) }

package fakees

import (
	"encoding/json"
	"maps"
	"net/http"
	"strings"
)

func (s *Server) refresh(w http.ResponseWriter, index string) {
	s.mu.Lock()
	s.shown = s.arrival
	_, ok := s.streams[index]
	s.mu.Unlock()
	if !ok {
		writeError(w, 404, "index_not_found_exception", "no such index ["+index+"]")
		return
	}
	writeJSON(w, 200, map[string]any{"_shards": map[string]any{"total": 1, "failed": 0}})
}

// search answers a bool query with filters of term and range. As in a real
// server, what came after the last refresh is not found.
func (s *Server) search(w http.ResponseWriter, index string, body []byte) {
	var q struct {
		Size  int
		Query struct {
			Bool struct {
				Filter []struct {
					Term  map[string]any
					Range map[string]struct{ Gte, Lte float64 }
				}
			}
		}
	}
	if json.Unmarshal(body, &q) != nil {
		writeError(w, 400, "parsing_exception", "not a search")
		return
	}
	hits := []any{}
	s.mu.Lock()
	shown, closed := s.shown, maps.Clone(s.closed)
	s.mu.Unlock()
	for _, d := range s.Docs(index) {
		if closed[d.Index] {
			continue
		}
		var doc map[string]any
		ok := d.Arrival < shown && json.Unmarshal(d.Source, &doc) == nil
		for _, f := range q.Query.Bool.Filter {
			for name, want := range f.Term {
				ok = ok && valueAt(doc, name) == want
			}
			for name, r := range f.Range {
				v, number := valueAt(doc, name).(float64)
				ok = ok && number && v >= r.Gte && v <= r.Lte
			}
		}
		if ok && len(hits) < q.Size {
			hits = append(hits, map[string]any{"_index": d.Index, "_id": d.ID, "_source": d.Source})
		}
	}
	writeJSON(w, 200, map[string]any{"timed_out": false, "_shards": map[string]any{"total": 1, "failed": 0}, "hits": map[string]any{"hits": hits}})
}

// shut answers a call on a data stream of which an index is closed, unless such
// ones may be left out, and says whether it did.
func (s *Server) shut(w http.ResponseWriter, r *http.Request, index string) bool {
	if r.URL.Query().Get("ignore_unavailable") == "true" {
		return false
	}
	for _, b := range s.Backing(index) {
		s.mu.Lock()
		closed := s.closed[b]
		s.mu.Unlock()
		if closed {
			writeError(w, 400, "index_closed_exception", "closed")
			return true
		}
	}
	return false
}

func valueAt(doc map[string]any, name string) any {
	var v any = doc
	for part := range strings.SplitSeq(name, ".") {
		m, _ := v.(map[string]any)
		v = m[part]
	}
	return v
}

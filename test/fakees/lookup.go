package fakees

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The calls of this file, as Call.Name and Deny name them.
const (
	CallTasks    = "tasks"    // GET _tasks: the bulks that are alive
	CallResolve  = "resolve"  // GET _resolve/index/<names>: data streams with their backing indices
	CallMget     = "mget"     // POST _mget, real-time, by backing index
	CallDelete   = "delete"   // DELETE <backing>/_doc/<id>
	CallRefresh  = "refresh"  // POST <data stream>/_refresh: what is stored can be found by _search
	CallSearch   = "search"   // POST <data stream>/_search: bool filters of term and range
	CallRollover = "rollover" // POST <data stream>/_rollover
)

// A Call is a request of this file that came in, before it is answered.
type Call struct {
	Name string
	Path string
	Body []byte
}

// Deny answers a call with 403 from now on, or, with denied false, not any more.
func (s *Server) Deny(call string, denied bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.denied == nil {
		s.denied = map[string]bool{}
	}
	s.denied[call] = denied
}

// Away takes the shard of a backing index away, or brings it back: _mget cannot
// say what it holds.
func (s *Server) Away(backing string, away bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away == nil {
		s.away = map[string]bool{}
	}
	s.away[backing] = away
}

// Close closes a backing index as POST <backing>/_close does, or opens it again:
// _mget cannot say what it holds, a bulk cannot write to it, and a search of the
// data stream leaves it out if it may (ignore_unavailable).
func (s *Server) Close(backing string, closed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed == nil {
		s.closed = map[string]bool{}
	}
	s.closed[backing] = closed
}

// Alive are the X-Opaque-Ids of bulks that are not done, see Fault.Late.
func (s *Server) Alive() (ids []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range s.tasks {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// Backing are the names of a data stream's backing indices, oldest first.
func (s *Server) Backing(index string) (names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.streams[index]; st != nil {
		for _, b := range st.backing {
			names = append(names, b.name)
		}
	}
	return names
}

func (s *Server) begin(opaqueID string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tasks == nil {
		s.tasks = map[int]string{}
	}
	s.taskIDs++
	s.tasks[s.taskIDs] = opaqueID
	return s.taskIDs
}

func (s *Server) end(task int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.tasks, task)
}

// serveLookup answers the calls of this file, and says whether it was one.
func (s *Server) serveLookup(w http.ResponseWriter, r *http.Request) bool {
	first, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	var call string
	var answer func(w http.ResponseWriter, r *http.Request, body []byte)
	switch {
	case first == "_tasks":
		call, answer = CallTasks, s.serveTasks
	case first == "_resolve" && strings.HasPrefix(rest, "index/"):
		call, answer = CallResolve, s.serveResolve
	case first == "_mget":
		call, answer = CallMget, s.serveMget
	case r.Method == http.MethodDelete && strings.HasPrefix(rest, "_doc/"):
		call, answer = CallDelete, s.serveDelete
	case r.Method == http.MethodPost && rest == "_rollover":
		call, answer = CallRollover, func(w http.ResponseWriter, _ *http.Request, _ []byte) {
			s.Rollover(first)
			writeJSON(w, 200, map[string]any{"acknowledged": true, "rolled_over": true})
		}
	case rest == "_refresh":
		call, answer = CallRefresh, func(w http.ResponseWriter, r *http.Request, _ []byte) {
			if !s.shut(w, r, first) {
				s.refresh(w, first)
			}
		}
	case rest == "_search":
		call, answer = CallSearch, func(w http.ResponseWriter, r *http.Request, body []byte) {
			if !s.shut(w, r, first) {
				s.search(w, first, body)
			}
		}
	default:
		return false
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return true // the client has gone
	}
	var f Fault
	if s.OnCall != nil {
		f = s.OnCall(&Call{Name: call, Path: r.URL.Path, Body: body})
	}
	if f.Delay > 0 {
		select {
		case <-time.After(f.Delay):
		case <-r.Context().Done():
		}
	}
	s.mu.Lock()
	denied := s.denied[call]
	s.mu.Unlock()
	switch {
	case f.Hang:
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	case f.Cut:
		panic(http.ErrAbortHandler)
	case f.Status != 0:
		writeError(w, f.Status, f.Type, f.Reason)
	case denied:
		writeError(w, http.StatusForbidden, "security_exception", "action ["+call+"] is unauthorized for this API key")
	default:
		answer(w, r, body)
	}
	return true
}

func (s *Server) serveTasks(w http.ResponseWriter, _ *http.Request, _ []byte) {
	tasks := map[string]any{}
	s.mu.Lock()
	for n, id := range s.tasks {
		tasks[fmt.Sprintf("fake:%d", n)] = map[string]any{"action": "indices:data/write/bulk", "headers": map[string]any{"X-Opaque-Id": id}}
	}
	s.mu.Unlock()
	writeJSON(w, 200, map[string]any{"nodes": map[string]any{"fake": map[string]any{"tasks": tasks}}})
}

func (s *Server) serveResolve(w http.ResponseWriter, r *http.Request, _ []byte) {
	s.mu.Lock()
	list := []any{}
	exact := true
	for _, p := range strings.Split(path.Base(r.URL.Path), ",") {
		exact = exact && !strings.Contains(p, "*")
		for n, st := range s.streams {
			if ok, _ := path.Match(p, n); ok {
				var names []string
				for _, b := range st.backing {
					names = append(names, b.name)
				}
				list = append(list, map[string]any{"name": n, "backing_indices": names, "timestamp_field": "@timestamp"})
			}
		}
	}
	s.mu.Unlock()
	if exact && len(list) == 0 {
		writeError(w, 404, "index_not_found_exception", "no such index ["+path.Base(r.URL.Path)+"]")
		return
	}
	writeJSON(w, 200, map[string]any{"indices": []any{}, "aliases": []any{}, "data_streams": list})
}

// backingOf is the backing index of that name, nil if there is none. s.mu is
// held.
func (s *Server) backingOf(name string) *backing {
	for _, st := range s.streams {
		for _, b := range st.backing {
			if b.name == name {
				return b
			}
		}
	}
	return nil
}

func (s *Server) serveMget(w http.ResponseWriter, r *http.Request, body []byte) {
	var q struct {
		Docs []struct {
			Index  string          `json:"_index"`
			ID     string          `json:"_id"`
			Source json.RawMessage `json:"_source"`
		} `json:"docs"`
	}
	if json.Unmarshal(body, &q) != nil || len(q.Docs) == 0 {
		writeError(w, 400, "parse_exception", "not an _mget")
		return
	}
	withSource := r.URL.Query().Get("_source") != "false"
	s.mu.Lock()
	defer s.mu.Unlock()
	docs := []any{}
	for _, d := range q.Docs {
		out := map[string]any{"_index": d.Index, "_id": d.ID, "found": false}
		b := s.backingOf(d.Index)
		switch {
		case b == nil || s.away[d.Index] || s.closed[d.Index]:
			typ := "no_shard_available_action_exception"
			switch {
			case b == nil:
				typ = "index_not_found_exception"
			case s.closed[d.Index]:
				typ = "index_closed_exception"
			}
			delete(out, "found")
			out["error"] = map[string]any{"type": typ, "reason": "no such index or shard [" + d.Index + "]"}
		default:
			if n, ok := b.ids[d.ID]; ok {
				out["found"], out["_seq_no"], out["_primary_term"] = true, b.docs[n].Arrival, 1
				if withSource && string(d.Source) != "false" {
					out["_source"] = b.docs[n].Source
				}
			}
		}
		docs = append(docs, out)
	}
	writeJSON(w, 200, map[string]any{"docs": docs})
}

func (s *Server) serveDelete(w http.ResponseWriter, r *http.Request, _ []byte) {
	index, id, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/_doc/")
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.backingOf(index)
	if b == nil {
		writeError(w, 404, "index_not_found_exception", "no such index ["+index+"]")
		return
	}
	n, ok := b.ids[id]
	switch seq := r.URL.Query().Get("if_seq_no"); {
	case !ok && seq == "":
		writeJSON(w, 404, map[string]any{"result": "not_found", "_index": index, "_id": id})
	case !ok || seq != "" && seq != strconv.Itoa(b.docs[n].Arrival):
		writeError(w, 409, "version_conflict_engine_exception", "["+id+"]: version conflict")
	default:
		b.docs = slices.Delete(b.docs, n, n+1)
		delete(b.ids, id)
		for other, at := range b.ids {
			if at > n {
				b.ids[other] = at - 1
			}
		}
		writeJSON(w, 200, map[string]any{"result": "deleted", "_index": index, "_id": id})
	}
}

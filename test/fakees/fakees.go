// Package fakees is an Elasticsearch in memory for tests, benchmarks and the
// fault harness: _bulk with create as the real server answers it, data streams
// whose ids are unique within one backing index only, rollover, templates as
// far as setup needs them, what a sink asks before it sends again (lookup.go:
// _tasks, _resolve/index, _mget, DELETE of a document), and faults on demand.
//
// The way of the data: HTTP request (a Server is an http.Handler; or Transport,
// without a network) -> faults asked for by the hooks -> bulk.go stores -> the
// test reads Docs, FailureStore and Dropped.
//
// A bulk that a real server applies after its client has gone is a Fault with
// Cut or Hang and Late: until then _tasks lists it under its X-Opaque-Id.
package fakees

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A Doc is one stored document.
type Doc struct {
	ID      string
	Index   string // backing index
	Source  json.RawMessage
	Arrival int // order over all indices, from 0
}

// A Bulk is a request that came in, before anything was done with it.
type Bulk struct {
	Index    string // of the URL
	OpaqueID string
	Body     []byte // inflated; valid during the hook only
	N        int    // number of this request, from 1
	Header   http.Header
	Query    map[string][]string
}

// A Fault is what becomes of a whole request. The zero Fault is none.
type Fault struct {
	Status     int           // answers with this status instead of working, unless Apply
	Apply      bool          // stores the documents all the same
	Type       string        // error.type of the answer with Status
	Reason     string        //
	RetryAfter string        // header
	Body       string        // answer with this text instead of the true one (status Status or 200)
	Cut        bool          // closes the connection without an answer
	Truncate   int           // sends only so many bytes of the answer, then closes the connection
	Hang       bool          // never answers; ends when the client gives up
	Delay      time.Duration // waits first
	// Late applies the documents of a bulk so much later, on its own: the client
	// gets what the other members say (Cut or Hang, or it is as if Cut were set).
	// Until then _tasks lists the bulk.
	Late time.Duration
	// Until does the same when the channel is closed.
	Until <-chan struct{}
}

// An ItemFault is what becomes of one document. The zero ItemFault is none.
type ItemFault struct {
	Status       int    // item's status; 0 = works
	Type, Reason string // of item's error
	Noop         bool   // a pipeline dropped it: 200 noop
	FailureStore bool   // 201, but stored in the failure store
	Reroute      string // stored in this data stream instead
	OtherID      string // stored with this _id instead
}

// Server is the fake. Set its fields before the first request.
type Server struct {
	// OnBulk and OnItem ask for faults; nil = none. They are called under no
	// lock, OnItem once for each document in order.
	OnBulk func(*Bulk) Fault
	OnItem func(index, id string, doc []byte) ItemFault
	// OnCall asks for faults of the calls of lookup.go; of a Fault it knows
	// Status, Type, Reason, Cut, Hang and Delay.
	OnCall func(*Call) Fault
	// Discard only counts lines and answers that each was created.
	Discard bool
	// MaxContentLength refuses larger bodies (inflated) with 413; 0 = none.
	MaxContentLength int
	// Authorized decides by the Authorization header; nil = everybody.
	Authorized func(authorization string) bool
	// RequireTemplate answers 404 for a data stream that no template matches.
	RequireTemplate bool
	Version         string // default 9.4.3
	// What this server has not: field types, "ilm", "logsdb", "lifecycle".
	Lacks map[string]bool
	// BuiltIn are names of component templates that are there from the start.
	BuiltIn []string

	lines   atomic.Int64
	bulks   atomic.Int64
	mu      sync.Mutex
	streams map[string]*stream
	arrival int
	cluster map[string]json.RawMessage // templates and policies by path
	writes  int                        // PUTs of these
	blocked ItemFault
	failed  []Doc               // in failure stores
	dropped map[string][]string // by data stream: ids that a pipeline dropped
	denied  map[string]bool     // calls
	away    map[string]bool     // backing indices without a shard
	closed  map[string]bool     // backing indices that somebody has closed
	tasks   map[int]string      // X-Opaque-Id of the bulks that are alive
	taskIDs int
	shown   int // arrivals below can be found by _search
}

// stream is a data stream: its backing indices, the last one is written to.
type stream struct {
	backing []*backing
}

type backing struct {
	name string
	docs []Doc
	ids  map[string]int
}

// Lines is the number of documents that were in accepted bulks, duplicates
// included.
func (s *Server) Lines() int64 { return s.lines.Load() }

// Bulks is the number of _bulk requests.
func (s *Server) Bulks() int64 { return s.bulks.Load() }

// Writes is the number of templates and policies that were put.
func (s *Server) Writes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writes
}

// Docs are the documents of a data stream over all its backing indices, in the
// order of arrival.
func (s *Server) Docs(index string) []Doc {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.streams[index]
	if st == nil {
		return nil
	}
	var out []Doc
	for _, b := range st.backing {
		out = append(out, b.docs...)
	}
	return out
}

// FailureStore are the documents that went into the failure store of a data
// stream, with the _id that the client gave.
func (s *Server) FailureStore(index string) (out []Doc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.failed {
		if d.Index == ".fs-"+index+"-2026.11.23-000002" {
			out = append(out, d)
		}
	}
	return out
}

// Dropped are the ids of documents that a pipeline dropped (ItemFault.Noop).
func (s *Server) Dropped(index string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.dropped[index])
}

// Rollover begins a new backing index.
func (s *Server) Rollover(index string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.streamOf(index)
	st.roll(index)
}

// Block answers every item with the fault until Block is called with the zero
// one: a disk that is full, an index that is read-only.
func (s *Server) Block(f ItemFault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blocked = f
}

// FloodStage is the block of a full disk, as a real server words it.
var FloodStage = ItemFault{Status: 429, Type: "cluster_block_exception",
	Reason: "index [.ds-logs-mesos.container-default-2026.11.23-000001] blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark, index has read-only-allow-delete block];"}

func (s *Server) streamOf(index string) *stream {
	if s.streams == nil {
		s.streams = map[string]*stream{}
	}
	st := s.streams[index]
	if st == nil {
		st = &stream{}
		st.roll(index)
		s.streams[index] = st
	}
	return st
}

func (st *stream) roll(index string) {
	n := len(st.backing) + 1
	st.backing = append(st.backing, &backing{
		name: fmt.Sprintf(".ds-%s-2026.11.23-%06d", index, n),
		ids:  map[string]int{},
	})
}

// ServeHTTP answers like Elasticsearch.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Elastic-Product", "Elasticsearch")
	if s.Authorized != nil && !s.Authorized(r.Header.Get("Authorization")) {
		w.Header().Set("WWW-Authenticate", `Basic realm="security" charset="UTF-8"`)
		writeError(w, http.StatusUnauthorized, "security_exception", "unable to authenticate user")
		return
	}
	if index, ok := strings.CutSuffix(r.URL.Path, "/_bulk"); ok && r.Method == http.MethodPost {
		s.bulk(w, r, strings.TrimPrefix(index, "/"))
		return
	}
	if s.serveLookup(w, r) {
		return
	}
	s.serveCluster(w, r)
}

func writeError(w http.ResponseWriter, status int, typ, reason string) {
	writeJSON(w, status, map[string]any{
		"error":  map[string]any{"type": typ, "reason": reason, "root_cause": []any{map[string]any{"type": typ, "reason": reason}}},
		"status": status,
	})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // the client may have gone
}

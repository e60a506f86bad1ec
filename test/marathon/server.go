// Package marathon imitates the part of Marathon's API that tests need: apps and
// pods with their versions and labels, and the event stream. A real Marathon is
// in no registry; the shapes are those of recorded answers of 1.5.
//
// The way of the data: Set -> GET /v2/apps/…, /v2/pods/…, and an event on every
// open stream at /v2/events.
package marathon

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A Server is a Marathon on loopback.
type Server struct {
	*httptest.Server
	// Mute makes it lose its events, as a Marathon does while nobody listens.
	Mute bool

	mu      sync.Mutex
	apps    map[string]definition
	streams map[chan string]bool
	asked   map[string]int
	list    string // of all apps, as JSON
	down    bool
}

type definition struct {
	pod             bool
	version, labels string
}

// Start starts a server without apps and ends it with the test.
func Start(t testing.TB) *Server {
	s := &Server{apps: map[string]definition{}, streams: map[chan string]bool{}, asked: map[string]int{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v2/apps/", func(w http.ResponseWriter, r *http.Request) { s.app(w, r, "/v2/apps", false) })
	mux.HandleFunc("GET /v2/pods/", func(w http.ResponseWriter, r *http.Request) { s.app(w, r, "/v2/pods", true) })
	mux.HandleFunc("GET /v2/apps", s.all)
	mux.HandleFunc("GET /v2/events", s.events)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		down := s.down
		s.mu.Unlock()
		if down {
			http.Error(w, `{"message":"Could not determine the current leader"}`, http.StatusServiceUnavailable)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

// Set makes or changes an app, and says so on the event stream.
func (s *Server) Set(id, version string, labels map[string]string) {
	s.set(id, definition{false, version, encode(labels)}, "api_post_event")
}

// SetPod makes or changes a pod.
func (s *Server) SetPod(id, version string, labels map[string]string) {
	s.set(id, definition{true, version, encode(labels)}, "pod_updated_event")
}

func encode(labels map[string]string) string {
	b, err := json.Marshal(labels)
	if err != nil {
		panic("BUG: marathon: a map of strings cannot fail to encode: " + err.Error())
	}
	return string(b)
}

func (s *Server) set(id string, d definition, event string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.apps[id] = d
	s.send(event, fmt.Sprintf(`{"clientIp":"127.0.0.1","uri":"/v2/apps/%s","appDefinition":{"id":%q},"eventType":%q}`, id, id, event))
}

// List makes the list of all apps: objects as Marathon has them, with their
// tasks. It has nothing to do with Set.
func (s *Server) List(apps ...any) {
	b, err := json.Marshal(map[string]any{"apps": append([]any{}, apps...)})
	if err != nil {
		panic("BUG: marathon: an app that cannot be encoded: " + err.Error())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = string(b)
	s.send("deployment_success", `{"eventType":"deployment_success"}`)
}

func (s *Server) all(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprint(w, cmp.Or(s.list, `{"apps":[]}`))
}

// send is called with mu held.
func (s *Server) send(name, data string) {
	if s.Mute {
		return
	}
	for c := range s.streams {
		select {
		case c <- fmt.Sprintf("event: %s\ndata: %s\n\n", name, data):
		default: // a slow listener loses events, as with the real one
		}
	}
}

// Down makes every request end with 503, as without a leader, and cuts the
// event streams; or ends that.
func (s *Server) Down(down bool) {
	s.mu.Lock()
	s.down = down
	for c := range s.streams {
		if down {
			close(c)
			delete(s.streams, c)
		}
	}
	s.mu.Unlock()
}

// Asked is how often an app was asked for.
func (s *Server) Asked(id string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[id]
}

// Listeners is how many event streams are open.
func (s *Server) Listeners() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.streams)
}

func (s *Server) app(w http.ResponseWriter, r *http.Request, prefix string, pod bool) {
	id := strings.TrimPrefix(r.URL.Path, prefix)
	s.mu.Lock()
	d, there := s.apps[id]
	s.asked[id]++
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	switch {
	case !there || d.pod != pod:
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprintf(w, `{"message":"App '%s' does not exist"}`, id)
	case pod:
		fmt.Fprintf(w, `{"id":%q,"labels":%s,"version":%q,"user":"root","containers":[{"name":"c1","labels":{"id":"not the pod's"}}],"networks":[{"mode":"host","labels":{}}]}`, id, d.labels, d.version)
	default:
		fmt.Fprintf(w, `{"app":{"id":%q,"instances":2,"cpus":0.1,"container":{"docker":{"image":"x","portMappings":[{"labels":{"vip":"1"}}]}},"labels":%s,"version":%q,"versionInfo":{"lastConfigChangeAt":"x"},"tasks":[{"id":"t","version":"old"}]}}`, id, d.labels, d.version)
	}
}

// events is the stream: only what event_type asks for, blank lines to keep the
// connection alive.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	if !strings.Contains(r.Header.Get("Accept"), "text/event-stream") {
		http.Error(w, "no Accept", http.StatusNotAcceptable)
		return
	}
	c := make(chan string, 16)
	s.mu.Lock()
	s.streams[c] = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.streams, c)
		s.mu.Unlock()
	}()
	filters := r.URL.Query()["event_type"]
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprint(w, "event: event_stream_attached\ndata: {\"eventType\":\"event_stream_attached\"}\n\n")
	w.(http.Flusher).Flush()
	alive := time.NewTicker(5 * time.Second)
	defer alive.Stop()
	for {
		select {
		case text, ok := <-c:
			if !ok {
				return
			}
			name, _, _ := strings.Cut(strings.TrimPrefix(text, "event: "), "\n")
			if len(filters) > 0 && !slices.Contains(filters, name) {
				continue
			}
			fmt.Fprint(w, text)
		case <-alive.C:
			fmt.Fprint(w, "\n")
		case <-r.Context().Done():
			return
		}
		w.(http.Flusher).Flush()
	}
}

package fakees

import (
	"encoding/json"
	"io"
	"net/http"
	"path"
	"strings"
)

// serveCluster answers what setup asks: the server's name, templates,
// policies. Paths that a server without the module would not know get the
// answer of such a server.
func (s *Server) serveCluster(w http.ResponseWriter, r *http.Request) {
	first, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch first {
	case "":
		version := s.Version
		if version == "" {
			version = "9.4.3"
		}
		writeJSON(w, 200, map[string]any{"name": "fake", "cluster_name": "fake", "tagline": "You Know, for Search",
			"version": map[string]any{"number": version, "build_flavor": "default"}})
	case "_component_template":
		s.object(w, r, r.URL.Path, "component_templates", "component_template")
	case "_index_template":
		if rest == "_simulate" {
			s.simulate(w, r)
			return
		}
		s.object(w, r, r.URL.Path, "index_templates", "index_template")
	case "_ilm":
		if s.Lacks["ilm"] {
			noHandler(w, r)
			return
		}
		s.policy(w, r, rest)
	case "_data_stream":
		if s.Lacks["lifecycle"] {
			noHandler(w, r)
			return
		}
		s.dataStream(w, r, rest)
	default:
		noHandler(w, r)
	}
}

func noHandler(w http.ResponseWriter, r *http.Request) {
	writeJSON(w, 400, map[string]any{"error": "no handler found for uri [" + r.URL.Path + "] and method [" + r.Method + "]"})
}

// object puts and gets a template.
func (s *Server) object(w http.ResponseWriter, r *http.Request, key, list, member string) {
	name := path.Base(key)
	switch r.Method {
	case http.MethodPut:
		b, err := io.ReadAll(r.Body)
		if err != nil || !json.Valid(b) {
			writeError(w, 400, "parse_exception", "not JSON")
			return
		}
		if lacks := s.lackedBy(b); lacks != "" {
			writeError(w, 400, "illegal_argument_exception", lacks)
			return
		}
		s.put(key, b)
		writeJSON(w, 200, map[string]any{"acknowledged": true})
	case http.MethodGet, http.MethodHead:
		s.mu.Lock()
		b, ok := s.cluster[key]
		s.mu.Unlock()
		for _, n := range s.BuiltIn {
			if !ok && n == name {
				b, ok = json.RawMessage(`{"template":{}}`), true
			}
		}
		if !ok {
			writeError(w, 404, "resource_not_found_exception", strings.ReplaceAll(member, "_", " ")+" matching ["+name+"] not found")
			return
		}
		writeJSON(w, 200, map[string]any{list: []any{map[string]any{"name": name, member: b}}})
	default:
		noHandler(w, r)
	}
}

func (s *Server) put(key string, b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cluster == nil {
		s.cluster = map[string]json.RawMessage{}
	}
	s.cluster[key] = b
	s.writes++
}

// Object is the body of the last PUT to a path such as
// "/_index_template/logs-mesos", nil if there was none.
func (s *Server) Object(path string) json.RawMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cluster[path]
}

// lackedBy finds something in a template that this server has not.
func (s *Server) lackedBy(b []byte) string {
	text := strings.ReplaceAll(strings.ReplaceAll(string(b), " ", ""), "\n", "")
	for lack := range s.Lacks {
		switch lack {
		case "ilm":
			if strings.Contains(text, "lifecycle.name") {
				return "unknown setting [index.lifecycle.name]"
			}
		case "logsdb":
			if strings.Contains(text, `"logsdb"`) {
				return "unknown index mode [logsdb]"
			}
		case "lifecycle":
		default:
			if strings.Contains(text, `"type":"`+lack+`"`) {
				return "The mapper type [" + lack + "] declared on field does not exist."
			}
		}
	}
	return ""
}

func (s *Server) simulate(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	if lacks := s.lackedBy(b); lacks != "" {
		writeError(w, 400, "illegal_argument_exception", lacks)
		return
	}
	writeJSON(w, 200, map[string]any{"template": map[string]any{}, "overlapping": []any{}})
}

func (s *Server) policy(w http.ResponseWriter, r *http.Request, rest string) {
	key := "/_ilm/" + rest
	if r.Method == http.MethodPut {
		b, _ := io.ReadAll(r.Body)
		s.put(key, b)
		writeJSON(w, 200, map[string]any{"acknowledged": true})
		return
	}
	s.mu.Lock()
	b, ok := s.cluster[key]
	s.mu.Unlock()
	if !ok {
		writeError(w, 404, "resource_not_found_exception", "Lifecycle policy not found: "+path.Base(rest))
		return
	}
	var body map[string]json.RawMessage
	_ = json.Unmarshal(b, &body)
	writeJSON(w, 200, map[string]any{path.Base(rest): map[string]any{"version": 1, "policy": body["policy"]}})
}

func (s *Server) dataStream(w http.ResponseWriter, r *http.Request, rest string) {
	name, _, _ := strings.Cut(rest, "/")
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []any{}
	for n := range s.streams {
		if ok, _ := path.Match(name, n); ok {
			list = append(list, map[string]any{"name": n})
		}
	}
	writeJSON(w, 200, map[string]any{"data_streams": list})
}

// hasTemplate says whether an index template with a data stream matches. s.mu
// is held.
func (s *Server) hasTemplate(index string) bool {
	for key, b := range s.cluster {
		if !strings.HasPrefix(key, "/_index_template/") {
			continue
		}
		var t struct {
			Patterns   []string  `json:"index_patterns"`
			DataStream *struct{} `json:"data_stream"`
		}
		if json.Unmarshal(b, &t) != nil || t.DataStream == nil {
			continue
		}
		for _, p := range t.Patterns {
			if ok, _ := path.Match(p, index); ok {
				return true
			}
		}
	}
	return false
}

// Put stores a template or policy as somebody else would.
func (s *Server) Put(path, body string) { s.put(path, json.RawMessage(body)) }

// Package kibana imitates the part of Kibana that Mesoscope talks to: status,
// spaces, and the import of saved objects with its checks. What it does follows
// from Kibana's public sources, 8.8 to 9.
//
// The way of the data: POST _import -> Server.Objects -> a test compares.
// Read takes a file of saved objects apart, for tests of what is in it.
package kibana

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// A Server is an http.Handler. The zero Server is a Kibana 9.4.3 without
// security that has no space but the default one.
type Server struct {
	Version string   // "" = 9.4.3
	Spaces  []string // besides the default one
	Base    string   // server.basePath, rewritten: "/kibana"
	// NotReady answers 503 as Kibana does while it starts ("plain"), or while
	// its Elasticsearch is away ("status").
	NotReady string
	// Login is the Authorization header that is let in; "" = any.
	Login string
	// MayNot is what nobody may: "write".
	MayNot string
	// Elsewhere are ids that another space has, by their new id here.
	Elsewhere map[string]string
	// Types that this Kibana does not know, "search".
	Lacks []string

	mu      sync.Mutex
	objects map[string]json.RawMessage // by space/type:id
	imports int
}

// Objects are the stored ones of a space ("" = default) as "type:id".
func (s *Server) Objects(space string) (keys []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.objects {
		if in, object, _ := strings.Cut(key, "/"); in == space {
			keys = append(keys, object)
		}
	}
	slices.Sort(keys)
	return keys
}

// Imports counts the imports that were begun.
func (s *Server) Imports() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.imports
}

func say(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // who asked has gone
}

func refuse(w http.ResponseWriter, status int, format string, a ...any) {
	say(w, status, map[string]any{"statusCode": status, "error": http.StatusText(status), "message": fmt.Sprintf(format, a...)})
}

// ServeHTTP answers.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("kbn-name", "fake")
	at, below := strings.CutPrefix(r.URL.Path, s.Base)
	if !below {
		http.NotFound(w, r) // a proxy that knows the base path alone
		return
	}
	if s.NotReady == "plain" {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte("Kibana server is not ready yet"))
		return
	}
	space := ""
	if rest, in := strings.CutPrefix(at, "/s/"); in {
		space, at, _ = strings.Cut(rest, "/")
		at = "/" + at
	}
	if s.Login != "" && r.Header.Get("Authorization") != s.Login {
		w.Header().Set("WWW-Authenticate", `Basic realm="Authorization Required", charset="UTF-8"`)
		refuse(w, http.StatusUnauthorized, "Unauthorized")
		return
	}
	switch {
	case r.Method == http.MethodGet && at == "/api/status":
		s.status(w)
	case r.Method == http.MethodGet && path.Dir(at) == "/api/spaces/space":
		id := path.Base(at)
		if id != "default" && !slices.Contains(s.Spaces, id) {
			refuse(w, http.StatusNotFound, "Not Found")
			return
		}
		say(w, http.StatusOK, map[string]any{"id": id, "name": id})
	case r.Method == http.MethodPost && r.Header.Get("kbn-xsrf") == "":
		refuse(w, http.StatusBadRequest, "Request must contain a kbn-xsrf header.")
	case r.Method == http.MethodPost && at == "/api/saved_objects/_import":
		s.take(w, r, space)
	default:
		refuse(w, http.StatusNotFound, "Not Found")
	}
}

func (s *Server) status(w http.ResponseWriter) {
	version, level, code := s.Version, "available", http.StatusOK
	if version == "" {
		version = "9.4.3"
	}
	summary := "All services and plugins are available"
	if s.NotReady == "status" {
		level, code, summary = "critical", http.StatusServiceUnavailable, "Unable to retrieve version information from Elasticsearch nodes."
	}
	say(w, code, map[string]any{"name": "fake", "version": map[string]any{"number": version},
		"status": map[string]any{"overall": map[string]string{"level": level, "summary": summary}}})
}

// take is the import.
func (s *Server) take(w http.ResponseWriter, r *http.Request, space string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.imports++
	overwrite, _ := strconv.ParseBool(r.URL.Query().Get("overwrite"))
	f, header, err := r.FormFile("file")
	if err != nil {
		refuse(w, http.StatusUnsupportedMediaType, "Unsupported Media Type")
		return
	}
	defer f.Close()
	if ext := strings.ToLower(path.Ext(header.Filename)); ext != ".ndjson" {
		refuse(w, http.StatusBadRequest, "Invalid file extension %s", ext)
		return
	}
	list, err := decode(f)
	if err != nil {
		refuse(w, http.StatusBadRequest, "%v", err)
		return
	}
	seen := map[string]bool{}
	for _, o := range list {
		if _, twice := seen[o.key()]; twice {
			refuse(w, http.StatusBadRequest, "Non-unique import objects detected: [%s]", o.key())
			return
		}
		seen[o.key()] = attributes[o.Type] != nil && !slices.Contains(s.Lacks, o.Type)
	}
	if s.MayNot == "write" {
		refuse(w, http.StatusForbidden, "Unable to bulk_create index-pattern,search")
		return
	}
	var results, failures []map[string]any
	for _, o := range list {
		if failure := s.check(o, space, seen, overwrite); failure != nil {
			failures = append(failures, map[string]any{"id": o.ID, "type": o.Type, "error": failure})
			continue
		}
		if s.objects == nil {
			s.objects = map[string]json.RawMessage{}
		}
		result := map[string]any{"type": o.Type, "id": o.ID, "managed": false}
		id := o.ID
		if other := s.Elsewhere[o.ID]; other != "" {
			id = other
			result["destinationId"] = other
		}
		key := space + "/" + o.Type + ":" + id
		if s.objects[key] != nil {
			result["overwrite"] = true
		}
		s.objects[key] = o.line
		results = append(results, result)
	}
	body := map[string]any{"successCount": len(results), "success": len(failures) == 0, "warnings": []any{}}
	if len(results) > 0 {
		body["successResults"] = results
	}
	if len(failures) > 0 {
		body["errors"] = failures
	}
	say(w, http.StatusOK, body)
}

// check is why an object is not taken, nil if it is.
func (s *Server) check(o object, space string, inFile map[string]bool, overwrite bool) map[string]any {
	unknown := func(format string, a ...any) map[string]any {
		return map[string]any{"type": "unknown", "statusCode": 422, "error": "Unprocessable Entity", "message": fmt.Sprintf(format, a...)}
	}
	if attributes[o.Type] == nil || slices.Contains(s.Lacks, o.Type) {
		return map[string]any{"type": "unsupported_type"}
	}
	var missing []map[string]string
	for _, ref := range o.References {
		key := ref.Type + ":" + ref.ID
		if !inFile[key] && s.objects[space+"/"+key] == nil {
			missing = append(missing, map[string]string{"type": ref.Type, "id": ref.ID})
		}
	}
	switch {
	case len(missing) > 0:
		return map[string]any{"type": "missing_references", "references": missing}
	case s.objects[space+"/"+o.key()] != nil && !overwrite:
		return map[string]any{"type": "conflict"}
	case newer(o.Core, "8.8.0") || newer(o.Migrated, "8.8.0"):
		return unknown("Document %q belongs to a more recent version of Kibana [%s] when the last known version is [8.8.0].", o.ID, max(o.Core, o.Migrated))
	}
	for name := range o.Attributes {
		if !slices.Contains(attributes[o.Type], name) {
			return unknown("[attributes.%s]: definition for this key is missing", name)
		}
	}
	if o.Type == "search" {
		if _, err := o.search(); err != nil {
			return unknown("%v", err)
		}
	}
	return nil
}

// newer compares two versions with digits of one place.
func newer(a, b string) bool { return a != "" && a > b }

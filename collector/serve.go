package collector

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"mesoscope/collector/status"
)

// Endpoints are what the HTTP interface needs besides the Collector.
type Endpoints struct {
	Registry   *prometheus.Registry
	Reload     func() error
	AdminToken string // "" = nobody may change the overlay
	Probe      http.Handler
}

// AdminHeader can carry the admin token where Authorization carries another.
const AdminHeader = "Mesoscope-Admin-Token"

// Handler answers
//
//	GET  /metrics                        Prometheus
//	GET  /probe                          as blackbox_exporter's: package probe
//	GET  /sd                             Prometheus' HTTP service discovery
//	GET  /healthz                        200 while the process works
//	GET  /readyz                         200 when discovery has succeeded once
//	POST /-/reload                       read the configuration again; 400 with what is wrong with it
//	GET  /api/v1/checks                  a list of status.Check, the worst first; ?app=PATTERN &status=CRITICAL
//	GET  /api/v1/status, /api/v1/collector   status.Status
//	GET  /api/v1/explain/checks          a list of status.Explained, for ?app=PATTERN
//	GET, PUT, DELETE /api/v1/overlay/apps/<escaped id>   an entry of the overlay; with the admin token
func (c *Collector) Handler(e Endpoints) http.Handler {
	mux := http.NewServeMux()
	own := promhttp.HandlerFor(e.Registry, promhttp.HandlerOpts{DisableCompression: true})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) { c.serveMetrics(w, r, own) })
	mux.HandleFunc("GET /sd", c.serveDiscovery)
	if e.Probe != nil {
		mux.Handle("GET /probe", e.Probe)
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if _, ready := c.Targets(); !ready {
			answer(w, http.StatusServiceUnavailable, "no discovery has succeeded yet")
			return
		}
		answer(w, http.StatusOK, "ok")
	})
	mux.HandleFunc("POST /-/reload", func(w http.ResponseWriter, _ *http.Request) {
		if err := e.Reload(); err != nil {
			answer(w, http.StatusBadRequest, err.Error())
			return
		}
		answer(w, http.StatusOK, "reloaded")
	})
	mux.HandleFunc("GET "+status.ChecksPath, func(w http.ResponseWriter, r *http.Request) {
		list := c.Checks(r.FormValue("app"))
		if want := r.FormValue("status"); want != "" {
			list = slices.DeleteFunc(list, func(v status.Check) bool { return !strings.EqualFold(v.Status.String(), want) })
		}
		writeJSON(w, list)
	})
	for _, path := range []string{status.StatusPath, status.CollectorPath} {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, c.Status()) })
	}
	mux.HandleFunc("GET "+status.ExplainPath, func(w http.ResponseWriter, r *http.Request) {
		app := r.FormValue("app")
		if app == "" {
			answer(w, http.StatusBadRequest, "which app? "+status.ExplainPath+"?app=PATTERN")
			return
		}
		writeJSON(w, c.Explain(app))
	})
	for method, serve := range map[string]func(http.ResponseWriter, *http.Request, string){
		"GET": c.getOverride, "PUT": c.putOverride, "DELETE": c.deleteOverride,
	} {
		mux.HandleFunc(method+" "+status.OverlayPath+"{id}", func(w http.ResponseWriter, r *http.Request) {
			switch {
			case e.AdminToken == "":
				answer(w, http.StatusForbidden, "nobody may change the overlay here: collector.admin_token_file is not set")
			case !admin(r, e.AdminToken):
				answer(w, http.StatusForbidden, "the admin token is needed (collector.admin_token_file): Authorization: Bearer …, or "+AdminHeader)
			default:
				serve(w, r, r.PathValue("id"))
			}
		})
	}
	return mux
}

// admin says whether a request carries the token. Hashes are compared, so that
// the time says nothing about it.
func admin(r *http.Request, token string) bool {
	want := sha256.Sum256([]byte(token))
	bearer, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	ok := 0
	for _, given := range []string{bearer, r.Header.Get(AdminHeader)} {
		got := sha256.Sum256([]byte(given))
		ok |= subtle.ConstantTimeCompare(got[:], want[:])
	}
	return ok == 1
}

// serveMetrics answers with the registry's metrics and behind them the checks'.
func (c *Collector) serveMetrics(w http.ResponseWriter, r *http.Request, own http.Handler) {
	plain := r.Clone(r.Context())
	plain.Header.Set("Accept", "text/plain;version=0.0.4")
	first := &recorder{header: http.Header{}}
	own.ServeHTTP(first, plain)
	if first.code >= 400 {
		http.Error(w, first.body.String(), first.code)
		return
	}
	text := c.AppendMetrics(first.body.Bytes())
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		w.Write(text) // fails only when the client has gone
		return
	}
	w.Header().Set("Content-Encoding", "gzip")
	z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed)
	z.Write(text)
	z.Close()
}

// A recorder keeps an answer.
type recorder struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

// Header is for the handler.
func (r *recorder) Header() http.Header { return r.header }

// WriteHeader keeps the status.
func (r *recorder) WriteHeader(code int) { r.code = code }

// Write keeps the body.
func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }

// A group is one target in Prometheus' form.
type group struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

// serveDiscovery lists the ports of all instances. Before the first discovery
// it is an error, which makes Prometheus keep what it has; an empty list would
// make it forget everything.
func (c *Collector) serveDiscovery(w http.ResponseWriter, _ *http.Request) {
	set, ready := c.Targets()
	if !ready {
		answer(w, http.StatusServiceUnavailable, "no discovery has succeeded yet")
		return
	}
	list := []group{}
	for _, i := range set.Instances { // sorted by id
		for n, p := range i.Ports {
			list = append(list, group{[]string{net.JoinHostPort(i.Address, strconv.Itoa(p.Number))}, map[string]string{
				"__meta_mesoscope_app": i.App, "__meta_mesoscope_task": i.Task, "__meta_mesoscope_host": i.Host, "__meta_mesoscope_port_index": strconv.Itoa(n),
				"__meta_mesoscope_port_name": p.Name, "__meta_mesoscope_image": i.Image, "__meta_mesoscope_framework": i.Framework,
			}})
		}
	}
	slices.SortStableFunc(list, func(a, b group) int {
		return strings.Compare(a.Labels["__meta_mesoscope_app"]+"\x00"+a.Targets[0], b.Labels["__meta_mesoscope_app"]+"\x00"+b.Targets[0])
	})
	writeJSON(w, list)
}

func (c *Collector) getOverride(w http.ResponseWriter, _ *http.Request, id string) {
	v, ok := c.overrides.get(id)
	if !ok {
		answer(w, http.StatusNotFound, "nothing was put for "+id)
		return
	}
	writeJSON(w, status.Override{App: id, Expires: v.Expires, Set: v.Set, Entry: v.Body})
}

// maxOverride bounds what is put for one app, in bytes.
const maxOverride = 256 << 10

func (c *Collector) putOverride(w http.ResponseWriter, r *http.Request, id string) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxOverride))
	if err != nil {
		answer(w, http.StatusRequestEntityTooLarge, "larger than 256 KiB, or cut: "+err.Error())
		return
	}
	if id == "" || id[0] != '/' || strings.Contains(id, "*") {
		answer(w, http.StatusBadRequest, "the id of one app is needed, escaped: "+status.OverlayPath+url.PathEscape("/prod/web"))
		return
	}
	if err := c.overrides.put(id, body, time.Now()); err != nil {
		code := http.StatusBadRequest
		if errors.Is(err, errNotKept) {
			code = http.StatusInternalServerError
		}
		answer(w, code, err.Error())
		return
	}
	c.log.Info("the overlay was changed by HTTP", "app", id, "from", r.RemoteAddr)
	c.again()
	c.getOverride(w, r, id)
}

func (c *Collector) deleteOverride(w http.ResponseWriter, r *http.Request, id string) {
	there, err := c.overrides.remove(id)
	switch {
	case err != nil:
		answer(w, http.StatusInternalServerError, err.Error())
		return
	case !there:
		answer(w, http.StatusNotFound, "nothing was put for "+id)
		return
	}
	c.log.Info("the overlay was changed by HTTP", "app", id, "removed", true, "from", r.RemoteAddr)
	c.again()
	answer(w, http.StatusOK, "removed")
}

// again makes what was declared count anew.
func (c *Collector) again() {
	c.mu.Lock()
	c.anew = true
	c.mu.Unlock()
	c.refreshSoon()
}

func answer(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	w.Write([]byte(text + "\n")) // fails only when the client has gone
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	json.NewEncoder(w).Encode(v) // fails only when the client has gone
}

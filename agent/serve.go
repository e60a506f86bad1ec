package agent

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"mesoscope/agent/status"
)

// Endpoints are the functions behind the HTTP endpoints of a process that runs
// one or more Agents.
type Endpoints struct {
	Registry *prometheus.Registry
	Status   func() status.Status
	Sources  func() []status.Source
	// Usage is what the machine and its containers use.
	Usage func() status.Usage
	// Instances lists the containers here.
	Instances func(context.Context) []status.Instance
	// Explain says what is known of the containers that name may mean.
	Explain func(name string) []status.Explained
	// Reload reads the configuration again; its error is the answer.
	Reload func() error
}

// Handler answers
//
//	GET  /metrics          Prometheus
//	GET  /healthz          200 while the process works, whatever the output does: else a scheduler would restart it
//	GET  /readyz           200 when lines get through, else 503 with the reason
//	POST /-/reload         read the configuration again; 400 with what is wrong with it
//	GET  /api/v1/status    status.Status
//	GET  /api/v1/sources   a list of status.Source
//	GET  /api/v1/usage     status.Usage
//	GET  /api/v1/instances a list of status.Instance
//	GET  /api/v1/explain   a list of status.Explained, for ?container=NAME
func Handler(e Endpoints) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(e.Registry, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if o := e.Status().Output; o.State == status.OutputPaused {
			answer(w, http.StatusServiceUnavailable, "output paused: "+o.PausedReason)
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
	mux.HandleFunc("GET "+status.StatusPath, func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, e.Status()) })
	mux.HandleFunc("GET "+status.SourcesPath, func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, e.Sources()) })
	mux.HandleFunc("GET "+status.UsagePath, func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, e.Usage()) })
	mux.HandleFunc("GET "+status.InstancesPath, func(w http.ResponseWriter, r *http.Request) { writeJSON(w, e.Instances(r.Context())) })
	mux.HandleFunc("GET "+status.ExplainPath, func(w http.ResponseWriter, r *http.Request) {
		name := r.FormValue("container")
		if name == "" {
			answer(w, http.StatusBadRequest, "which container? "+status.ExplainPath+"?container=NAME")
			return
		}
		writeJSON(w, e.Explain(name))
	})
	return mux
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

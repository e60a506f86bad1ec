// Package probe answers /probe?target=…&module=… as blackbox_exporter 0.23
// does, so that an existing scrape configuration needs nothing but another
// address.
//
//	blackbox.yml --load--> modules
//	request -> module, timeout -> prober(ctx, target, module) -> sheet -> text
//
// The names, types and help of the series, what a module's keys mean and what
// they default to are blackbox_exporter's; docs/probe.md lists what differs.
// Each probe resolves, connects and shakes hands anew and leaves nothing
// behind.
package probe

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Options say whom a Handler answers and how.
type Options struct {
	ModulesFile string // a blackbox.yml; "" means the modules of Debian's package
	// Guarded: who reaches the handler has shown a token, or is on this machine.
	// Else it answers nobody: whoever asks makes this machine connect to anything.
	Guarded bool
	// Offset is what is subtracted from the scrape's timeout, so that the answer
	// comes before Prometheus gives up; 0 means half a second.
	Offset time.Duration
}

// A Handler probes for each request.
type Handler struct {
	o       Options
	modules atomic.Pointer[map[string]*module]
}

// New loads the modules. The error names each mistake with its line.
func New(o Options) (*Handler, error) {
	if o.Offset == 0 {
		o.Offset = 500 * time.Millisecond
	}
	h := &Handler{o: o}
	return h, h.Reload()
}

// Reload loads the modules again. If they have a mistake, those before stay.
func (h *Handler) Reload() error {
	modules, err := load(h.o.ModulesFile)
	if err != nil {
		return err
	}
	h.modules.Store(&modules)
	return nil
}

// A prober probes once. It obeys ctx, which has a deadline, and says whether
// the probe was a success; why not stands in the sheet's log.
type prober func(ctx context.Context, target string, m *module, s *sheet) bool

var probers = map[string]prober{"http": probeHTTP, "tcp": probeTCP, "dns": probeDNS, "icmp": probeICMP, "grpc": probeGRPC}

// The limits of a probe whose scrape says nothing.
const longest = 120 * time.Second

// ServeHTTP makes one probe. A probe that fails is no failed request: that is
// what 200 with probe_success 0 says.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !h.o.Guarded {
		http.Error(w, "/probe needs a token (http.token_file) or a listener on a loopback address", http.StatusForbidden)
		return
	}
	q := r.URL.Query()
	name := q.Get("module")
	if name == "" {
		name = "http_2xx"
	}
	m := (*h.modules.Load())[name]
	if m == nil {
		http.Error(w, fmt.Sprintf("Unknown module %q", name), http.StatusBadRequest)
		return
	}
	timeout, err := h.timeout(r.Header.Get("X-Prometheus-Scrape-Timeout-Seconds"), m)
	if err != nil {
		http.Error(w, "Failed to parse timeout from Prometheus header: "+err.Error(), http.StatusInternalServerError)
		return
	}
	target := q.Get("target")
	if target == "" {
		http.Error(w, "Target parameter is missing", http.StatusBadRequest)
		return
	}
	if m, err = m.forHost(q.Get("hostname")); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	debug := q.Get("debug") == "true"
	s := newSheet(debug)
	s.probe(r.Context(), timeout, target, m)
	if !debug {
		w.Header().Set("Content-Type", contentType)
		s.writeTo(w)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	fmt.Fprintf(w, "Logs for the probe:\n%s\n\n\nMetrics that would have been returned:\n", s.said.String())
	s.writeTo(w)
	fmt.Fprintf(w, "\n\n\nModule configuration:\n%s\n", strings.TrimRight(m.text, "\n"))
}

// probe runs the module's prober and adds what all probes have.
func (s *sheet) probe(ctx context.Context, timeout time.Duration, target string, m *module) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	s.log.Info("beginning the probe", "prober", m.prober, "target", target, "timeout", timeout)
	began := time.Now()
	ok := probers[m.prober](ctx, target, m, s)
	took := time.Since(began)
	s.set(durationMetric, took.Seconds())
	if ok {
		s.set(successMetric, 1)
		s.log.Info("the probe succeeded", "took", took)
	} else {
		s.set(successMetric, 0)
		s.log.Error("the probe failed", "took", took)
	}
}

// timeout is the shorter one of the scrape's, less the offset, and the module's.
func (h *Handler) timeout(header string, m *module) (time.Duration, error) {
	timeout := longest
	if header != "" {
		seconds, err := strconv.ParseFloat(header, 64)
		if err != nil {
			return 0, err
		}
		if seconds > 0 && seconds < longest.Seconds()*100 {
			timeout = time.Duration(seconds * float64(time.Second))
		}
	}
	most := timeout - h.o.Offset
	switch {
	case m.timeout > 0 && (m.timeout < most || most <= 0):
		return m.timeout, nil
	case most <= 0: // a scrape that is as short as the offset
		return timeout, nil
	}
	return most, nil
}

// forHost is the module with another name for what the target is: the header
// Host of HTTP, the name in the certificate of TCP.
func (m *module) forHost(hostname string) (*module, error) {
	if hostname == "" {
		return m, nil
	}
	own := *m
	switch m.prober {
	case "http":
		own.http.headers = maps.Clone(m.http.headers)
		if own.http.headers == nil {
			own.http.headers = map[string]string{}
		}
		for name, value := range own.http.headers {
			if textproto.CanonicalMIMEHeaderKey(name) != "Host" {
				continue
			}
			if value != hostname {
				return nil, fmt.Errorf("host header defined both in module configuration (%s) and with URL-parameter 'hostname' (%s)", value, hostname)
			}
		}
		own.http.headers["Host"] = hostname
	case "tcp":
		if own.tcp.tls.serverName == "" {
			own.tcp.tls.serverName = hostname
		}
	}
	return &own, nil
}

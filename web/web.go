package web

import (
	"net"
	"net/http"
	"net/netip"
	"strings"

	"mesoscope/search"
	"mesoscope/web/api"
)

// Options of the page. The zero value is a page over the store alone.
type Options struct {
	API api.Options
	// Sources, unless nil, is shown as the state of what is followed and
	// answered at GET /api/v1/sources. When another handler answers that path
	// on the same server, leave it nil: the page asks the path, not this value.
	Sources Sources
	// Status, unless nil, is what GET /api/v1/status answers, as JSON of the form
	// of agent/status. When another handler answers that path, leave it nil.
	Status func() any
	// LoopbackOnly refuses requests whose Host is not a name of this machine's
	// loopback. Set it when the server listens on loopback without a token:
	// else any web site that the user visits can read his logs by pointing its
	// own name at 127.0.0.1 (DNS rebinding).
	LoopbackOnly bool
}

// New serves the page at /, its files below /static/ and the JSON API below
// /api/v1/. It does not close store.
func New(store search.Store, o Options) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/api/v1/", api.Handler(store, o.API))
	if o.Sources != nil {
		mux.Handle("GET /api/v1/sources", serveSources(o.Sources))
	}
	if o.Status != nil {
		mux.Handle("GET /api/v1/status", serveJSON(o.Status))
	}
	// The page asks how checks stand; where another handler does not say it,
	// there are none.
	mux.HandleFunc("GET /api/v1/collector", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	files := assets()
	mux.Handle("GET /static/", files)
	mux.Handle("GET /{$}", files)
	return protect(mux, o.LoopbackOnly)
}

// contentSecurity allows the page's own files and nothing else: no inline
// script or style, no eval, no frame, no other origin. So even a mistake in
// the page's escaping would not run what a container printed.
const contentSecurity = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'"

func protect(next http.Handler, loopbackOnly bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentSecurity)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer") // the URL holds what was searched for
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		if loopbackOnly && !isLoopback(r.Host) {
			http.Error(w, "This page answers on localhost and 127.0.0.1 only, not as "+r.Host+".", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func isLoopback(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && addr.IsLoopback()
}

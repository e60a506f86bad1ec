// Package listen answers HTTP requests the way that every process of the
// product must: on loopback unless told otherwise, with TLS and a token where
// the configuration names them, and with an error that names the key when the
// port is taken.
//
// The way of a request: TCP -> TLS -> Host check (loopback only) -> token
// (except /healthz) -> the caller's handler.
package listen

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"time"

	"mesoscope/config"
)

const (
	// headerTimeout ends clients that open connections and send nothing.
	headerTimeout = 10 * time.Second
	// idleTimeout closes kept-alive connections. There is no write timeout: a
	// live tail is an answer that lasts for hours.
	idleTimeout = 2 * time.Minute
	// maxHeader is far above what browsers and Prometheus send.
	maxHeader = 64 << 10
	// drain is how long running requests may take after the end was asked for.
	drain = 3 * time.Second
)

// Serve answers requests with handler until ctx ends, then lets running ones
// finish for a few seconds; the context of a request ends with ctx, so that a
// live tail ends at once. key is the section of the configuration that cfg
// stands in, e.g. "http", for messages. The error is nil after ctx ended.
func Serve(ctx context.Context, cfg config.HTTP, key string, handler http.Handler, log *slog.Logger) error {
	l, err := Open(cfg, key)
	if err != nil {
		return err
	}
	return l.Serve(ctx, handler, log)
}

// A Listener has its port but does not answer yet: a process can first make
// sure of the port and then start its parts.
type Listener struct {
	net   net.Listener
	tls   bool
	token string
	free  []string // paths below which no token is needed
}

// Open takes the port and reads certificate and token.
func Open(cfg config.HTTP, key string) (*Listener, error) {
	l := &Listener{}
	if cfg.TokenFile != "" {
		token, err := config.Secret(cfg.TokenFile)
		if err != nil {
			return nil, fmt.Errorf("%s.token_file: %w", key, err)
		}
		l.token = token
	}
	var certs *tls.Config
	if cfg.TLS.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(cfg.TLS.CertFile, cfg.TLS.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("%s.tls.cert_file: %w", key, err)
		}
		certs = &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2", "http/1.1"}}
		l.tls = true
	}
	tcp, err := net.Listen("tcp", cfg.Listen)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s.listen: another process listens on %s; end it or choose another port", key, cfg.Listen)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("%s.listen: %s needs more rights; choose a port above 1023", key, cfg.Listen)
	case err != nil:
		return nil, fmt.Errorf("%s.listen: %w", key, err)
	}
	l.net = tcp
	if certs != nil {
		l.net = tls.NewListener(tcp, certs)
	}
	return l, nil
}

// URL is where the listener can be reached from this machine, with the port
// that was chosen if the configuration said 0.
func (l *Listener) URL() string {
	scheme := "http"
	if l.tls {
		scheme = "https"
	}
	addr := l.net.Addr().(*net.TCPAddr)
	host := addr.IP.String()
	if addr.IP.IsUnspecified() {
		host = "127.0.0.1"
	}
	return fmt.Sprintf("%s://%s", scheme, net.JoinHostPort(host, fmt.Sprint(addr.Port)))
}

// Exempt lets requests below a path, as "/ping/", pass without the token: what
// answers there has its own way to know who asks.
func (l *Listener) Exempt(path string) { l.free = append(l.free, path) }

// Guarded says whether who gets through has shown a token, or is on this machine.
func (l *Listener) Guarded() bool { return l.token != "" || l.loopback() }

// Close gives the port back without having served.
func (l *Listener) Close() error { return l.net.Close() }

// Serve is the function Serve for a listener that is open.
func (l *Listener) Serve(ctx context.Context, handler http.Handler, log *slog.Logger) error {
	if l.token != "" {
		handler = requireToken(l.token, l.free, handler)
	}
	if l.loopback() {
		handler = requireLocalHost(handler)
	} else if !l.tls || l.token == "" {
		log.Warn("OPEN TO THE NETWORK: everybody who reaches this address reads all container output; "+
			"listen on 127.0.0.1 or set both", "address", l.net.Addr().String(), "missing", l.missing())
	}
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug), // broken TLS handshakes of scanners
	}
	if l.tls {
		server.Protocols = new(http.Protocols)
		server.Protocols.SetHTTP1(true)
		server.Protocols.SetHTTP2(true)
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l.net) }()
	select {
	case err := <-done:
		return fmt.Errorf("answer requests: %w", err)
	case <-ctx.Done():
	}
	// ctx has ended already; what still runs gets a time of its own
	rest, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	if err := server.Shutdown(rest); err != nil {
		server.Close() // a request that ignores its context must not keep the process
	}
	<-done
	return nil
}

func (l *Listener) loopback() bool { return l.net.Addr().(*net.TCPAddr).IP.IsLoopback() }

// missing names the keys that would protect the listener.
func (l *Listener) missing() string {
	var keys []string
	if !l.tls {
		keys = append(keys, "tls")
	}
	if l.token == "" {
		keys = append(keys, "token_file")
	}
	return strings.Join(keys, ", ")
}

// requireToken lets requests with the right token pass (as bearer, or as the
// password of basic auth, which is what a browser can send), and /healthz,
// which a scheduler asks without knowing any secret. Hashes are compared, so
// that the time says nothing about the token, its length neither.
func requireToken(token string, free []string, next http.Handler) http.Handler {
	want := sha256.Sum256([]byte(token))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, given, basic := r.BasicAuth()
		if !basic {
			scheme, bearer, _ := strings.Cut(r.Header.Get("Authorization"), " ")
			if strings.EqualFold(scheme, "Bearer") {
				given = bearer
			}
		}
		got := sha256.Sum256([]byte(given))
		exempt := slices.ContainsFunc(free, func(path string) bool { return strings.HasPrefix(r.URL.Path, path) })
		if r.URL.Path == "/healthz" || exempt || subtle.ConstantTimeCompare(got[:], want[:]) == 1 {
			next.ServeHTTP(w, r)
			return
		}
		// Browsers know Basic only; without a challenge they would not ask.
		w.Header().Set("WWW-Authenticate", `Basic realm="mesoscope: any name, the token as password", charset="UTF-8"`)
		http.Error(w, "a token is needed: Authorization: Bearer …, or Basic with the token as password", http.StatusUnauthorized)
	})
}

// requireLocalHost refuses requests to names other than this machine's own. A
// page from elsewhere can make a browser resolve its own name to 127.0.0.1 (DNS
// rebinding) and would then read everything as if it came from here.
func requireLocalHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		host = strings.Trim(host, "[]")
		if ip := net.ParseIP(host); (ip != nil && ip.IsLoopback()) || strings.EqualFold(host, "localhost") {
			next.ServeHTTP(w, r)
			return
		}
		http.Error(w, "this listens for its own machine only; use http://127.0.0.1 or http://localhost", http.StatusMisdirectedRequest)
	})
}

package probe

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"time"
)

// A transport makes each request of one probe on a connection of its own and
// takes the times. Redirects are http.Client's business. It is no
// http.Transport, whose goroutines and pools cost more than a probe does.
type transport struct {
	h          *httpModule
	s          *sheet
	host       string // of the first request: only there serverName counts
	serverName string
	trips      []*trip
}

// A trip is when things happened in one exchange. Zero: they did not.
type trip struct {
	tls                                                           bool
	began, resolved, connected, shaken, ready, answered, finished time.Time
}

// finish says that the last answer has been read.
func (t *transport) finish() { t.trips[len(t.trips)-1].finished = time.Now() }

// timings sums the phases over all exchanges.
func (t *transport) timings() {
	add := func(phase string, from, to time.Time) { t.s.add(httpPhaseMetric, to.Sub(from).Seconds(), phase) }
	for i, p := range t.trips {
		if i > 0 && !p.resolved.IsZero() { // the first name was resolved before
			add("resolve", p.began, p.resolved)
		}
		if p.ready.IsZero() {
			continue
		}
		add("connect", p.resolved, p.connected)
		if p.tls {
			add("tls", p.connected, p.shaken)
		}
		if p.answered.IsZero() {
			continue
		}
		add("processing", p.ready, p.answered)
		if !p.finished.IsZero() {
			add("transfer", p.answered, p.finished)
		}
	}
}

// RoundTrip does one exchange. The connection ends with the answer's body.
func (t *transport) RoundTrip(q *http.Request) (*http.Response, error) {
	p := &trip{tls: q.URL.Scheme == "https", began: time.Now()}
	t.trips = append(t.trips, p)
	t.s.log.Info("asking", "url", q.URL.Redacted(), "host", q.Host)
	if q.URL.Scheme != "http" && q.URL.Scheme != "https" {
		return nil, fmt.Errorf("unsupported protocol scheme %q", q.URL.Scheme)
	}
	c, err := t.connect(q, p)
	if err != nil {
		return nil, err
	}
	l := &line{Conn: c, left: maxHeader, stop: bound(q.Context(), c)}
	var state *tls.ConnectionState
	if p.tls {
		over, err := t.secure(q, c)
		if err != nil {
			l.Close()
			return nil, err
		}
		now := over.ConnectionState()
		l.Conn, state, p.shaken = over, &now, time.Now()
	}
	p.ready = time.Now()
	speak := t.http1
	if state != nil && state.NegotiatedProtocol == "h2" {
		speak = t.http2
	}
	answer, err := speak(l, q, p)
	if err != nil {
		l.Close()
		return nil, cmp.Or(q.Context().Err(), err)
	}
	answer.TLS = state
	return answer, nil
}

// connect dials the host or the proxy.
func (t *transport) connect(q *http.Request, p *trip) (net.Conn, error) {
	u, ctx := q.URL, q.Context()
	if t.h.proxy != nil {
		u = t.h.proxy
	}
	port := cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	ips := []netip.Addr{}
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil {
		ips = append(ips, ip)
	} else if ips, err = net.DefaultResolver.LookupNetIP(ctx, "ip", u.Hostname()); err != nil {
		return nil, err
	}
	p.resolved = time.Now()
	c, err := t.h.dialAny(ctx, ips, port)
	if err != nil {
		return nil, err
	}
	if t.h.proxy != nil && t.h.proxy.Scheme == "https" {
		if c, err = shake(ctx, c, &t.h.tls, u.Hostname()); err != nil {
			return nil, err
		}
	}
	if t.h.proxy != nil && p.tls {
		if err := t.tunnel(q, c); err != nil {
			c.Close()
			return nil, err
		}
	}
	p.connected = time.Now()
	return c, nil
}

// dialAny tries the addresses in turn. Each gets its share of the time.
func (n network) dialAny(ctx context.Context, ips []netip.Addr, port string) (c net.Conn, err error) {
	for i, ip := range ips {
		limit, cancel := ctx, context.CancelFunc(func() {})
		if end, ok := ctx.Deadline(); ok && i < len(ips)-1 {
			limit, cancel = context.WithTimeout(ctx, time.Until(end)/time.Duration(len(ips)-i))
		}
		c, err = n.dial(limit, ip.Unmap(), port)
		cancel()
		if err == nil {
			return c, nil
		}
	}
	return nil, err
}

// tunnel asks the proxy for a way to the host.
func (t *transport) tunnel(q *http.Request, c net.Conn) error {
	stop := bound(q.Context(), c)
	defer stop()
	to := q.URL.Host
	if q.URL.Port() == "" {
		to = net.JoinHostPort(q.URL.Hostname(), "443")
	}
	ask := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: to}, Host: to, Header: http.Header(t.h.proxyHeaders).Clone()}
	if ask.Header == nil {
		ask.Header = http.Header{}
	}
	t.authorizeProxy(ask.Header)
	if err := ask.Write(c); err != nil {
		return err
	}
	// The proxy says nothing behind its head before we have: no byte is lost with the buffer.
	answer, err := http.ReadResponse(bufio.NewReaderSize(c, 4096), ask)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("the proxy answers %s", answer.Status)
	}
	return nil
}

func (t *transport) authorizeProxy(header http.Header) {
	if who := t.h.proxy.User; who != nil && header.Get("Proxy-Authorization") == "" {
		password, _ := who.Password()
		header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(who.Username()+":"+password)))
	}
}

// secure makes the handshake with the host.
func (t *transport) secure(q *http.Request, c net.Conn) (*tls.Conn, error) {
	name := q.URL.Hostname()
	if q.URL.Host == t.host {
		name = t.serverName
	}
	if t.h.http2 {
		return shake(q.Context(), c, &t.h.tls, name, "h2", "http/1.1")
	}
	return shake(q.Context(), c, &t.h.tls, name)
}

// shake makes a TLS handshake. If it fails, the connection is closed.
func shake(ctx context.Context, c net.Conn, files *tlsFiles, name string, protocols ...string) (*tls.Conn, error) {
	config, err := files.config(name, protocols...)
	if err != nil {
		c.Close()
		return nil, err
	}
	over := tls.Client(c, config)
	if err := over.HandshakeContext(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return over, nil
}

// maxHeader bounds the head of an answer.
const maxHeader = 10 << 20

// http1 does the exchange with HTTP/1.1. Informational answers are passed over.
func (t *transport) http1(l *line, q *http.Request, p *trip) (*http.Response, error) {
	once := *q
	once.Close = true
	write := once.Write
	if t.h.proxy != nil && q.URL.Scheme == "http" {
		once.Header = q.Header.Clone()
		t.authorizeProxy(once.Header)
		write = once.WriteProxy
	}
	out := writers.Get().(*bufio.Writer)
	out.Reset(l.Conn)
	err := write(out)
	if err == nil {
		err = out.Flush()
	}
	out.Reset(nil)
	writers.Put(out)
	if err != nil {
		return nil, err
	}
	in := buffers.Get().(*bufio.Reader)
	in.Reset(l)
	if _, err := in.Peek(1); err != nil {
		return nil, unexpected(err)
	}
	p.answered = time.Now()
	for range 6 {
		answer, err := http.ReadResponse(in, q)
		if err != nil {
			return nil, unexpected(err)
		}
		if answer.StatusCode < 200 && answer.StatusCode != http.StatusSwitchingProtocols {
			continue
		}
		l.left = -1
		answer.Body = &body{Reader: answer.Body, end: func() {
			l.Close()
			in.Reset(nil)
			buffers.Put(in)
		}}
		return answer, nil
	}
	return nil, errors.New("too many informational answers")
}

// http2 does the exchange with HTTP/2, which only an http.Transport speaks. It
// gets the connection that is there, for this one exchange.
func (t *transport) http2(l *line, q *http.Request, p *trip) (*http.Response, error) {
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	over := &http.Transport{
		Protocols: protocols, DisableCompression: true, MaxResponseHeaderBytes: maxHeader,
		DialTLSContext: func(context.Context, string, string) (net.Conn, error) { return l.Conn, nil },
	}
	answer, err := over.RoundTrip(q)
	if err != nil {
		over.CloseIdleConnections()
		return nil, err
	}
	p.answered = time.Now()
	in := answer.Body
	answer.Body = &body{Reader: in, end: func() {
		in.Close()
		over.CloseIdleConnections()
		l.Close()
	}}
	return answer, nil
}

// unexpected: an answer that ends before it is whole is an error.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

var (
	buffers = sync.Pool{New: func() any { return bufio.NewReader(nil) }}
	writers = sync.Pool{New: func() any { return bufio.NewWriter(nil) }}
)

// A line is a connection with a bound on the head of the answer.
type line struct {
	net.Conn
	left int64 // bytes; -1 = the head is over
	stop func() bool
}

func (l *line) Read(p []byte) (int, error) {
	if l.left == 0 {
		return 0, errors.New("the head of the answer is larger than 10 MiB")
	}
	if l.left > 0 && int64(len(p)) > l.left {
		p = p[:l.left]
	}
	n, err := l.Conn.Read(p)
	if l.left > 0 {
		l.left -= int64(n)
	}
	return n, err
}

// Close ends the connection by FIN.
func (l *line) Close() error {
	l.stop()
	return l.Conn.Close()
}

// A body ends its connection when it is closed.
type body struct {
	io.Reader
	end func()
}

func (b *body) Close() error {
	if b.end != nil {
		b.end()
		b.end = nil
	}
	return nil
}

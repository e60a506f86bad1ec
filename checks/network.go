package checks

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// networkSignals are what every kind with a connection can find.
var networkSignals = []Signal{
	{"connect", Critical, "no such name, connection refused, no route"},
	{"timeout", Critical, "no whole answer within the timeout"},
	{"cut", Critical, "the connection was closed before the answer was whole"},
	{"protocol", Critical, "the answer is of another protocol, damaged or too large"},
}

// A protocolError says that the other side does not speak as it should.
type protocolError struct{ text string }

func (e protocolError) Error() string { return e.text }

func wrongProtocol(format string, args ...any) error {
	return protocolError{fmt.Sprintf(format, args...)}
}

// errResolve marks errors from looking up a name.
type errResolve struct{ error }

// A session is a connection with a bound on what is read from it. Its
// deadline is that of the context.
type session struct {
	net.Conn
	in   *bufio.Reader
	left int64 // bytes that it may still read from the network
	most int64
	late error // the deadline passed while it was read
	stop func() bool
}

// connect resolves and dials; IPv4 is tried first. Each address gets its share
// of the time that is left.
func connect(ctx context.Context, r *Result, network, address string, most int64) (*session, error) {
	addresses := []string{address}
	if network != "unix" {
		found, err := resolve(ctx, r, address)
		if err != nil {
			return nil, err
		}
		addresses = found
	}
	var conn net.Conn
	var err error
	// A check is shorter than any keep-alive, which would cost four system calls.
	d := net.Dialer{KeepAlive: -1}
	began := time.Now()
	for i, a := range addresses {
		limit := ctx
		if end, ok := ctx.Deadline(); ok && i < len(addresses)-1 {
			var cancel context.CancelFunc
			limit, cancel = context.WithTimeout(ctx, time.Until(end)/time.Duration(len(addresses)-i))
			defer cancel()
		}
		if conn, err = d.DialContext(limit, network, a); err == nil {
			break
		}
	}
	r.phase("connect", began)
	if err != nil {
		return nil, err
	}
	r.Evidence.Address = conn.RemoteAddr().String()
	r.facts.connected = true
	if host, _, err := net.SplitHostPort(r.Evidence.Address); err == nil {
		r.facts.ip = host
	}
	s := &session{Conn: conn, left: most, most: most}
	s.in = readers.Get().(*bufio.Reader)
	s.in.Reset(readerFunc(s.read))
	if end, ok := ctx.Deadline(); ok {
		conn.SetDeadline(end)
	}
	s.stop = context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	return s, nil
}

// A Lookup finds the addresses of a name.
type Lookup func(ctx context.Context, host string) ([]netip.Addr, error)

type lookupKey struct{}

// WithLookup makes checks that run in a context find addresses by f. Without
// it each asks the system's resolver anew.
func WithLookup(ctx context.Context, f Lookup) context.Context {
	return context.WithValue(ctx, lookupKey{}, f)
}

func lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if f, ok := ctx.Value(lookupKey{}).(Lookup); ok {
		return f(ctx, host)
	}
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// resolve gives the addresses with ports of a host:port, IPv4 first.
func resolve(ctx context.Context, r *Result, address string) ([]string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return []string{address}, nil
	}
	began := time.Now()
	ips, err := lookup(ctx, host)
	r.phase("resolve", began)
	if err != nil {
		return nil, errResolve{err}
	}
	ips = slices.Clone(ips) // a Lookup may keep it
	slices.SortStableFunc(ips, func(a, b netip.Addr) int {
		return boolInt(!a.Unmap().Is4()) - boolInt(!b.Unmap().Is4())
	})
	out := make([]string, len(ips))
	for i, ip := range ips {
		out[i] = net.JoinHostPort(ip.Unmap().String(), port)
	}
	return out, nil
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// read takes from the network until the bound.
func (s *session) read(p []byte) (int, error) {
	if s.left <= 0 {
		return 0, wrongProtocol("the answer is larger than %s", size(s.most))
	}
	if int64(len(p)) > s.left {
		p = p[:s.left]
	}
	n, err := s.Conn.Read(p)
	s.left -= int64(n)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		s.late = err
	}
	return n, err
}

// Close ends the connection by FIN.
func (s *session) Close() error {
	s.stop()
	return s.Conn.Close()
}

// Buffers are the larger part of what a check would allocate.
var (
	readers = sync.Pool{New: func() any { return bufio.NewReader(nil) }}
	writers = sync.Pool{New: func() any { return bufio.NewWriter(nil) }}
)

// release closes a session that nobody else reads any more.
func (s *session) release() {
	s.Close()
	s.in.Reset(nil)
	readers.Put(s.in)
	s.in = nil
}

// A watched session is for a library that speaks on it: it remembers why
// reading ended, which libraries tell as their own kind of error.
type watched struct {
	*session
	ended atomic.Pointer[error]
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.in.Read(p)
	if err != nil {
		w.ended.CompareAndSwap(nil, &err)
	}
	return n, err
}

// cause is what to blame for an exchange that failed.
func (w *watched) cause(ctx context.Context, protocol string, err error) error {
	var bad certificateError
	switch ended := w.ended.Load(); {
	case errors.As(err, &bad):
		return bad
	case ctx.Err() != nil:
		return ctx.Err()
	case ended != nil && !errors.Is(*ended, net.ErrClosed):
		return *ended
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNRESET):
		return err
	}
	return wrongProtocol("the answer is no %s: %v", protocol, err)
}

// failed turns an error of the network into a finding. doing says at what, as
// "waiting for PONG".
func (r *Result) failed(t Target, err error, doing string) {
	var resolving errResolve
	var dns *net.DNSError
	var wrong protocolError
	var bad certificateError
	at := r.Evidence.Address
	if at == "" {
		at = t.Address
	}
	switch {
	case errors.As(err, &bad):
		r.find(Critical, "certificate", "%v", bad)
	case errors.As(err, &wrong):
		r.find(Critical, "protocol", "%v", wrong)
	case errors.As(err, &resolving) && errors.As(err, &dns) && dns.IsNotFound:
		r.find(Critical, "connect", "there is no host %s", dns.Name)
	case errors.As(err, &resolving):
		r.find(Critical, "connect", "the name could not be resolved: %v", resolving.error)
	case errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded):
		r.find(Critical, "timeout", "no answer within %s, %s (%s)", t.Timeout, doing, at)
	case errors.Is(err, syscall.ECONNREFUSED):
		r.find(Critical, "connect", "connection refused by %s", at)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		r.find(Critical, "cut", "%s closed the connection, %s", at, doing)
	case !r.facts.connected:
		r.find(Critical, "connect", "cannot connect to %s: %s", at, plain(err))
	default:
		r.find(Critical, "protocol", "%s: %s", doing, plain(err))
	}
}

// plain is the last part of a network error, without "dial tcp 1.2.3.4:5:".
func plain(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	var call *os.SyscallError
	if errors.As(err, &call) {
		err = call.Err
	}
	return err.Error()
}

// size is a number of bytes for people.
func size(n int64) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return strconv.FormatInt(n>>20, 10) + " MiB"
	case n >= 1<<10 && n%(1<<10) == 0:
		return strconv.FormatInt(n>>10, 10) + " KiB"
	}
	return strconv.FormatInt(n, 10) + " bytes"
}

// hostPort makes a reader of host[:port]. With no default a port must be given.
func hostPort(standard int) func(string) (string, error) {
	return func(s string) (string, error) {
		if strings.Contains(s, "://") {
			return "", fmt.Errorf("%q is a URL, wanted host:port", hidePassword(s))
		}
		if strings.Contains(s, "@") {
			return "", fmt.Errorf("a name or password does not belong there (it shows in ps): use --username and --password-file")
		}
		host, port, err := net.SplitHostPort(s)
		if err != nil {
			host, port = strings.Trim(s, "[]"), ""
			if _, ipErr := netip.ParseAddr(host); ipErr != nil && strings.Contains(host, ":") {
				return "", fmt.Errorf("%q is not host:port", s)
			}
		}
		if port == "" {
			if standard == 0 {
				return "", fmt.Errorf("%q has no port, wanted host:port", s)
			}
			port = strconv.Itoa(standard)
		}
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return "", fmt.Errorf("%q is no port", port)
		}
		if host == "" || strings.ContainsAny(host, " /?#") {
			return "", fmt.Errorf("%q has no valid host, wanted host:port", s)
		}
		return net.JoinHostPort(host, port), nil
	}
}

// hidePassword replaces what stands between :// and @.
func hidePassword(s string) string {
	scheme, rest, ok := strings.Cut(s, "://")
	at := strings.LastIndex(rest, "@")
	if !ok || at < 0 {
		return s
	}
	return scheme + "://…" + rest[at:]
}

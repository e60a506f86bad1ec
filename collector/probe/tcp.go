package probe

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"io"
	"net"
)

func probeTCP(ctx context.Context, target string, m *module, s *sheet) bool {
	t := &m.tcp
	s.zero(regexMetric)
	host, port, err := net.SplitHostPort(target)
	if err != nil {
		s.log.Error("the target is not host:port", "err", err)
		return false
	}
	ip, _, ok := s.resolve(ctx, t.network, host)
	if !ok {
		return false
	}
	c, err := t.dial(ctx, ip, port)
	if err != nil {
		s.log.Error("no connection", "err", err)
		return false
	}
	defer func() { c.Close() }()
	defer bound(ctx, c)()
	name := cmp.Or(t.tls.serverName, host)
	if t.useTLS {
		if c, ok = s.startTLS(ctx, c, &t.tls, name); !ok {
			return false
		}
	}
	s.log.Info("connected", "address", ip)
	in := lines(c)
	for i, e := range t.dialogue {
		send := e.send
		if e.expect != nil {
			match, line := awaitLine(in, e)
			if match == nil {
				if err := in.Err(); err != nil {
					s.log.Error("reading failed", "step", i, "err", err)
					return false
				}
				s.set(regexMetric, 1)
				s.log.Error("no line matches", "step", i, "expect", e.expect)
				return false
			}
			s.set(regexMetric, 0)
			s.log.Info("a line matches", "step", i, "expect", e.expect, "line", string(line))
			send = string(e.expect.Expand(nil, []byte(send), line, match))
		}
		if send != "" {
			if _, err := io.WriteString(c, send+"\n"); err != nil {
				s.log.Error("sending failed", "step", i, "err", err)
				return false
			}
			s.log.Info("sent", "step", i, "bytes", len(send)+1)
		}
		if e.starttls {
			if c, ok = s.startTLS(ctx, c, &t.tls, name); !ok {
				return false
			}
			in = lines(c)
		}
	}
	return true
}

// lines reads lines of at most 64 KiB.
func lines(c net.Conn) *bufio.Scanner { return bufio.NewScanner(c) }

// awaitLine reads until a line matches. nil: the end came first.
func awaitLine(in *bufio.Scanner, e exchange) (match []int, line []byte) {
	for in.Scan() {
		if match = e.expect.FindSubmatchIndex(in.Bytes()); match != nil {
			return match, in.Bytes()
		}
	}
	return nil, nil
}

// startTLS makes the handshake and shows the certificates. The connection that
// it returns has to be closed, whatever happened.
func (s *sheet) startTLS(ctx context.Context, c net.Conn, files *tlsFiles, name string) (net.Conn, bool) {
	config, err := files.config(name)
	if err != nil {
		s.log.Error("tls_config", "err", err)
		return c, false
	}
	over := tls.Client(c, config)
	if err := over.HandshakeContext(ctx); err != nil {
		s.log.Error("the TLS handshake failed", "err", err)
		return c, false
	}
	state := over.ConnectionState()
	s.certificates(&state)
	s.set(chainExpiryMetric, float64(lastExpiry(&state).Unix()))
	return over, true
}

package checks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

const maxDialogue = 64 << 10

var tcpKind = Kind{
	Summary: "TCP: a connection, and what is said on it",
	Target:  "HOST:PORT",
	Example: `check tcp mail.example.net:25 --await '^220 ' --send 'QUIT\r\n' --await '^221 '`,
	Options: slices.Concat([]Option{
		{Name: "send", Placeholder: "TEXT", Many: true, Help: `What to send; \r \n \t \xHH are understood. Several --send and --await take turns.`, parse: parse(unescape)},
		{Name: "await", Placeholder: "REGEXP", Many: true, Help: "What the answer since the last --send must match.", parse: parseRegexp},
		{Name: "await-first", Help: "The other side speaks first: --await before --send. That is the default if there are more --await than --send."},
		{Name: "tls", Help: "Speak TLS."},
	}, tlsOptions),
	Metrics: []Limits{certificateLimits},
	Signals: slices.Concat(networkSignals, []Signal{certificateSignal, {"answer", Critical, "the answer does not match --await"}}),
	Facts:   []string{"RESPONSE_TIME", "IP", "BODY", "CONNECTED", "CERTIFICATE_EXPIRATION"},
	address: hostPort(0),
	check:   checkTCP,
}

// open connects to the target, with TLS if its option says so. false: r says why not.
func open(ctx context.Context, r *Result, t Target, most int64) (*session, bool) {
	s, err := connect(ctx, r, "tcp", t.Address, most)
	if err != nil {
		r.failed(t, err, "connecting")
		return nil, false
	}
	if value[bool](t, "tls") {
		host, _, _ := net.SplitHostPort(t.Address)
		if _, err := s.startTLS(ctx, r, t, host); err != nil {
			s.Close()
			r.failed(t, err, "in the TLS handshake")
			return nil, false
		}
	}
	return s, true
}

// checkTCP connects and goes through the dialogue.
func checkTCP(ctx context.Context, t Target) (r Result) {
	s, ok := open(ctx, &r, t, maxDialogue)
	if !ok {
		return r
	}
	defer s.release()
	r.say("connected to %s", r.Evidence.Address)
	sends, awaits := values[string](t, "send"), values[*regexp.Regexp](t, "await")
	var heard []byte
	speak := len(awaits) <= len(sends) && !value[bool](t, "await-first")
	for ; len(sends)+len(awaits) > 0; speak = !speak {
		if speak && len(sends) > 0 {
			began := time.Now()
			_, err := io.WriteString(s, sends[0])
			r.phase("send", began)
			if err != nil {
				r.failed(t, err, "sending")
				return r
			}
			sends, heard = sends[1:], nil
		} else if !speak && len(awaits) > 0 {
			var err error
			heard, err = s.await(&r, heard, awaits[0])
			r.answer(heard)
			if err != nil {
				r.failedAwait(t, err, heard, awaits[0])
				return r
			}
			r.say("%s answers %s", r.Evidence.Address, clip(strings.TrimSpace(string(heard))))
			awaits = awaits[1:]
		}
	}
	return r
}

// await reads until the pattern matches.
func (s *session) await(r *Result, heard []byte, pattern *regexp.Regexp) ([]byte, error) {
	defer r.phase("wait", time.Now())
	piece := make([]byte, 4096)
	for !pattern.Match(heard) || len(heard) == 0 {
		n, err := s.in.Read(piece)
		heard = append(heard, piece[:n]...)
		if err != nil && !(n > 0 && pattern.Match(heard)) {
			return heard, err
		}
	}
	return heard, nil
}

// failedAwait says what was heard instead.
func (r *Result) failedAwait(t Target, err error, heard []byte, pattern *regexp.Regexp) {
	var wrong protocolError
	if len(heard) == 0 || errors.As(err, &wrong) {
		r.failed(t, err, fmt.Sprintf("waiting for %q", pattern))
		return
	}
	r.find(Critical, "answer", "the answer does not match %q: %s", pattern, clip(string(heard)))
}

// unescape reads backslash sequences as Go does.
func unescape(s string) (string, error) {
	var b strings.Builder
	for s != "" {
		c, multibyte, rest, err := strconv.UnquoteChar(s, 0)
		if err != nil {
			return "", fmt.Errorf(`%q is no backslash sequence; a backslash itself is \\`, s)
		}
		if multibyte || c < 0x80 {
			b.WriteRune(c)
		} else {
			b.WriteByte(byte(c)) // \xff is a byte
		}
		s = rest
	}
	return b.String(), nil
}

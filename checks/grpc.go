package checks

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

var grpcKind = Kind{
	Summary: "gRPC: what the health service (grpc.health.v1) says of a service",
	Target:  "HOST:PORT",
	Example: `check grpc orders.example.net:9000 --service shop.Orders --tls`,
	Options: slices.Concat([]Option{
		{Name: "service", Placeholder: "NAME", Help: "Which service; without it the server as a whole.", parse: parseText},
		{Name: "tls", Help: "Speak TLS."},
	}, tlsOptions),
	Metrics: []Limits{certificateLimits},
	Signals: slices.Concat(networkSignals, []Signal{
		certificateSignal,
		{"serving", Critical, "the service says NOT_SERVING, or its health is not known"},
		{"no_service", Critical, "the server knows no service of that name"},
		{"no_health", Warning, "the server has no health service"},
		{"grpc", Critical, "another gRPC status, or an HTTP status"},
	}),
	Facts:   []string{"RESPONSE_TIME", "IP", "CONNECTED", "CERTIFICATE_EXPIRATION"},
	address: hostPort(0),
	check:   checkGRPC,
}

const maxHealth = 64 << 10

// The gRPC status codes that have a meaning of their own here.
const (
	grpcOK            = 0
	grpcNotFound      = 5
	grpcUnimplemented = 12
)

// checkGRPC makes one unary call. A gRPC call is a POST over HTTP/2 with a
// frame of five bytes before each message and the status in the trailers, so
// the standard library speaks it.
func checkGRPC(ctx context.Context, t Target) (r Result) {
	s, err := connect(ctx, &r, "tcp", t.Address, maxHealth)
	if err != nil {
		r.failed(t, err, "connecting")
		return r
	}
	defer s.Close()
	scheme := "http"
	if value[bool](t, "tls") {
		scheme = "https"
		host, _, _ := net.SplitHostPort(t.Address)
		state, err := s.startTLS(ctx, &r, t, host, "h2")
		if err == nil && state.NegotiatedProtocol != "h2" {
			err = wrongProtocol("%s speaks TLS, but no HTTP/2", r.Evidence.Address)
		}
		if err != nil {
			r.failed(t, err, "in the TLS handshake")
			return r
		}
	}
	began := time.Now()
	answer, body, err := callHealth(ctx, s, scheme, t)
	r.phase("wait", began)
	if err != nil {
		r.failed(t, err, "waiting for the answer of the health service")
		return r
	}
	r.judgeHealth(t, answer, body)
	return r
}

// callHealth sends the request over the session. A Transport for one exchange
// is dear, but HTTP/2 is not to be had without.
func callHealth(ctx context.Context, s *session, scheme string, t Target) (*http.Response, []byte, error) {
	conn := &watched{session: s}
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	protocols.SetHTTP2(true)
	transport := &http.Transport{
		Protocols: protocols, DisableCompression: true, MaxResponseHeaderBytes: 16 << 10,
		DialContext:    func(context.Context, string, string) (net.Conn, error) { return conn, nil },
		DialTLSContext: func(context.Context, string, string) (net.Conn, error) { return s.Conn, nil }, // a *tls.Conn tells it h2
	}
	defer transport.CloseIdleConnections()
	q, err := HealthCall(ctx, t.Address, value[string](t, "service"), scheme == "https")
	if err != nil {
		return nil, nil, err
	}
	q.Header.Set("User-Agent", userAgent)
	answer, err := transport.RoundTrip(q)
	if err != nil {
		return nil, nil, conn.cause(ctx, "HTTP/2", err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxHealth))
	if err != nil {
		return nil, nil, conn.cause(ctx, "HTTP/2", err)
	}
	return answer, body, nil
}

// HealthCall is the request that asks grpc.health.v1 at host:port for a service;
// "" is the server as a whole. It ends with ctx, which the server is told.
func HealthCall(ctx context.Context, address, service string, secure bool) (*http.Request, error) {
	u := &url.URL{Scheme: "http", Host: address, Path: "/grpc.health.v1.Health/Check"}
	if secure {
		u.Scheme = "https"
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, "", io.NopCloser(bytes.NewReader(healthRequest(service))))
	if err != nil {
		return nil, err
	}
	q.URL, q.Host, q.ContentLength = u, address, -1
	q.Header.Set("Content-Type", "application/grpc")
	q.Header.Set("Te", "trailers")
	if end, ok := ctx.Deadline(); ok {
		q.Header.Set("Grpc-Timeout", strconv.FormatInt(max(1, time.Until(end).Milliseconds()), 10)+"m")
	}
	return q, nil
}

// healthRequest is a frame with HealthCheckRequest{service}.
func healthRequest(service string) []byte {
	var message []byte
	if service != "" {
		message = append(message, 1<<3|2) // field 1, a text
		message = binary.AppendUvarint(message, uint64(len(service)))
		message = append(message, service...)
	}
	frame := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message)))
	return append(frame, message...)
}

// HealthStatus reads HealthCheckResponse{status} out of the body of the answer:
// 0 UNKNOWN, 1 SERVING, 2 NOT_SERVING, 3 SERVICE_UNKNOWN.
func HealthStatus(b []byte) (uint64, error) {
	if len(b) < 5 || b[0] != 0 || int(binary.BigEndian.Uint32(b[1:])) != len(b)-5 {
		return 0, wrongProtocol("the health service answers with a damaged frame")
	}
	b = b[5:]
	if len(b) == 0 {
		return 0, nil // UNKNOWN is the default and not sent
	}
	status, n := binary.Uvarint(b[1:])
	if b[0] != 1<<3 || n <= 0 {
		return 0, wrongProtocol("the health service answers with another message")
	}
	return status, nil
}

func (r *Result) judgeHealth(t Target, answer *http.Response, body []byte) {
	r.Evidence.Status = answer.StatusCode
	status := answer.Trailer.Get("Grpc-Status")
	message := answer.Trailer.Get("Grpc-Message")
	if status == "" { // an answer without a message has it in its header
		status, message = answer.Header.Get("Grpc-Status"), answer.Header.Get("Grpc-Message")
	}
	name := value[string](t, "service")
	if name == "" {
		name = "the server"
	}
	code, err := strconv.Atoi(status)
	switch {
	case err != nil && answer.StatusCode != http.StatusOK:
		r.find(Critical, "grpc", "HTTP %s in place of a gRPC answer", answer.Status)
	case err != nil:
		r.find(Critical, "protocol", "the answer has no gRPC status")
	case code == grpcUnimplemented:
		r.find(Warning, "no_health", "gRPC works, but there is no health service")
	case code == grpcNotFound:
		r.find(Critical, "no_service", "there is no service %s", clip(name))
	case code != grpcOK:
		r.find(Critical, "grpc", "gRPC status %d: %s", code, clip(message))
	default:
		r.judgeServing(name, body)
	}
}

func (r *Result) judgeServing(name string, body []byte) {
	status, err := HealthStatus(body)
	if err != nil {
		r.find(Critical, "protocol", "%v", err)
		return
	}
	if status == 1 {
		r.say("%s: SERVING", name)
		return
	}
	words := map[uint64]string{0: "UNKNOWN", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
	word := words[status]
	if word == "" {
		word = fmt.Sprintf("status %d", status)
	}
	r.find(Critical, "serving", "%s: %s", name, word)
}

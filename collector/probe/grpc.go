package probe

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"mesoscope/checks"
)

var (
	grpcPhaseMetric  = newMetric("probe_grpc_duration_seconds", "Duration of gRPC request by phase", "phase")
	grpcTLSMetric    = newMetric("probe_grpc_ssl", "Indicates if SSL was used for the connection")
	grpcStatusMetric = newMetric("probe_grpc_status_code", "Response gRPC status code")
	grpcHealthMetric = newMetric("probe_grpc_healthcheck_response", "Response HealthCheck response", "serving_status")
)

// The states of a service, by their numbers in grpc.health.v1.
var servingStates = []string{"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"}

// gRPC's codes that we have to give ourselves.
const (
	grpcUnknown  = 2
	grpcLate     = 4
	grpcInternal = 13
	grpcAway     = 14
)

// A call is what came of asking the health service.
type call struct {
	code   int
	status int                  // of the service; -1 = there is none
	tls    *tls.ConnectionState // nil = without TLS, or no answer
}

func probeGRPC(ctx context.Context, target string, m *module, s *sheet) bool {
	g := &m.grpc
	s.zero(grpcTLSMetric, grpcStatusMetric, expiryMetric)
	s.set(grpcPhaseMetric, 0, "resolve")
	if !strings.HasPrefix(target, "http://") && !strings.HasPrefix(target, "https://") {
		target = "http://" + target
	}
	u, err := url.Parse(target)
	if err != nil {
		s.log.Error("the target is no host:port", "err", err)
		return false
	}
	ip, took, ok := s.resolve(ctx, g.network, u.Hostname())
	if !ok {
		return false
	}
	s.set(grpcPhaseMetric, took.Seconds(), "resolve")
	began := time.Now()
	c, err := g.ask(ctx, ip, u)
	s.since(grpcPhaseMetric, began, "check")
	for _, state := range servingStates {
		s.set(grpcHealthMetric, 0, state)
	}
	s.set(grpcStatusMetric, float64(c.code))
	if err != nil {
		s.log.Error("the health service could not be asked", "code", c.code, "err", err)
		return false
	}
	if c.tls != nil {
		s.set(grpcTLSMetric, 1)
		s.certificates(c.tls)
	}
	state := strconv.Itoa(c.status)
	if c.status >= 0 && c.status < len(servingStates) {
		state = servingStates[c.status]
	}
	s.set(grpcHealthMetric, 1, state)
	s.log.Info("the health service answers", "status", state)
	return state == "SERVING"
}

// ask makes one call on a connection of its own. After an error its code says
// what gRPC calls that.
func (g *grpcModule) ask(ctx context.Context, ip netip.Addr, u *url.URL) (call, error) {
	port := "80"
	if g.useTLS {
		port = "443"
	}
	c, err := g.dial(ctx, ip, cmp.Or(u.Port(), port))
	if err != nil {
		return call{code: codeOf(err, grpcAway)}, err
	}
	defer func() { c.Close() }()
	defer bound(ctx, c)()
	q, err := checks.HealthCall(ctx, u.Host, g.service, g.useTLS)
	if err != nil {
		return call{code: grpcInternal}, err
	}
	var state *tls.ConnectionState
	if g.useTLS {
		over, err := shake(ctx, c, &g.tls, cmp.Or(g.tls.serverName, u.Hostname()), "h2")
		if err != nil {
			return call{code: codeOf(err, grpcAway)}, err
		}
		now := over.ConnectionState()
		c, state = over, &now
		if state.NegotiatedProtocol != "h2" {
			return call{code: grpcAway}, errors.New("the host speaks TLS, but no HTTP/2")
		}
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	dial := func(context.Context, string, string) (net.Conn, error) { return c, nil }
	over := &http.Transport{Protocols: protocols, DisableCompression: true, MaxResponseHeaderBytes: 16 << 10, DialContext: dial, DialTLSContext: dial}
	defer over.CloseIdleConnections()
	answer, err := over.RoundTrip(q)
	if err != nil {
		return call{code: codeOf(err, grpcAway)}, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	if err != nil {
		return call{code: codeOf(err, grpcAway)}, err
	}
	code, err := answerCode(answer)
	if err != nil {
		return call{code: code}, err
	}
	status, err := checks.HealthStatus(bytes.Clone(text))
	if err != nil {
		return call{code: grpcInternal}, err
	}
	return call{status: int(status), tls: state}, nil
}

// codeOf is gRPC's code for an error of the network.
func codeOf(err error, other int) int {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		return grpcLate
	}
	return other
}

// httpCodes are gRPC's codes for an HTTP status in place of an answer.
var httpCodes = map[int]int{400: grpcInternal, 401: 16, 403: 7, 404: 12, 429: grpcAway, 502: grpcAway, 503: grpcAway, 504: grpcAway}

// answerCode is the code that an answer carries; an error if that is not OK.
func answerCode(a *http.Response) (int, error) {
	if kind := a.Header.Get("Content-Type"); a.StatusCode != http.StatusOK || !strings.HasPrefix(kind, "application/grpc") {
		code, ok := httpCodes[a.StatusCode]
		if !ok {
			code = grpcUnknown
		}
		return code, errors.New("the answer is no gRPC: HTTP " + a.Status)
	}
	text, message := a.Trailer.Get("Grpc-Status"), a.Trailer.Get("Grpc-Message")
	if text == "" { // an answer without a message has it in its header
		text, message = a.Header.Get("Grpc-Status"), a.Header.Get("Grpc-Message")
	}
	code, err := strconv.Atoi(text)
	if err != nil {
		return grpcInternal, errors.New("the answer has no gRPC status")
	}
	if code != 0 {
		return code, errors.New(message)
	}
	return 0, nil
}

package probe

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

// health answers as the health service does: the frame holds the status, which
// is not sent if it is 0.
func health(status byte, code string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked, _ := io.ReadAll(r.Body)
		if len(asked) > 7 && string(asked[7:]) == "a.B" {
			status, code = 1, "0"
		}
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Trailer", "Grpc-Status")
		if code == "0" {
			w.Write([]byte{0, 0, 0, 0, 2, 8, status})
		}
		w.Header().Set("Grpc-Status", code)
	})
}

func plainHTTP2(t *testing.T, h http.Handler) string {
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func TestGRPC(t *testing.T) {
	f := func(module, target string, want map[string]float64) {
		t.Helper()
		probeWith(t, "prober: grpc\ntimeout: 10s\ngrpc: {"+module+"}", target, "debug", "true").wants(t, module+" to "+target, want)
	}
	serving := `probe_grpc_healthcheck_response{serving_status="SERVING"}`
	f("", plainHTTP2(t, health(1, "0")), map[string]float64{"probe_success": 1, serving: 1, `probe_grpc_healthcheck_response{serving_status="UNKNOWN"}`: 0,
		"probe_grpc_status_code": 0, "probe_grpc_ssl": 0, "probe_ssl_earliest_cert_expiry": 0, "probe_tls_version_info": absent})
	f("", plainHTTP2(t, health(2, "0")), map[string]float64{"probe_success": 0, serving: 0, `probe_grpc_healthcheck_response{serving_status="NOT_SERVING"}`: 1, "probe_grpc_status_code": 0})
	f("", plainHTTP2(t, health(0, "12")), map[string]float64{"probe_success": 0, "probe_grpc_status_code": 12, `probe_grpc_healthcheck_response{serving_status="UNKNOWN"}`: 0})
	f("service: a.B", plainHTTP2(t, health(0, "5")), success(true))
	f("service: a.C", plainHTTP2(t, health(0, "5")), map[string]float64{"probe_success": 0, "probe_grpc_status_code": 5})
	f("", plainHTTP2(t, http.NotFoundHandler()), map[string]float64{"probe_success": 0, "probe_grpc_status_code": 12})
	f("", closedPort(t), map[string]float64{"probe_success": 0, "probe_grpc_status_code": 14})
	f("", tcpServer(t, func(c net.Conn) { io.WriteString(c, "SSH-2.0-x\r\n") }), map[string]float64{"probe_success": 0, "probe_grpc_status_code": 14})

	s := httptest.NewUnstartedServer(health(1, "0"))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	at := s.Listener.Addr().String()
	f("tls: true, tls_config: {ca_file: "+caOf(t, s)+"}", at, map[string]float64{"probe_success": 1, "probe_grpc_ssl": 1, `probe_tls_version_info{version="TLS 1.3"}`: 1,
		"probe_ssl_earliest_cert_expiry": float64(s.Certificate().NotAfter.Unix())})
	f("tls: true", at, map[string]float64{"probe_success": 0, "probe_grpc_status_code": 14, "probe_grpc_ssl": 0})
	f("", at, success(false))
}

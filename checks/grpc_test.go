package checks

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// health is a gRPC server made of net/http's HTTP/2: it knows the services
// "", "up", "down" and answers some others by a fault of their name.
func health(w http.ResponseWriter, q *http.Request) {
	body, _ := io.ReadAll(q.Body)
	service := ""
	if len(body) > 7 {
		service = string(body[7:])
	}
	w.Header().Set("Content-Type", "application/grpc")
	w.Header().Set("Trailer", "Grpc-Status, Grpc-Message")
	end := func(code, message string) {
		w.Header().Set("Grpc-Status", code)
		w.Header().Set("Grpc-Message", message)
	}
	say := func(frame string) {
		io.WriteString(w, frame)
		end("0", "")
	}
	switch {
	case q.URL.Path != "/grpc.health.v1.Health/Check" || q.Header.Get("Te") != "trailers" || q.Header.Get("Grpc-Timeout") == "":
		http.Error(w, "wrong request", http.StatusBadRequest)
	case service == "" || service == "up":
		say("\x00\x00\x00\x00\x02\x08\x01")
	case service == "down":
		say("\x00\x00\x00\x00\x02\x08\x02")
	case service == "unset":
		say("\x00\x00\x00\x00\x00")
	case service == "damaged":
		say("\x00\x00\x00\x01\x00\x08")
	case service == "other":
		say("\x00\x00\x00\x00\x02\x12\x01")
	case service == "huge":
		io.WriteString(w, strings.Repeat("x", 1<<20))
	case service == "unimplemented":
		end("12", "unknown service")
	case service == "forbidden":
		end("7", "go away")
	case service == "http":
		w.WriteHeader(http.StatusBadGateway)
	case service == "bare":
	case service == "slow":
		w.(http.Flusher).Flush()
		<-q.Context().Done()
	default:
		end("5", "unknown service")
	}
}

func TestGRPC(t *testing.T) {
	listen := func(secure *tls.Config) string {
		s := httptest.NewUnstartedServer(http.HandlerFunc(health))
		s.Config.Protocols = new(http.Protocols)
		if secure != nil {
			s.TLS, s.EnableHTTP2 = secure, true
			s.Config.Protocols.SetHTTP2(true)
			s.StartTLS()
		} else {
			s.Config.Protocols.SetUnencryptedHTTP2(true)
			s.Start()
		}
		t.Cleanup(s.Close)
		return s.Listener.Addr().String()
	}
	good, soon := issue(t, "127.0.0.1", time.Now().Add(90*24*time.Hour)), issue(t, "127.0.0.1", time.Now().Add(10*24*time.Hour))
	secure := func(c issued) string { return listen(&tls.Config{Certificates: []tls.Certificate{c.Certificate}}) }
	plain := listen(nil)
	one := func(name string, want State, signal, text string) trial {
		return trial{name: name, address: plain, options: opt("service", name), want: want, signal: signal, text: text}
	}
	testKind(t, "grpc", "%s", append(withForm(t, "%s", broken(nil)), []trial{
		{name: "server", address: plain, text: "the server: SERVING"},
		one("up", OK, "", "up: SERVING"),
		one("down", Critical, "serving", "down: NOT_SERVING"),
		one("unset", Critical, "serving", "UNKNOWN"),
		one("nobody", Critical, "no_service", ""),
		one("unimplemented", Warning, "no_health", ""),
		one("forbidden", Critical, "grpc", `status 7: "go away"`),
		one("http", Critical, "grpc", "HTTP 502"),
		one("bare", Critical, "protocol", "no gRPC status"),
		one("damaged", Critical, "protocol", ""),
		one("other", Critical, "protocol", ""),
		one("huge", Critical, "protocol", ""),
		{name: "slow", address: plain, options: opt("service", "slow", "timeout", "300ms"), want: Critical, signal: "timeout"},
		{name: "tls", address: secure(good), options: opt("tls", "true", "ca-file", good.caFile), text: "SERVING"},
		{name: "tls ends soon", address: secure(soon), options: opt("tls", "true", "ca-file", soon.caFile), want: Warning, signal: "certificate_days"},
		{name: "tls unknown", address: secure(good), options: opt("tls", "true"), want: Critical, signal: "certificate"},
		{name: "tls without HTTP/2", serve: overTLS(good, silent), options: opt("tls", "true", "insecure", "true"), want: Critical, signal: "protocol", text: "no HTTP/2"},
		{name: "HTTP/1", serve: func(c net.Conn) {
			answer(200, "hello")(c)
			silent(c) // a close while frames come in would reset the connection, and take the answer with it
		}, want: Critical, signal: "protocol"},
		{name: "closed at once", serve: func(net.Conn) {}, want: Critical, signal: "cut"},
	}...))
}

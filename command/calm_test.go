package command

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"mesoscope/internal/jsonfile"
	"mesoscope/test/fakees"
)

// TestCalm: what is wrong with the store is a line or two of the whole process,
// however many containers write and however often it is tried, and a number that
// grows; and once it is over all lines arrive.
func TestCalm(t *testing.T) {
	for _, c := range []struct {
		name string
		// bad answers in the place of the store; nil: nobody listens.
		bad    http.HandlerFunc
		said   string
		metric string
	}{
		{name: "nobody there", said: "Elasticsearch cannot be reached", metric: `mesoscope_bulks_total{result="unreachable"}`},
		{name: "wrong credentials", said: "does not know these credentials", metric: `mesoscope_bulks_total{result="denied"}`, bad: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Elastic-Product", "Elasticsearch")
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"error":{"type":"security_exception","reason":"unable to authenticate user [x]"},"status":401}`))
		}},
		{name: "http to https", said: "no TLS connection to Elasticsearch", metric: `mesoscope_bulks_total{result="tls"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			const containers, attempts = 20, 4
			dir := t.TempDir()
			var total atomic.Int64
			for i := range containers {
				l := newContainerLogger(t, dir, i, jsonfile.Options{}, &total)
				if err := l.writer.WriteLine("stdout", []byte("a line"), time.Now()); err != nil {
					t.Fatal(err)
				}
				if err := l.writer.Close(); err != nil {
					t.Fatal(err)
				}
			}
			sink := &fakees.Server{}
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			address := listener.Addr().String()
			listener.Close()
			url := "http://" + address
			serve := func(h http.Handler) *httptest.Server {
				l, err := net.Listen("tcp", address)
				if err != nil {
					t.Fatal(err)
				}
				s := &httptest.Server{Listener: l, Config: httptest.NewUnstartedServer(h).Config}
				s.Start()
				return s
			}
			var server *httptest.Server
			if c.bad != nil {
				server = serve(c.bad)
			}
			if c.name == "http to https" {
				server, url = serve(sink), "https://"+address
			}
			child := start(t, nil, "agent", "--config", agentConfig(t, dir, url, ""))
			at := child.wait(followingNow)
			until(t, "some attempts", 60*time.Second, func() bool {
				metrics := ask(t, at+"/metrics")
				return strings.Contains(metrics, "\n"+c.metric+" ") && !strings.Contains(metrics, "\n"+c.metric+" 1\n") &&
					!strings.Contains(metrics, "\n"+c.metric+" 2\n") && !strings.Contains(metrics, "\n"+c.metric+" 3\n")
			})
			text := child.output()
			bad := strings.Count(text, "level=WARN") + strings.Count(text, "level=ERROR")
			if n := strings.Count(text, c.said); n != 1 || bad > 2 { // the other one is about the index templates
				t.Errorf("said %d times, %d messages after %d attempts:\n%s", n, bad, attempts, text)
			}
			if c.name == "http to https" {
				child.kill()
				server.Close()
				return
			}
			if server != nil {
				server.CloseClientConnections()
				server.Close()
			}
			server = serve(sink)
			defer server.Close()
			until(t, "all lines to arrive", 60*time.Second, func() bool { return len(lineDocs(sink)) == containers })
			child.signal(syscall.SIGTERM)
			if code := child.code(); code != Done {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

package probe

import (
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// modulesFile writes a file with one module, m, whose text is indented already.
func modulesFile(t *testing.T, module string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "blackbox.yml")
	if err := os.WriteFile(path, []byte("modules:\n  m:\n    "+strings.ReplaceAll(strings.TrimSpace(module), "\n", "\n    ")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A probed is the answer to a request.
type probed struct {
	status int
	body   string
	series map[string]float64 // by name with labels
}

func handlerFor(t *testing.T, module string) *Handler {
	t.Helper()
	h, err := New(Options{ModulesFile: modulesFile(t, module), Guarded: true})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// probeWith asks for a probe of target with one module; more are further
// parameters, name and value in turn.
func probeWith(t *testing.T, module, target string, more ...string) probed {
	t.Helper()
	q := url.Values{"module": {"m"}, "target": {target}}
	for i := 0; i < len(more); i += 2 {
		q.Set(more[i], more[i+1])
	}
	return request(t, handlerFor(t, module), httptest.NewRequest(http.MethodGet, "/probe?"+q.Encode(), nil))
}

func request(t *testing.T, h http.Handler, r *http.Request) probed {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	p := probed{status: w.Code, body: w.Body.String(), series: map[string]float64{}}
	for line := range strings.Lines(p.body) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if i := strings.LastIndex(line, "} "); i >= 0 {
			name, value = line[:i+1], strings.TrimSpace(line[i+2:])
		}
		if v, err := strconv.ParseFloat(value, 64); ok && err == nil && strings.HasPrefix(name, "probe_") {
			if _, twice := p.series[name]; twice {
				t.Errorf("%s is there twice", name)
			}
			p.series[name] = v
		}
	}
	return p
}

// wants compares some series; one with the value absent must not be there.
func (p probed) wants(t *testing.T, what string, want map[string]float64) {
	t.Helper()
	if p.status != http.StatusOK {
		t.Errorf("%s: status %d: %s", what, p.status, p.body)
		return
	}
	for name, value := range want {
		got, ok := p.series[name]
		if value == absent && ok || value != absent && (!ok || got != value) {
			t.Errorf("%s: %s is %v (there: %v), want %v\n%s", what, name, got, ok, value, p.body)
		}
	}
}

const absent = -12345

// success is what most tests want to know.
func success(ok bool) map[string]float64 {
	if ok {
		return map[string]float64{"probe_success": 1}
	}
	return map[string]float64{"probe_success": 0}
}

// caOf writes the certificate of a test server, to be trusted.
func caOf(t *testing.T, s *httptest.Server) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// tcpServer speaks with each connection in a goroutine of its own.
func tcpServer(t *testing.T, speak func(c net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				speak(c)
			}()
		}
	}()
	return l.Addr().String()
}

// closedPort is a port that nobody listens on.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

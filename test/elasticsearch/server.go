// Package elasticsearch starts real Elasticsearch servers for tests, through
// start.sh and stop.sh beside this file.
//
// The way of the data: Options -> start.sh -> a Server with its URL; the
// test's end stops it.
package elasticsearch

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// Options say which server, and how.
type Options struct {
	Version  string // 9.4.3 (default) or 8.16.6
	Password string // of the user elastic; "" = no security
	TLS      bool   // HTTPS with a certificate of its own, needs Password
	YML      string // more lines for elasticsearch.yml
}

// A Server is a running node.
type Server struct {
	URL      string // http://127.0.0.1:PORT
	CertFile string // the certificate to trust, with TLS
	t        testing.TB
	data     string   // its folder
	start    []string // the command that starts it
	env      []string
}

// Start starts a node and stops it at the test's end. What the machine lacks
// (bash, a JDK, root to become another user, the distribution) skips the test
// with a word on what to install, and fails it when CI is set.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	_, file, _, _ := runtime.Caller(0)
	scripts := filepath.Dir(file)
	if os.Geteuid() != 0 {
		lacking(t, "the start script must be run as root, since it starts the server as the user es")
	}
	if o.Version == "" {
		o.Version = "9.4.3"
	}
	// Not t.TempDir: the user es must be able to pass all folders above it.
	dir, err := os.MkdirTemp("", "mesoscope-es-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	data, port := filepath.Join(dir, "node"), freePort(t)
	s := &Server{URL: fmt.Sprintf("http://127.0.0.1:%d", port), t: t, data: data,
		start: []string{"bash", filepath.Join(scripts, "start.sh"), fmt.Sprint(port), data},
		env:   append(os.Environ(), "ES_FAST=1", "ES_HEAP=512m", "ES_VERSION="+o.Version, "ES_PASSWORD="+o.Password, "ES_YML="+o.YML)}
	if o.TLS {
		s.env = append(s.env, "ES_TLS=1")
		s.URL = fmt.Sprintf("https://127.0.0.1:%d", port)
		s.CertFile = filepath.Join(data, "conf", "http.crt")
	}
	out, err := s.run()
	t.Cleanup(func() {
		s.Stop()
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		lacking(t, fmt.Sprintf("Elasticsearch %s does not start (it needs bash, openssl, mvn or the unpacked distribution, a JDK 21 for 9.x and 17 for 8.x): %v\n%s", o.Version, err, out))
	}
	t.Logf("%s", out)
	return s
}

func (s *Server) run() ([]byte, error) {
	cmd := exec.Command(s.start[0], s.start[1:]...)
	cmd.Env = s.env
	return cmd.CombinedOutput()
}

// Stop ends the server, as for maintenance; Again starts it on the same data.
func (s *Server) Stop() {
	s.t.Helper()
	stop := filepath.Join(filepath.Dir(s.start[1]), "stop.sh")
	if out, err := exec.Command("bash", stop, s.data).CombinedOutput(); err != nil {
		s.t.Errorf("stop Elasticsearch: %v\n%s", err, out)
	}
}

// Again starts a server that was stopped, at the same address.
func (s *Server) Again() {
	s.t.Helper()
	if out, err := s.run(); err != nil {
		s.t.Fatalf("start Elasticsearch again: %v\n%s", err, out)
	}
}

func lacking(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// freePort finds a port whose sibling 100 above, for the transport, is free too.
func freePort(t testing.TB) int {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		_ = l.Close()
		if port > 65000 {
			continue
		}
		l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port+100))
		if err != nil {
			continue
		}
		_ = l.Close()
		return port
	}
	t.Fatal("no free port")
	return 0
}

// Do sends a request and returns the status and body of the answer.
func (s *Server) Do(client *http.Client, method, path, body string, auth func(*http.Request)) (int, string) {
	s.t.Helper()
	req, err := http.NewRequest(method, s.URL+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if auth != nil {
		auth(req)
	}
	res, err := client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

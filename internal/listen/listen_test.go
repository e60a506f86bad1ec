package listen

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"mesoscope/config"
)

// notes is a log that can be read while it is written.
type notes struct {
	sync.Mutex
	bytes.Buffer
}

func (n *notes) Write(p []byte) (int, error) { n.Lock(); defer n.Unlock(); return n.Buffer.Write(p) }
func (n *notes) text() string                { n.Lock(); defer n.Unlock(); return n.Buffer.String() }

// start serves cfg and returns its address, its log and what ends it.
func start(t *testing.T, cfg config.HTTP, h http.Handler) (string, *notes, func() error) {
	t.Helper()
	l, err := Open(cfg, "http")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	log, done := &notes{}, make(chan error, 1)
	go func() { done <- l.Serve(ctx, h, slog.New(slog.NewTextHandler(log, nil))) }()
	stop := sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { stop() })
	return l.URL(), log, stop
}

var hello = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") })

func TestLoopbackAndHost(t *testing.T) {
	url, log, stop := start(t, config.HTTP{Listen: "127.0.0.1:0"}, hello)
	for host, want := range map[string]int{"": 200, "localhost": 200, "localhost:1": 200, "127.0.0.1:80": 200, "[::1]:80": 200,
		"evil.example": 421, "evil.example:9912": 421, "127.0.0.1.evil.example": 421, "10.0.0.1": 421} {
		req, _ := http.NewRequest("GET", url, nil)
		req.Host = host
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("Host %q: %d, want %d", host, resp.StatusCode, want)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if s := log.text(); s != "" {
		t.Error("loopback needs no warning:", s)
	}
	if _, err := http.Get(url); err == nil {
		t.Error("still answers after the end")
	}
}

func TestToken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("right\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	url, _, _ := start(t, config.HTTP{Listen: "127.0.0.1:0", TokenFile: file}, hello)
	for _, c := range []struct {
		path, header string
		want         int
	}{{"/", "", 401}, {"/", "Bearer wrong", 401}, {"/", "Bearer right", 200}, {"/", "bearer right", 200}, {"/", "Basic right", 401},
		{"/", "right", 401}, {"/healthz", "", 200}, {"/healthz/x", "", 401}, {"//healthz", "", 401}} {
		req, _ := http.NewRequest("GET", url+c.path, nil)
		req.Header.Set("Authorization", c.header)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != c.want {
			t.Errorf("%v: %d", c, resp.StatusCode)
		}
	}
}

// TestExempt: paths with a way of their own need no token, and are no way
// around it.
func TestExempt(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("right\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := Open(config.HTTP{Listen: "127.0.0.1:0", TokenFile: file}, "http")
	if err != nil {
		t.Fatal(err)
	}
	l.Exempt("/ping/")
	mux := http.NewServeMux()
	mux.Handle("/secret/{id}", hello)
	mux.Handle("/ping/{id}", hello)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Serve(ctx, mux, slog.New(slog.DiscardHandler)) }()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for path, open := range map[string]bool{"/ping/a": true, "/ping/%2Fa": true, "/secret/a": false, "/ping/../secret/a": false, "/ping/%2e%2e/secret/a": false, "/ping/..%2fsecret/a": false, "//ping/a": false} {
		resp, err := client.Get(l.URL() + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if (resp.StatusCode == http.StatusOK) != open {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestTLS(t *testing.T) {
	const files = "../../config/testdata/files/"
	pair := config.TLS{CertFile: files + "cert.pem", KeyFile: files + "key.pem"}
	url, _, _ := start(t, config.HTTP{Listen: "127.0.0.1:0", TLS: pair}, hello)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if !strings.HasPrefix(url, "https://127.0.0.1:") || resp.TLS == nil {
		t.Errorf("%s without TLS", url)
	}
	if _, err := Open(config.HTTP{Listen: "127.0.0.1:0", TLS: config.TLS{CertFile: "none", KeyFile: "none"}}, "http"); err == nil ||
		!strings.HasPrefix(err.Error(), "http.tls.cert_file: ") {
		t.Error(err)
	}
}

func TestOpenToTheNetwork(t *testing.T) {
	url, log, stop := start(t, config.HTTP{Listen: "0.0.0.0:0"}, hello)
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	stop()
	if s := log.text(); !strings.Contains(s, "OPEN TO THE NETWORK") || !strings.Contains(s, `missing="tls, token_file"`) {
		t.Errorf("no warning: %s", s)
	}
}

func TestTakenPort(t *testing.T) {
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	err = Serve(t.Context(), config.HTTP{Listen: other.Addr().String()}, "http", hello, slog.Default())
	want := fmt.Sprintf("http.listen: another process listens on %s; end it or choose another port", other.Addr())
	if err == nil || err.Error() != want {
		t.Errorf("%v\nwant %s", err, want)
	}
}

// TestLiveTail: an answer without end arrives piece by piece, and the end of
// the process ends it at once instead of after the drain time.
func TestLiveTail(t *testing.T) {
	url, _, stop := start(t, config.HTTP{Listen: "127.0.0.1:0"}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "data: 1\n\n")
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if line, err := bufio.NewReader(resp.Body).ReadString('\n'); line != "data: 1\n" {
		t.Fatalf("%q %v", line, err)
	}
	began := time.Now()
	if err := stop(); err != nil || time.Since(began) > drain/2 {
		t.Errorf("%v after %s", err, time.Since(began))
	}
}

package probe

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"
)

func TestRequests(t *testing.T) {
	h := handlerFor(t, "prober: tcp")
	ask := func(query string, header ...string) probed {
		r := httptest.NewRequest(http.MethodGet, "/probe?"+query, nil)
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		return request(t, h, r)
	}
	if p := ask("module=n&target=x"); p.status != 400 || !strings.Contains(p.body, `Unknown module "n"`) {
		t.Errorf("unknown module: %d %s", p.status, p.body)
	}
	if p := ask("target=x"); p.status != 400 || !strings.Contains(p.body, `Unknown module "http_2xx"`) {
		t.Errorf("no module is http_2xx: %d %s", p.status, p.body)
	}
	if p := ask("module=m"); p.status != 400 || !strings.Contains(p.body, "Target parameter is missing") {
		t.Errorf("no target: %d %s", p.status, p.body)
	}
	if p := ask("module=m&target=x", "X-Prometheus-Scrape-Timeout-Seconds", "soon"); p.status != 500 {
		t.Errorf("a timeout that is no number: %d %s", p.status, p.body)
	}
	p := ask("module=m&target=" + closedPort(t))
	p.wants(t, "a failed probe is no failed request", success(false))
	for _, line := range []string{"# HELP probe_success Displays whether or not the probe was a success", "# TYPE probe_success gauge"} {
		if !strings.Contains(p.body, line+"\n") {
			t.Errorf("no %q in\n%s", line, p.body)
		}
	}
	p = ask("debug=true&module=m&target=" + closedPort(t))
	for _, part := range []string{"Logs for the probe:\n", "connection refused", "\nMetrics that would have been returned:\n", "probe_success 0\n", "\nModule configuration:\nprober: tcp\n"} {
		if !strings.Contains(p.body, part) {
			t.Errorf("debug=true has no %q:\n%s", part, p.body)
		}
	}
}

func TestTimeouts(t *testing.T) {
	f := func(header string, own, want time.Duration) {
		t.Helper()
		h := &Handler{o: Options{Offset: 500 * time.Millisecond}}
		if got, err := h.timeout(header, &module{timeout: own}); err != nil || got != want {
			t.Errorf("scrape %q, module %s: %s, %v, want %s", header, own, got, err, want)
		}
	}
	f("", 0, 119500*time.Millisecond)
	f("0", 0, 119500*time.Millisecond)
	f("10", 0, 9500*time.Millisecond)
	f("10", 3*time.Second, 3*time.Second)
	f("10", time.Minute, 9500*time.Millisecond)
	f("0.4", time.Second, time.Second)
	f("0.4", 0, 400*time.Millisecond)
	f("", 5*time.Second, 5*time.Second)
}

// TestTimeoutHolds: a server that says nothing costs no more than the scrape has.
func TestTimeoutHolds(t *testing.T) {
	stop := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-stop }))
	defer silent.Close()
	defer close(stop)
	h := handlerFor(t, "prober: http")
	r := httptest.NewRequest(http.MethodGet, "/probe?module=m&target="+url.QueryEscape(silent.URL), nil)
	r.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", "0.6")
	p := request(t, h, r)
	p.wants(t, "silent server", map[string]float64{"probe_success": 0, "probe_http_status_code": 0})
	if d := p.series["probe_duration_seconds"]; d < 0.05 {
		t.Errorf("given up after %v s", d)
	}
}

func TestGuarded(t *testing.T) {
	h, err := New(Options{ModulesFile: modulesFile(t, "prober: tcp")})
	if err != nil {
		t.Fatal(err)
	}
	p := request(t, h, httptest.NewRequest(http.MethodGet, "/probe?module=m&target=127.0.0.1:x", nil))
	if p.status != 403 || !strings.Contains(p.body, "http.token_file") {
		t.Errorf("open to the network: %d %s", p.status, p.body)
	}
}

func TestReload(t *testing.T) {
	path := modulesFile(t, "prober: tcp")
	h, err := New(Options{ModulesFile: path, Guarded: true})
	if err != nil {
		t.Fatal(err)
	}
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("modules: {m: {prober: unix}}")
	if err := h.Reload(); err == nil {
		t.Error("a bad file is taken")
	}
	r := func(name string) int {
		return request(t, h, httptest.NewRequest(http.MethodGet, "/probe?target=127.0.0.1:x&module="+name, nil)).status
	}
	if r("m") != 200 {
		t.Error("the good modules are gone after a bad reload")
	}
	write("modules: {other: {prober: tcp}}")
	if err := h.Reload(); err != nil || r("m") != 400 || r("other") != 200 {
		t.Errorf("after a good reload: %v, m %d, other %d", err, r("m"), r("other"))
	}
	if _, err := New(Options{ModulesFile: path + ".not"}); err == nil {
		t.Error("a missing file is no mistake")
	}
}

func TestHostname(t *testing.T) {
	var host string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { host = r.Host; fmt.Fprint(w, "ok") }))
	defer s.Close()
	probeWith(t, "prober: http", s.URL, "hostname", "shop.example.net").wants(t, "hostname", success(true))
	if host != "shop.example.net" {
		t.Errorf("the server was asked as %q", host)
	}
	p := probeWith(t, "prober: http\nhttp: {headers: {host: a}}", s.URL, "hostname", "b")
	if p.status != 400 || !strings.Contains(p.body, "host header defined both") {
		t.Errorf("two names: %d %s", p.status, p.body)
	}
	// the name is what the certificate is held against
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") }))
	defer secure.Close()
	ca := caOf(t, secure)
	for name, ok := range map[string]bool{"example.com": true, "example.org": false} {
		probeWith(t, "prober: http\nhttp: {tls_config: {ca_file: "+ca+"}}", secure.URL, "hostname", name).wants(t, "https as "+name, success(ok))
		probeWith(t, "prober: tcp\ntcp: {tls: true, tls_config: {ca_file: "+ca+"}}", secure.Listener.Addr().String(), "hostname", name).wants(t, "tcp as "+name, success(ok))
	}
}

func TestFormat(t *testing.T) {
	s := newSheet(false)
	s.set(chainInfoMetric, 1, "ff", `CN="a\b"`, "line\nbreak", "x\xff")
	s.set(durationMetric, 1.7e9)
	s.add(httpPhaseMetric, 0.25, "tls")
	s.add(httpPhaseMetric, 0.25, "tls")
	s.set(httpPhaseMetric, 1, "connect")
	var out strings.Builder
	s.writeTo(&out)
	want := durationMetric.head + "probe_duration_seconds 1.7e+09\n" + httpPhaseMetric.head +
		"probe_http_duration_seconds{phase=\"connect\"} 1\nprobe_http_duration_seconds{phase=\"tls\"} 0.5\n" + chainInfoMetric.head +
		`probe_ssl_last_chain_info{fingerprint_sha256="ff",issuer="CN=\"a\\b\"",subject="line\nbreak",subjectalternative="x` + "\ufffd\"} 1\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

package probe

import (
	"compress/flate"
	"compress/gzip"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
)

// site is a server with a page for each case.
func site() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Last-Modified", "Tue, 15 Nov 1994 12:45:26 GMT")
		w.Header()["X-Many"] = []string{"one", "two"}
		fmt.Fprint(w, "hello world")
	})
	mux.HandleFunc("/status/", func(w http.ResponseWriter, r *http.Request) {
		var code int
		fmt.Sscanf(r.URL.Path, "/status/%d", &code)
		w.WriteHeader(code)
	})
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %q auth=%q ua=%q x=%q enc=%q close=%v", r.Method, r.Proto, body, r.Header.Get("Authorization"), r.UserAgent(), r.Header.Get("X-A"), r.Header.Get("Accept-Encoding"), r.Close)
	})
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	mux.HandleFunc("/once", func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "seen", Value: "1", Path: "/"})
		http.Redirect(w, r, "/cookie", http.StatusFound)
	})
	mux.HandleFunc("/cookie", func(w http.ResponseWriter, r *http.Request) {
		c, _ := r.Cookie("seen")
		fmt.Fprint(w, c)
	})
	mux.HandleFunc("/packed/", func(w http.ResponseWriter, r *http.Request) {
		var z io.WriteCloser
		switch r.URL.Path {
		case "/packed/gzip":
			z = gzip.NewWriter(w)
		case "/packed/deflate":
			z, _ = flate.NewWriter(w, 1)
		case "/packed/br":
			z = brotli.NewWriter(w)
		}
		io.WriteString(z, strings.Repeat("packed ", 1000))
		z.Close()
	})
	mux.HandleFunc("/chunked", func(w http.ResponseWriter, r *http.Request) {
		for range 3 {
			io.WriteString(w, "piece ")
			w.(http.Flusher).Flush()
		}
	})
	return mux
}

func TestHTTP(t *testing.T) {
	s := httptest.NewServer(site())
	defer s.Close()
	f := func(module, path string, want map[string]float64) {
		t.Helper()
		m := "prober: http"
		if module != "" {
			m += "\nhttp: {" + module + "}"
		}
		probeWith(t, m, s.URL+path, "debug", "true").wants(t, module+" at "+path, want)
	}
	f("", "/", map[string]float64{"probe_success": 1, "probe_http_status_code": 200, "probe_http_content_length": 11, "probe_http_uncompressed_body_length": 11,
		"probe_http_version": 1.1, "probe_http_redirects": 0, "probe_http_ssl": 0, "probe_ip_protocol": 4, "probe_failed_due_to_regex": 0,
		"probe_http_last_modified_timestamp_seconds": 784903526, `probe_http_duration_seconds{phase="tls"}`: 0, "probe_ssl_earliest_cert_expiry": absent})
	f("", "/status/404", map[string]float64{"probe_success": 0, "probe_http_status_code": 404, "probe_http_last_modified_timestamp_seconds": absent})
	f("valid_status_codes: [404, 200]", "/status/404", success(true))
	f("valid_status_codes: [404]", "/", success(false))
	f("valid_http_versions: [HTTP/1.0, HTTP/1.1]", "/", success(true))
	f("valid_http_versions: [HTTP/2.0]", "/", success(false))
	f("fail_if_not_ssl: true", "/", success(false))
	f("fail_if_ssl: true", "/", success(true))
	f("", "/chunked", map[string]float64{"probe_success": 1, "probe_http_content_length": -1, "probe_http_uncompressed_body_length": 18})

	f("fail_if_body_matches_regexp: [x, wor]", "/", map[string]float64{"probe_success": 0, "probe_failed_due_to_regex": 1, "probe_http_status_code": 200})
	f("fail_if_body_matches_regexp: [nothing]", "/", map[string]float64{"probe_success": 1, "probe_failed_due_to_regex": 0})
	f("fail_if_body_not_matches_regexp: [hello, world]", "/", success(true))
	f("fail_if_body_not_matches_regexp: [hello, moon]", "/", map[string]float64{"probe_success": 0, "probe_failed_due_to_regex": 1})
	f("fail_if_header_matches: [{header: x-many, regexp: two}]", "/", map[string]float64{"probe_success": 0, "probe_failed_due_to_regex": 1})
	f("fail_if_header_matches: [{header: x-none, regexp: two}]", "/", success(false))
	f("fail_if_header_matches: [{header: x-none, regexp: two, allow_missing: true}]", "/", success(true))
	f("fail_if_header_not_matches: [{header: X-Many, regexp: two}]", "/", success(true))
	f("fail_if_header_not_matches: [{header: X-Many, regexp: three}]", "/", success(false))
	f("fail_if_header_not_matches: [{header: X-None, regexp: t}]", "/", map[string]float64{"probe_success": 0, "probe_failed_due_to_regex": 1})

	f("", "/once", map[string]float64{"probe_success": 1, "probe_http_redirects": 1, "probe_http_status_code": 200})
	f("fail_if_body_not_matches_regexp: [seen=1]", "/once", success(true))
	f("follow_redirects: false", "/once", map[string]float64{"probe_success": 0, "probe_http_redirects": 1, "probe_http_status_code": 302, "probe_http_uncompressed_body_length": 0})
	f("no_follow_redirects: true, valid_status_codes: [302]", "/once", success(true))
	f("", "/loop", map[string]float64{"probe_success": 0, "probe_http_redirects": 11, "probe_http_status_code": 302})

	const packed = 7000
	for _, how := range []string{"gzip", "deflate", "br"} {
		f("compression: "+how+", fail_if_body_not_matches_regexp: [packed]", "/packed/"+how, map[string]float64{"probe_success": 1, "probe_http_uncompressed_body_length": packed})
		f("compression: "+how, "/", success(false))
	}
	f("compression: identity", "/", success(true))
	f("compression: gzip, body_size_limit: 6KB", "/packed/gzip", map[string]float64{"probe_success": 0, "probe_http_uncompressed_body_length": 6 << 10})
	f("body_size_limit: 10B", "/", success(false))
	f("body_size_limit: 11B", "/", success(true))
	f("body_size_limit: 10B, fail_if_body_not_matches_regexp: [hello]", "/", map[string]float64{"probe_success": 0, "probe_failed_due_to_regex": 1})

	echo := func(module, want string) {
		t.Helper()
		f(module+", fail_if_body_not_matches_regexp: ['"+want+"']", "/echo", success(true))
	}
	echo("method: PUT, body: some text", `^PUT HTTP/1.1 "some text" auth="" ua="mesoscope-probe" x="" enc="" close=true`)
	echo("headers: {User-Agent: me, x-a: b}", `ua="me" x="b"`)
	echo("basic_auth: {username: a, password: b}", `auth="Basic YTpi"`)
	echo("bearer_token: b", `auth="Bearer b"`)
	echo("authorization: {type: Custom, credentials: b}", `auth="Custom b"`)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("fromfile\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	echo("bearer_token_file: "+secret, `auth="Bearer fromfile"`)
	echo("authorization: {credentials_file: "+secret+"}", `auth="Bearer fromfile"`)
	echo("basic_auth: {username: a, password_file: "+secret+"}", `auth="Basic YTpmcm9tZmlsZQ=="`)
	f("bearer_token_file: "+secret+".not", "/echo", map[string]float64{"probe_success": 0, "probe_http_status_code": 0})
}

func TestHTTPTargets(t *testing.T) {
	s := httptest.NewServer(site())
	defer s.Close()
	host := s.Listener.Addr().String()
	_, port, _ := net.SplitHostPort(host)
	f := func(module, target string, want map[string]float64) {
		t.Helper()
		probeWith(t, module, target, "debug", "true").wants(t, module+" of "+target, want)
	}
	f("prober: http", host, success(true)) // http:// is added
	f("prober: http", "localhost:"+port, success(true))
	f("prober: http", closedPort(t), map[string]float64{"probe_success": 0, "probe_http_status_code": 0, `probe_http_duration_seconds{phase="connect"}`: 0})
	f("prober: http", "http://a b/", map[string]float64{"probe_success": 0, "probe_ip_protocol": absent, `probe_http_duration_seconds{phase="connect"}`: absent})
	f("prober: http\nhttp: {ip_protocol_fallback: false}", host, map[string]float64{"probe_success": 0, "probe_ip_protocol": 0, `probe_http_duration_seconds{phase="connect"}`: absent})
	f("prober: http\nhttp: {ip_protocol_fallback: false, preferred_ip_protocol: ip4}", host, success(true))
	// what answers, but not with HTTP, or not to the end
	f("prober: http", tcpServer(t, func(c net.Conn) { io.WriteString(c, "+PONG\r\n") }), map[string]float64{"probe_success": 0, "probe_http_status_code": 0})
	f("prober: http", tcpServer(t, func(c net.Conn) {}), success(false))
	f("prober: http", tcpServer(t, func(c net.Conn) {
		c.Read(make([]byte, 4096))
		io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody")
	}), map[string]float64{"probe_success": 1, "probe_http_uncompressed_body_length": 4})
	f("prober: http", tcpServer(t, func(c net.Conn) {
		c.Read(make([]byte, 4096))
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\nbody")
	}), map[string]float64{"probe_success": 0, "probe_http_status_code": 200, "probe_http_content_length": 40})
}

func TestHTTPS(t *testing.T) {
	s := httptest.NewUnstartedServer(site())
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	ca := caOf(t, s)
	f := func(module string, want map[string]float64) {
		t.Helper()
		probeWith(t, "prober: http\nhttp: {"+module+"}", s.URL, "debug", "true").wants(t, module, want)
	}
	expiry := float64(s.Certificate().NotAfter.Unix())
	f("tls_config: {ca_file: "+ca+"}", map[string]float64{"probe_success": 1, "probe_http_version": 2, "probe_http_ssl": 1, "probe_ssl_earliest_cert_expiry": expiry,
		"probe_ssl_last_chain_expiry_timestamp_seconds": expiry, `probe_tls_version_info{version="TLS 1.3"}`: 1, "probe_http_uncompressed_body_length": 11})
	f("enable_http2: false, tls_config: {ca_file: "+ca+"}", map[string]float64{"probe_success": 1, "probe_http_version": 1.1})
	f("tls_config: {}", map[string]float64{"probe_success": 0, "probe_http_ssl": 0, "probe_ssl_earliest_cert_expiry": absent})
	f("tls_config: {insecure_skip_verify: true}", map[string]float64{"probe_success": 1, "probe_ssl_last_chain_expiry_timestamp_seconds": -62135596800})
	f("tls_config: {ca_file: "+ca+", server_name: example.org}", success(false))
	f("tls_config: {ca_file: "+ca+", server_name: example.com}", success(true))
	f("tls_config: {ca_file: "+ca+", max_version: TLS12}", map[string]float64{"probe_success": 1, `probe_tls_version_info{version="TLS 1.2"}`: 1})
	f("fail_if_ssl: true, tls_config: {ca_file: "+ca+"}", success(false))
	f("fail_if_not_ssl: true, tls_config: {ca_file: "+ca+"}", success(true))
	f("tls_config: {ca_file: "+ca+".not}", success(false))
	// from http to https on another port: whoever is there has to have its own name
	from := httptest.NewServer(http.RedirectHandler(s.URL, http.StatusFound))
	defer from.Close()
	probeWith(t, "prober: http\nhttp: {tls_config: {ca_file: "+ca+"}}", strings.Replace(from.URL, "127.0.0.1", "localhost", 1), "debug", "true").
		wants(t, "redirect to https", map[string]float64{"probe_success": 1, "probe_http_redirects": 1, "probe_http_ssl": 1})
}

// TestClientCertificate: files are read again when they have changed.
func TestClientCertificate(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%d certificates", len(r.TLS.PeerCertificates))
	}))
	s.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	s.StartTLS()
	defer s.Close()
	cert, key := selfSigned(t)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	module := "prober: http\nhttp: {tls_config: {ca_file: " + ca + ", cert_file: " + cert + ", key_file: " + key + "}, fail_if_body_not_matches_regexp: [1 cert]}"
	if err := os.WriteFile(ca, read(t, cert), 0o600); err != nil { // the wrong one
		t.Fatal(err)
	}
	h := handlerFor(t, module)
	ask := func() probed {
		return request(t, h, httptest.NewRequest(http.MethodGet, "/probe?module=m&debug=true&target="+s.URL, nil))
	}
	ask().wants(t, "wrong CA", success(false))
	if err := os.WriteFile(ca, append(read(t, caOf(t, s)), '\n', '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	ask().wants(t, "right CA", success(true))
}

func TestProxy(t *testing.T) {
	var asked []string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.RequestURI+" "+r.Header.Get("Proxy-Authorization")+r.Header.Get("X-Why"))
		if r.Method != http.MethodConnect {
			fmt.Fprint(w, "from the proxy")
			return
		}
		to, err := net.Dial("tcp", r.Host)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		c, _, _ := w.(http.Hijacker).Hijack()
		io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { io.Copy(to, c); to.Close() }()
		go func() { io.Copy(c, to); c.Close() }()
	}))
	defer proxy.Close()
	s := httptest.NewTLSServer(site())
	defer s.Close()
	f := func(module, target, want string, ok bool) {
		t.Helper()
		asked = nil
		probeWith(t, "prober: http\nhttp: {"+module+"}", target, "debug", "true").wants(t, target, success(ok))
		if len(asked) != 1 || !strings.HasPrefix(asked[0], want) {
			t.Errorf("%s: the proxy was asked %q, want %q", target, asked, want)
		}
	}
	at := strings.Replace(proxy.URL, "http://", "http://u:p@", 1)
	f("proxy_url: "+at, "http://127.0.0.1:9/x", "GET http://127.0.0.1:9/x Basic dTpw", true)
	f("skip_resolve_phase_with_proxy: true, proxy_url: "+at, "http://nowhere.invalid/", "GET http://nowhere.invalid/ ", true)
	f("proxy_connect_header: {x-why: [probe]}, tls_config: {insecure_skip_verify: true}, proxy_url: "+at, s.URL, "CONNECT "+s.Listener.Addr().String()+" Basic dTpwprobe", true)
	f("tls_config: {insecure_skip_verify: true}, proxy_url: "+proxy.URL, "https://"+closedPort(t), "CONNECT ", false)
}

// TestCredentialsOnRedirects: they go to the host that was named, wherever it
// sends us, and to no other.
func TestCredentialsOnRedirects(t *testing.T) {
	var got string
	final := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { got = r.Header.Get("Authorization") })
	for to, want := range map[string]string{"localhost": "Bearer b", "127.0.0.1": "Bearer b", "127.0.0.2": ""} {
		s := httptest.NewUnstartedServer(final)
		if to == "127.0.0.2" {
			l, err := net.Listen("tcp", to+":0")
			if err != nil { // only Linux has it
				continue
			}
			s.Listener.Close()
			s.Listener = l
		}
		s.Start()
		_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
		first := httptest.NewServer(http.RedirectHandler("http://"+to+":"+port+"/", http.StatusFound))
		got = "nobody came"
		probeWith(t, "prober: http\ntimeout: 10s\nhttp: {bearer_token: b}", strings.Replace(first.URL, "127.0.0.1", "localhost", 1), "debug", "true").wants(t, to, success(true))
		if got != want {
			t.Errorf("redirected to %s: %q, want %q", to, got, want)
		}
		first.Close()
		s.Close()
	}
}

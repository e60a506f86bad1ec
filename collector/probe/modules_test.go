package probe

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestDefaultModules(t *testing.T) {
	modules, err := load("")
	if err != nil {
		t.Fatal(err)
	}
	if len(modules) != 10 {
		t.Errorf("%d modules, Debian's package has 10", len(modules))
	}
	if m := modules["http_2xx"]; m.prober != "http" || m.http.prefer != "ip6" || !m.http.fallback || !m.http.follow || !m.http.http2 || m.http.method != "GET" {
		t.Errorf("http_2xx: %+v", m)
	}
	if m := modules["icmp_ttl5"]; m.icmp.ttl != 5 || m.timeout.Seconds() != 5 {
		t.Errorf("icmp_ttl5: %+v", m)
	}
}

// TestAllKeys: each key of 0.23 is read.
func TestAllKeys(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "blackbox.yml")
	text := `
modules:
  web: &web
    prober: http
    timeout: 1m30s
    http: &http
      valid_status_codes: [200, 404]
      valid_http_versions: [HTTP/1.1, HTTP/2.0]
      preferred_ip_protocol: ip4
      ip_protocol_fallback: no
      skip_resolve_phase_with_proxy: true
      no_follow_redirects: true
      follow_redirects: true
      fail_if_ssl: true
      fail_if_not_ssl: false
      method: POST
      headers: {Host: shop.example.net, Accept-Encoding: "br;q=0.5, gzip", Authorization: Bearer topsecret}
      fail_if_body_matches_regexp: [a, "b+"]
      fail_if_body_not_matches_regexp: [c]
      fail_if_header_matches: [{header: x-a, regexp: b, allow_missing: true}]
      fail_if_header_not_matches: [{header: X-C, regexp: d}]
      body: |
        two
        lines
      compression: gzip
      body_size_limit: 10MB
      enable_http2: false
      tls_config: {ca_file: ca.pem, cert_file: /c, key_file: /k, server_name: s, insecure_skip_verify: true, min_version: TLS10, max_version: TLS13}
      basic_auth: {username: me, password: swordfish}
      proxy_url: http://me:hunter2@proxy:3128
      proxy_connect_header: {x-why: [probe]}
  merged:
    prober: http
    http:
      <<: *http
      method: HEAD
  alias: *web
  tcp:
    prober: tcp
    tcp: {source_ip_address: 127.0.0.1, tls: true, tls_config: {}, query_response: [{expect: ^a, send: b, starttls: true}]}
  dns:
    prober: dns
    dns:
      source_ip_address: "::1"
      transport_protocol: tcp
      dns_over_tls: true
      query_name: example.net
      query_type: SOA
      query_class: CH
      recursion_desired: false
      valid_rcodes: [NXDOMAIN, NOERROR]
      validate_answer_rrs: {fail_if_matches_regexp: [a], fail_if_all_match_regexp: [b], fail_if_not_matches_regexp: [c], fail_if_none_matches_regexp: [d]}
      validate_authority_rrs: {}
      validate_additional_rrs:
  icmp: {prober: icmp, icmp: {payload_size: 100, dont_fragment: true, ttl: 0, source_ip_address: 127.0.0.2}}
  grpc: {prober: grpc, grpc: {service: a.B, tls: true, tls_config: {server_name: x}}}
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	modules, err := load(path)
	if err != nil {
		t.Fatal(err)
	}
	h := modules["web"].http
	if h.follow || h.http2 || h.fallback || h.prefer != "ip4" || h.most != 10<<20 || h.body != "two\nlines\n" || h.tls.ca != filepath.Join(dir, "ca.pem") ||
		h.credentials != (credentials{scheme: "Basic", username: "me", secret: "swordfish"}) || h.headerBad[0].name != "X-A" || h.proxy.Host != "proxy:3128" {
		t.Errorf("web: %+v", h)
	}
	if m := modules["merged"].http; m.method != "HEAD" || m.most != 10<<20 {
		t.Errorf("merged: %+v", m)
	}
	if modules["alias"].http.method != "POST" || modules["alias"].timeout.Seconds() != 90 {
		t.Errorf("alias: %+v", modules["alias"])
	}
	for _, m := range modules {
		for _, secret := range []string{"swordfish", "topsecret", "hunter2"} {
			if strings.Contains(m.text, secret) {
				t.Errorf("%s stands in what debug=true shows: %s", secret, m.text)
			}
		}
	}
	if d := modules["dns"].dns; d.kind != 6 || d.class != 3 || d.recursion || len(d.rcodes) != 2 || len(d.answer.oneGood) != 1 {
		t.Errorf("dns: %+v", d)
	}
}

// TestMistakes: each is refused, and its line is named.
func TestMistakes(t *testing.T) {
	f := func(module, line, why string) {
		t.Helper()
		path := modulesFile(t, module)
		_, err := load(path)
		if err == nil {
			t.Errorf("accepted:\n%s", module)
			return
		}
		if want := regexp.QuoteMeta(path+":"+line+":") + `\d+: .*` + why; !regexp.MustCompile(want).MatchString(err.Error()) {
			t.Errorf("%s\nsays %v\nwant %s: … %s", module, err, line, why)
		}
	}
	f("prober: unix", "3", "unix .* not supported")
	f("prober: http\nwebsocket: {}", "4", "websocket")
	f("prober: http\nhttp:\n  fail_if_body_json_matches_cel: a", "5", "CEL")
	f("prober: http\nhttp:\n  method: GET\n  fail_if_body_json_not_matches_cel: a", "6", "CEL")
	f("prober: http\nhttp:\n  oauth2: {}", "5", "oauth2.*not supported")
	f("prober: http\nhttp:\n  body_file: x", "5", "later")
	f("prober: http\nhttp:\n  metod: x", "5", "no key metod, only .*method")
	f("prober: gopher", "3", "none of http, tcp")
	f("timeout: 5s", "3", "no prober")
	f("prober: http\ntimeout: 5", "4", "duration")
	f("prober: http\nprober: tcp", "4", "already defined")
	f("prober: http\nhttp: [a]", "4", "section")
	f("prober: http\nhttp:\n  valid_status_codes: 200", "5", "list")
	f("prober: http\nhttp:\n  valid_status_codes: [2xx]", "5", "2xx")
	f("prober: http\nhttp:\n  fail_if_ssl: maybe", "5", "neither true nor false")
	f("prober: http\nhttp:\n  fail_if_body_matches_regexp: ['(']", "5", "missing closing")
	f("prober: http\nhttp:\n  fail_if_header_matches:\n    - {header: x}", "6", "regexp must be set")
	f("prober: http\nhttp:\n  compression: zip", "5", "none of")
	f("prober: http\nhttp:\n  compression: gzip\n  headers: {accept-encoding: 'br, gzip;q=0'}", "5", "does not accept")
	f("prober: http\nhttp:\n  body_size_limit: 10", "5", "size")
	f("prober: http\nhttp:\n  bearer_token: a\n  basic_auth: {username: b}", "6", "only one of")
	f("prober: http\nhttp:\n  proxy_url: socks5://x:1", "5", "SOCKS")
	f("prober: http\nhttp:\n  tls_config: {min_version: TLS9}", "5", "TLS9")
	f("prober: http\nhttp:\n  tls_config: {cert_file: x}", "5", "go together")
	f("prober: http\nhttp:\n  preferred_ip_protocol: ip5", "5", "ip5")
	f("prober: http\nhttp:\n  method: *nothing", "5", "nothing above")
	f("prober: tcp\ntcp:\n  query_response:\n    - {expect: '('}", "6", "missing closing")
	f("prober: tcp\ntcp:\n  query_response:\n    - {labels: []}", "6", "later")
	f("prober: tcp\ntcp:\n  source_ip_address: home", "5", "home")
	f("prober: dns", "3", "query_name")
	f("prober: dns\ndns:\n  query_type: A", "5", "query_name")
	f("prober: dns\ndns:\n  query_name: a\n  query_type: ZZ", "6", "no type of DNS")
	f("prober: dns\ndns:\n  query_name: a\n  valid_rcodes: [OK]", "6", "no rcode of DNS")
	f("prober: dns\ndns:\n  query_name: a\n  dns_over_tls: true", "5", "transport_protocol: tcp")
	f("prober: icmp\nicmp:\n  ttl: 300", "5", "from 0 to 255")
	f("prober: icmp\nicmp:\n  payload_size: 70000", "5", "from 0 to")
	if _, err := parse("f", []byte("modules: {}\n")); err == nil {
		t.Error("a file without modules is accepted")
	}
	if _, err := parse("f", []byte("modules:\n  a: {prober: http}\nmodul:\n")); err == nil || !strings.Contains(err.Error(), "f:3:") {
		t.Errorf("a key beside modules: %v", err)
	}
	if _, err := parse("f", []byte("modules:\n\ta: b\n")); err == nil {
		t.Error("what is no YAML is accepted")
	}
	if _, err := parse("f", []byte("modules:\n  a: {prober: gopher}\n  b: {prober: unix}\n")); err == nil || strings.Count(err.Error(), "f:") != 2 {
		t.Errorf("not all mistakes are named: %v", err)
	}
}

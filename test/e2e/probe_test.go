//go:build e2e && linux

package e2e

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// probers are blackbox_exporter and our /probe with the same modules.
type probers struct {
	theirs, ours string // addresses
}

// blackbox starts both.
func blackbox(t *testing.T, modules string) probers {
	t.Helper()
	const theirs = "prometheus-blackbox-exporter"
	if _, err := exec.LookPath(theirs); err != nil {
		lacking(t, theirs+" is missing: apt-get install "+theirs)
	}
	file := filepath.Join(t.TempDir(), "blackbox.yml")
	if err := os.WriteFile(file, []byte(modules), 0o600); err != nil {
		t.Fatal(err)
	}
	ours := freeAddress(t)
	newProcess(t, "collector", ours, fmt.Sprintf("data_dir: %s\nhttp: {listen: %s}\ncollector: {modules_file: %s}\n", t.TempDir(), ours, file)).start()
	port := freePort(t)
	started(t, exec.Command(theirs, "--config.file="+file, "--web.listen-address=127.0.0.1:"+port))
	waitFor(t, port)
	return probers{"127.0.0.1:" + port, ours}
}

// probeOnce probes as Prometheus does and gives the families by name.
func probeOnce(t *testing.T, address, query string) map[string]*dto.MetricFamily {
	t.Helper()
	q, err := http.NewRequest(http.MethodGet, "http://"+address+"/probe?"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", "20")
	answer, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(answer.Body)
		t.Fatalf("%s %s: %s: %s", address, query, answer.Status, text)
	}
	p := expfmt.NewTextParser(model.LegacyValidation)
	families, err := p.TextToMetricFamilies(answer.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", address, query, err)
	}
	return families
}

// describe lists the series with type and help, and the values that a second
// probe gives too: times differ.
func describe(families map[string]*dto.MetricFamily) []string {
	var out []string
	for name, f := range families {
		out = append(out, fmt.Sprintf("%s %s %q", name, f.GetType(), f.GetHelp()))
		for _, m := range f.Metric {
			var labels strings.Builder
			for _, l := range m.Label {
				fmt.Fprintf(&labels, " %s=%q", l.GetName(), l.GetValue())
			}
			value := "…"
			if !strings.Contains(name, "duration") && !strings.Contains(name, "lookup_time") {
				value = fmt.Sprint(m.GetGauge().GetValue())
			}
			out = append(out, name+labels.String()+" = "+value)
		}
	}
	slices.Sort(out)
	return out
}

// targets are servers of all kinds, by what they are.
func probeTargets(t *testing.T, ca string) map[string]string {
	t.Helper()
	to := map[string]string{
		"closed":  freeAddress(t),
		"tls":     "127.0.0.1:" + nginx(t, time.Now().Add(90*24*time.Hour), ca),
		"expired": "127.0.0.1:" + nginx(t, time.Now().Add(-50*time.Hour), ""),
		"plain":   probeNginx(t),
		"nowhere": "nowhere.invalid",
	}
	h2 := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "hello") }))
	h2.EnableHTTP2 = true
	h2.StartTLS()
	t.Cleanup(h2.Close)
	to["h2"] = h2.Listener.Addr().String()
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h2.Certificate().Raw})
	if err := os.WriteFile(ca+".h2", text, 0o600); err != nil {
		t.Fatal(err)
	}
	to["mail"] = listenTCP(t, func(c net.Conn) {
		io.WriteString(c, "220 mail ready\r\n")
		in := bufio.NewReader(c)
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			if line == "STARTTLS\n" {
				io.WriteString(c, "220 go ahead\r\n")
				c = tls.Server(c, &tls.Config{Certificates: h2.TLS.Certificates})
				in = bufio.NewReader(c)
				continue
			}
			io.WriteString(c, "250 "+line)
		}
	})
	to["silent"] = listenTCP(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	to["cut"] = listenTCP(t, func(c net.Conn) {
		c.Read(make([]byte, 1000))
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort")
	})
	to["dns"] = serveDNS(t)
	for name, status := range map[string]byte{"serving": 1, "notserving": 2} {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/grpc")
			w.Header().Set("Trailer", "Grpc-Status")
			if asked, _ := io.ReadAll(r.Body); bytes.HasSuffix(asked, []byte("absent")) {
				w.Header().Set("Grpc-Status", "5")
				return
			}
			w.Write([]byte{0, 0, 0, 0, 2, 8, status})
			w.Header().Set("Grpc-Status", "0")
		}))
		s.Config.Protocols = new(http.Protocols)
		s.Config.Protocols.SetUnencryptedHTTP2(true)
		s.Start()
		t.Cleanup(s.Close)
		to[name] = s.Listener.Addr().String()
	}
	return to
}

// probeNginx has pages of several kinds.
func probeNginx(t *testing.T) string {
	t.Helper()
	dir, port := t.TempDir(), freePort(t)
	conf := filepath.Join(dir, "conf")
	if err := os.WriteFile(filepath.Join(dir, "page.txt"), bytes.Repeat([]byte("a page of some length\n"), 500), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(conf, fmt.Appendf(nil, `
		daemon off; master_process off; pid %[1]s/pid; error_log stderr; user root;
		events {}
		http {
			access_log off; gzip on; gzip_min_length 10; gzip_types text/plain;
			client_body_temp_path %[1]s; proxy_temp_path %[1]s; fastcgi_temp_path %[1]s; uwsgi_temp_path %[1]s; scgi_temp_path %[1]s;
			server {
				listen 127.0.0.1:%[2]s;
				location = / { return 200 'hello world'; }
				location = /moved { return 302 /; }
				location = /loop { return 301 /loop; }
				location = /page.txt { root %[1]s; }
				location = /empty { return 204; }
				location / { return 404; }
			}
		}`, dir, port), 0o600); err != nil {
		t.Fatal(err)
	}
	service(t, "nginx", "-c", conf)
	waitFor(t, port)
	return "127.0.0.1:" + port
}

func listenTCP(t *testing.T, speak func(net.Conn)) string {
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

// serveDNS knows the zone example.net.
func serveDNS(t *testing.T) string {
	t.Helper()
	p, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	up := make(chan struct{})
	s := &dns.Server{PacketConn: p, NotifyStartedFunc: func() { close(up) }, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		a := new(dns.Msg).SetReply(q)
		record := map[uint16]string{dns.TypeA: "example.net. 60 IN A 10.0.0.1", dns.TypeSOA: "example.net. 60 IN SOA ns.example.net. a.example.net. 7 1 2 3 4"}[q.Question[0].Qtype]
		if q.Question[0].Name != "example.net." {
			a.Rcode = dns.RcodeNameError
		} else if rr, err := dns.NewRR(record); err == nil && rr != nil {
			a.Answer = []dns.RR{rr}
		}
		_ = w.WriteMsg(a)
	})}
	go func() { _ = s.ActivateAndServe() }()
	<-up
	t.Cleanup(func() { _ = s.Shutdown() })
	return p.LocalAddr().String()
}

// probeModules are for both; %[1]s is the CA of nginx, %[2]s that of h2. Only what
// never gets an answer has a short timeout: the machine may be slow.
const probeModules = `
modules:
  http_2xx: {prober: http}
  short: {prober: http, timeout: 1s}
  four: {prober: http, http: {preferred_ip_protocol: ip4, ip_protocol_fallback: false}}
  six: {prober: http, http: {preferred_ip_protocol: ip6, ip_protocol_fallback: false}}
  post: {prober: http, http: {method: POST, body: hello}}
  head: {prober: http, http: {method: HEAD}}
  nofollow: {prober: http, http: {follow_redirects: false}}
  only404: {prober: http, http: {valid_status_codes: [404]}}
  redirect: {prober: http, http: {follow_redirects: false, valid_status_codes: [302]}}
  only2: {prober: http, http: {valid_http_versions: [HTTP/2.0], tls_config: {insecure_skip_verify: true}}}
  body: {prober: http, http: {fail_if_body_matches_regexp: [hello]}}
  nobody: {prober: http, http: {fail_if_body_not_matches_regexp: [moon]}}
  redirectbody: {prober: http, http: {follow_redirects: false, valid_status_codes: [302], fail_if_body_not_matches_regexp: [Found]}}
  header: {prober: http, http: {fail_if_header_matches: [{header: Server, regexp: nginx}]}}
  noheader: {prober: http, http: {fail_if_header_not_matches: [{header: X-Nothing, regexp: a}]}}
  maybeheader: {prober: http, http: {fail_if_header_not_matches: [{header: X-Nothing, regexp: a, allow_missing: true}]}}
  gzip: {prober: http, http: {headers: {Accept-Encoding: gzip}, compression: gzip, fail_if_body_not_matches_regexp: [some length]}}
  gzipsmall: {prober: http, http: {headers: {Accept-Encoding: gzip}, compression: gzip, body_size_limit: 1KB}}
  small: {prober: http, http: {body_size_limit: 1KB}}
  ca: {prober: http, http: {tls_config: {ca_file: %[1]s}}}
  cah2: {prober: http, http: {tls_config: {ca_file: %[2]s}}}
  cah1: {prober: http, http: {enable_http2: false, tls_config: {ca_file: %[2]s}}}
  named: {prober: http, http: {headers: {Host: example.com}, tls_config: {ca_file: %[2]s}}}
  misnamed: {prober: http, http: {headers: {Host: example.org}, tls_config: {ca_file: %[2]s}}}
  insecure: {prober: http, http: {tls_config: {insecure_skip_verify: true}}}
  plainonly: {prober: http, http: {fail_if_ssl: true, tls_config: {insecure_skip_verify: true}}}
  tlsonly: {prober: http, http: {fail_if_not_ssl: true}}
  tcp: {prober: tcp}
  tcptls: {prober: tcp, tcp: {tls: true, tls_config: {ca_file: %[1]s}}}
  tcpinsecure: {prober: tcp, tcp: {tls: true, tls_config: {insecure_skip_verify: true}}}
  banner: {prober: tcp, tcp: {query_response: [{expect: ^220}, {send: EHLO me}, {expect: '^250 (\w+)', send: 'again ${1}'}, {expect: again EHLO}]}}
  nobanner: {prober: tcp, timeout: 1s, tcp: {query_response: [{expect: ^SSH}]}}
  starttls: {prober: tcp, tcp: {query_response: [{expect: ^220}, {send: STARTTLS}, {expect: ^220}, {starttls: true}, {send: EHLO me}, {expect: ^250}], tls_config: {ca_file: %[2]s}}}
  starttlsbad: {prober: tcp, tcp: {query_response: [{expect: ^220}, {send: STARTTLS}, {expect: ^220}, {starttls: true}]}}
  dnsa: {prober: dns, dns: {query_name: example.net, query_type: A}}
  dnssoa: {prober: dns, dns: {query_name: example.net, query_type: SOA}}
  dnsany: {prober: dns, dns: {query_name: example.net, validate_answer_rrs: {fail_if_not_matches_regexp: [a]}}}
  dnsnone: {prober: dns, dns: {query_name: nothing.net, query_type: A}}
  dnsmatch: {prober: dns, dns: {query_name: example.net, query_type: A, validate_answer_rrs: {fail_if_none_matches_regexp: ['10\.0\.0\.1']}}}
  dnsmismatch: {prober: dns, dns: {query_name: example.net, query_type: A, validate_answer_rrs: {fail_if_matches_regexp: ['10\.0\.0\.1']}}}
  dnstcp: {prober: dns, dns: {query_name: example.net, query_type: A, transport_protocol: tcp}}
  grpc: {prober: grpc, grpc: {preferred_ip_protocol: ip4}}
  grpcabsent: {prober: grpc, grpc: {preferred_ip_protocol: ip4, service: absent}}
  grpctls: {prober: grpc, grpc: {preferred_ip_protocol: ip4, tls: true, tls_config: {ca_file: %[2]s}}}
  icmp: {prober: icmp}
  icmp4: {prober: icmp, icmp: {preferred_ip_protocol: ip4, ttl: 7, payload_size: 200}}
`

// probeCases say which modules probe which target; behind a target stands its path.
var probeCases = []struct{ target, modules string }{
	{"http://plain/", "http_2xx four six post head only404 only2 body nobody header noheader maybeheader gzip small tlsonly plainonly"},
	{"plain", "http_2xx tcp nobanner tcptls grpc dnstcp"},
	{"http://plain/moved", "http_2xx nofollow redirect redirectbody head body"},
	{"http://plain/loop", "http_2xx nofollow"},
	{"http://plain/nothing", "http_2xx only404 body"},
	{"http://plain/empty", "http_2xx gzip"},
	{"http://plain/page.txt", "http_2xx gzip gzipsmall small head"},
	{"https://tls/health", "http_2xx ca insecure plainonly only2 cah1"},
	{"http://tls/health", "http_2xx"},
	{"https://expired/health", "http_2xx insecure ca"},
	{"https://h2/", "cah2 cah1 named misnamed only2 insecure"},
	{"h2", "tcptls tcpinsecure grpc grpctls"},
	{"tls", "tcptls tcpinsecure tcp"},
	{"expired", "tcpinsecure tcptls"},
	{"https://plain/", "http_2xx insecure"},
	{"closed", "http_2xx tcp tcptls grpc grpctls dnsa dnstcp"},
	{"silent", "short nobanner tcp"},
	{"cut", "http_2xx body"},
	{"mail", "tcp banner nobanner starttls starttlsbad short"},
	{"nowhere", "http_2xx tcp icmp grpc dnsa"},
	{"http://nowhere:80/", "http_2xx"},
	{"dns", "dnsa dnssoa dnsany dnsnone dnsmatch dnsmismatch"},
	{"serving", "grpc grpcabsent tcp"},
	{"notserving", "grpc"},
	{"localhost", "icmp icmp4"},
	{"not a target", "http_2xx tcp dnsa"},
}

// full puts the address in place of a target's name.
func full(target string, to map[string]string) string {
	scheme, rest, ok := strings.Cut(target, "://")
	if !ok {
		scheme, rest = "", target
	} else {
		scheme += "://"
	}
	name, path, _ := strings.Cut(rest, "/")
	host, port, _ := strings.Cut(name, ":")
	if at := to[host]; at != "" {
		name = at
		if port != "" {
			name += ":" + port
		}
	}
	if ok {
		name += "/" + path
	}
	return scheme + name
}

// TestProbe holds our /probe against blackbox_exporter's, and lets a Prometheus
// scrape both through the configuration that people have.
func TestProbe(t *testing.T) {
	ca := filepath.Join(t.TempDir(), "ca.pem")
	to := probeTargets(t, ca)
	p := blackbox(t, fmt.Sprintf(probeModules, ca, ca+".h2"))
	var all []probeCase
	good := 0
	for _, c := range probeCases {
		for module := range strings.FieldsSeq(c.modules) {
			one := probeCase{module, full(c.target, to)}
			all = append(all, one)
			query := url.Values{"module": {one.module}, "target": {one.target}}.Encode()
			theirs, ours := probeOnce(t, p.theirs, query), probeOnce(t, p.ours, query)
			good += int(ours["probe_success"].Metric[0].GetGauge().GetValue())
			want, got := describe(theirs), describe(ours)
			if slices.Equal(want, got) {
				continue
			}
			for _, line := range want {
				if !slices.Contains(got, line) {
					t.Errorf("%s of %s: only blackbox_exporter has %s", module, c.target, line)
				}
			}
			for _, line := range got {
				if !slices.Contains(want, line) {
					t.Errorf("%s of %s: only ours has %s", module, c.target, line)
				}
			}
		}
	}
	t.Logf("%d probes compared, %d of them successful", len(all), good)
	if good < 30 || len(all)-good < 30 {
		t.Errorf("%d good probes of %d: the targets are not what they should be", good, len(all))
	}
	t.Run("Prometheus", func(t *testing.T) { scrapeBoth(t, p, all) })
	t.Run("Debian's modules", func(t *testing.T) {
		const file = "/etc/prometheus/blackbox.yml"
		config := filepath.Join(t.TempDir(), "collector.yml")
		if err := os.WriteFile(config, []byte("collector: {modules_file: "+file+"}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if code, _, said := mesoscope(t, "validate", "--for", "collector", "--config", config); code != 0 {
			t.Error(said)
		}
	})
}

type probeCase struct{ module, target string }

// scrapeBoth compares what a real Prometheus has of both in the end.
func scrapeBoth(t *testing.T, p probers, all []probeCase) {
	if _, err := exec.LookPath("prometheus"); err != nil {
		lacking(t, "prometheus is missing: apt-get install prometheus")
	}
	modules := map[string][]string{}
	for _, c := range all {
		modules[c.module] = append(modules[c.module], c.target)
	}
	var conf strings.Builder
	conf.WriteString("global: {scrape_interval: 5s, scrape_timeout: 5s}\nscrape_configs:\n")
	for who, address := range map[string]string{"theirs": p.theirs, "ours": p.ours} {
		for _, module := range slices.Sorted(maps.Keys(modules)) {
			targets, err := json.Marshal(modules[module])
			if err != nil {
				t.Fatal(err)
			}
			// as blackbox_exporter's README has it
			fmt.Fprintf(&conf, `
- job_name: '%s %s'
  metrics_path: /probe
  params: {module: [%s]}
  static_configs: [{targets: %s, labels: {who: %s, module: %s}}]
  relabel_configs:
  - {source_labels: [__address__], target_label: __param_target}
  - {source_labels: [__param_target], target_label: instance}
  - {target_label: __address__, replacement: '%s'}
`, who, module, module, targets, who, module, address)
		}
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(conf.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	port := freePort(t)
	started(t, exec.Command("prometheus", "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address=127.0.0.1:"+port))
	waitFor(t, port)
	want := map[string]string{}
	for _, c := range all {
		if strings.Contains(c.target, " ") {
			continue // no target for Prometheus' service discovery
		}
		want[c.module+" of "+c.target] = ""
	}
	within(t, 90*time.Second, "both have all series with the same values", func() error {
		answer, err := http.Get("http://127.0.0.1:" + port + "/api/v1/query?query=probe_success")
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		var result struct {
			Data struct {
				Result []struct {
					Metric map[string]string
					Value  [2]any
				}
			}
		}
		if err := json.NewDecoder(answer.Body).Decode(&result); err != nil {
			return err
		}
		seen := map[string]map[string]string{"theirs": {}, "ours": {}}
		for _, r := range result.Data.Result {
			m := r.Metric
			seen[m["who"]][m["module"]+" of "+m["instance"]] = fmt.Sprint(r.Value[1])
			if len(m) != 5 { // __name__ instance job module who
				t.Fatalf("labels that the configuration does not make: %v", m)
			}
		}
		for key := range want {
			if a, b := seen["theirs"][key], seen["ours"][key]; a == "" || a != b {
				return fmt.Errorf("%s: theirs %q, ours %q", key, a, b)
			}
		}
		t.Logf("%d targets agree in Prometheus", len(want))
		return nil
	})
}

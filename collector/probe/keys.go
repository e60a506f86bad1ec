package probe

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"net/textproto"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/miekg/dns"
)

const later = "a key of a later blackbox_exporter, not of 0.23"

// parse reads a file of modules. Its error names all mistakes with their lines.
func parse(file string, text []byte) (map[string]*module, error) {
	r := &reader{file: file, anchors: map[string]ast.Node{}}
	modules := map[string]*module{}
	if root := r.document(text); root != nil {
		r.section("the file", root, keys{"modules": func(n ast.Node) {
			for _, p := range r.pairs(n) {
				if value := r.plain(p.value); value != nil {
					modules[p.name] = r.module(p.name, value)
				} else {
					r.fail(p.key, "module %s has no prober", p.name)
				}
			}
		}}, nil)
	}
	if len(r.errs) == 0 && len(modules) == 0 {
		return nil, fmt.Errorf("%s: there are no modules", file)
	}
	return modules, errors.Join(r.errs...)
}

func (r *reader) module(name string, n ast.Node) *module {
	m := newModule()
	r.secrets = nil
	before, sections := len(r.errs), map[string]bool{}
	known := func(s string, read func(ast.Node)) func(ast.Node) {
		return func(n ast.Node) { sections[s] = true; read(n) }
	}
	r.section("module "+name, n, keys{
		"prober": value(r, &m.prober, func(s string) (string, error) {
			if s == "unix" {
				return "", errors.New("the prober unix is " + later + ", and not supported")
			}
			return word("http", "tcp", "dns", "icmp", "grpc")(s)
		}),
		"timeout": value(r, &m.timeout, time.ParseDuration),
		"http":    known("http", func(n ast.Node) { r.http(&m.http, n) }),
		"tcp":     known("tcp", func(n ast.Node) { r.tcp(&m.tcp, n) }),
		"dns":     known("dns", func(n ast.Node) { r.dns(&m.dns, n) }),
		"icmp":    known("icmp", func(n ast.Node) { r.icmp(&m.icmp, n) }),
		"grpc":    known("grpc", func(n ast.Node) { r.grpc(&m.grpc, n) }),
	}, refusal{"unix": later, "websocket": later + ", and not supported"})
	if m.prober == "" && len(r.errs) == before {
		r.fail(n, "module %s has no prober", name)
	}
	if m.prober == "dns" && !sections["dns"] {
		r.fail(n, "module %s: dns.query_name must be set", name)
	}
	m.text = source(n)
	for _, s := range r.secrets {
		m.text = strings.ReplaceAll(m.text, s, "<secret>")
	}
	return m
}

// network adds the keys that all probers have.
func (r *reader) network(to *network, k keys) keys {
	k["preferred_ip_protocol"] = value(r, &to.prefer, word("ip4", "ip6", ""))
	k["ip_protocol_fallback"] = r.flag(&to.fallback)
	return k
}

// source is the address to speak from.
func (r *reader) source(to *network) func(ast.Node) {
	return value(r, &to.source, func(s string) (netip.Addr, error) {
		if s == "" {
			return netip.Addr{}, nil
		}
		return netip.ParseAddr(s)
	})
}

func (r *reader) http(m *httpModule, n ast.Node) {
	notFollow := false
	k := r.network(&m.network, keys{
		"valid_status_codes": list(r, &m.statuses, strconv.Atoi), "valid_http_versions": list(r, &m.versions, plainText),
		"method": value(r, &m.method, func(s string) (string, error) { return cmp.Or(s, "GET"), nil }), "headers": r.headers(&m.headers), "body": r.text(&m.body),
		"follow_redirects": r.flag(&m.follow), "no_follow_redirects": r.flag(&notFollow),
		"fail_if_ssl": r.flag(&m.failIfTLS), "fail_if_not_ssl": r.flag(&m.failIfNotTLS),
		"fail_if_body_matches_regexp": list(r, &m.bodyBad, regexp.Compile), "fail_if_body_not_matches_regexp": list(r, &m.bodyGood, regexp.Compile),
		"fail_if_header_matches": r.headerPatterns(&m.headerBad), "fail_if_header_not_matches": r.headerPatterns(&m.headerGood),
		"compression": value(r, &m.compression, word("", "identity", "gzip", "br", "deflate")), "body_size_limit": value(r, &m.most, parseSize),
		"tls_config": r.tls(&m.tls), "enable_http2": r.flag(&m.http2),
		"proxy_url": value(r, &m.proxy, r.parseProxy), "proxy_connect_header": r.manyHeaders(&m.proxyHeaders), "skip_resolve_phase_with_proxy": r.flag(&m.proxyNames),
	})
	r.credentialKeys(&m.credentials, k)
	r.section("http", n, k, refusal{
		"fail_if_body_json_matches_cel": later + "; CEL is not supported", "fail_if_body_json_not_matches_cel": later + "; CEL is not supported",
		"oauth2":    "is not supported; use bearer_token_file, which is read for each probe",
		"body_file": later, "enable_http3": later, "no_proxy": later, "proxy_from_environment": later, "http_headers": later,
		"source_ip_address": "http has none in 0.23",
	})
	m.follow = m.follow && !notFollow
	for name, text := range m.headers {
		if textproto.CanonicalMIMEHeaderKey(name) == "Accept-Encoding" && !accepts(text, m.compression) {
			r.fail(n, "the header %s: %s does not accept compression: %s", name, text, m.compression)
		}
	}
	if m.proxyHeaders != nil && m.proxy == nil {
		r.fail(n, "proxy_connect_header needs a proxy_url")
	}
}

// credentialKeys adds the ways to give credentials, of which one may be used.
func (r *reader) credentialKeys(c *credentials, k keys) {
	set := func(n ast.Node, next credentials) {
		if c.scheme != "" && (c.scheme != "Bearer" || next.scheme != "Bearer" || c.secret != "" && next.secret != "") {
			r.fail(n, "only one of basic_auth, authorization, bearer_token and bearer_token_file can be used")
			return
		}
		*c = next
	}
	k["bearer_token"] = func(n ast.Node) {
		next := credentials{scheme: "Bearer"}
		r.secret(&next.secret)(n)
		set(n, next)
	}
	k["bearer_token_file"] = func(n ast.Node) {
		next := credentials{scheme: "Bearer"}
		value(r, &next.file, r.path)(n)
		set(n, next)
	}
	k["basic_auth"] = func(n ast.Node) {
		next := credentials{scheme: "Basic"}
		r.section("basic_auth", n, keys{"username": r.text(&next.username), "password": r.secret(&next.secret), "password_file": value(r, &next.file, r.path)}, nil)
		set(n, next)
	}
	k["authorization"] = func(n ast.Node) {
		next := credentials{scheme: "Bearer"}
		r.section("authorization", n, keys{"type": r.text(&next.scheme), "credentials": r.secret(&next.secret), "credentials_file": value(r, &next.file, r.path)}, nil)
		if next.scheme == "Basic" || next.scheme == "basic" {
			r.fail(n, "for Basic there is basic_auth")
		}
		set(n, next)
	}
}

func (r *reader) tcp(m *tcpModule, n ast.Node) {
	r.section("tcp", n, r.network(&m.network, keys{
		"source_ip_address": r.source(&m.network), "tls": r.flag(&m.useTLS), "tls_config": r.tls(&m.tls),
		"query_response": each(r, func(n ast.Node) {
			var e exchange
			r.section("query_response", n, keys{
				"expect": value(r, &e.expect, func(s string) (*regexp.Regexp, error) {
					if s == "" {
						return nil, nil
					}
					return regexp.Compile(s)
				}),
				"send": r.text(&e.send), "starttls": r.flag(&e.starttls),
			}, refusal{"labels": later, "expect_bytes": later})
			m.dialogue = append(m.dialogue, e)
		}),
	}), nil)
}

func (r *reader) dns(m *dnsModule, n ast.Node) {
	r.section("dns", n, r.network(&m.network, keys{
		"source_ip_address": r.source(&m.network), "transport_protocol": value(r, &m.transport, func(s string) (string, error) { return word("udp", "tcp")(cmp.Or(s, "udp")) }),
		"dns_over_tls": r.flag(&m.overTLS), "tls_config": r.tls(&m.tls), "recursion_desired": r.flag(&m.recursion), "query_name": r.text(&m.name),
		"query_type": value(r, &m.kind, code(dns.StringToType, "type")), "query_class": value(r, &m.class, code(dns.StringToClass, "class")),
		"valid_rcodes":           list(r, &m.rcodes, code(dns.StringToRcode, "rcode")),
		"validate_answer_rrs":    func(n ast.Node) { r.records(&m.answer, n) },
		"validate_authority_rrs": func(n ast.Node) { r.records(&m.authority, n) }, "validate_additional_rrs": func(n ast.Node) { r.records(&m.additional, n) },
	}), nil)
	if m.name == "" {
		r.fail(n, "dns.query_name must be set")
	}
	if m.overTLS && m.transport != "tcp" {
		r.fail(n, "dns_over_tls needs transport_protocol: tcp")
	}
	if len(m.rcodes) == 0 {
		m.rcodes = []int{dns.RcodeSuccess}
	}
}

func (r *reader) records(to *records, n ast.Node) {
	r.section("the validation of records", n, keys{
		"fail_if_matches_regexp": list(r, &to.bad, regexp.Compile), "fail_if_all_match_regexp": list(r, &to.allBad, regexp.Compile),
		"fail_if_not_matches_regexp": list(r, &to.good, regexp.Compile), "fail_if_none_matches_regexp": list(r, &to.oneGood, regexp.Compile),
	}, nil)
}

func (r *reader) icmp(m *icmpModule, n ast.Node) {
	r.section("icmp", n, r.network(&m.network, keys{
		"source_ip_address": r.source(&m.network), "payload_size": r.number(&m.payload, 0, maxPayload),
		"dont_fragment": r.flag(&m.dontFragment), "ttl": r.number(&m.ttl, 0, 255),
	}), nil)
}

func (r *reader) grpc(m *grpcModule, n ast.Node) {
	r.section("grpc", n, r.network(&m.network, keys{
		"service": r.text(&m.service), "tls": r.flag(&m.useTLS), "tls_config": r.tls(&m.tls),
	}), refusal{"metadata": later})
}

func (r *reader) tls(to *tlsFiles) func(ast.Node) {
	to.cache = &tlsCache{}
	return func(n ast.Node) {
		r.section("tls_config", n, keys{
			"ca_file": value(r, &to.ca, r.path), "cert_file": value(r, &to.cert, r.path), "key_file": value(r, &to.key, r.path),
			"server_name": r.text(&to.serverName), "insecure_skip_verify": r.flag(&to.insecure),
			"min_version": value(r, &to.least, parseVersion), "max_version": value(r, &to.most, parseVersion),
		}, refusal{"ca": later, "cert": later, "key": later})
		if (to.cert == "") != (to.key == "") {
			r.fail(n, "cert_file and key_file go together")
		}
	}
}

// headers are names with one value each. What looks like a credential is a secret.
func (r *reader) headers(to *map[string]string) func(ast.Node) {
	return func(n ast.Node) {
		*to = map[string]string{}
		for _, p := range r.pairs(n) {
			text, ok := r.scalar(p.value)
			if !ok {
				continue
			}
			switch textproto.CanonicalMIMEHeaderKey(p.name) {
			case "Authorization", "Cookie", "Proxy-Authorization":
				r.hide(text)
			}
			(*to)[p.name] = text
		}
	}
}

func (r *reader) manyHeaders(to *map[string][]string) func(ast.Node) {
	return func(n ast.Node) {
		*to = map[string][]string{}
		for _, p := range r.pairs(n) {
			var texts []string
			list(r, &texts, func(s string) (string, error) { r.hide(s); return s, nil })(p.value)
			(*to)[textproto.CanonicalMIMEHeaderKey(p.name)] = texts
		}
	}
}

func (r *reader) headerPatterns(to *[]headerPattern) func(ast.Node) {
	return each(r, func(n ast.Node) {
		var p headerPattern
		r.section("a header's pattern", n, keys{"header": r.text(&p.name), "regexp": value(r, &p.pattern, regexp.Compile), "allow_missing": r.flag(&p.optional)}, nil)
		if p.name == "" || p.pattern == nil || p.pattern.String() == "" {
			r.fail(n, "header and regexp must be set")
			return
		}
		p.name = textproto.CanonicalMIMEHeaderKey(p.name)
		*to = append(*to, p)
	})
}

// path is a file's; a relative one begins at the folder of the modules' file.
func (r *reader) path(s string) (string, error) {
	if s == "" || filepath.IsAbs(s) {
		return s, nil
	}
	return filepath.Join(filepath.Dir(r.file), s), nil
}

func (r *reader) parseProxy(s string) (*url.URL, error) {
	if s == "" {
		return nil, nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("a proxy is http://HOST:PORT or https://HOST:PORT; SOCKS is not supported")
	}
	if password, ok := u.User.Password(); ok {
		r.hide(password)
	}
	return u, nil
}

func plainText(s string) (string, error) { return s, nil }

// code makes a reader of a name that stands for a number.
func code[T any](names map[string]T, what string) func(string) (T, error) {
	return func(s string) (T, error) {
		v, ok := names[s]
		if !ok {
			return v, fmt.Errorf("%q is no %s of DNS", s, what)
		}
		return v, nil
	}
}

// parseSize reads "10MB" and "1MiB", both of which are powers of two here, as in
// blackbox_exporter.
func parseSize(s string) (int64, error) {
	if s == "0" {
		return 0, nil
	}
	unit := strings.TrimLeft(s, "0123456789.")
	shift, ok := map[string]uint{"B": 0, "KB": 10, "KiB": 10, "MB": 20, "MiB": 20, "GB": 30, "GiB": 30, "TB": 40, "TiB": 40}[unit]
	n, err := strconv.ParseFloat(strings.TrimSuffix(s, unit), 64)
	if !ok || err != nil || n*float64(uint64(1)<<shift) >= math.MaxInt64 {
		return 0, fmt.Errorf("%q is no size, as 10MB", s)
	}
	return int64(n * float64(uint64(1)<<shift)), nil
}

// accepts says whether a header Accept-Encoding allows a compression.
func accepts(header, compression string) bool {
	if header == "" || compression == "" {
		return true
	}
	any := false
	for part := range strings.SplitSeq(header, ",") {
		name, weight, _ := strings.Cut(strings.TrimSpace(part), ";")
		q, err := strconv.ParseFloat(strings.TrimPrefix(strings.TrimSpace(weight), "q="), 64)
		good := err != nil || q > 0
		switch strings.TrimSpace(name) {
		case compression:
			return good
		case "*":
			any = good
		}
	}
	return any
}

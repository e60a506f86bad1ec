package probe

import (
	"bytes"
	_ "embed"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"time"
)

// A module is how to probe: one entry of blackbox.yml.
type module struct {
	prober  string
	timeout time.Duration // 0 = what the scrape has
	http    httpModule
	tcp     tcpModule
	dns     dnsModule
	icmp    icmpModule
	grpc    grpcModule
	text    string // as it stands in the file, without secrets
}

// A network says over which kind of address a target is reached.
type network struct {
	prefer   string // "ip4"; anything else is ip6, the default
	fallback bool   // to the other kind
	source   netip.Addr
}

type httpModule struct {
	network
	statuses     []int    // that are good; none: 2xx
	versions     []string // "HTTP/1.1"; none: all
	method       string
	headers      map[string]string
	body         string
	follow       bool // redirects
	failIfTLS    bool
	failIfNotTLS bool
	bodyBad      []*regexp.Regexp
	bodyGood     []*regexp.Regexp
	headerBad    []headerPattern
	headerGood   []headerPattern
	compression  string
	most         int64 // bytes of the body; 0 = no limit
	tls          tlsFiles
	http2        bool
	proxy        *url.URL // nil = none
	proxyHeaders map[string][]string
	proxyNames   bool // the proxy resolves the name
	credentials  credentials
}

type headerPattern struct {
	name     string
	pattern  *regexp.Regexp
	optional bool // the header may be missing
}

// credentials are what stands in the header Authorization.
type credentials struct {
	scheme   string // "Basic", "Bearer" or what the file says; "" = none
	username string
	secret   string
	file     string // holds the secret; read for each probe, since it may be replaced
}

type tcpModule struct {
	network
	dialogue []exchange
	useTLS   bool
	tls      tlsFiles
}

// An exchange is one step of a dialogue: expect, then send, then TLS.
type exchange struct {
	expect   *regexp.Regexp // nil = nothing
	send     string         // $1 stands for what expect found
	starttls bool
}

type dnsModule struct {
	network
	transport  string // "udp" or "tcp"
	overTLS    bool
	tls        tlsFiles
	name       string
	kind       uint16
	class      uint16
	recursion  bool
	rcodes     []int // that are good
	answer     records
	authority  records
	additional records
}

// records are patterns for resource records.
type records struct {
	bad, allBad, good, oneGood []*regexp.Regexp
}

type icmpModule struct {
	network
	payload      int
	dontFragment bool
	ttl          int
}

type grpcModule struct {
	network
	service string
	useTLS  bool
	tls     tlsFiles
}

//go:embed default.yml
var defaults []byte

// maxFile bounds a file of modules.
const maxFile = 1 << 20

// load reads the modules of a file; "" means Debian's.
func load(path string) (map[string]*module, error) {
	if path == "" {
		return parse("default modules", defaults)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read modules: %w", err)
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("read modules: %s is larger than 1 MiB", path)
	}
	return parse(path, bytes.TrimPrefix(text, []byte("\ufeff")))
}

// newModule has blackbox_exporter's defaults.
func newModule() *module {
	n := network{prefer: "ip6", fallback: true}
	return &module{
		http: httpModule{network: n, method: "GET", follow: true, http2: true},
		tcp:  tcpModule{network: n},
		dns:  dnsModule{network: n, transport: "udp", kind: 255, class: 1, recursion: true, rcodes: []int{0}},
		icmp: icmpModule{network: n, ttl: 64},
		grpc: grpcModule{network: n},
	}
}

package shipper

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/elastic/go-elasticsearch/v8"

	"mesoscope/config"
)

// NewClient makes a client for the cluster that cfg names: hosts in turn, a
// host that failed left out for a minute, API key or basic auth, CA and client
// certificate. It only reads files; nothing is sent yet. The client does not
// try again by itself: who calls knows what a second attempt means.
func NewClient(cfg config.Elasticsearch) (*elasticsearch.Client, error) {
	t, err := newTransport(cfg)
	if err != nil {
		return nil, err
	}
	return newClient(cfg, t)
}

func newClient(cfg config.Elasticsearch, t http.RoundTripper) (*elasticsearch.Client, error) {
	if len(cfg.Hosts) == 0 {
		return nil, fmt.Errorf("output.elasticsearch.hosts is empty: name at least one URL, for example http://127.0.0.1:9200")
	}
	for _, h := range cfg.Hosts {
		u, err := url.Parse(h)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return nil, fmt.Errorf("output.elasticsearch.hosts: %q is not a URL such as http://127.0.0.1:9200", h)
		}
	}
	ec := elasticsearch.Config{
		Addresses:         cfg.Hosts,
		Transport:         t,
		DisableRetry:      true,
		DisableMetaHeader: true,
	}
	var err error
	if ec.APIKey, ec.Username, ec.Password, err = credentials(cfg); err != nil {
		return nil, err
	}
	c, err := elasticsearch.NewClient(ec)
	if err != nil {
		return nil, fmt.Errorf("elasticsearch client: %w", err)
	}
	return c, nil
}

// credentials are what cfg logs in with: an API key, encoded, or a name and a
// password, or nothing.
func credentials(cfg config.Elasticsearch) (apiKey, name, password string, err error) {
	switch {
	case cfg.APIKeyFile != "":
		apiKey, err = readSecret("api_key_file", cfg.APIKeyFile)
		// Kibana and the API show a key both as "id:key" and encoded.
		if strings.Contains(apiKey, ":") {
			apiKey = base64.StdEncoding.EncodeToString([]byte(apiKey))
		}
	case cfg.Username != "":
		name = cfg.Username
		if cfg.PasswordFile != "" {
			password, err = readSecret("password_file", cfg.PasswordFile)
		}
	}
	return apiKey, name, password, err
}

// Authorization is the header's value for what cfg logs in with, "" for
// nothing: Kibana takes what its Elasticsearch takes.
func Authorization(cfg config.Elasticsearch) (string, error) {
	apiKey, name, password, err := credentials(cfg)
	switch {
	case err != nil:
		return "", err
	case apiKey != "":
		return "ApiKey " + apiKey, nil
	case name != "":
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+password)), nil
	}
	return "", nil
}

// TLS is how servers prove themselves according to cfg, and what is shown to
// them.
func TLS(cfg config.Elasticsearch) (*tls.Config, error) {
	tc := &tls.Config{MinVersion: tls.VersionTLS12}
	if cfg.CAFile != "" {
		pem, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			return nil, fmt.Errorf("output.elasticsearch.ca_file: %w", err)
		}
		tc.RootCAs = x509.NewCertPool()
		if !tc.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("output.elasticsearch.ca_file: no PEM certificate in %s", cfg.CAFile)
		}
	}
	if (cfg.CertFile == "") != (cfg.KeyFile == "") {
		return nil, fmt.Errorf("output.elasticsearch: cert_file and key_file belong together, one of them is missing")
	}
	if cfg.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(cfg.CertFile, cfg.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("output.elasticsearch.cert_file: %w", err)
		}
		tc.Certificates = []tls.Certificate{cert}
	}
	return tc, nil
}

// newTransport is one pool of kept connections for all requests.
func newTransport(cfg config.Elasticsearch) (http.RoundTripper, error) {
	tc, err := TLS(cfg)
	if err != nil {
		return nil, err
	}
	return bodyRounder{&http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         dialer(&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}),
		TLSClientConfig:     tc,
		TLSHandshakeTimeout: 10 * time.Second,
		MaxIdleConnsPerHost: 16,
		IdleConnTimeout:     90 * time.Second,
		// To inflate an answer costs more CPU per document than to compress the
		// documents; answers are small and the network is near.
		DisableCompression: true,
		WriteBufferSize:    64 << 10,
		ReadBufferSize:     64 << 10,
		// HTTP/1.1: one connection a sender; h2 would put all into one.
		TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{},
	}}, nil
}

// readSecret reads a password or key from a file, without the line's end. The
// error names the key, never the content.
func readSecret(key, file string) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("output.elasticsearch.%s: %w", key, err)
	}
	s := strings.TrimSpace(string(b))
	if s == "" {
		return "", fmt.Errorf("output.elasticsearch.%s: %s is empty", key, file)
	}
	return s, nil
}

// hostNames are the hosts without what may stand before an @.
func (e *Elasticsearch) hostNames() string {
	names := make([]string, len(e.cfg.Hosts))
	for i, h := range e.cfg.Hosts {
		if u, err := url.Parse(h); err == nil {
			names[i] = u.Host
		}
	}
	return strings.Join(names, ",")
}

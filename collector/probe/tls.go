package probe

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

var (
	expiryMetric      = newMetric("probe_ssl_earliest_cert_expiry", "Returns last SSL chain expiry in unixtime")
	chainExpiryMetric = newMetric("probe_ssl_last_chain_expiry_timestamp_seconds", "Returns last SSL chain expiry in timestamp")
	chainInfoMetric   = newMetric("probe_ssl_last_chain_info", "Contains SSL leaf certificate information", "fingerprint_sha256", "issuer", "subject", "subjectalternative")
	versionMetric     = newMetric("probe_tls_version_info", "Returns the TLS version used or NaN when unknown", "version")
)

// tlsFiles are tls_config. Its files are read when they are needed, and again
// when they have changed: certificates are renewed while we run.
type tlsFiles struct {
	ca, cert, key string
	serverName    string
	insecure      bool
	least, most   uint16
	cache         *tlsCache
}

type tlsCache struct {
	mu     sync.Mutex
	stamp  string
	config *tls.Config
}

// config is for a handshake with who has that name.
func (f *tlsFiles) config(name string, protocols ...string) (*tls.Config, error) {
	c := &tls.Config{InsecureSkipVerify: f.insecure, MinVersion: f.least, MaxVersion: f.most}
	if f.ca != "" || f.cert != "" {
		files, err := f.files()
		if err != nil {
			return nil, err
		}
		c.RootCAs, c.Certificates = files.RootCAs, files.Certificates
	}
	c.NextProtos, c.ServerName = protocols, name
	return c, nil
}

// files are the certificates, read again if a file has changed.
func (f *tlsFiles) files() (*tls.Config, error) {
	var stamp strings.Builder
	for _, path := range []string{f.ca, f.cert, f.key} {
		if path == "" {
			continue
		}
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&stamp, "%d %d ", info.ModTime().UnixNano(), info.Size())
	}
	f.cache.mu.Lock()
	defer f.cache.mu.Unlock()
	if f.cache.config != nil && f.cache.stamp == stamp.String() {
		return f.cache.config, nil
	}
	c := &tls.Config{}
	if f.ca != "" {
		pem, err := os.ReadFile(f.ca)
		if err != nil {
			return nil, err
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate in PEM form", f.ca)
		}
	}
	if f.cert != "" {
		pair, err := tls.LoadX509KeyPair(f.cert, f.key)
		if err != nil {
			return nil, err
		}
		c.Certificates = []tls.Certificate{pair}
	}
	f.cache.config, f.cache.stamp = c, stamp.String()
	return c, nil
}

func parseVersion(s string) (uint16, error) {
	v, ok := map[string]uint16{"TLS10": tls.VersionTLS10, "TLS11": tls.VersionTLS11, "TLS12": tls.VersionTLS12, "TLS13": tls.VersionTLS13}[s]
	if !ok {
		return 0, fmt.Errorf("%q is none of TLS10, TLS11, TLS12, TLS13", s)
	}
	return v, nil
}

// certificates describe what the other side has shown.
func (s *sheet) certificates(state *tls.ConnectionState) {
	s.set(expiryMetric, float64(earliestExpiry(state).Unix()))
	s.set(versionMetric, 1, versionName(state))
	if len(state.PeerCertificates) == 0 {
		return
	}
	c := state.PeerCertificates[0]
	fingerprint := sha256.Sum256(c.Raw)
	s.set(chainInfoMetric, 1, hex.EncodeToString(fingerprint[:]), c.Issuer.String(), c.Subject.String(), strings.Join(c.DNSNames, ","))
}

// earliestExpiry is when the first certificate that was shown expires.
func earliestExpiry(state *tls.ConnectionState) time.Time {
	var first time.Time
	for _, c := range state.PeerCertificates {
		if (first.IsZero() || c.NotAfter.Before(first)) && !c.NotAfter.IsZero() {
			first = c.NotAfter
		}
	}
	return first
}

// lastExpiry is when the last of the chains that were verified expires; the zero
// time if none was.
func lastExpiry(state *tls.ConnectionState) time.Time {
	var last time.Time
	for _, chain := range state.VerifiedChains {
		var first time.Time
		for _, c := range chain {
			if (first.IsZero() || c.NotAfter.Before(first)) && !c.NotAfter.IsZero() {
				first = c.NotAfter
			}
		}
		if first.After(last) {
			last = first
		}
	}
	return last
}

func versionName(state *tls.ConnectionState) string {
	if name := tls.VersionName(state.Version); strings.HasPrefix(name, "TLS ") {
		return name
	}
	return "unknown"
}

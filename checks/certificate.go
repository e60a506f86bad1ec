package checks

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"
)

var certificateSignal = Signal{"certificate", Critical, "no TLS handshake, or a certificate that nobody should trust: wrong name, unknown issuer"}

// certificateLimits are the defaults of all kinds with TLS.
var certificateLimits = Limits{Name: "certificate_days", Help: "days until the first certificate of the chain expires", Warning: "21:", Critical: "7:"}

// A certificateError is a handshake or certificate that cannot be accepted.
type certificateError struct{ text string }

func (e certificateError) Error() string { return e.text }

func readCertificates(path string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate in PEM form", path)
	}
	return pool, nil
}

// startTLS makes the handshake on a fresh session and examines the
// certificates. Nothing is sent behind the handshake unless they are good.
func (s *session) startTLS(ctx context.Context, r *Result, t Target, host string, protocols ...string) (tls.ConnectionState, error) {
	if name := value[string](t, "servername"); name != "" {
		host = name
	}
	// The chain is verified below, where its dates are known whatever is wrong
	// with it.
	config := &tls.Config{ServerName: host, InsecureSkipVerify: true, NextProtos: protocols}
	conn := tls.Client(s.Conn, config)
	began := time.Now()
	err := conn.HandshakeContext(ctx)
	r.phase("tls", began)
	if err != nil {
		var record tls.RecordHeaderError
		var alert tls.AlertError
		switch {
		case errors.As(err, &record):
			return tls.ConnectionState{}, wrongProtocol("%s does not speak TLS", r.Evidence.Address)
		case errors.As(err, &alert):
			return tls.ConnectionState{}, certificateError{"TLS handshake refused: " + alert.Error()}
		}
		return tls.ConnectionState{}, err
	}
	s.Conn = conn
	state := conn.ConnectionState()
	return state, r.examine(t, state, host)
}

// tlsConfig is for a library that makes the handshake itself: the certificates
// are examined as startTLS does it.
func (r *Result) tlsConfig(t Target, host string) *tls.Config {
	if name := value[string](t, "servername"); name != "" {
		host = name
	}
	return &tls.Config{ServerName: host, InsecureSkipVerify: true, VerifyConnection: func(state tls.ConnectionState) error {
		return r.examine(t, state, host)
	}}
}

// examine measures how long the chain is good and verifies it unless that is
// switched off.
func (r *Result) examine(t Target, state tls.ConnectionState, host string) error {
	insecure := value[bool](t, "insecure")
	first := state.PeerCertificates[0]
	for _, c := range state.PeerCertificates {
		if c.NotAfter.Before(first.NotAfter) {
			first = c
		}
	}
	left := time.Until(first.NotAfter)
	r.facts.certificate = left
	r.Evidence.Expires = first.NotAfter
	days := float64(int64(left.Hours()/24*10)) / 10
	r.Metrics = append(r.Metrics, Metric{Name: certificateLimits.Name, Value: days, free: insecure})
	if insecure {
		return nil
	}
	if left < 0 {
		r.find(Critical, certificateLimits.Name, "the certificate of %s expired %s ago, on %s", subject(first), ago(-left), first.NotAfter.UTC().Format(time.DateOnly))
		return nil
	}
	roots := value[*x509.CertPool](t, "ca-file")
	between := x509.NewCertPool()
	for _, c := range state.PeerCertificates[1:] {
		between.AddCert(c)
	}
	_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{DNSName: host, Roots: roots, Intermediates: between})
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	switch {
	case errors.As(err, &authority):
		return certificateError{fmt.Sprintf("the certificate of %s is signed by an unknown authority (%s)", subject(state.PeerCertificates[0]), issuer(state.PeerCertificates[len(state.PeerCertificates)-1]))}
	case errors.As(err, &name):
		return certificateError{"the certificate is for another name: " + err.Error()}
	case err != nil:
		return certificateError{"the certificate cannot be verified: " + err.Error()}
	}
	return nil
}

func subject(c *x509.Certificate) string {
	if len(c.DNSNames) > 0 {
		return c.DNSNames[0]
	}
	return c.Subject.String()
}

func issuer(c *x509.Certificate) string {
	if s := c.Issuer.String(); s != "" {
		return s
	}
	return "without a name"
}

// ago is a duration in its largest unit.
func ago(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", int(d.Hours()))
	case d >= 2*time.Minute:
		return fmt.Sprintf("%d minutes", int(d.Minutes()))
	}
	return fmt.Sprintf("%d seconds", int(d.Seconds()))
}

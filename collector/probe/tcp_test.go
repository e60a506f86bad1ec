package probe

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// selfSigned makes a certificate for localhost and 127.0.0.1.
func selfSigned(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, form, form, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	for path, b := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// mail is a server that greets, knows EHLO and STARTTLS, and echoes the rest.
func mail(t *testing.T, cert, key string) string {
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return tcpServer(t, func(c net.Conn) {
		io.WriteString(c, "220 mail ready\r\n")
		in := bufio.NewReader(c)
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			switch line {
			case "EHLO prober\n":
				io.WriteString(c, "250-mail\r\n250-SIZE\r\n250 STARTTLS\r\n")
			case "STARTTLS\n":
				io.WriteString(c, "220 go ahead\r\n")
				c = tls.Server(c, &tls.Config{Certificates: []tls.Certificate{pair}})
				in = bufio.NewReader(c)
			default:
				fmt.Fprintf(c, "500 %s", line)
			}
		}
	})
}

func TestTCP(t *testing.T) {
	cert, key := selfSigned(t)
	at := mail(t, cert, key)
	f := func(module, target string, want map[string]float64) {
		t.Helper()
		probeWith(t, "prober: tcp\ntimeout: 10s\ntcp: {"+module+"}", target, "debug", "true").wants(t, module+" to "+target, want)
	}
	f("", at, map[string]float64{"probe_success": 1, "probe_ip_protocol": 4, "probe_failed_due_to_regex": 0, "probe_ssl_earliest_cert_expiry": absent})
	f("", closedPort(t), map[string]float64{"probe_success": 0, "probe_ip_protocol": 4})
	f("", "127.0.0.1", map[string]float64{"probe_success": 0, "probe_ip_protocol": absent})
	f("source_ip_address: 127.0.0.1", at, success(true))
	f("source_ip_address: 192.0.2.1", at, success(false))
	f("query_response: [{expect: ^220}, {send: EHLO prober}, {expect: '^250[ -](STARTTLS)', send: 'got ${1}'}, {expect: 500 got STARTTLS}]", at, success(true))
	f("query_response: [{expect: ^220}, {send: hello}, {expect: '^500 hello$'}]", at, success(true))
	closing := tcpServer(t, func(c net.Conn) { io.WriteString(c, "one\ntwo\n") })
	f("query_response: [{expect: two}]", closing, success(true))
	f("query_response: [{expect: three}]", closing, map[string]float64{"probe_success": 0, "probe_failed_due_to_regex": 1})
	tlsSteps := "query_response: [{expect: ^220}, {send: STARTTLS}, {expect: ^220, starttls: true}, {send: secret}, {expect: ^500 secret}]"
	f(tlsSteps+", tls_config: {ca_file: "+cert+"}", at, map[string]float64{"probe_success": 1, `probe_tls_version_info{version="TLS 1.3"}`: 1})
	f(tlsSteps, at, map[string]float64{"probe_success": 0, "probe_ssl_earliest_cert_expiry": absent})

	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	over := tcpServer(t, func(c net.Conn) {
		io.WriteString(tls.Server(c, &tls.Config{Certificates: []tls.Certificate{pair}}), "+OK\n")
	})
	expiry := float64(pair.Leaf.NotAfter.Unix())
	f("tls: true, query_response: [{expect: ^.OK}], tls_config: {ca_file: "+cert+"}", over, map[string]float64{"probe_success": 1,
		"probe_ssl_earliest_cert_expiry": expiry, "probe_ssl_last_chain_expiry_timestamp_seconds": expiry})
	f("tls: true, tls_config: {insecure_skip_verify: true}", over, success(true))
	f("tls: true, tls_config: {ca_file: "+cert+", server_name: elsewhere}", over, success(false))
	f("tls: true", over, success(false))
	f("tls: true, tls_config: {insecure_skip_verify: true}", closing, success(false))
}

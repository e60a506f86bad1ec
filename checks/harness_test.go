package checks

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// A trial is one fake target and what a check must say of it.
type trial struct {
	name    string
	serve   func(net.Conn)                 // nil: address must be set
	address string                         // as people write it; %s is the fake's host:port
	options map[string][]string            // see opt
	change  func(t *testing.T, to *Target) // for what options cannot say
	want    State
	signal  string // the finding that there must be; "" for none at all
	text    string // must be part of the text
	metrics string // "name=value" that there must be, separated by spaces
}

// opt makes options: name, value, name, value.
func opt(pairs ...string) map[string][]string {
	out := map[string][]string{}
	for i := 0; i < len(pairs); i += 2 {
		out[pairs[i]] = append(out[pairs[i]], pairs[i+1])
	}
	return out
}

// testKind runs trials and then makes sure that each signal of the kind, and
// each metric with a limit, was found by one of them.
func testKind(t *testing.T, kind, form string, trials []trial) {
	t.Helper()
	seen := map[string]bool{}
	for _, c := range trials {
		t.Run(c.name, func(t *testing.T) {
			r := c.run(t, kind, form)
			for _, f := range r.Findings {
				seen[f.Signal] = true
			}
			if r.State != c.want || !strings.Contains(r.Text, c.text) {
				t.Errorf("got  %s: %s\nwant %s: …%s…", r.State, r.Text, c.want, c.text)
			}
			found := slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Signal == c.signal && f.State == c.want })
			if c.signal != "" && !found || c.signal == "" && len(r.Findings) > 0 {
				t.Errorf("found %+v, want the signal %q", r.Findings, c.signal)
			}
			for _, want := range strings.Fields(c.metrics) {
				if perf := FormatPerfdata(r.Metrics); !strings.Contains(" "+perf+" ", " "+want+" ") && !strings.Contains(" "+perf, " "+want+";") {
					t.Errorf("no %s in %s", want, perf)
				}
			}
			if line := r.Line(kind); strings.Count(line, "|") > 1 || strings.Count(strings.TrimSuffix(line, "\n"), "\n") > 0 && r.Long == "" {
				t.Errorf("not one line of a plugin: %q", line)
			}
		})
	}
	for _, s := range Kinds[kind].Signals {
		if !seen[s.Name] {
			t.Errorf("no trial finds the signal %s", s.Name)
		}
	}
	for _, m := range Kinds[kind].Metrics {
		if m.Warning+m.Critical != "" && !seen[m.Name] {
			t.Errorf("no trial breaks the limits of %s", m.Name)
		}
	}
}

func (c trial) run(t *testing.T, kind, form string) Result {
	t.Helper()
	address := c.address
	if address == "" {
		address = form
	}
	if c.serve != nil {
		address = strings.ReplaceAll(address, "%s", serve(t, c.serve))
	}
	options := map[string][]string{"timeout": {"20s"}} // a busy machine, or the race detector, needs seconds for a huge answer
	for name, texts := range c.options {
		options[name] = texts
	}
	target, err := New(kind, address, nil, options)
	if err != nil {
		return Mistaken(err)
	}
	if c.change != nil {
		c.change(t, &target)
	}
	began := time.Now()
	r := Run(context.Background(), target)
	if took := time.Since(began); took > target.Timeout+time.Second {
		t.Errorf("took %s with a timeout of %s", took, target.Timeout)
	}
	return r
}

// broken are servers that no kind may call good. The first request is read and
// thrown away where the fake waits for one.
func broken(options map[string][]string) []trial {
	quick := map[string][]string{"timeout": {"200ms"}}
	for name, texts := range options {
		quick[name] = texts
	}
	return []trial{
		{name: "refused", address: refused, options: options, want: Critical, signal: "connect", text: "refused"},
		{name: "silent", serve: silent, options: quick, want: Critical, signal: "timeout", text: "no answer within 200ms"},
		{name: "cut", serve: func(c net.Conn) { c.Read(make([]byte, 4096)) }, options: options, want: Critical, signal: "cut", text: "closed the connection"},
		{name: "garbage", serve: func(c net.Conn) {
			c.Read(make([]byte, 4096))
			c.Write(bytes.Repeat([]byte("\x00\xfe\xff|\x1b[2J garbage\r\n\r\n"), 100))
			silent(c)
		}, options: quick, want: Critical, signal: "protocol"},
	}
}

const refused = "refused" // replaced by a port that nobody listens on

func silent(c net.Conn) {
	for {
		if _, err := c.Read(make([]byte, 4096)); err != nil {
			return
		}
	}
}

// serve runs a fake on loopback for as long as the test and returns host:port.
func serve(t *testing.T, handle func(net.Conn)) string {
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
				c.SetDeadline(time.Now().Add(20 * time.Second)) // no fake outlives its test for long
				handle(c)
			}()
		}
	}()
	return l.Addr().String()
}

// closedPort is a port of loopback on which nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// withForm puts the kind's form of an address into the common trials.
func withForm(t *testing.T, form string, trials []trial) []trial {
	for i := range trials {
		if trials[i].address == refused {
			trials[i].address = strings.ReplaceAll(form, "%s", closedPort(t))
		}
	}
	return trials
}

// An issued certificate with the files that hold it.
type issued struct {
	tls.Certificate
	caFile string
}

// issue makes a certificate for a name and the CA file to trust it by.
func issue(t *testing.T, name string, until time.Time) issued {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-1000 * time.Hour), NotAfter: until,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return issued{tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file}
}

// overTLS puts TLS in front of a fake.
func overTLS(c issued, handle func(net.Conn)) func(net.Conn) {
	return func(raw net.Conn) {
		conn := tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{c.Certificate}})
		if conn.Handshake() == nil {
			handle(conn)
			conn.Close()
		}
	}
}

// secretFile is a file with a password in it.
func secretFile(t *testing.T, secret string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// pipeSession is a session whose other side says b and closes.
func pipeSession(b []byte) *session {
	return &session{in: bufio.NewReader(bytes.NewReader(b)), left: int64(len(b)), most: int64(len(b))}
}

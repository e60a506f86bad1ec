package shipper

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"mesoscope/config"
	"mesoscope/record"
	"mesoscope/test/fakees"
)

// hostRig sends over real connections instead of into a fake transport.
func hostRig(t *testing.T, change func(*config.Elasticsearch)) *rig {
	t.Helper()
	r := &rig{t: t, in: make(chan *record.Batch, 4), done: make(chan error, 1)}
	cfg := testConfig()
	change(&cfg)
	var err error
	if r.dead, err = OpenDeadLetters(t.TempDir(), 1<<20); err != nil {
		t.Fatal(err)
	}
	if r.sink, err = NewElasticsearch(cfg, WithDeadLetters(r.dead)); err != nil {
		t.Fatal(err)
	}
	r.stop = func() {}
	go func() { r.done <- r.sink.Run(t.Context(), r.in) }()
	return r
}

// closedPort is an address where nobody listens.
func closedPort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}

// TestSeveralHosts has one host that never answers and one that goes away: the
// rest takes over, each document is stored once, and both live hosts are used.
func TestSeveralHosts(t *testing.T) {
	store := &fakees.Server{}
	var asked [2]atomic.Int64
	var hosts [2]*httptest.Server
	for i := range hosts {
		hosts[i] = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked[i].Add(1)
			store.ServeHTTP(w, r)
		}))
		defer hosts[i].Close()
	}
	r := hostRig(t, func(c *config.Elasticsearch) {
		c.Hosts = []string{closedPort(t), hosts[0].URL, hosts[1].URL}
	})
	const rounds = 30
	for i := range rounds {
		before := r.settledNow()
		r.send(fmt.Sprintf("id%d", i))
		for deadline := time.Now().Add(20 * time.Second); r.settledNow() == before; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("line %d is not settled: %+v", i, r.sink.Status())
			}
		}
		if i == rounds/2 {
			hosts[0].Close()
		}
	}
	r.drain()
	if n := len(store.Docs(testIndex)); n != rounds {
		t.Errorf("%d documents stored, want %d", n, rounds)
	}
	for i := range asked {
		if asked[i].Load() == 0 {
			t.Errorf("host %d was never asked", i)
		}
	}
}

// TestClientCertificate: a server that wants one gets the one of the
// configuration, and is checked against its CA.
func TestClientCertificate(t *testing.T) {
	store := &fakees.Server{}
	server := httptest.NewUnstartedServer(store)
	server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	server.StartTLS()
	defer server.Close()
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	write(t, ca, "CERTIFICATE", server.Certificate().Raw)
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	selfSigned(t, cert, key)
	r := hostRig(t, func(c *config.Elasticsearch) {
		c.Hosts, c.CAFile, c.CertFile, c.KeyFile = []string{server.URL}, ca, cert, key
	})
	r.send("a")
	r.drain()
	if n := len(store.Docs(testIndex)); n != 1 {
		t.Errorf("%d documents stored, want 1", n)
	}
}

func write(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

func selfSigned(t *testing.T, cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "agent"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	write(t, cert, "CERTIFICATE", der)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	write(t, key, "PRIVATE KEY", pkcs8)
}

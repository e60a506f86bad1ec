//go:build e2e && linux

package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// check runs `mesoscope check` and holds code and output against what is wanted.
func check(t *testing.T, code int, text string, args ...string) {
	t.Helper()
	said, got := run(t, exec.Command(binary, append([]string{"check"}, args...)...))
	t.Logf("mesoscope check %s\n%s", strings.Join(args, " "), said)
	if got != code || !strings.Contains(said, text) {
		t.Errorf("check %s: code %d: %s\nwant code %d: …%s…", strings.Join(args, " "), got, said, code, text)
	}
	if first, _, _ := strings.Cut(said, "\n"); !strings.Contains(first, " | time=") && !strings.HasPrefix(first, "{") && code != 3 {
		t.Errorf("check %s: no perfdata in %q", strings.Join(args, " "), first)
	}
}

// run gives a command's standard output and exit code.
func run(t *testing.T, cmd *exec.Cmd) (string, int) {
	t.Helper()
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%v: %v", cmd.Args, err)
	}
	return strings.TrimSpace(string(out)), cmd.ProcessState.ExitCode()
}

// until repeats a check until its code is the wanted one: servers take a moment.
func until(t *testing.T, code int, args ...string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) { // polling another process
		said, got := run(t, exec.Command(binary, append([]string{"check"}, args...)...))
		if got == code {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("check %s: still code %d: %s", strings.Join(args, " "), got, said)
		}
	}
}

// eventually repeats a check until its output has a text.
func eventually(t *testing.T, text string, args ...string) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(100 * time.Millisecond) { // polling another process
		said, _ := run(t, exec.Command(binary, append([]string{"check"}, args...)...))
		if strings.Contains(said, text) {
			t.Logf("mesoscope check %s\n%s", strings.Join(args, " "), said)
			return
		}
		if time.Now().After(end) {
			t.Fatalf("check %s: still no %q: %s", strings.Join(args, " "), text, said)
		}
	}
}

// freePort is a port that nobody listens on now.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// service starts a server that ends with the test.
func service(t *testing.T, name string, args ...string) *os.Process {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		lacking(t, name+" is missing: apt-get install redis-server nginx-light zookeeper monitoring-plugins-basic mariadb-server postgresql")
	}
	return started(t, exec.Command(name, args...))
}

// started runs a program until the test ends.
func started(t *testing.T, cmd *exec.Cmd) *os.Process {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGCONT)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("%s said:\n%s", cmd.Path, text)
		}
		log.Close()
	})
	return cmd.Process
}

// TestCheckRedis breaks a real Redis and its replica in several ways.
func TestCheckRedis(t *testing.T) {
	master, replica := freePort(t), freePort(t)
	first := service(t, "redis-server", "--port", master, "--save", "", "--dir", t.TempDir())
	at, second := "127.0.0.1:"+master, "127.0.0.1:"+replica
	until(t, 0, "redis", at)
	service(t, "redis-server", "--port", replica, "--replicaof", "127.0.0.1", master, "--save", "", "--dir", t.TempDir())
	until(t, 0, "redis", second)
	check(t, 0, "REDIS OK: PONG, Redis ", "redis", at)
	check(t, 0, "replicas=1", "redis", at)
	check(t, 0, "slave, up", "redis", second)
	check(t, 2, "used_memory is", "redis", at, "--critical", "used_memory=1000")
	check(t, 0, `"state":"OK"`, "redis", at, "--output", "json")
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("redis-cli", "-p", master, "config", "set", "requirepass", "s3cret").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	check(t, 0, "alive, password needed", "redis", at)
	check(t, 0, "PONG", "redis", at, "--password-file", secret)
	if err := os.WriteFile(secret, []byte("other\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	check(t, 2, "refused: WRONGPASS", "redis", at, "--password-file", secret)
	if err := first.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	check(t, 2, "no answer within 500ms", "redis", at, "--timeout", "500ms")
	if err := first.Kill(); err != nil {
		t.Fatal(err)
	}
	until(t, 2, "redis", second)
	check(t, 2, "without a connection to it", "redis", second)
	check(t, 2, "connection refused", "redis", at)
	check(t, 2, "no Redis protocol", "redis", "127.0.0.1:"+nginx(t, time.Now().Add(time.Hour), ""))
}

// TestCheckNginx checks a real web server with a good and an expired certificate.
func TestCheckNginx(t *testing.T) {
	ca := filepath.Join(t.TempDir(), "ca.pem")
	good := "127.0.0.1:" + nginx(t, time.Now().Add(90*24*time.Hour), ca)
	old := "127.0.0.1:" + nginx(t, time.Now().Add(-50*time.Hour), ca+".old")
	page := "https://" + good + "/health"
	check(t, 0, "HTTP OK: 200 OK, 12 bytes", "http", page, "--ca-file", ca, "--expect", "[BODY].ok == true", "--match-header", "Server: nginx")
	check(t, 2, "[BODY].ok == false does not hold", "http", page, "--ca-file", ca, "--expect", "[BODY].ok == false")
	check(t, 2, "404 Not Found", "http", "https://"+good+"/nope", "--ca-file", ca)
	check(t, 0, "200 OK", "http", "https://"+good+"/moved", "--ca-file", ca)
	check(t, 2, "unknown authority", "http", page)
	check(t, 1, "outside of 100:", "http", page, "--ca-file", ca, "--warning", "certificate_days=100:")
	check(t, 2, "expired 2 days ago", "http", "https://"+old+"/health", "--ca-file", ca+".old")
	check(t, 2, "expired 2 days ago", "tls", old, "--ca-file", ca+".old")
	check(t, 0, "TLS OK: TLS 1.3", "tls", good, "--ca-file", ca)
	check(t, 2, "400 Bad Request", "http", "http://"+good+"/health") // nginx answers plain HTTP on a TLS port
	check(t, 0, "TCP OK", "tcp", good, "--tls", "--ca-file", ca, "--send", `HEAD / HTTP/1.0\r\n\r\n`, "--await", "^HTTP/1.1 ")
}

// nginx starts one on a TLS port and puts its certificate into the file ca.
func nginx(t *testing.T, until time.Time, ca string) (port string) {
	t.Helper()
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "e2e"}, NotBefore: time.Now().Add(-1000 * time.Hour), NotAfter: until,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	port = freePort(t)
	write := func(path string, text []byte) {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	write(filepath.Join(dir, "crt"), certificate)
	write(filepath.Join(dir, "key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	if ca != "" {
		write(ca, certificate)
	}
	write(filepath.Join(dir, "conf"), fmt.Appendf(nil, `
		daemon off; master_process off; pid %[1]s/pid; error_log stderr;
		events {}
		http {
			access_log off;
			client_body_temp_path %[1]s; proxy_temp_path %[1]s; fastcgi_temp_path %[1]s; uwsgi_temp_path %[1]s; scgi_temp_path %[1]s;
			server {
				listen 127.0.0.1:%[2]s ssl;
				ssl_certificate %[1]s/crt; ssl_certificate_key %[1]s/key; ssl_protocols TLSv1.2 TLSv1.3;
				location = /health { return 200 '{"ok": true}'; }
				location = /moved { return 302 /health; }
				location / { return 404; }
			}
		}`, dir, port))
	service(t, "nginx", "-c", filepath.Join(dir, "conf"))
	waitFor(t, port)
	return port
}

// waitFor waits until somebody listens.
func waitFor(t *testing.T, port string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) { // polling another process
		c, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(end) {
			t.Fatalf("nobody listens on %s: %v", port, err)
		}
	}
}

// TestCheckZooKeeper: a real one, alone, with and without its four letter words.
func TestCheckZooKeeper(t *testing.T) {
	if _, err := os.Stat("/usr/share/java/zookeeper.jar"); err != nil {
		lacking(t, "/usr/share/java/zookeeper.jar is missing: apt-get install zookeeper")
	}
	for _, words := range []string{"*", "srvr"} {
		port := freePort(t)
		conf := filepath.Join(t.TempDir(), "zoo.cfg")
		text := fmt.Sprintf("tickTime=2000\ndataDir=%s\nclientPort=%s\nadmin.enableServer=false\n4lw.commands.whitelist=%s\n", t.TempDir(), port, words)
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		service(t, "java", "-Xmx64m", "-cp", "/usr/share/java/zookeeper.jar", "org.apache.zookeeper.server.quorum.QuorumPeerMain", conf)
		at := "127.0.0.1:" + port
		until(t, 0, "zookeeper", at)
		switch words {
		case "*":
			check(t, 0, "standalone, ZooKeeper 3.", "zookeeper", at)
			check(t, 0, "descriptors=", "zookeeper", at)
			check(t, 2, "znodes is", "zookeeper", at, "--critical", "znodes=1")
		case "srvr":
			check(t, 0, "standalone, ZooKeeper 3.", "zookeeper", at)
		}
	}
}

const plugins = "/usr/lib/nagios/plugins/"

// TestCheckPlugins runs Nagios' own plugins, and is run by one of them.
func TestCheckPlugins(t *testing.T) {
	if _, err := os.Stat(plugins + "check_dummy"); err != nil {
		lacking(t, plugins+" is missing: apt-get install monitoring-plugins-basic")
	}
	for code, word := range []string{"OK", "WARNING", "CRITICAL", "UNKNOWN"} {
		check(t, code, "EXEC "+word+": "+word+": said | time=", "exec", "--", plugins+"check_dummy", fmt.Sprint(code), "said")
	}
	check(t, 0, "load1=", "exec", "--", plugins+"check_load", "-w", "999,999,999", "-c", "999,999,999")
	check(t, 2, "load1", "exec", "--critical", "load1=-1:-1", "--", plugins+"check_load", "-w", "999,999,999", "-c", "999,999,999")
	check(t, 0, "procs=", "exec", "--", plugins+"check_procs")
	check(t, 0, "/=", "exec", "--", plugins+"check_disk", "-w", "0", "-c", "0", "-p", "/")
	check(t, 2, "not finished within 1s", "exec", "--timeout", "1s", "--", "/bin/sleep", "60")

	closed := "127.0.0.1:" + freePort(t)
	// negate turns CRITICAL into OK only if it understands us as a plugin
	said, code := run(t, exec.Command(plugins+"negate", "-t", "20", binary, "check", "tcp", closed))
	if code != 0 || !strings.HasPrefix(said, "TCP CRITICAL: connection refused") {
		t.Errorf("negate: code %d: %s", code, said)
	}
	check(t, 2, "EXEC CRITICAL: TCP CRITICAL: connection refused", "exec", "--", binary, "check", "tcp", closed)
	check(t, 3, "UNKNOWN: ", "exec", "--", binary, "check", "tcp", closed, "--bla")
}

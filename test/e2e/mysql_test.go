//go:build e2e && linux

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A mariaDB is a running server.
type mariaDB struct {
	port, socket string
	process      *os.Process
}

// startMariaDB makes an empty database and starts a server on it.
func startMariaDB(t *testing.T, id string, more ...string) mariaDB {
	t.Helper()
	if _, err := exec.LookPath("mariadb-install-db"); err != nil {
		lacking(t, "MariaDB is missing: apt-get install mariadb-server")
	}
	dir, socketDir := t.TempDir(), shortDir(t)
	if out, err := exec.Command("mariadb-install-db", "--no-defaults", "--user=root", "--datadir="+dir, "--auth-root-authentication-method=normal", "--skip-test-db").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	m := mariaDB{port: freePort(t), socket: filepath.Join(socketDir, "s")}
	m.process = service(t, "mariadbd", append([]string{"--no-defaults", "--user=root", "--datadir=" + dir, "--socket=" + m.socket, "--pid-file=" + filepath.Join(dir, "pid"),
		"--bind-address=127.0.0.1", "--port=" + m.port, "--server-id=" + id, "--log-bin=bin", "--innodb-buffer-pool-size=16M", "--skip-name-resolve", "--slave-net-timeout=2"}, more...)...)
	waitFor(t, m.port)
	m.run(t, "SELECT 1")
	return m
}

// shortDir is a folder whose sockets fit into the 107 bytes of an address.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "e2e")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// run executes statements, repeatedly until the server takes them.
func (m mariaDB) run(t *testing.T, statements string) string {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) { // polling another process
		out, err := exec.Command("mariadb", "--no-defaults", "-uroot", "-S", m.socket, "-N", "-e", statements).CombinedOutput()
		if err == nil {
			return strings.TrimSpace(string(out))
		}
		if time.Now().After(end) {
			t.Fatalf("%s: %v: %s", statements, err, out)
		}
	}
}

// TestCheckMySQL breaks a real MariaDB and its replica in several ways.
func TestCheckMySQL(t *testing.T) {
	first, second := startMariaDB(t, "1"), startMariaDB(t, "2", "--read-only")
	at, copyAt := "127.0.0.1:"+first.port, "127.0.0.1:"+second.port
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	login := []string{"--username", "monitor", "--password-file", secret}
	mysql := func(code int, text, address string, more ...string) {
		t.Helper()
		check(t, code, text, append(append([]string{"mysql", address}, login...), more...)...)
	}
	check(t, 0, "alive, password needed", "mysql", at)
	mysql(2, "Access denied", at)
	for _, m := range []mariaDB{first, second} {
		m.run(t, "SET sql_log_bin=0; CREATE USER monitor@'%' IDENTIFIED BY 's3cret'; CREATE USER blind@'%' IDENTIFIED BY 's3cret'; GRANT SLAVE MONITOR, REPLICATION CLIENT ON *.* TO monitor@'%'; GRANT SELECT ON *.* TO monitor@'%'")
	}
	first.run(t, "CREATE USER copy@'%' IDENTIFIED BY 'copy'; GRANT REPLICATION SLAVE ON *.* TO copy@'%'; CREATE DATABASE shop; CREATE TABLE shop.beat (id INT PRIMARY KEY, ts VARCHAR(26))")
	mysql(0, "MYSQL OK: MariaDB 10.", at+"/shop", "--role", "master")
	mysql(2, "Unknown database", at+"/nope")
	mysql(1, "read-only and no replica", copyAt)
	mysql(2, "it replicates nothing", copyAt, "--role", "replica")
	check(t, 0, "replication not read", "mysql", at, "--username", "blind", "--password-file", secret)

	second.run(t, "CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT="+first.port+", MASTER_USER='copy', MASTER_PASSWORD='copy', MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=1; START SLAVE")
	until(t, 0, append([]string{"mysql", copyAt, "--role", "replica"}, login...)...)
	mysql(0, "replica of 127.0.0.1:"+first.port, copyAt, "--role", "replica")
	mysql(0, "lag=0s;30;300", copyAt)
	mysql(2, "it is a replica, wanted a master", copyAt, "--role", "master")
	mysql(2, "there is no time in", copyAt, "--heartbeat", "shop.beat")
	first.run(t, "INSERT INTO shop.beat VALUES (1, UTC_TIMESTAMP(6) - INTERVAL 2 MINUTE)")
	until(t, 1, append([]string{"mysql", copyAt, "--heartbeat", "shop.beat"}, login...)...)
	mysql(2, "the last heartbeat is 2 minutes old", copyAt, "--heartbeat", "shop.beat", "--critical", "lag=60")

	second.run(t, "INSERT INTO shop.beat VALUES (2, 'x')") // in the way of the same row from the master
	first.run(t, "INSERT INTO shop.beat VALUES (2, 'x')")
	until(t, 2, append([]string{"mysql", copyAt}, login...)...)
	mysql(2, "does not apply what it reads (No)", copyAt)
	second.run(t, "DELETE FROM shop.beat WHERE id=2; START SLAVE")
	until(t, 0, append([]string{"mysql", copyAt}, login...)...)

	first.run(t, "SET GLOBAL max_connections=10")
	var held []*exec.Cmd
	for range 11 { // one more for who has SUPER
		hold := exec.Command("mariadb", "--no-defaults", "-uroot", "-S", first.socket, "-e", "SELECT SLEEP(600)")
		if err := hold.Start(); err != nil {
			t.Fatal(err)
		}
		held = append(held, hold)
		t.Cleanup(func() { _ = hold.Process.Kill(); _ = hold.Wait() })
	}
	until(t, 2, append([]string{"mysql", at}, login...)...)
	mysql(2, "Too many connections", at)
	for _, h := range held {
		_ = h.Process.Kill()
	}
	until(t, 0, append([]string{"mysql", at}, login...)...)

	if err := first.process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	mysql(2, "no answer within 1s", at, "--timeout", "1s")
	if err := first.process.Kill(); err != nil {
		t.Fatal(err)
	}
	until(t, 2, append([]string{"mysql", at}, login...)...)
	mysql(2, "connection refused", at)
	until(t, 2, append([]string{"mysql", copyAt}, login...)...)
	mysql(2, "does not read from it (Connecting)", copyAt)
}

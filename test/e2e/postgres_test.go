//go:build e2e && linux

package e2e

import (
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// A postgreSQL is a cluster that runs or can be started. Its server refuses to
// be root, so it is nobody.
type postgreSQL struct{ bin, dir, port string }

// command makes a command of a PostgreSQL program.
func (p postgreSQL) command(t *testing.T, program string, args ...string) *exec.Cmd {
	t.Helper()
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	id, _ := strconv.Atoi(nobody.Uid)
	cmd := exec.Command(filepath.Join(p.bin, program), args...)
	cmd.Dir, cmd.Env = "/", []string{"PATH=/usr/bin:/bin", "LC_ALL=C"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(id), Gid: uint32(id)}}
	return cmd
}

func (p postgreSQL) must(t *testing.T, program string, args ...string) {
	t.Helper()
	if out, err := p.command(t, program, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v: %s", program, args, err, out)
	}
}

// newPostgreSQL has the newest programs that are installed and an empty folder.
func newPostgreSQL(t *testing.T) postgreSQL {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if len(found) == 0 {
		lacking(t, "PostgreSQL is missing: apt-get install postgresql")
	}
	p := postgreSQL{bin: filepath.Dir(slices.Max(found)), dir: shortDir(t), port: freePort(t)}
	if err := os.Chmod(p.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(p.dir, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	return p
}

// start runs the server until the test ends and gives its process.
func (p postgreSQL) start(t *testing.T, more ...string) *os.Process {
	t.Helper()
	cmd := p.command(t, "postgres", append([]string{"-D", p.dir, "-p", p.port, "-k", p.dir, "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "shared_buffers=16MB",
		"-c", "wal_receiver_status_interval=1", "-c", "wal_retrieve_retry_interval=1s", "-c", "wal_sender_timeout=3s"}, more...)...)
	return started(t, cmd)
}

// sql executes a statement, repeatedly until it works.
func (p postgreSQL) sql(t *testing.T, statement string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) { // polling another process
		out, err := p.command(t, "psql", "-h", p.dir, "-p", p.port, "-U", "postgres", "-qc", statement).CombinedOutput()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: %v: %s", statement, err, out)
		}
	}
}

// TestCheckPostgres breaks a real PostgreSQL and its standby in several ways.
func TestCheckPostgres(t *testing.T) {
	first, second := newPostgreSQL(t), newPostgreSQL(t)
	first.must(t, "initdb", "-D", first.dir, "-U", "postgres", "-N", "--auth-local=trust", "--auth-host=scram-sha-256")
	rules, err := os.OpenFile(filepath.Join(first.dir, "pg_hba.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rules.WriteString("local replication all trust\n"); err != nil {
		t.Fatal(err)
	}
	rules.Close()
	primary := first.start(t, "-c", "max_connections=10")
	at, copyAt := "127.0.0.1:"+first.port, "127.0.0.1:"+second.port
	until(t, 0, "postgres", at)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	login := []string{"--username", "monitor", "--password-file", secret}
	postgres := func(code int, text, address string, more ...string) {
		t.Helper()
		check(t, code, text, append(append([]string{"postgres", address}, login...), more...)...)
	}
	check(t, 0, "alive, password needed", "postgres", at)
	postgres(2, "refused", at)
	first.sql(t, "CREATE ROLE monitor LOGIN PASSWORD 's3cret'")
	postgres(0, "POSTGRES OK: PostgreSQL 1", at, "--role", "primary")
	postgres(2, "it is a primary, wanted a standby", at, "--role", "standby")
	postgres(2, "0 standbys, wanted 1", at, "--standbys", "1")
	postgres(2, "does not exist", at+"/nope")
	postgres(2, "the server has no TLS", at, "--tls")

	second.must(t, "pg_basebackup", "-D", second.dir, "-h", first.dir, "-p", first.port, "-U", "postgres", "-R", "-c", "fast", "-N")
	second.start(t, "-c", "max_connections=10")
	until(t, 0, append([]string{"postgres", at, "--standbys", "1"}, login...)...)
	until(t, 0, append([]string{"postgres", copyAt, "--role", "standby"}, login...)...)
	postgres(0, "standby, up", copyAt)
	postgres(2, "it is a standby, wanted a primary", copyAt, "--role", "primary")
	first.sql(t, "CREATE TABLE early (n int)")
	second.sql(t, "SELECT 'early'::regclass") // a standby that has applied nothing yet knows no lag
	second.sql(t, "SELECT pg_wal_replay_pause()")
	postgres(1, "somebody has paused the standby", copyAt)
	first.sql(t, "CREATE TABLE late (n int)")
	until(t, 2, append([]string{"postgres", copyAt, "--critical", "behind=0"}, login...)...)
	postgres(2, "behind the primary", copyAt, "--critical", "lag=0")
	second.sql(t, "SELECT pg_wal_replay_resume()")
	until(t, 0, append([]string{"postgres", copyAt}, login...)...)

	var held []*os.Process
	for range 7 { // of ten, three are for the superuser
		held = append(held, started(t, first.command(t, "psql", "-h", first.dir, "-p", first.port, "-U", "postgres", "-c", "BEGIN", "-c", "SELECT pg_sleep(600)")))
	}
	until(t, 2, append([]string{"postgres", at}, login...)...)
	postgres(2, "connection slots", at)
	for _, h := range held {
		_ = h.Kill()
	}
	first.sql(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()")
	until(t, 0, append([]string{"postgres", at}, login...)...)

	if err := primary.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	postgres(2, "no answer within 1s", at, "--timeout", "1s")
	_ = primary.Signal(syscall.SIGCONT)
	_ = primary.Signal(syscall.SIGQUIT) // immediate shutdown: its children go with it
	until(t, 2, append([]string{"postgres", copyAt}, login...)...)
	postgres(2, "standby without a connection to its primary", copyAt)
	until(t, 2, append([]string{"postgres", at}, login...)...)
	postgres(2, "connection refused", at)
	second.must(t, "pg_ctl", "promote", "-w", "-D", second.dir)
	until(t, 0, append([]string{"postgres", copyAt, "--role", "primary"}, login...)...)
}

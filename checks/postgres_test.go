package checks

import (
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// A postgresFake answers a statement that contains a text by a row ("name=value
// name=value"), an error ("!CODE text"), or in a special way ("cut", "huge").
type postgresFake struct {
	login   string // "" or an error
	version string
	answers map[string]string
	tls     *issued
}

func pgMessage(kind byte, body string) string {
	return string(kind) + string(binary.BigEndian.AppendUint32(nil, uint32(len(body)+4))) + body
}

func pgError(text string) string {
	code, said, _ := strings.Cut(text[1:], " ")
	return pgMessage('E', "SFATAL\x00VFATAL\x00C"+code+"\x00M"+said+"\x00\x00")
}

func pgInt16(n int) string { return string(binary.BigEndian.AppendUint16(nil, uint16(n))) }
func pgInt32(n int) string { return string(binary.BigEndian.AppendUint32(nil, uint32(n))) }

func pgRow(text string) string {
	var names, values string
	fields := strings.Fields(text)
	for _, f := range fields {
		name, v, _ := strings.Cut(f, "=")
		names += name + "\x00" + pgInt32(0) + pgInt16(0) + pgInt32(25) + pgInt16(-1) + pgInt32(-1) + pgInt16(0)
		if v == "NULL" {
			values += pgInt32(-1)
		} else {
			values += pgInt32(len(v)) + v
		}
	}
	return pgMessage('T', pgInt16(len(fields))+names) + pgMessage('D', pgInt16(len(fields))+values) + pgMessage('C', "SELECT 1\x00") + pgMessage('Z', "I")
}

func readPG(c io.Reader, kind bool) (byte, string, error) {
	head := make([]byte, 5)
	if !kind {
		head = head[1:]
	}
	if _, err := io.ReadFull(c, head); err != nil {
		return 0, "", err
	}
	body := make([]byte, int(binary.BigEndian.Uint32(head[len(head)-4:])-4)&0xffff)
	_, err := io.ReadFull(c, body)
	return head[0], string(body), err
}

func (f postgresFake) serve(c net.Conn) {
	if f.tls != nil {
		if _, _, err := readPG(c, false); err != nil {
			return
		}
		io.WriteString(c, "S")
		secure := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{f.tls.Certificate}})
		if secure.Handshake() != nil {
			return
		}
		c = secure
	}
	_, start, err := readPG(c, false)
	if err != nil {
		return
	}
	if len(start) == 4 { // asks for TLS
		io.WriteString(c, "N")
		return
	}
	if f.login != "" {
		io.WriteString(c, pgError(f.login))
		return
	}
	io.WriteString(c, pgMessage('R', pgInt32(3)))
	if _, _, err := readPG(c, true); err != nil {
		return
	}
	io.WriteString(c, pgMessage('R', pgInt32(0))+pgMessage('S', "server_version\x00"+f.version+"\x00")+pgMessage('K', pgInt32(1)+pgInt32(2))+pgMessage('Z', "I"))
	for {
		kind, sql, err := readPG(c, true)
		if err != nil || kind != 'Q' {
			return
		}
		said := pgError("!42601 syntax " + sql)
		for part, text := range f.answers {
			switch {
			case !strings.Contains(sql, part):
			case text == "cut":
				return
			case text == "huge":
				said = strings.TrimSuffix(pgRow("a="+strings.Repeat("x", 60000)), pgMessage('C', "SELECT 1\x00")+pgMessage('Z', "I"))
				said = strings.Repeat(said, 20)
			case text == "garbage":
				said = "D\x7f\xff\xff\xff nonsense"
			case strings.HasPrefix(text, "!"):
				said = pgError(text)
			default:
				said = pgRow(text)
			}
		}
		io.WriteString(c, said)
	}
}

const pgGood = "uptime=7200.5 most=97 clients=5 transactions=1000 deadlocks=3 age=1000 idle=NULL"

// postgresServer is a primary with some answers replaced.
func postgresServer(replaced ...string) postgresFake {
	f := postgresFake{version: "15.18 (Debian 15.18-0+deb12u1)", answers: map[string]string{
		"pg_is_in_recovery": "standby=f " + pgGood, "pg_stat_replication": "standbys=0 behind=NULL",
	}}
	for i := 0; i < len(replaced); i += 2 {
		f.answers[replaced[i]] = replaced[i+1]
	}
	return f
}

func standby(answer string) postgresFake {
	return postgresServer("pg_is_in_recovery", "standby=t "+pgGood, "pg_stat_wal_receiver", answer)
}

func TestPostgres(t *testing.T) {
	soon := issue(t, "127.0.0.1", time.Now().Add(10*24*time.Hour))
	const server, primary = "pg_is_in_recovery", "pg_stat_replication"
	secret := secretFile(t, "s3cret")
	old := postgresServer(primary, "standbys=1 behind=0", "pg_current_xlog_location", "standbys=2 behind=7")
	old.version = "9.4.26"
	delete(old.answers, primary)
	oldStandby := postgresServer(server, "standby=t "+pgGood, "pg_last_xlog_replay_location", "receivers=NULL replayed=900 behind=0 paused=f")
	oldStandby.version = "9.4.26"
	secure := postgresServer()
	secure.tls = &soon
	trials := append(withForm(t, "%s", broken(nil)), []trial{
		{name: "primary", serve: postgresServer().serve, text: "PostgreSQL 15.18, primary, up 2 hours", metrics: "connections=5.2%;80;95 clients=5 transactions=1000c deadlocks=3c uptime=7201s wraparound=0%;50;75 standbys=0"},
		{name: "database", address: "%s/shop", serve: postgresServer().serve, options: opt("role", "primary")},
		{name: "standbys", serve: postgresServer(primary, "standbys=2 behind=4096").serve, options: opt("standbys", "2"), text: "2 standbys", metrics: "standbys=2 behind=4096B"},
		{name: "too few standbys", serve: postgresServer(primary, "standbys=1 behind=NULL").serve, options: opt("standbys", "2"), want: Critical, signal: "standbys", text: "1 standbys, wanted 2"},
		{name: "old primary", serve: old.serve, text: "PostgreSQL 9.4.26, primary", metrics: "standbys=2 behind=7B"},
		{name: "old standby", serve: oldStandby.serve, text: "9.4.26, standby", metrics: "lag=0s;30;300"},
		{name: "standby", serve: standby("receivers=1 replayed=5000 behind=0 paused=f").serve, options: opt("role", "standby"), text: "standby", metrics: "lag=0s;30;300 behind=0B"},
		{name: "standby lags", serve: standby("receivers=1 replayed=31.2345 behind=999 paused=f").serve, want: Warning, signal: "lag", text: "31 seconds behind the primary", metrics: "lag=31.235s;30;300"},
		{name: "standby alone", serve: standby("receivers=0 replayed=2 behind=0 paused=f").serve, want: Critical, signal: "receiver"},
		{name: "standby alone for long", serve: standby("receivers=0 replayed=400 behind=0 paused=f").serve, options: opt("archive", "true"), want: Critical, signal: "lag"},
		{name: "archive", serve: standby("receivers=0 replayed=20 behind=NULL paused=f").serve, options: opt("archive", "true"), metrics: "lag=20s;30;300"},
		{name: "paused", serve: standby("receivers=1 replayed=2 behind=0 paused=t").serve, want: Warning, signal: "paused"},
		{name: "no standby", serve: postgresServer().serve, options: opt("role", "standby"), want: Critical, signal: "role"},
		{name: "no primary", serve: standby("receivers=1 replayed=2 behind=0 paused=f").serve, options: opt("role", "primary"), want: Critical, signal: "role"},
		{name: "connections", serve: postgresServer(server, strings.Replace("standby=f "+pgGood, "clients=5", "clients=93", 1)).serve, want: Critical, signal: "connections", text: "93 of 97 connections are taken"},
		{name: "idle", serve: postgresServer(server, strings.Replace("standby=f "+pgGood, "idle=NULL", "idle=4000", 1)).serve, want: Critical, signal: "idle", text: "open for 66 minutes and does nothing"},
		{name: "wraparound", serve: postgresServer(server, strings.Replace("standby=f "+pgGood, "age=1000", "age=1200000000", 1)).serve, want: Warning, signal: "wraparound", text: "vacuum"},
		{name: "password needed", serve: postgresFake{login: "!28P01 password authentication failed"}.serve, text: "alive, password needed"},
		{name: "password refused", serve: postgresFake{login: "!28P01 password authentication failed"}.serve, options: opt("username", "joe", "password-file", secret), want: Critical, signal: "credentials"},
		{name: "password good", serve: postgresServer().serve, options: opt("username", "joe", "password-file", secret)},
		{name: "no such database", serve: postgresFake{login: "!3D000 database does not exist"}.serve, want: Critical, signal: "database"},
		{name: "full", serve: postgresFake{login: "!53300 too many clients already"}.serve, want: Critical, signal: "full"},
		{name: "starting", serve: postgresFake{login: "!57P03 the database system is starting up"}.serve, want: Warning, signal: "starting"},
		{name: "error", serve: postgresServer(server, "!58030 could not read").serve, want: Critical, signal: "error", text: "error 58030"},
		{name: "HTTP", serve: func(c net.Conn) { c.Read(make([]byte, 500)); reply(c, 400, "x") }, want: Critical, signal: "protocol", text: "no PostgreSQL protocol"},
		{name: "cut in an answer", serve: postgresServer(server, "cut").serve, want: Critical, signal: "cut"},
		{name: "damaged answer", serve: postgresServer(server, "garbage").serve, want: Critical, signal: "protocol"},
		{name: "huge", serve: postgresServer(server, "huge").serve, want: Critical, signal: "protocol", text: "larger than 512 KiB"},
		{name: "silent behind the login", serve: func(c net.Conn) { readPG(c, false); io.WriteString(c, pgMessage('R', pgInt32(0))); silent(c) }, options: opt("timeout", "200ms"), want: Critical, signal: "timeout"},
		{name: "silent in an answer", serve: func(c net.Conn) {
			readPG(c, false)
			io.WriteString(c, pgMessage('R', pgInt32(0))+pgMessage('Z', "I"))
			silent(c)
		}, options: opt("timeout", "200ms"), want: Critical, signal: "timeout"},
		{name: "slow", serve: func(c net.Conn) {
			for {
				if _, err := io.WriteString(c, pgMessage('N', "SNOTICE\x00\x00")); err != nil {
					return
				}
				time.Sleep(10 * time.Millisecond) // a slow server, not a synchronisation
			}
		}, options: opt("timeout", "300ms"), want: Critical, signal: "timeout"},
		{name: "tls", serve: secure.serve, options: opt("tls", "true", "ca-file", soon.caFile), want: Warning, signal: "certificate_days"},
		{name: "tls unknown", serve: secure.serve, options: opt("tls", "true"), want: Critical, signal: "certificate", text: "unknown authority"},
		{name: "no tls", serve: postgresServer().serve, options: opt("tls", "true"), want: Critical, signal: "certificate", text: "no TLS"},
		{name: "a URL", address: "postgres://joe:s3cret@host/db", want: Unknown, signal: "options", text: "is a URL"},
		{name: "bad number", address: "host", options: opt("standbys", "x"), want: Unknown, signal: "options", text: "--standbys"},
	}...)
	testKind(t, "postgres", "%s", trials)
}

// TestPostgresEnvironment: what PGHOST and others say is for other programs.
func TestPostgresEnvironment(t *testing.T) {
	for name, text := range map[string]string{"PGHOST": "192.0.2.1,192.0.2.2", "PGPORT": "1,2", "PGSSLMODE": "verify-full", "PGSSLROOTCERT": "/nope", "PGPASSFILE": "/nope", "PGTARGETSESSIONATTRS": "read-write", "PGAPPNAME": "x", "PGCONNECT_TIMEOUT": "x"} {
		t.Setenv(name, text)
	}
	if r := (trial{address: "%s", serve: postgresServer().serve}).run(t, "postgres", "%s"); r.State != OK {
		t.Errorf("%s: %s", r.State, r.Text)
	}
}

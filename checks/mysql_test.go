package checks

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// A mysqlFake answers statements by the first of its texts that begins them.
// An answer is a table: names of columns, then rows, lines and tabs apart; or an
// error as "!1045 text".
type mysqlFake struct {
	login   string // "" or an error
	answers map[string]string
	tls     *issued
}

func mysqlPacket(seq byte, body []byte) []byte {
	n := len(body)
	return append([]byte{byte(n), byte(n >> 8), byte(n >> 16), seq}, body...)
}

func mysqlError(text string) []byte {
	number, said, _ := strings.Cut(text[1:], " ")
	n := uint16(0)
	for _, c := range number {
		n = n*10 + uint16(c-'0')
	}
	return append(append([]byte{0xff, byte(n), byte(n >> 8)}, "#HY000"...), said...)
}

func mysqlText(s string) []byte {
	if s == "NULL" {
		return []byte{0xfb}
	}
	return append([]byte{0xfc, byte(len(s)), byte(len(s) >> 8)}, s...)
}

// table is a whole answer to a statement.
func mysqlTable(text string) []byte {
	lines := strings.Split(text, "\n")
	names := strings.Split(lines[0], "\t")
	seq := byte(1)
	var out []byte
	add := func(b []byte) { out = append(out, mysqlPacket(seq, b)...); seq++ }
	end := []byte{0xfe, 0, 0, 2, 0}
	add([]byte{byte(len(names))})
	for _, n := range names {
		var b []byte
		for _, s := range []string{"def", "", "", "", n, n} {
			b = append(b, mysqlText(s)...)
		}
		add(append(b, 0x0c, 33, 0, 255, 0, 0, 0, 253, 0, 0, 0, 0, 0))
	}
	add(end)
	for _, l := range lines[1:] {
		var b []byte
		for s := range strings.SplitSeq(l, "\t") {
			b = append(b, mysqlText(s)...)
		}
		add(b)
	}
	add(end)
	return out
}

const mysqlVersion, mariaVersion = "8.0.36", "5.5.5-10.11.6-MariaDB-0+deb12u1"

func mysqlGreeting(flags uint32) []byte {
	b := append([]byte{10}, mysqlVersion+"\x00"...)
	b = append(b, 1, 0, 0, 0)
	b = append(b, "12345678\x00"...)
	b = append(b, byte(flags), byte(flags>>8), 33, 2, 0, byte(flags>>16), byte(flags>>24), 21)
	b = append(b, make([]byte, 10)...)
	b = append(b, "123456789012\x00mysql_native_password\x00"...)
	return mysqlPacket(0, b)
}

func (f mysqlFake) serve(c net.Conn) {
	flags := uint32(0x00000200 | 0x00008000 | 0x00080000 | 0x8)
	if f.tls != nil {
		flags |= 0x800
	}
	c.Write(mysqlGreeting(flags))
	seq, _, err := readMySQL(c)
	if err != nil {
		return
	}
	if f.tls != nil {
		secure := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{f.tls.Certificate}})
		if secure.Handshake() != nil {
			return
		}
		c = secure
		if seq, _, err = readMySQL(c); err != nil {
			return
		}
	}
	if f.login != "" {
		c.Write(mysqlPacket(seq+1, mysqlError(f.login)))
		return
	}
	c.Write(mysqlPacket(seq+1, []byte{0, 0, 0, 2, 0, 0, 0}))
	for {
		_, body, err := readMySQL(c)
		if err != nil || body[0] != 3 {
			return
		}
		f.answer(c, string(body[1:]))
	}
}

func (f mysqlFake) answer(c net.Conn, statement string) {
	for begin, text := range f.answers {
		switch {
		case !strings.HasPrefix(statement, begin):
		case text == "cut":
			c.Close()
			return
		case text == "raw":
			c.Write([]byte("\x05\x00\x00\x09nope!"))
			return
		case text == "huge":
			c.Write(mysqlTable("1\n" + strings.TrimSuffix(strings.Repeat(strings.Repeat("x", 60000)+"\n", 20), "\n")))
			return
		case strings.HasPrefix(text, "!"):
			c.Write(mysqlPacket(1, mysqlError(text)))
			return
		default:
			c.Write(mysqlTable(text))
			return
		}
	}
	c.Write(mysqlPacket(1, mysqlError("!1064 syntax: "+statement)))
}

func readMySQL(c net.Conn) (seq byte, body []byte, err error) {
	head := make([]byte, 4)
	if _, err := io.ReadFull(c, head); err != nil {
		return 0, nil, err
	}
	body = make([]byte, binary.LittleEndian.Uint32(append(head[:3:3], 0)))
	_, err = io.ReadFull(c, body)
	return head[3], append(body, 0), err
}

// server is a good one, with some answers replaced: beginning, answer, …
func mysqlServer(replaced ...string) mysqlFake {
	f := mysqlFake{answers: map[string]string{
		"SELECT 1":              "1\tVERSION()\n1\t" + mysqlVersion,
		"SHOW GLOBAL STATUS":    "Variable_name\tValue\nThreads_connected\t5\nThreads_running\t2\nQuestions\t1000\nSlow_queries\t3\nUptime\t86400",
		"SHOW GLOBAL VARIABLES": "Variable_name\tValue\nmax_connections\t100\nread_only\tOFF",
		"SHOW REPLICA STATUS":   "Source_Host",
	}}
	for i := 0; i < len(replaced); i += 2 {
		f.answers[replaced[i]] = replaced[i+1]
	}
	return f
}

func mysqlReplica(io, sql, behind string) string {
	return "Source_Host\tSource_Port\tReplica_IO_Running\tReplica_SQL_Running\tSeconds_Behind_Source\tLast_IO_Error\tLast_SQL_Error\nm\t3306\t" + io + "\t" + sql + "\t" + behind + "\tno route\tduplicate key"
}

func TestMySQL(t *testing.T) {
	soon := issue(t, "127.0.0.1", time.Now().Add(10*24*time.Hour))
	const replica, variables, status = "SHOW REPLICA STATUS", "SHOW GLOBAL VARIABLES", "SHOW GLOBAL STATUS"
	readOnly := "Variable_name\tValue\nmax_connections\t100\nread_only\tON"
	galera := func(cluster, ready string) string {
		return "Variable_name\tValue\nThreads_connected\t5\nUptime\t60\nwsrep_cluster_status\t" + cluster + "\nwsrep_ready\t" + ready + "\nwsrep_cluster_size\t3\nwsrep_local_state_comment\tSynced"
	}
	denied := mysqlFake{login: "!1045 Access denied for user"}
	secret := secretFile(t, "s3cret")
	secure := mysqlServer()
	secure.tls = &soon
	trials := append(withForm(t, "%s", broken(nil)), []trial{
		{name: "good", serve: mysqlServer().serve, text: "MySQL 8.0.36, up 24 hours", metrics: "connections=5%;80;95 clients=5 running=2 queries=1000c slow=3c uptime=86400s"},
		{name: "database", address: "%s/shop", serve: mysqlServer().serve, text: "MySQL"},
		{name: "MariaDB", serve: mysqlServer("SELECT 1", "1\tVERSION()\n1\t"+mariaVersion[6:], "SHOW ALL SLAVES STATUS", "Connection_name\tMaster_Host\tMaster_Port\tSlave_IO_Running\tSlave_SQL_Running\tSeconds_Behind_Master\nx\tm\t3306\tYes\tYes\t4\ny\tn\t3306\tYes\tYes\t9").serve, text: "MariaDB 10.11.6, up 24 hours, replica of m:3306 (x), replica of n:3306 (y)", metrics: "lag=9s;30;300"},
		{name: "old", serve: mysqlServer("SELECT 1", "1\tVERSION()\n1\t5.6.10-log", "SHOW SLAVE STATUS", "Master_Host").serve, text: "MySQL 5.6.10"},
		{name: "replica", serve: mysqlServer(replica, mysqlReplica("Yes", "Yes", "0"), variables, readOnly).serve, options: opt("role", "replica"), text: "replica of m:3306", metrics: "lag=0s;30;300"},
		{name: "lag", serve: mysqlServer(replica, mysqlReplica("Yes", "Yes", "301")).serve, want: Critical, signal: "lag", text: "5 minutes behind the master"},
		{name: "does not read", serve: mysqlServer(replica, mysqlReplica("Connecting", "Yes", "NULL")).serve, want: Critical, signal: "replication", text: `does not read from it (Connecting): "no route"`},
		{name: "does not apply", serve: mysqlServer(replica, mysqlReplica("Yes", "No", "NULL")).serve, want: Critical, signal: "replication", text: `"duplicate key"`},
		{name: "lag unknown", serve: mysqlServer(replica, mysqlReplica("Yes", "Yes", "NULL")).serve, want: Critical, signal: "replication", text: "does not know how far"},
		{name: "may not ask for replication", serve: mysqlServer(replica, "!1227 you need REPLICATION CLIENT", variables, readOnly).serve, text: "replication not read"},
		{name: "may not ask, but must", serve: mysqlServer(replica, "!1227 you need REPLICATION CLIENT").serve, options: opt("role", "master"), want: Unknown, signal: "role"},
		{name: "master", serve: mysqlServer().serve, options: opt("role", "master")},
		{name: "master is read-only", serve: mysqlServer(variables, readOnly).serve, options: opt("role", "master"), want: Critical, signal: "read_only"},
		{name: "read-only without role", serve: mysqlServer(variables, readOnly).serve, want: Warning, signal: "read_only"},
		{name: "no replica", serve: mysqlServer().serve, options: opt("role", "replica"), want: Critical, signal: "role"},
		{name: "no master", serve: mysqlServer(replica, mysqlReplica("Yes", "Yes", "0")).serve, options: opt("role", "master"), want: Critical, signal: "role"},
		{name: "heartbeat", serve: mysqlServer(replica, mysqlReplica("Yes", "Yes", "0"), "SELECT TIMESTAMPDIFF(MICROSECOND, MAX(ts), UTC_TIMESTAMP(6)) AS age FROM `a`.`b`", "age\n31500000").serve, options: opt("heartbeat", "a.b"), want: Warning, signal: "lag", metrics: "lag=31.5s;30;300"},
		{name: "no heartbeat", serve: mysqlServer("SELECT TIMESTAMPDIFF", "age\nNULL").serve, options: opt("heartbeat", "a.b"), want: Critical, signal: "heartbeat"},
		{name: "no heartbeat table", serve: mysqlServer("SELECT TIMESTAMPDIFF", "!1146 no such table").serve, options: opt("heartbeat", "a.b"), want: Critical, signal: "heartbeat", text: "no such table"},
		{name: "connections", serve: mysqlServer(variables, "Variable_name\tValue\nmax_connections\t6").serve, want: Warning, signal: "connections", text: "5 of 6 connections are taken"},
		{name: "galera", serve: mysqlServer(status, galera("Primary", "ON")).serve, text: "Galera synced of 3 nodes", metrics: "nodes=3"},
		{name: "galera apart", serve: mysqlServer(status, galera("non-Primary", "ON")).serve, want: Critical, signal: "cluster"},
		{name: "galera not ready", serve: mysqlServer(status, galera("Primary", "OFF")).serve, want: Critical, signal: "not_ready"},
		{name: "password needed", serve: denied.serve, text: "alive, password needed"},
		{name: "host not allowed", serve: func(c net.Conn) { c.Write(mysqlPacket(0, mysqlError("!1130 Host is not allowed"))) }, text: "alive, password needed"},
		{name: "password refused", serve: denied.serve, options: opt("username", "joe", "password-file", secret), want: Critical, signal: "credentials", text: "Access denied"},
		{name: "password good", serve: mysqlServer().serve, options: opt("username", "joe", "password-file", secret)},
		{name: "no such database", address: "%s/shop", serve: mysqlFake{login: "!1049 Unknown database"}.serve, want: Critical, signal: "database"},
		{name: "full", serve: func(c net.Conn) { c.Write(mysqlPacket(0, mysqlError("!1040 Too many connections"))) }, want: Critical, signal: "full"},
		{name: "blocked", serve: func(c net.Conn) { c.Write(mysqlPacket(0, mysqlError("!1129 Host is blocked"))) }, want: Critical, signal: "blocked"},
		{name: "error", serve: mysqlServer("SELECT 1", "!1820 expired").serve, want: Critical, signal: "error", text: "error 1820"},
		{name: "other answer", serve: mysqlServer("SELECT 1", "1\tVERSION()\n2\tx").serve, want: Critical, signal: "protocol"},
		{name: "HTTP", serve: answer(400, "x"), options: opt("timeout", "200ms"), want: Critical, signal: "timeout"},
		{name: "SSH", serve: func(c net.Conn) { io.WriteString(c, "SSH-2.0-OpenSSH\r\n"); silent(c) }, want: Critical, signal: "protocol", text: "no MySQL protocol"},
		{name: "a greeting that is too long", serve: func(c net.Conn) { io.WriteString(c, "\xff\xff\xfe\x00\x0a8.0"); silent(c) }, options: opt("timeout", "2s"), want: Critical, signal: "protocol"},
		{name: "half a greeting", serve: func(c net.Conn) { io.WriteString(c, "\x50\x00") }, want: Critical, signal: "cut"},
		{name: "cut behind the greeting", serve: func(c net.Conn) { c.Write(mysqlGreeting(0x88200)); c.Read(make([]byte, 500)) }, want: Critical, signal: "cut"},
		{name: "silent behind the greeting", serve: func(c net.Conn) { c.Write(mysqlGreeting(0x88200)); silent(c) }, options: opt("timeout", "200ms"), want: Critical, signal: "timeout"},
		{name: "cut in a statement", serve: mysqlServer("SELECT 1", "cut").serve, want: Critical, signal: "cut"},
		{name: "damaged answer", serve: mysqlServer("SELECT 1", "raw").serve, want: Critical, signal: "protocol", text: "MySQL protocol"},
		{name: "huge", serve: mysqlServer("SELECT 1", "huge").serve, want: Critical, signal: "protocol", text: "larger than 512 KiB"},
		{name: "tls", serve: secure.serve, options: opt("tls", "true", "ca-file", soon.caFile), want: Warning, signal: "certificate_days"},
		{name: "tls unknown", serve: secure.serve, options: opt("tls", "true"), want: Critical, signal: "certificate", text: "unknown authority"},
		{name: "no tls", serve: mysqlServer().serve, options: opt("tls", "true"), want: Critical, signal: "certificate", text: "no TLS"},
		{name: "slow", serve: func(c net.Conn) {
			for _, b := range mysqlGreeting(0x88200) {
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(10 * time.Millisecond) // a slow server, not a synchronisation
			}
			silent(c)
		}, options: opt("timeout", "300ms"), want: Critical, signal: "timeout"},
		{name: "a password in the target", address: "joe:s3cret@host/db", want: Unknown, signal: "options", text: "ps"},
		{name: "bad database", address: "host/a b", want: Unknown, signal: "options", text: "TARGET"},
		{name: "bad role", address: "host", options: opt("role", "slave"), want: Unknown, signal: "options", text: "--role"},
		{name: "bad table", address: "host", options: opt("heartbeat", "a`b.c"), want: Unknown, signal: "options", text: "--heartbeat"},
	}...)
	for i := range trials { // the server speaks first
		switch trials[i].name {
		case "cut":
			trials[i].serve = func(net.Conn) {}
		case "garbage":
			trials[i].serve = func(c net.Conn) { io.WriteString(c, "\x00\xfe\xff|\x1b[2J garbage\r\n"); silent(c) }
		}
	}
	testKind(t, "mysql", "%s", trials)
}

func TestVersionNumber(t *testing.T) {
	if !(versionNumber("8.0.22") >= 8.0022 && versionNumber("8.0.21-log") < 8.0022 && versionNumber("10.11.6-MariaDB") > 10.11 && versionNumber("9.4") < 9.06 && versionNumber("") == 0) {
		t.Error(versionNumber("8.0.22"), versionNumber("8.0.21-log"), versionNumber("10.11.6-MariaDB"))
	}
}

// FuzzMySQL: whatever a server says first, the check ends, and says something.
func FuzzMySQL(f *testing.F) {
	f.Add(mysqlGreeting(0x88200))
	f.Add(mysqlPacket(0, mysqlError("!1040 x")))
	f.Add([]byte("\x00\xfe\xff|"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := pipeSession(b)
		err := s.peekMySQL()
		if err == nil && (len(b) < 5 || bytes.Contains(b[:4], []byte("|"))) {
			t.Errorf("%q is a greeting", b)
		}
	})
}

package checks

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"
)

// redis answers commands by their first word: a whole answer in its protocol.
func redis(answers map[string]string) func(net.Conn) {
	return func(c net.Conn) {
		in := bufio.NewReader(c)
		for {
			head, err := in.ReadString('\n')
			if err != nil || head[0] != '*' {
				return
			}
			n, _ := strconv.Atoi(strings.TrimSpace(head[1:]))
			var words []string
			for range n {
				text, err := readRESP(in, 1000)
				if err != nil {
					return
				}
				words = append(words, text)
			}
			say, ok := answers[strings.Join(words, " ")]
			if !ok {
				say = answers[words[0]]
			}
			io.WriteString(c, say)
		}
	}
}

func bulk(s string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(s), s) }

// info is a redis whose INFO has these lines besides the usual ones.
func info(lines ...string) func(net.Conn) {
	all := append([]string{"# Server", "redis_version:7.0.15", "uptime_in_seconds:86400", "role:master", "used_memory:1000", "connected_clients:5", "maxclients:100", "rejected_connections:3"}, lines...)
	return redis(map[string]string{"PING": "+PONG\r\n", "INFO": bulk(strings.Join(all, "\r\n"))})
}

func TestRedis(t *testing.T) {
	replica := []string{"role:slave", "master_host:m", "master_port:6379"}
	soon := issue(t, "127.0.0.1", time.Now().Add(10*24*time.Hour))
	locked := redis(map[string]string{"AUTH s3cret": "+OK\r\n", "AUTH joe s3cret": "+OK\r\n", "AUTH": "-WRONGPASS invalid username-password pair\r\n", "PING": "+PONG\r\n", "INFO": bulk("role:master")})
	trials := append(withForm(t, "%s", broken(nil)), []trial{
		{name: "good", serve: info(), text: "PONG, Redis 7.0.15, master, up 24 hours", metrics: "connections=5%;80;95 rejected=3c used_memory=1000B"},
		{name: "replicas", serve: info("connected_slaves:2", "master_repl_offset:1000", "slave0:ip=a,port=1,state=online,offset=990,lag=0", "slave1:ip=b,port=1,state=online,offset=700,lag=1"), metrics: "replicas=2 behind=300B"},
		{name: "replica", serve: info(append(replica, "master_link_status:up", "master_last_io_seconds_ago:2")...), text: "slave", metrics: "lag=2s;30;300"},
		{name: "replica lags", serve: info(append(replica, "master_link_status:up", "master_last_io_seconds_ago:31")...), want: Warning, signal: "lag"},
		{name: "link down", serve: info(append(replica, "master_link_status:down", "master_link_down_since_seconds:200", "master_last_io_seconds_ago:-1")...), want: Critical, signal: "master_link", text: "replica of m:6379, without a connection to it for 3 minutes"},
		{name: "first copy", serve: info(append(replica, "master_link_status:down", "master_sync_in_progress:1")...), want: Warning, signal: "master_link"},
		{name: "loading in INFO", serve: info("loading:1", "loading_loaded_perc:12.5"), want: Warning, signal: "loading"},
		{name: "loading at PING", serve: redis(map[string]string{"PING": "-LOADING Redis is loading the dataset in memory\r\n"}), want: Warning, signal: "loading"},
		{name: "master down", serve: redis(map[string]string{"PING": "-MASTERDOWN Link with MASTER is down\r\n"}), want: Critical, signal: "master_link"},
		{name: "snapshot failed", serve: info("rdb_last_bgsave_status:err"), want: Warning, signal: "save"},
		{name: "append failed", serve: info("aof_last_write_status:err"), want: Critical, signal: "append"},
		{name: "memory", serve: info("maxmemory:1050"), want: Warning, signal: "memory", text: "memory is 95.2%"},
		{name: "memory full", serve: info("maxmemory:1001"), want: Critical, signal: "memory"},
		{name: "clients", serve: info("connected_clients:96"), want: Critical, signal: "connections"},
		{name: "password needed", serve: redis(map[string]string{"PING": "-NOAUTH Authentication required.\r\n"}), text: "alive, password needed"},
		{name: "password", serve: locked, options: opt("password-file", secretFile(t, "s3cret")), text: "PONG"},
		{name: "name and password", serve: locked, options: opt("username", "joe", "password-file", secretFile(t, "s3cret"))},
		{name: "password refused", serve: locked, options: opt("password-file", secretFile(t, "other")), want: Critical, signal: "credentials"},
		{name: "password without need", serve: redis(map[string]string{"AUTH": "-ERR Client sent AUTH, but no password is set\r\n", "PING": "+PONG\r\n", "INFO": bulk("")}), options: opt("password-file", secretFile(t, "x"))},
		{name: "INFO not allowed", serve: redis(map[string]string{"PING": "+PONG\r\n", "INFO": "-NOPERM no\r\n"}), text: "may not call INFO"},
		{name: "INFO fails", serve: redis(map[string]string{"PING": "+PONG\r\n", "INFO": "-ERR no\r\n"}), want: Critical, signal: "error"},
		{name: "other error", serve: redis(map[string]string{"PING": "-ERR unknown command\r\n"}), want: Critical, signal: "error"},
		{name: "HTTP", serve: func(c net.Conn) { c.Read(make([]byte, 100)); reply(c, 400, "x") }, want: Critical, signal: "protocol", text: "no Redis protocol"},
		{name: "huge", serve: redis(map[string]string{"PING": "+PONG\r\n", "INFO": "$2000000000\r\nx"}), want: Critical, signal: "protocol", text: "larger than 256 KiB"},
		{name: "endless line", serve: func(c net.Conn) { c.Write(bytes.Repeat([]byte("+"), 1<<20)) }, want: Critical, signal: "protocol"},
		{name: "cut in INFO", serve: func(c net.Conn) { io.WriteString(c, "+PONG\r\n$500\r\nredis"); c.Read(make([]byte, 100)) }, want: Critical, signal: "cut"},
		{name: "condition", serve: info("tenant:x"), options: opt("expect", "[BODY] == pat(*tenant:y*)"), want: Critical, signal: "expect"},
		{name: "tls", serve: overTLS(soon, info()), options: opt("tls", "true", "ca-file", soon.caFile), want: Warning, signal: "certificate_days"},
		{name: "tls unknown", serve: overTLS(soon, info()), options: opt("tls", "true"), want: Critical, signal: "certificate"},
		{name: "a URL", address: "redis://:s3cret@host", want: Unknown, signal: "options", text: "is a URL"},
		{name: "a password", address: "s3cret@host", want: Unknown, signal: "options", text: "ps"},
	}...)
	testKind(t, "redis", "%s", trials)
	if r := (trial{address: "redis://:s3cret@host"}).run(t, "redis", ""); strings.Contains(r.Text, "s3cret") {
		t.Error("a password is shown:", r.Text)
	}
}

// FuzzRESP: whatever a server says, reading ends, and nothing is larger than
// what was allowed.
func FuzzRESP(f *testing.F) {
	for _, s := range []string{"+PONG\r\n", "-ERR x\r\n", "$5\r\nhello\r\n", "$-1\r\n", "$5\r\nhel", ":12\r\n", "*1\r\n", "\r\n", "$99999999999999999999\r\n", "=3\r\ntxt\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		text, err := readRESP(bufio.NewReader(bytes.NewReader(b)), 1000)
		if err == nil && len(text) > 4096 {
			t.Errorf("%d bytes", len(text))
		}
		if again, err := readRESP(bufio.NewReader(strings.NewReader(bulk(string(b)))), len(b)); err != nil || again != string(b) {
			t.Errorf("%q became %q, %v", b, again, err)
		}
	})
}

package checks

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// codisPage is /proxy of a proxy whose slots go to two backends.
func codisPage(slots int, more string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `{"version":"3.2","model":{"token":"T1","product_name":"shop"},"stats":{"online":true,"closed":false,
		"ops":{"total":1000,"fails":3,"redis":{"errors":2},"qps":50},"sessions":{"total":90,"alive":7}%s},"slots":[`, more)
	for i := range slots {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"id":%d,"backend_addr":"b%d:6379"%s}`, i, i%2+1, map[bool]string{true: `,"migrate_from":"b9:6379"`}[i == 5])
	}
	return b.String() + "]}"
}

// topomPage is /topom of the dashboard of that proxy.
func topomPage(old, now string) string {
	var b strings.Builder
	b.WriteString(`{"stats":{"closed":false,"group":{"models":[{"id":1,"servers":[{"server":"b1:6379"},{"server":"b3:6379"}],"out_of_sync":false},{"id":2,"servers":[{"server":"b2:6379"}]}]},
		"proxy":{"models":[{"token":"T1"},{"token":"T2"}]},"slot_action":{"disabled":false},"slots":[`)
	for i := range 1024 {
		if i > 0 {
			b.WriteByte(',')
		}
		action := ""
		if i == 5 {
			action = `"state":"migrating","target_id":2`
		}
		fmt.Fprintf(&b, `{"id":%d,"group_id":%d,"action":{%s}}`, i, i%2+1, action)
	}
	return strings.ReplaceAll(b.String()+"]}}", old, now)
}

func TestCodis(t *testing.T) {
	admin := func(page string) string {
		_, port, _ := net.SplitHostPort(serve(t, site(map[string]string{"/proxy": page})))
		return port
	}
	topom := func(old, now string) string {
		return "http://" + serve(t, site(map[string]string{"/topom": topomPage(old, now)}))
	}
	good := admin(codisPage(1024, ""))
	closed := strings.TrimPrefix(closedPort(t), "127.0.0.1:")
	pong := map[string]string{"PING": "+PONG\r\n", "AUTH s3cret": "+OK\r\n", "AUTH": "-ERR invalid password\r\n"}
	with := func(command, answer string) func(net.Conn) {
		m := map[string]string{command: answer}
		for k, v := range pong {
			if _, ok := m[k]; !ok {
				m[k] = v
			}
		}
		return redis(m)
	}
	secret := secretFile(t, "s3cret")
	both := func(dashboard string) map[string][]string { return opt("admin-port", good, "dashboard", dashboard) }
	trials := append(withForm(t, "%s", broken(nil)), []trial{
		{name: "good", serve: redis(pong), options: opt("admin-port", good), text: "PONG, proxy of shop, 7 clients, 1024 slots", metrics: "sessions=7 qps=50 ops=1000c fails=3c redis_errors=2c slots=1024 migrating=1 backends=2"},
		{name: "PING alone", serve: redis(pong), options: opt("admin-port", "off"), text: "PONG"},
		{name: "no admin", serve: redis(pong), options: opt("admin-port", closed), want: Warning, signal: "admin", text: "refused"},
		{name: "another admin", serve: redis(pong), options: opt("admin-port", admin("{}")), want: Warning, signal: "admin", text: "not that of a proxy"},
		{name: "offline", serve: redis(pong), options: opt("admin-port", admin(codisPage(0, `,"online":false`))), want: Critical, signal: "offline"},
		{name: "closed", serve: redis(pong), options: opt("admin-port", admin(codisPage(1024, `,"closed":true`))), want: Critical, signal: "offline"},
		{name: "slots", serve: redis(pong), options: opt("admin-port", admin(codisPage(1000, ""))), want: Critical, signal: "slots", text: "24 of 1024 slots have no backend"},
		{name: "backend", serve: with("PING b2:6379", "-ERR handle response, backend conn reset\r\n"), options: opt("admin-port", good), want: Critical, signal: "backend", text: `1 of 2 backends do not answer: b2:6379 ("ERR handle`},
		{name: "cut at a backend", serve: func(c net.Conn) {
			c.Read(make([]byte, 100))
			io.WriteString(c, "+PONG\r\n")
			c.Read(make([]byte, 100))
		}, options: opt("admin-port", good), want: Critical, signal: "cut", text: "closed the connection"},
		{name: "dashboard agrees", serve: redis(pong), options: both(topom("", "")), text: "1024 slots"},
		{name: "no dashboard", serve: redis(pong), options: both("http://127.0.0.1:" + closed), want: Warning, signal: "dashboard", text: "refused"},
		{name: "another dashboard", serve: redis(pong), options: both("http://" + serve(t, site(map[string]string{"/topom": "{}"}))), want: Warning, signal: "dashboard", text: "not that of a dashboard"},
		{name: "unknown proxy", serve: redis(pong), options: both(topom(`"T1"`, `"T9"`)), want: Critical, signal: "unknown_proxy"},
		{name: "stale", serve: redis(pong), options: both(topom(`"b2:6379"`, `"b4:6379"`)), want: Critical, signal: "stale", text: "sends 511 slots elsewhere"},
		{name: "empty group", serve: redis(pong), options: both(topom(`[{"server":"b2:6379"}]`, `[]`)), want: Critical, signal: "group", text: "group 2"},
		{name: "out of sync", serve: redis(pong), options: both(topom(`"out_of_sync":false`, `"out_of_sync":true`)), want: Warning, signal: "out_of_sync", text: "group 1"},
		{name: "migration off", serve: redis(pong), options: both(topom(`"disabled":false`, `"disabled":true`)), want: Warning, signal: "migration", text: "1 slots wait"},
		{name: "error", serve: with("PING", "-ERR handle request, slot is not ready, may be offline\r\n"), options: opt("admin-port", "off"), want: Critical, signal: "error"},
		{name: "password needed", serve: with("PING", "-NOAUTH Authentication required\r\n"), text: "alive, password needed"},
		{name: "password", serve: redis(pong), options: opt("password-file", secret, "admin-port", "off"), text: "PONG"},
		{name: "password refused", serve: redis(pong), options: opt("password-file", secretFile(t, "other")), want: Critical, signal: "credentials"},
		{name: "HTTP", serve: func(c net.Conn) { c.Read(make([]byte, 100)); reply(c, 400, "x") }, want: Critical, signal: "protocol"},
		{name: "huge", serve: func(c net.Conn) { c.Write(bytes.Repeat([]byte("+"), 1<<20)) }, want: Critical, signal: "protocol"},
		{name: "slow", serve: func(c net.Conn) {
			for range 100 {
				if _, err := io.WriteString(c, "+"); err != nil {
					return
				}
				time.Sleep(10 * time.Millisecond) // a slow server, not a synchronisation
			}
		}, options: opt("timeout", "300ms"), want: Critical, signal: "timeout"},
		{name: "bad port", address: "host", options: opt("admin-port", "x"), want: Unknown, signal: "options", text: "--admin-port"},
		{name: "bad dashboard", address: "host", options: opt("dashboard", "ftp://x"), want: Unknown, signal: "options", text: "--dashboard"},
	}...)
	testKind(t, "codis", "%s", trials)
}

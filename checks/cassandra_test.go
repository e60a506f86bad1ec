package checks

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// A cqlFake answers statements that contain a text by rows ("name=value
// name=value", lines apart), an error ("!CODE-IN-HEX text") or specially ("cut",
// "raw …").
type cqlFake struct {
	version byte
	login   string // "" for none, else the token that is good
	start   string // an error
	answers map[string]string
}

func (f cqlFake) serve(c net.Conn) {
	for {
		var head [9]byte
		if _, err := io.ReadFull(c, head[:]); err != nil || head[0] > 6 {
			return
		}
		body := make([]byte, binary.BigEndian.Uint32(head[5:])&0xffff)
		if _, err := io.ReadFull(c, body); err != nil {
			return
		}
		opcode, answer := f.answer(head[0], head[4], body)
		if answer == nil {
			return
		}
		c.Write(append([]byte{f.version | 0x80, 0, 0, 0, opcode}, append(binary.BigEndian.AppendUint32(nil, uint32(len(answer))), answer...)...))
	}
}

func cqlFault(text string) (byte, []byte) {
	code, said, _ := strings.Cut(text[1:], " ")
	n := int32(0)
	for _, c := range code {
		n = n<<4 | int32(strings.IndexRune("0123456789abcdef", c))
	}
	return cqlError, append(binary.BigEndian.AppendUint32(nil, uint32(n)), cqlText(said)...)
}

func (f cqlFake) answer(version, opcode byte, body []byte) (byte, []byte) {
	switch {
	case version != f.version:
		return cqlFault("!a Invalid or unsupported protocol version")
	case opcode == cqlOptions:
		return cqlSupported, []byte{0, 0}
	case f.start != "":
		return cqlFault(f.start)
	case opcode == cqlStartup && f.login != "":
		return cqlAuthenticate, cqlText("org.apache.cassandra.auth.PasswordAuthenticator")
	case opcode == cqlStartup:
		return cqlReady, []byte{}
	case opcode == cqlAuthResponse && string(body[4:]) == f.login:
		return cqlAuthSuccess, []byte{0xff, 0xff, 0xff, 0xff}
	case opcode == cqlAuthResponse:
		return cqlFault("!100 Provided username and/or password are incorrect")
	}
	for part, text := range f.answers {
		switch {
		case !bytes.Contains(body, []byte(part)):
		case text == "cut":
			return 0, nil
		case strings.HasPrefix(text, "raw "):
			return cqlResult, []byte(text[4:])
		case strings.HasPrefix(text, "!"):
			return cqlFault(text)
		default:
			return cqlResult, cqlTable(text)
		}
	}
	return cqlFault("!2200 unconfigured table")
}

func cqlTable(text string) []byte {
	lines := strings.Split(text, "\n")
	int32s := func(n int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(n)) }
	var out []byte
	add := func(b ...[]byte) { out = append(out, bytes.Join(b, nil)...) }
	names := strings.Fields(lines[0])
	add(int32s(2), int32s(1), int32s(len(names)), cqlText("system"), cqlText("t"))
	for i, n := range names {
		kind := []byte{0, 13}
		if i == 0 { // a hard one: map<text, list<tuple<int>>>
			kind = []byte{0, 0x21, 0, 13, 0, 0x20, 0, 0x31, 0, 1, 0, 9}
		}
		name, _, _ := strings.Cut(n, "=")
		add(cqlText(name), kind)
	}
	if _, _, ok := strings.Cut(names[0], "="); !ok {
		lines = lines[1:]
	}
	add(int32s(len(lines)))
	for _, l := range lines {
		for _, v := range strings.Fields(l) {
			_, v, _ = strings.Cut(v, "=")
			if n, ok := strings.CutPrefix(v, "int:"); ok {
				v = string(binary.BigEndian.AppendUint64(nil, uint64(len(n)))) // as many as there are letters
			}
			add(int32s(len(v)), []byte(v))
		}
	}
	return out
}

// cassandra is a good node of two with some answers replaced.
func cassandra(replaced ...string) cqlFake {
	f := cqlFake{version: 4, answers: map[string]string{
		"system.local": "release_version=4.1.9 schema_version=S1 cluster_name=shop",
		"system.peers": "peer=\x7f\x01\x01\x02 schema_version=S1",
		"thread_pools": "name=CompactionExecutor pending_tasks=int:xxx\nname=MutationStage pending_tasks=int:x\nname=Other pending_tasks=int:xxxxx",
	}}
	for i := 0; i < len(replaced); i += 2 {
		f.answers[replaced[i]] = replaced[i+1]
	}
	return f
}

// jolokia is a port that answers beans by a part of their names.
func jolokia(t *testing.T, beans map[string]string) string {
	t.Helper()
	_, port, _ := net.SplitHostPort(serve(t, web(func(w io.Writer, q *http.Request) {
		for part, value := range beans {
			if strings.Contains(q.URL.Path, part) {
				reply(w, 200, `{"value":`+value+`,"status":200}`)
				return
			}
		}
		reply(w, 200, `{"error":"no such bean","status":404}`)
	})))
	return port
}

func TestCassandra(t *testing.T) {
	soon := issue(t, "127.0.0.1", time.Now().Add(10*24*time.Hour))
	secret := secretFile(t, "s3cret")
	locked := cassandra()
	locked.login = "\x00joe\x00s3cret"
	old := cassandra("system.local", "release_version=2.1.22 schema_version=S1 cluster_name=shop")
	old.version = 3
	starting := cassandra()
	starting.start = "!1002 Cannot read from a bootstrapping node"
	overloaded := cassandra()
	overloaded.start = "!1001 too many requests"
	many := "name=CompactionExecutor pending_tasks=int:" + strings.Repeat("x", 101)
	writes := "name=MutationStage pending_tasks=int:" + strings.Repeat("x", 1001)
	up := map[string]string{"SimpleStates": `{"/10.1.1.1":"UP","/10.1.1.2":"UP"}`, "Dropped": "17", "PendingTasks": "2000"}
	down := map[string]string{"SimpleStates": `{"/10.1.1.1":"UP","/10.1.1.2":"DOWN"}`}
	trials := append(withForm(t, "%s", broken(nil)), []trial{
		{name: "good", serve: cassandra().serve, options: opt("nodes", "2"), text: "Cassandra 4.1.9, cluster shop of 2 nodes", metrics: "nodes=2 compactions=3;100;1000 mutations=1;1000"},
		{name: "old", serve: old.serve, text: "Cassandra 2.1.22"},
		{name: "pools not to be read", serve: cassandra("thread_pools", "!2100 no permission").serve, text: "Cassandra 4.1.9"},
		{name: "alone", serve: cassandra("system.peers", "peer schema_version").serve, text: "1 nodes"},
		{name: "schema", serve: cassandra("system.peers", "peer=\x7f\x01\x01\x02 schema_version=S2\npeer=\x7f\x01\x01\x03 schema_version=S1").serve, want: Warning, signal: "schema", text: "1 nodes have another schema than this one: 127.1.1.2"},
		{name: "missing nodes", serve: cassandra().serve, options: opt("nodes", "3"), want: Critical, signal: "missing_nodes"},
		{name: "compactions", serve: cassandra("thread_pools", many).serve, want: Warning, signal: "compactions"},
		{name: "mutations", serve: cassandra("thread_pools", writes).serve, want: Warning, signal: "mutations"},
		{name: "quorum", serve: cassandra("shop.health", "a=1").serve, options: opt("quorum-read", "shop.health")},
		{name: "no quorum", serve: cassandra("shop.health", "!1000 Cannot achieve consistency level").serve, options: opt("quorum-read", "shop.health"), want: Critical, signal: "quorum", text: "Cannot achieve"},
		{name: "no such table", serve: cassandra().serve, options: opt("quorum-read", "shop.nope"), want: Critical, signal: "error", text: "error 0x2200"},
		{name: "password needed", serve: locked.serve, text: "alive, password needed"},
		{name: "password", serve: locked.serve, options: opt("username", "joe", "password-file", secret), text: "Cassandra 4.1.9"},
		{name: "password refused", serve: locked.serve, options: opt("username", "other", "password-file", secret), want: Critical, signal: "credentials", text: "incorrect"},
		{name: "starting", serve: starting.serve, want: Warning, signal: "starting"},
		{name: "overloaded", serve: overloaded.serve, want: Critical, signal: "overloaded"},
		{name: "error", serve: cassandra("system.local", "!0 server error").serve, want: Critical, signal: "error"},
		{name: "jolokia", serve: cassandra().serve, options: opt("jolokia", jolokia(t, up)), metrics: "down=0;0;1 compactions=3;100;1000 dropped=17c"},
		{name: "jolokia of an old node", serve: old.serve, options: opt("jolokia", jolokia(t, up)), want: Critical, signal: "compactions"},
		{name: "a node is down", serve: cassandra().serve, options: opt("jolokia", jolokia(t, down)), want: Warning, signal: "down", text: "1 nodes are down: 10.1.1.2"},
		{name: "no jolokia", serve: cassandra().serve, options: opt("jolokia", strings.TrimPrefix(closedPort(t), "127.0.0.1:")), want: Unknown, signal: "jolokia", text: "refused"},
		{name: "another jolokia", serve: cassandra().serve, options: opt("jolokia", jolokia(t, nil)), want: Unknown, signal: "jolokia", text: "knows no states"},
		{name: "HTTP", serve: func(c net.Conn) { c.Read(make([]byte, 100)); reply(c, 400, "x") }, want: Critical, signal: "protocol", text: "no CQL"},
		{name: "cut in an answer", serve: cassandra("system.peers", "cut").serve, want: Critical, signal: "cut"},
		{name: "half a frame", serve: func(c net.Conn) { c.Read(make([]byte, 100)); c.Write([]byte("\x84\x00\x00\x00\x06\x00\x00\x00\x50ab")) }, want: Critical, signal: "cut"},
		{name: "damaged rows", serve: cassandra("system.peers", "raw \x00\x00\x00\x02\x00\x00\x00\x01\x7f\xff\xff\xff").serve, want: Critical, signal: "protocol", text: "damaged"},
		{name: "a damaged count", serve: cassandra("system.peers", "raw \x00\x00\x00\x02\x00\x00\x00\x01\x00\x00\x00\x01\x00\x01k\x00\x01t\x00\x01c\x00\x0d\x7f\xff\xff\xff").serve, want: Critical, signal: "protocol", text: "damaged"},
		{name: "no rows", serve: cassandra("system.peers", "raw \x00\x00\x00\x01").serve, want: Critical, signal: "protocol"},
		{name: "huge", serve: func(c net.Conn) { c.Read(make([]byte, 100)); c.Write([]byte("\x84\x00\x00\x00\x06\x7f\xff\xff\xff")) }, want: Critical, signal: "protocol"},
		{name: "another opcode", serve: func(c net.Conn) {
			c.Read(make([]byte, 100))
			c.Write([]byte("\x84\x00\x00\x00\x02\x00\x00\x00\x00"))
			silent(c)
		}, want: Critical, signal: "protocol", text: "OPTIONS is answered by opcode"},
		{name: "slow", serve: func(c net.Conn) {
			c.Read(make([]byte, 100))
			for _, b := range []byte("\x84\x00\x00\x00\x06\x00\x00\x00\x50" + strings.Repeat("x", 70)) {
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(10 * time.Millisecond) // a slow server, not a synchronisation
			}
		}, options: opt("timeout", "300ms"), want: Critical, signal: "timeout"},
		{name: "tls", serve: overTLS(soon, cassandra().serve), options: opt("tls", "true", "ca-file", soon.caFile), want: Warning, signal: "certificate_days"},
		{name: "tls unknown", serve: overTLS(soon, cassandra().serve), options: opt("tls", "true"), want: Critical, signal: "certificate"},
		{name: "bad table", address: "host", options: opt("quorum-read", "a;b.c"), want: Unknown, signal: "options", text: "--quorum-read"},
		{name: "bad port", address: "host", options: opt("jolokia", "x"), want: Unknown, signal: "options", text: "--jolokia"},
	}...)
	testKind(t, "cassandra", "%s", trials)
}

// FuzzCQL: no frame makes the reader panic, and rows are no more than their bytes.
func FuzzCQL(f *testing.F) {
	for _, text := range []string{"a=1 b=2\na=3 b=4", "a b"} {
		body := cqlTable(text)
		f.Add(append([]byte{0x84, 0, 0, 0, cqlResult}, append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)...))
	}
	f.Add([]byte{0x84, 8, 0, 0, 8, 0, 0, 0, 4, 0, 1, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		_, in, err := readCQL(bytes.NewReader(b))
		if err != nil {
			return
		}
		rows, err := cqlRows(in)
		if err == nil && len(rows)*4 > len(b) {
			t.Errorf("%d rows of %d bytes", len(rows), len(b))
		}
	})
}

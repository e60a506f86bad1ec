package checks

import (
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// onSocket runs a fake Docker on a UNIX socket.
func onSocket(t *testing.T, handle func(net.Conn)) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "d.sock")
	l, err := net.Listen("unix", path)
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
			go func() { defer c.Close(); handle(c) }()
		}
	}()
	return path
}

func TestDocker(t *testing.T) {
	started := time.Now().Add(-3 * time.Hour).UTC().Format(time.RFC3339Nano)
	state := func(s string) func(net.Conn) {
		return site(map[string]string{"/containers/web-1/json": `{"Name":"/web-1","RestartCount":2,"Config":{"Env":["PASSWORD=s3cret"]},"State":{"StartedAt":"` + started + `","FinishedAt":"` + started + `",` + s + `}}`})
	}
	var trials []trial
	add := func(name string, serve func(net.Conn), want State, signal, text string, more ...string) {
		trials = append(trials, trial{name: name, address: "web-1", options: opt(append([]string{"socket", onSocket(t, serve)}, more...)...), want: want, signal: signal, text: text})
	}
	add("runs", state(`"Status":"running","Running":true`), OK, "", "web-1 runs, up 3 hours")
	add("healthy", state(`"Status":"running","Running":true,"Health":{"Status":"healthy"}`), OK, "", "is healthy")
	add("unhealthy", state(`"Status":"running","Running":true,"Health":{"Status":"unhealthy","FailingStreak":4,"Log":[{"Output":"a"},{"Output":"no db\n"}]}`), Critical, "unhealthy", `4 times in a row: "no db"`)
	add("starting", state(`"Status":"running","Running":true,"Health":{"Status":"starting"}`), Warning, "starting", "")
	add("exited", state(`"Status":"exited","ExitCode":137,"OOMKilled":true`), Critical, "oom", "exited with code 137, 3 hours ago")
	add("stopped", state(`"Status":"created","Error":"no such file"`), Critical, "stopped", "no such file")
	add("paused", state(`"Status":"paused","Running":true,"Paused":true`), Critical, "paused", "")
	add("restarting", state(`"Status":"restarting","Running":true,"Restarting":true,"ExitCode":1`), Critical, "restarting", "2 times so far")
	add("restarts", state(`"Status":"running","Running":true`), Warning, "restarts", "", "warning", "restarts=1")
	add("no such container", site(nil), Critical, "missing", "")
	add("error", site(map[string]string{"/containers/web-1/json": "500 oops"}), Critical, "status", "oops")
	add("other JSON", site(map[string]string{"/containers/web-1/json": "{}"}), Critical, "protocol", "")
	add("garbage", func(c net.Conn) { io.WriteString(c, "\x00\x01 garbage"); silent(c) }, Critical, "protocol", "", "timeout", "200ms")
	add("huge", site(map[string]string{"/containers/web-1/json": strings.Repeat(" ", 2<<20)}), Critical, "protocol", "")
	add("silent", silent, Critical, "timeout", "", "timeout", "200ms")
	add("cut", func(c net.Conn) { c.Read(make([]byte, 100)) }, Critical, "cut", "")
	trials = append(trials,
		trial{name: "no socket", address: "web-1", options: opt("socket", "/no/such.sock"), want: Critical, signal: "connect", text: "no Docker at /no/such.sock"},
		trial{name: "bad name", address: "../info", want: Unknown, signal: "options", text: "TARGET"})
	testKind(t, "docker", "", trials)
	for _, c := range trials {
		if r := c.run(t, "docker", ""); strings.Contains(r.Evidence.Answer, "s3cret") {
			t.Errorf("%s: a container's environment is shown", c.name)
		}
	}
}

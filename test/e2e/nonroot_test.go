//go:build e2e && linux

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestNotRoot: a user who may use Docker's socket but not read its files types
// `mesoscope standalone`. His containers are followed through the API, also
// across restarts, and he is told once what that costs.
func TestNotRoot(t *testing.T) {
	dockerRoot(t)
	const nobody = 65534
	socket, err := os.Stat("/var/run/docker.sock")
	if err != nil {
		lacking(t, err.Error())
	}
	group := socket.Sys().(*syscall.Stat_t).Gid
	home, err := os.MkdirTemp(scratch, "home-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(home, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	address := freeAddress(t)
	p := newProcess(t, "standalone", address, "")
	p.args = []string{"standalone"} // without a configuration, as a newcomer
	p.as = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody, Groups: []uint32{group}}}
	p.env = []string{"HOME=" + home, "PATH=" + os.Getenv("PATH"), "MESOSCOPE_HTTP_LISTEN=" + address, "MESOSCOPE_NODE_NAME=" + node}

	before := newWriter(t, "api-before", func(w *writer) { w.flags = []string{"-n", "200"} })
	before.start()
	before.finish()
	p.start()
	writers := []*writer{
		before,
		newWriter(t, "api-mixed", func(w *writer) { w.flags = []string{"-n", "300", "-pace", "20ms"} }),
		newWriter(t, "api-rotated", func(w *writer) {
			w.options = rotation("64k")["compress"]
			w.kinds, w.flags = []string{"plain", "json", "multibyte"}, []string{"-n", "600", "-pace", "10ms"}
		}),
		newWriter(t, "api-tty", func(w *writer) {
			w.tty, w.streams, w.kinds = true, []string{"stdout"}, []string{"plain", "json", "multibyte", "markup"}
			w.flags = []string{"-n", "200", "-pace", "10ms"}
		}),
	}
	for _, w := range writers[1:] {
		w.start()
	}
	const lost = "lines are delivered at least once instead of exactly once"
	said := func(n int) {
		for end := time.Now().Add(30 * time.Second); strings.Count(p.said.String(), lost) < n && time.Now().Before(end); {
			time.Sleep(50 * time.Millisecond)
		}
	}
	for i := range 4 {
		said(i + 1)
		time.Sleep(time.Second) // of lines
		if i%2 == 0 {
			p.kill()
		} else {
			p.stop()
		}
		p.start()
	}
	said(5)
	for _, w := range writers {
		w.finish()
		want := len(w.expected("stdout")) + len(w.expected("stderr"))
		for end := time.Now().Add(30 * time.Second); w.stored(p.url) < want && time.Now().Before(end); {
			time.Sleep(200 * time.Millisecond)
		}
		w.compare(p.url, "embedded", node)
		list := p.sources(w.id)
		if len(list) == 0 || list[0].Guarantee != "at-least-once (docker api)" {
			t.Errorf("%s: %+v", w.name, list)
		}
	}
	if n := strings.Count(p.said.String(), lost); n != 5 {
		t.Errorf("%d of 5 starts say once which guarantee is lost:\n%s", n, p.said)
	}
	if _, err := os.Stat(filepath.Join(home, ".local/state/mesoscope/standalone/store.db")); err != nil {
		t.Error(err)
	}
	t.Logf("what the last start says:\n%s", tailOf(p.said.String(), 8))
}

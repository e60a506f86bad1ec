package command

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"mesoscope/internal/jsonfile"
	"mesoscope/test/fakees"
)

// A node is an agent with one container and a sink.
type node struct {
	dir, config, url string
	agent            *child
	sink             *fakees.Server
	server           *httptest.Server
	logger           *logger
}

func newNode(t *testing.T) *node {
	n := &node{dir: t.TempDir(), sink: &fakees.Server{}}
	n.server = httptest.NewServer(n.sink)
	t.Cleanup(n.server.Close)
	var total atomic.Int64
	n.logger = newContainerLogger(t, n.dir, 0, jsonfile.Options{}, &total)
	n.config = agentConfig(t, n.dir, n.server.URL, "")
	n.agent = start(t, nil, "agent", "--config", n.config)
	n.url = n.agent.wait(followingNow)
	return n
}

// line writes a line and waits until it is stored, once.
func (n *node) line(t *testing.T) {
	t.Helper()
	l := n.logger
	text := fmt.Sprint("line ", len(l.written[0]))
	if err := l.writer.WriteLine("stdout", []byte(text), time.Now()); err != nil {
		t.Fatal(err)
	}
	l.written[0] = append(l.written[0], text)
	until(t, text, 20*time.Second, func() bool { return len(n.docs()) >= len(l.written[0]) })
	if lost, doubled := l.compare(stored(t, n.sink)); lost+doubled > 0 {
		t.Fatalf("%d lost, %d doubled", lost, doubled)
	}
}

func (n *node) docs() []fakees.Doc { return n.sink.Docs("logs-mesos.container-default") }

// restarted waits until the agent has begun again with a new configuration, as
// it says itself.
func (n *node) restarted(t *testing.T, times int) {
	t.Helper()
	until(t, "the agent to begin again", 20*time.Second, func() bool {
		return strings.Count(n.agent.output(), "following the containers of this node") == times
	})
	lines := strings.Split(n.agent.output(), "\n")
	for _, line := range lines {
		if _, url, found := strings.Cut(line, "status="); found && strings.Contains(line, "following") {
			n.url = strings.TrimSpace(url)
		}
	}
}

func (n *node) successful(t *testing.T, want string) {
	t.Helper()
	until(t, "mesoscope_config_last_reload_successful "+want, 20*time.Second, func() bool {
		text, err := fetch(n.url + "/metrics")
		return err == nil && strings.Contains(text, "\nmesoscope_config_last_reload_successful "+want+"\n")
	})
}

func (n *node) write(t *testing.T, more string) {
	t.Helper()
	if text := agentConfig(t, n.dir, n.server.URL, more); text != n.config {
		t.Fatal(text)
	}
}

func (n *node) post(t *testing.T) (int, string) {
	t.Helper()
	answer, err := http.Post(n.url+"/-/reload", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

// TestReload changes the configuration of a running agent in all ways that
// there are. Lines go on, each once.
func TestReload(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.line(t)
	n.successful(t, "1")

	n.write(t, "node: {name: second}\n")
	n.agent.signal(syscall.SIGHUP)
	n.restarted(t, 2)
	n.line(t)
	if last := string(n.docs()[1].Source); !strings.Contains(last, `"host":{"name":"second"`) {
		t.Errorf("the new name is not used: %s", last)
	}

	n.write(t, "nonsense: true\n")
	n.agent.signal(syscall.SIGHUP)
	n.successful(t, "0")
	n.line(t)
	code, text := n.post(t)
	if code != http.StatusBadRequest || !strings.Contains(text, n.config+":8:1: nonsense: unknown key") {
		t.Errorf("POST /-/reload: %d %s", code, text)
	}

	n.write(t, "node: {name: third}\n")
	if code, text := n.post(t); code != http.StatusOK {
		t.Errorf("POST /-/reload: %d %s", code, text)
	}
	n.restarted(t, 3)
	n.successful(t, "1")
	n.line(t)

	n.write(t, "node: {name: the-file-has-changed}\n") // nobody says so
	n.restarted(t, 4)
	n.line(t)

	n.agent.signal(syscall.SIGTERM)
	if code := n.agent.code(); code != Done {
		t.Errorf("exit code %d", code)
	}
}

// TestReloadUnusable: a configuration that can be read and still cannot be used
// does not end the agent.
func TestReloadUnusable(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.line(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	n.write(t, "")
	text, err := os.ReadFile(n.config)
	if err != nil {
		t.Fatal(err)
	}
	bad := strings.Replace(string(text), "127.0.0.1:0", taken.Addr().String(), 1)
	if err := os.WriteFile(n.config, []byte(bad), 0o600); err != nil {
		t.Fatal(err)
	}
	n.agent.signal(syscall.SIGHUP)
	n.agent.wait("cannot be used.*another process listens on " + taken.Addr().String())
	n.restarted(t, 2)
	n.successful(t, "0")
	n.line(t)
	n.write(t, "")
	n.agent.signal(syscall.SIGHUP)
	n.restarted(t, 3)
	n.successful(t, "1")
	n.line(t)
}

// TestReloadWithoutOutput: the output cannot be reached, and the new
// configuration says where it really is.
func TestReloadWithoutOutput(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("waits until the process has given up draining")
	}
	n := newNode(t)
	n.line(t)
	old := n.server
	n.server = httptest.NewServer(n.sink)
	defer n.server.Close()
	old.CloseClientConnections()
	old.Close()
	text := "line 1, written while nobody answers"
	if err := n.logger.writer.WriteLine("stdout", []byte(text), time.Now()); err != nil {
		t.Fatal(err)
	}
	n.logger.written[0] = append(n.logger.written[0], text)
	until(t, "the line to be read", 20*time.Second, func() bool {
		return strings.Contains(ask(t, n.url+"/metrics"), "mesoscope_lines_read_total{stream=\"stdout\"} 2\n")
	})
	n.write(t, "")
	n.agent.signal(syscall.SIGHUP)
	until(t, "the agent to begin again", 40*time.Second, func() bool {
		return strings.Count(n.agent.output(), "following the containers of this node") == 2
	})
	n.line(t)
}

// TestOnlyOne: what one process has, another one is refused, with the reason.
func TestOnlyOne(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	second := start(t, nil, "agent", "--config", n.config)
	if code := second.code(); code != Bad {
		t.Errorf("exit code %d", code)
	}
	want := fmt.Sprintf("data_dir: %s is locked by process %d; end it, or choose another data_dir", filepath.Join(n.dir, "data", "agent", "lock"), n.agent.cmd.Process.Pid)
	contains(t, second.output(), want)

	text, err := os.ReadFile(n.config)
	if err != nil {
		t.Fatal(err)
	}
	address := strings.TrimPrefix(n.url, "http://")
	other := filepath.Join(n.dir, "other.yml")
	text = []byte(strings.NewReplacer("127.0.0.1:0", address, filepath.Join(n.dir, "data"), filepath.Join(n.dir, "data2")).Replace(string(text)))
	if err := os.WriteFile(other, text, 0o600); err != nil {
		t.Fatal(err)
	}
	third := start(t, nil, "agent", "--config", other)
	if code := third.code(); code != Bad {
		t.Errorf("exit code %d", code)
	}
	contains(t, third.output(), "http.listen: another process listens on "+address+"; end it or choose another port")

	// The same Docker root with another data_dir: the hold folder is the first
	// one's, and that is said.
	text = []byte(strings.Replace(string(text), address, "127.0.0.1:0", 1))
	if err := os.WriteFile(other, text, 0o600); err != nil {
		t.Fatal(err)
	}
	fourth := start(t, nil, "agent", "--config", other)
	fourth.wait(followingNow)
	contains(t, fourth.output(), fmt.Sprintf("locked by process %d", n.agent.cmd.Process.Pid))
	n.line(t)
}

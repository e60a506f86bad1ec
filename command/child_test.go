package command

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mesoscope/test/fakees"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// asProcess makes this test binary be the program itself, so that tests can
// start, signal and kill real processes without building anything.
const asProcess = "MESOSCOPE_TEST_AS_PROCESS"

func TestMain(m *testing.M) {
	if os.Getenv(asProcess) == "" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(Main(os.Args[1:], IO{Out: os.Stdout, Err: os.Stderr, Context: ctx}))
}

// A child is a process of the program.
type child struct {
	t     *testing.T
	cmd   *exec.Cmd
	ended chan struct{}

	mu   sync.Mutex
	text bytes.Buffer // both outputs
	more chan struct{}
}

// start runs the program with the given arguments. prefix, if any, is a command
// that runs it, such as a shell that sets limits first.
func start(t *testing.T, prefix []string, args ...string) *child {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	argv := append(append(append([]string{}, prefix...), self), args...)
	c := &child{t: t, cmd: exec.Command(argv[0], argv[1:]...), ended: make(chan struct{}), more: make(chan struct{}, 1)}
	c.cmd.Env = []string{asProcess + "=1", "HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir()}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c.cmd.Stdout, c.cmd.Stderr = w, w
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	go func() {
		defer close(c.ended)
		lines := bufio.NewReader(r)
		for {
			text, err := lines.ReadString('\n')
			c.mu.Lock()
			c.text.WriteString(text)
			c.mu.Unlock()
			select {
			case c.more <- struct{}{}:
			default:
			}
			if err != nil {
				break
			}
		}
		r.Close()
		c.cmd.Wait() // its error is in ProcessState
	}()
	t.Cleanup(func() {
		c.cmd.Process.Kill() // fails if it has ended
		<-c.ended
		if t.Failed() && !errors.Is(t.Context().Err(), context.DeadlineExceeded) {
			t.Logf("%s printed:\n%s", strings.Join(args, " "), tailOf(c.output(), 4000))
		}
	})
	return c
}

func tailOf(s string, n int) string { return s[max(0, len(s)-n):] }

func (c *child) output() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.String()
}

// wait waits until the process has printed something that pattern matches, and
// returns its first group.
func (c *child) wait(pattern string) string {
	c.t.Helper()
	re := regexp.MustCompile(pattern)
	timeout := time.After(30 * time.Second)
	for {
		if m := re.FindStringSubmatch(c.output()); m != nil {
			return m[len(m)-1]
		}
		select {
		case <-c.more:
		case <-c.ended:
			if m := re.FindStringSubmatch(c.output()); m != nil {
				return m[len(m)-1]
			}
			c.t.Fatalf("the process has ended and not printed %q:\n%s", pattern, c.output())
		case <-timeout:
			c.t.Fatalf("the process has not printed %q:\n%s", pattern, c.output())
		}
	}
}

// code waits for the end and returns the exit code, -1 for a killed process.
func (c *child) code() int {
	c.t.Helper()
	select {
	case <-c.ended:
	case <-time.After(60 * time.Second):
		c.t.Fatalf("the process does not end:\n%s", tailOf(c.output(), 4000))
	}
	return c.cmd.ProcessState.ExitCode()
}

func (c *child) signal(s os.Signal) {
	c.t.Helper()
	if err := c.cmd.Process.Signal(s); err != nil {
		c.t.Fatal(err)
	}
}

func (c *child) kill() {
	c.cmd.Process.Kill() // fails if it has ended
	<-c.ended
}

// ask is the text at an address of the process.
func ask(t *testing.T, url string) string {
	t.Helper()
	text, err := fetch(url)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func fetch(url string) (string, error) {
	answer, err := http.Get(url)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", url, answer.Status, b)
	}
	return string(b), err
}

// until waits until ok, or fails with what was waited for.
func until(t *testing.T, what string, limit time.Duration, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// agentConfig writes a configuration of an agent below dir. more is added to
// it as it is.
func agentConfig(t *testing.T, dir, sink, more string) string {
	t.Helper()
	path := filepath.Join(dir, "mesoscope.yml")
	text := fmt.Sprintf(`data_dir: %s
http: {listen: "127.0.0.1:0"}
docker: {root: %s, socket: ""}
hold: {min_free: "0"}
output:
  elasticsearch:
    hosts: [%q]
%s`, filepath.Join(dir, "data"), filepath.Join(dir, "docker"), sink, more)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// followingNow is what an agent prints when it works; the group is its address.
const followingNow = `following the containers of this node.*status=(\S+)`

// comeBack lets an Elasticsearch that keeps nothing listen at an address where
// nobody did, until the test ends.
func comeBack(t *testing.T, address string) *fakees.Server {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	sink := &fakees.Server{Discard: true}
	server := &httptest.Server{Listener: listener, Config: httptest.NewUnstartedServer(sink).Config}
	server.Start()
	t.Cleanup(server.Close)
	return sink
}

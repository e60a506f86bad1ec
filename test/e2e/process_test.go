//go:build e2e && linux

package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"mesoscope/agent/status"
)

var (
	binary  string // the program under test, built once
	scratch string // a folder that other users can pass
)

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "mesoscope-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // other users run the binary, too
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	scratch, binary = dir, filepath.Join(dir, "mesoscope")
	if err := build(binary); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if os.Geteuid() == 0 && exec.Command("docker", "info").Run() == nil {
		defer removeContainers()
		if err := makeImage(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return m.Run()
}

// build builds the program, for the platform in env.
func build(to string, env ...string) error {
	cmd := exec.Command("go", "build", "-o", to, "mesoscope")
	cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0"), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build mesoscope: %w: %s", err, out)
	}
	return nil
}

// A process is a running `mesoscope agent` or `mesoscope standalone`, which may
// be ended and started again.
type process struct {
	t      testing.TB
	args   []string
	url    string
	config string
	as     *syscall.SysProcAttr
	env    []string

	cmd  *exec.Cmd
	done chan error
	said *output
}

// output collects what a process prints, over all its lives.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// freeAddress is a port that nobody listens on.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// newProcess writes the configuration; what the process says is shown when the
// test fails.
func newProcess(t testing.TB, kind, address, configuration string) *process {
	t.Helper()
	p := &process{t: t, url: "http://" + address, config: filepath.Join(t.TempDir(), kind+".yml"), said: &output{}}
	if err := os.WriteFile(p.config, []byte(configuration), 0o644); err != nil {
		t.Fatal(err)
	}
	p.args = []string{kind, "--config", p.config}
	t.Cleanup(func() {
		if p.cmd != nil {
			p.kill()
		}
		if t.Failed() {
			t.Logf("%s said:\n%s", kind, tailOf(p.said.String(), 60))
		}
	})
	return p
}

// newAgent is an agent that follows the containers of Docker and of the Mesos agent
// at a URL, "" for none, with a hold folder of its own. It is not started yet.
func newAgent(t testing.TB, name, root, mesos, elasticsearch string) *process {
	t.Helper()
	address := freeAddress(t)
	hold := filepath.Join(root, fmt.Sprintf("mesoscope-e2e-%d-%s", pid, name))
	t.Cleanup(func() { _ = os.RemoveAll(hold) })
	return newProcess(t, "agent", address, fmt.Sprintf(`data_dir: %s
http: {listen: %s}
node: {name: %s}
docker: {root: %s}
mesos: {agent: %q}
hold: {dir: %s, min_free: "0"}
output:
  elasticsearch: {hosts: [%q]}
`, t.TempDir(), address, node, root, mesos, hold, elasticsearch))
}

func tailOf(text string, n int) string {
	list := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(list[max(0, len(list)-n):], "\n")
}

// start starts the process and waits until it answers.
func (p *process) start() {
	p.t.Helper()
	p.cmd = exec.Command(binary, p.args...)
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.SysProcAttr = p.said, p.said, p.as
	if p.env != nil {
		p.cmd.Env = p.env
	}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.done = make(chan error, 1)
	go func(cmd *exec.Cmd, done chan error) { done <- cmd.Wait() }(p.cmd, p.done)
	within(p.t, 20*time.Second, p.args[0]+" answers", func() error {
		select {
		case err := <-p.done:
			p.done <- err
			p.t.Fatalf("%s has ended: %v\n%s", p.args[0], err, tailOf(p.said.String(), 20))
		default:
		}
		code, _, err := p.get("/healthz")
		if err == nil && code != http.StatusOK {
			err = fmt.Errorf("status %d", code)
		}
		return err
	})
}

// stop is SIGTERM; the process must end well.
func (p *process) stop() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	select {
	case err := <-p.done:
		if err != nil {
			p.t.Errorf("%s after SIGTERM: %v", p.args[0], err)
		}
	case <-time.After(30 * time.Second):
		p.t.Errorf("%s does not end after SIGTERM", p.args[0])
		p.kill()
	}
	p.cmd = nil
}

// kill is SIGKILL.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
	p.cmd = nil
}

// get asks the process.
func (p *process) get(path string) (code int, body string, err error) {
	client := http.Client{Timeout: 5 * time.Second}
	res, err := client.Get(p.url + path)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, string(b), err
}

// sources are the process' sources of one container.
func (p *process) sources(id string) (list []status.Source) {
	p.t.Helper()
	_, body, err := p.get(status.SourcesPath)
	var all []status.Source
	if err == nil {
		err = json.Unmarshal([]byte(body), &all)
	}
	if err != nil {
		p.t.Errorf("%s%s: %v", p.url, status.SourcesPath, err)
	}
	for _, s := range all {
		if strings.Contains(s.ID, id) {
			list = append(list, s)
		}
	}
	return list
}

// status is the process' status.
func (p *process) status() (s status.Status) {
	p.t.Helper()
	_, body, err := p.get(status.StatusPath)
	if err == nil {
		err = json.Unmarshal([]byte(body), &s)
	}
	if err != nil {
		p.t.Errorf("%s%s: %v", p.url, status.StatusPath, err)
	}
	return s
}

// mesoscope runs a command to its end and returns its exit code.
func mesoscope(t testing.TB, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	cmd := exec.Command(binary, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return exit.ExitCode(), out.String(), errs.String()
	}
	if err != nil {
		t.Fatal(err)
	}
	return 0, out.String(), errs.String()
}

// within waits until check gives no error.
func within(t testing.TB, limit time.Duration, what string, check func() error) {
	t.Helper()
	err := check()
	for end := time.Now().Add(limit); err != nil; err = check() {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %s: %v", what, limit, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

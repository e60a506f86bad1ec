package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"
)

// An agent is the real binary as a child process, over all its lives.
type agent struct {
	bin    string
	config string
	log    *os.File // all that it prints, over all lives
	lives  int

	patience time.Duration

	cmd   *exec.Cmd
	ready chan string // its address, when it follows
	ended chan struct{}

	mu    sync.Mutex
	fatal string // a panic, or a race
}

// followingNow is what an agent prints when it works; the group is its address.
var followingNow = regexp.MustCompile(`following the containers of this node.*status=(\S+)`)

// fatalWords are those of a process that has gone wrong.
var fatalWords = regexp.MustCompile(`^panic:|^fatal error:|BUG:|WARNING: DATA RACE`)

func newAgent(bin, dir, config string, patience time.Duration) (*agent, error) {
	a := &agent{bin: bin, patience: patience, config: filepath.Join(dir, "mesoscope.yml")}
	if err := os.WriteFile(a.config, []byte(config), 0o600); err != nil {
		return nil, err
	}
	var err error
	a.log, err = os.Create(filepath.Join(dir, "agent.log"))
	return a, err
}

// launch starts the process and does not wait for anything.
func (a *agent) launch() error {
	a.lives++
	fmt.Fprintf(a.log, "--- life %d, %s\n", a.lives, time.Now().UTC().Format(time.RFC3339Nano))
	a.cmd = exec.Command(a.bin, "agent", "--config", a.config)
	a.cmd.Env = append(os.Environ(), "GORACE=halt_on_error=1")
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	a.cmd.Stdout, a.cmd.Stderr = w, w
	err = a.cmd.Start()
	w.Close()
	if err != nil {
		r.Close()
		return err
	}
	a.ready, a.ended = make(chan string, 1), make(chan struct{})
	go a.read(r, a.cmd, a.ready, a.ended)
	return nil
}

func (a *agent) read(r io.ReadCloser, cmd *exec.Cmd, ready chan<- string, ended chan<- struct{}) {
	defer close(ended)
	lines := bufio.NewReader(r)
	for {
		text, err := lines.ReadString('\n')
		_, _ = a.log.WriteString(text) // for people
		if m := followingNow.FindStringSubmatch(text); m != nil {
			ready <- m[1]
		}
		a.listen(text)
		if err != nil {
			break
		}
	}
	r.Close()
	_ = cmd.Wait() // its error is in ProcessState
}

// listen finds what must never be said.
func (a *agent) listen(text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fatal == "" && fatalWords.MatchString(text) {
		a.fatal = strings.TrimSpace(text)
	}
}

var errEnded = errors.New("the agent has ended by itself")

// start starts the process and waits until it follows.
func (a *agent) start() error {
	if err := a.launch(); err != nil {
		return err
	}
	return a.wait()
}

// wait waits until the process follows.
func (a *agent) wait() error {
	select {
	case url := <-a.ready:
		a.ready <- url // for metrics
		return nil
	case <-a.ended:
		return errEnded
	case <-time.After(a.patience):
		return failure{stuck, fmt.Sprintf("the agent does not begin to follow within %s", a.patience)}
	}
}

// crashed says whether the agent has ended without having been asked to, and
// how.
func (a *agent) crashed() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fatal != "" {
		return failure{crash, a.fatal}
	}
	return nil
}

// kill ends the process at once. An agent that has ended before was not asked to.
func (a *agent) kill() error {
	err := a.crashed()
	select {
	case <-a.ended:
		if err == nil && a.cmd.ProcessState.ExitCode() >= 0 {
			err = failure{crash, fmt.Sprintf("the agent has ended by itself with code %d", a.cmd.ProcessState.ExitCode())}
		}
	default:
		_ = a.cmd.Process.Kill() // fails if it ends just now
		<-a.ended
	}
	return err
}

// terminate asks the process to end, and returns its exit code.
func (a *agent) terminate() (int, error) {
	if err := a.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return 0, fmt.Errorf("SIGTERM: %w", err)
	}
	select {
	case <-a.ended:
		return a.cmd.ProcessState.ExitCode(), a.crashed()
	case <-time.After(a.patience):
		return 0, failure{stuck, fmt.Sprintf("the agent has not ended %s after SIGTERM", a.patience)}
	}
}

// metrics are the agent's own numbers.
func (a *agent) metrics() (string, error) {
	var url string
	select {
	case url = <-a.ready:
		a.ready <- url
	default:
		return "", errors.New("the agent does not follow")
	}
	client := http.Client{Timeout: 10 * time.Second}
	answer, err := client.Get(url + "/metrics")
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	return string(b), err
}

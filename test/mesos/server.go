// Package mesos starts a real Mesos, master and agent in one process, for
// tests, and runs Docker containers as its tasks; the scripts beside this file
// install and start it.
//
// The way of the data: Start -> a Server; Server.Run -> a framework (the program
// in framework/) whose tasks are containers; the test's end stops all of it.
package mesos

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// image holds a shell and the program framework/.
const image = "mesoscope-test/framework"

// A Server is a running master and agent.
type Server struct {
	Master string // http://IP:PORT/master
	Agent  string // http://IP:PORT/slave(1)

	t       testing.TB
	dir     string // of the installation
	work    string
	ip      string // of Docker's bridge, so that containers in it reach the agent
	port    int
	program string // framework/
	boxes   bool   // it has the Mesos containerizer, too
}

// Start installs Mesos if it is not there, starts it, and ends it with the
// test. What the machine lacks skips the test with a word on it, and fails it
// when CI is set. The image test/busybox has to be there.
func Start(t testing.TB) *Server {
	t.Helper()
	return start(t, false)
}

// StartBoth is Start with the Mesos containerizer besides Docker's, for Tasks with
// Sandbox. Of what the package of libmesos lacks, containerizer/ has as much as it
// needs.
func StartBoth(t testing.TB) *Server {
	t.Helper()
	return start(t, true)
}

func start(t testing.TB, boxes bool) *Server {
	t.Helper()
	_, file, _, _ := runtime.Caller(0)
	here := filepath.Dir(file)
	out, err := exec.Command("bash", filepath.Join(here, "install.sh")).Output()
	if err != nil {
		text := fmt.Sprintf("Mesos cannot be installed; run test/mesos/install.sh: %v", err)
		if os.Getenv("CI") != "" {
			t.Fatal(text)
		}
		t.Skip(text)
	}
	gateway, err := exec.Command("docker", "network", "inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}", "bridge").Output()
	if err != nil {
		t.Fatalf("the address of Docker's bridge: %v", err)
	}
	ip := strings.TrimSpace(string(gateway))
	s := &Server{t: t, dir: strings.TrimSpace(string(out)), work: t.TempDir(), ip: ip, port: freePort(t, ip), boxes: boxes}
	s.Master = fmt.Sprintf("http://%s:%d/master", ip, s.port)
	s.Agent = fmt.Sprintf("http://%s:%d/slave(1)", ip, s.port)
	s.makeImage(filepath.Join(here, "framework"))
	if boxes {
		s.build(filepath.Join(here, "containerizer"), filepath.Join(s.work, "libexec", "mesos-containerizer"))
	}
	s.Again()
	t.Cleanup(func() {
		s.Kill()
		s.removeContainers()
	})
	return s
}

// Again starts a server that was killed, at the same address with the same
// work folder.
func (s *Server) Again() {
	s.t.Helper()
	_, file, _, _ := runtime.Caller(0)
	cmd := exec.Command("bash", filepath.Join(filepath.Dir(file), "start.sh"), s.dir, strconv.Itoa(s.port), s.work, s.ip)
	if cmd.Env = os.Environ(); s.boxes {
		cmd.Env = append(cmd.Env, "MESOS_CONTAINERIZERS=docker,mesos")
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("start Mesos: %v\n%s", err, out)
	}
}

// Kill is SIGKILL to master and agent; the containers run on.
func (s *Server) Kill() {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.work, "pid"))
	if err != nil {
		s.t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		s.t.Fatal(err)
	}
	_ = syscall.Kill(pid, syscall.SIGKILL) // may have ended already
	for end := time.Now().Add(10 * time.Second); syscall.Kill(pid, 0) == nil && time.Now().Before(end); {
		if state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err != nil || bytes.Contains(state, []byte(") Z ")) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (s *Server) makeImage(source string) {
	s.t.Helper()
	dir := s.t.TempDir()
	s.program = filepath.Join(dir, "framework")
	s.build(source, s.program)
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte("FROM test/busybox\nCOPY framework /framework\n"), 0o644); err != nil {
		s.t.Fatal(err)
	}
	if out, err := exec.Command("docker", "build", "-q", "-t", image, dir).CombinedOutput(); err != nil {
		s.t.Fatalf("make the image %s (test/docker/start.sh makes test/busybox): %v\n%s", image, err, out)
	}
}

// build builds the program in folder source.
func (s *Server) build(source, to string) {
	s.t.Helper()
	build := exec.Command("go", "build", "-o", to, ".")
	build.Dir, build.Env = source, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		s.t.Fatalf("build %s: %v\n%s", source, err, out)
	}
}

// WorkDir is the work folder of master and agent, with the sandboxes below it.
func (s *Server) WorkDir() string { return s.work }

// removeContainers removes the containers whose sandbox is of this Mesos.
func (s *Server) removeContainers() {
	out, err := exec.Command("docker", "ps", "-aq", "--no-trunc", "--filter", "name=mesos-").Output()
	if err != nil {
		s.t.Errorf("list containers: %v", err)
		return
	}
	for id := range strings.FieldsSeq(string(out)) {
		binds, err := exec.Command("docker", "inspect", "-f", "{{.HostConfig.Binds}}", id).Output()
		if err == nil && strings.Contains(string(binds), s.work) {
			_ = exec.Command("docker", "rm", "-f", "-v", id).Run() // it may be going by itself
		}
	}
}

// A Framework runs tasks of one app.
type Framework struct {
	ID string

	t      testing.TB
	cmd    *exec.Cmd
	orders io.Writer
	done   chan struct{}
	mu     sync.Mutex
	said   bytes.Buffer
}

// Kill has a task killed, "NAME.0".
func (f *Framework) Kill(task string) {
	f.t.Helper()
	if _, err := fmt.Fprintln(f.orders, "kill", task); err != nil {
		f.t.Fatal(err)
	}
}

// Tasks say what to run.
type Tasks struct {
	Framework string            // its name
	Name      string            // of the task; ids are NAME.0, NAME.1, …
	N         int               // how many
	Labels    map[string]string // of the task
	Env       map[string]string //
	Bridge    []int             // a network of its own: these ports, those of the container, are published
	Again     int               // so many of those that fail are started again, under a new id
	Command   string            // for the shell
	Program   *Program          // instead of Command
	Sandbox   bool              // without Docker; the Server has to be one of StartBoth
	Nested    bool              // each in a container of its own within its executor's, without Docker
}

// A Program runs in an image of its own, which need not have a shell.
type Program struct {
	Image   string
	Args    []string
	Options []string // of docker run, "cap-drop=ALL"
	Volumes []string // "HOST:CONTAINER:RW"
	Mem     float64  // MB
}

// Run starts a framework and its tasks.
func (s *Server) Run(o Tasks) *Framework {
	s.t.Helper()
	args := []string{"-master", s.Master, "-framework", o.Framework, "-name", o.Name, "-n", strconv.Itoa(o.N)}
	for _, port := range o.Bridge {
		args = append(args, "-network", "BRIDGE", "-publish", strconv.Itoa(port))
	}
	args = append(args, "-again", strconv.Itoa(o.Again))
	command := []string{o.Command}
	if o.Sandbox || o.Nested {
		args = append(args, "-sandbox", "-self", s.program, fmt.Sprintf("-nested=%t", o.Nested))
	} else if p := o.Program; p == nil {
		args = append(args, "-image", image)
	} else {
		args = append(args, "-image", p.Image, "-self", s.program, "-mem", fmt.Sprint(p.Mem/2), "-program")
		for _, v := range p.Options {
			args = append(args, "-parameter", v)
		}
		for _, v := range p.Volumes {
			args = append(args, "-volume", v)
		}
		command = p.Args
	}
	for k, v := range o.Labels {
		args = append(args, "-label", k+"="+v)
	}
	for k, v := range o.Env {
		args = append(args, "-env", k+"="+v)
	}
	f := &Framework{t: s.t, cmd: exec.Command(s.program, slices.Concat(args, []string{"--"}, command)...), done: make(chan struct{})}
	f.cmd.Stdout, f.cmd.Stderr = f, f
	var err error
	if f.orders, err = f.cmd.StdinPipe(); err != nil {
		s.t.Fatal(err)
	}
	if err := f.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() { defer close(f.done); _ = f.cmd.Wait() }()
	s.t.Cleanup(f.Stop)
	f.Wait("its id", func(said string) bool {
		_, rest, ok := strings.Cut(said, "framework ")
		f.ID, _, _ = strings.Cut(rest, "\n")
		return ok && strings.Contains(rest, "\n")
	})
	return f
}

// Write takes what the framework says.
func (f *Framework) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.said.Write(p)
}

// Said is one line for each update of a task: "NAME.0 TASK_RUNNING".
func (f *Framework) Said() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.said.String()
}

// Wait waits until the framework has said something.
func (f *Framework) Wait(what string, ok func(said string) bool) {
	f.t.Helper()
	for end := time.Now().Add(90 * time.Second); !ok(f.Said()); time.Sleep(20 * time.Millisecond) {
		select {
		case <-f.done:
			f.t.Fatalf("the framework has ended before %s:\n%s", what, f.Said())
		default:
		}
		if time.Now().After(end) {
			f.t.Fatalf("%s: waited in vain:\n%s", what, f.Said())
		}
	}
}

// Stop ends the framework, and its tasks with it.
func (f *Framework) Stop() {
	_ = f.cmd.Process.Kill() // it may have ended
	<-f.done
}

func freePort(t testing.TB, ip string) int {
	t.Helper()
	l, err := net.Listen("tcp", ip+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

//go:build e2e && linux

package discover

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mesoscope/config"
)

const (
	e2eImage = "test/busybox"
	e2eLabel = "mesoscope.test=discover"
)

// docker runs the docker command.
func docker(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command("docker", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("docker %s: %v: %s", strings.Join(args, " "), err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// runContainer starts a container that is removed when the test ends.
func runContainer(t *testing.T, options []string, script string) (id string) {
	t.Helper()
	args := append([]string{"run", "-d", "--label", e2eLabel}, options...)
	id = docker(t, append(args, e2eImage, "sh", "-c", script)...)
	t.Cleanup(func() { _ = exec.Command("docker", "rm", "-f", id).Run() })
	return id
}

func needDocker(t *testing.T) (root string) {
	t.Helper()
	out, err := exec.Command("docker", "info", "-f", "{{.DockerRootDir}}").Output()
	if err == nil {
		err = exec.Command("docker", "image", "inspect", e2eImage).Run()
	}
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("docker with image %s is missing: run test/docker/start.sh: %v", e2eImage, err)
		}
		t.Skipf("docker with image %s is missing: run test/docker/start.sh: %v", e2eImage, err)
	}
	return strings.TrimSpace(string(out))
}

func needJournald(t *testing.T) {
	t.Helper()
	if out, err := exec.Command("systemd-cat", "-t", "mesoscope-test", "true").CombinedOutput(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("no journald answers: run test/docker/journald.sh: %v: %s", err, out)
		}
		t.Skipf("no journald answers: run test/docker/journald.sh: %v: %s", err, out)
	}
}

func e2eOptions(t *testing.T) Options {
	root := needDocker(t)
	return Options{Docker: config.Docker{Root: root, Socket: "unix:///var/run/docker.sock"}, CopyDir: filepath.Join(t.TempDir(), "api")}
}

func TestRealContainers(t *testing.T) {
	for _, with := range []string{"files and api", "files", "api list only"} {
		t.Run(with, func(t *testing.T) {
			opt := e2eOptions(t)
			switch with {
			case "files":
				opt.Docker.Socket = ""
			case "api list only":
				opt.Docker.Root = filepath.Join(t.TempDir(), "none")
			}
			s := discoverFor(t, opt)
			name := fmt.Sprintf("mesoscope-discover-%d", os.Getpid())

			plain := runContainer(t, []string{"--name", name, "--label", "app=web", "--label", "app.kubernetes.io/name=web",
				"-e", "MARATHON_APP_ID=/prod/web", "-e", "PASSWORD=secret", "--network", "none"}, "echo hi; exec sleep 3600")
			c := s.container(plain, func(c Container) bool { return c.Name == name && c.Running && c.LogPath != "" && c.Driver != "" })
			if c.Image.Name != e2eImage || c.Image.Tag != "latest" || c.Labels["app.kubernetes.io/name"] != "web" ||
				c.Env["MARATHON_APP_ID"] != "/prod/web" || len(c.Env) != 1 || c.TTY || c.Network != "none" ||
				c.Driver != "json-file" || c.Created.IsZero() || c.Host != plain[:12] || c.ViaAPI || c.Problem != "" {
				t.Errorf("plain: %+v", c)
			}
			// The container runs before it has printed anything.
			for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
				got, err := os.ReadFile(c.LogPath)
				if err == nil && bytes.Contains(got, []byte(`"log":"hi\n"`)) {
					break
				}
				if time.Since(began) > 10*time.Second {
					t.Fatalf("log path %s: %s, %v", c.LogPath, got, err)
				}
			}
			for member, origin := range c.From {
				if strings.HasPrefix(origin, "env ") {
					continue // wherever env comes from
				}
				if with == "files" && strings.Contains(origin, "api") || with == "api list only" && origin != fromAPI {
					t.Errorf("%s comes from %s", member, origin)
				}
			}

			if with != "files" {
				docker(t, "rename", name, name+"-new")
				s.container(plain, func(c Container) bool { return c.Name == name+"-new" })
			}
			docker(t, "restart", "-t", "0", plain)
			s.container(plain, func(c Container) bool { return c.Running })
			docker(t, "kill", plain)
			s.container(plain, func(c Container) bool { return !c.Running })
			docker(t, "rm", plain)
			s.wait("removal", func(set map[string]Container) bool { _, there := set[plain]; return !there })

			tty := runContainer(t, []string{"-t"}, "exec sleep 3600")
			s.container(tty, func(c Container) bool { return c.TTY && c.Running })
			none := runContainer(t, []string{"--log-driver", "none"}, "exec sleep 3600")
			c = s.container(none, func(c Container) bool { return c.Driver == "none" })
			if c.LogPath != "" || c.Problem != "not readable: driver none" {
				t.Errorf("none: %+v", c)
			}
			if with == "files" {
				local := runContainer(t, []string{"--log-driver", "local"}, "exec sleep 3600")
				c = s.container(local, func(c Container) bool { return c.Driver == "local" })
				if c.LogPath != "" || !strings.Contains(c.Problem, "docker.socket is not set") {
					t.Errorf("local without socket: %+v", c)
				}
			}
		})
	}
}

// A container that prints one line and is removed at once must be announced
// while its files are there, or nobody could have linked them.
func TestRealShortLived(t *testing.T) {
	opt := e2eOptions(t)
	opt.Docker.Socket = "" // by files alone: the harder way
	s := discoverFor(t, opt)
	s.wait("the first set", func(map[string]Container) bool { return true })
	for range 5 {
		cid := filepath.Join(t.TempDir(), "cid")
		docker(t, "run", "--rm", "--cidfile", cid, "--label", e2eLabel, e2eImage, "sh", "-c", "echo short; sleep 0.05")
		id, err := os.ReadFile(cid)
		if err != nil {
			t.Fatal(err)
		}
		if !s.everSeen(string(id)) {
			t.Errorf("container %.12s was never announced", id)
		}
	}
}

// entriesOf reads all files of a copy, oldest first.
func entriesOf(t *testing.T, path string) (entries []struct{ Log, Stream, Time string }) {
	t.Helper()
	for n := 50; n >= 0; n-- {
		p := path
		if n > 0 {
			p = fmt.Sprintf("%s.%d", path, n)
		}
		data, err := os.ReadFile(p)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(data) {
			if !bytes.HasSuffix(line, []byte("\n")) {
				break // being written
			}
			var e struct{ Log, Stream, Time string }
			if err := json.Unmarshal(line, &e); err != nil {
				t.Fatalf("%s: %v: %q", p, err, line)
			}
			entries = append(entries, e)
		}
	}
	return entries
}

// linesOf joins the pieces of one stream by their time: the driver local of
// Docker 20.10 gives the last piece of a long line without its '\n'.
func linesOf(t *testing.T, path, stream string) (lines []string) {
	open := ""
	for _, e := range entriesOf(t, path) {
		if e.Stream != stream {
			continue
		}
		if e.Time == open {
			lines[len(lines)-1] += e.Log
		} else {
			lines = append(lines, e.Log)
		}
		if open = e.Time; strings.HasSuffix(e.Log, "\n") {
			open = ""
		}
	}
	for i := range lines {
		lines[i] = strings.TrimSuffix(lines[i], "\n")
	}
	return lines
}

// The same output through the API and through Docker's own json-file must be
// the same entries, but for the driver's attrs.
func TestRealCopyEqualsJSONFile(t *testing.T) {
	for name, options := range map[string][]string{"plain": nil, "tty": {"-t"}} {
		t.Run(name, func(t *testing.T) {
			opt := e2eOptions(t)
			script := `echo one; echo two >&2; printf 'a\tb\033[1m<&>\n'; printf 'caf\303\251 \377\n';
				head -c 40000 /dev/zero | tr '\0' x; echo; head -c 16384 /dev/zero | tr '\0' y; echo;
				head -c 32768 /dev/zero | tr '\0' z; echo; echo; printf 'no end'`
			id := runContainer(t, options, script)
			docker(t, "wait", id)
			docker(t, "start", id) // the open end meets the next run
			docker(t, "wait", id)
			own := filepath.Join(opt.Docker.Root, "containers", id, id+"-json.log")

			// Sticky copy folder: this makes a json-file container go by API.
			if err := os.MkdirAll(filepath.Join(opt.CopyDir, id), 0o700); err != nil {
				t.Fatal(err)
			}
			s := discoverFor(t, opt)
			c := s.container(id, func(c Container) bool { return c.ViaAPI && !c.Running })
			want, err := os.ReadFile(own)
			if err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(c.LogPath)
			if err != nil {
				t.Fatal(err)
			}
			// dockerd decodes its own file for the API: what was a bad byte is
			// now a good U+FFFD.
			want = bytes.ReplaceAll(want, []byte(`\ufffd`), []byte("\ufffd"))
			if !bytes.Equal(got, want) {
				t.Errorf("copy differs:\n%s\nwant\n%s", short(got), short(want))
			}
		})
	}
}

// Restarted 20 times under load: no duplicate, no loss.
func TestRealReadBackRestarts(t *testing.T) {
	for _, driver := range []string{"local", "journald"} {
		t.Run(driver, func(t *testing.T) { readBackRestarts(t, driver) })
	}
}

func readBackRestarts(t *testing.T, driver string) {
	opt := e2eOptions(t)
	if driver == journald {
		needJournald(t)
	}
	// Both streams, numbered, and a long line now and then, until /stop is there.
	script := `w() { i=0; while [ ! -e /stop ]; do
			i=$((i+1)); echo "$1 $i"
			[ $((i % 3000)) = 0 ] && { printf "$1 long $i "; head -c 50000 /dev/zero | tr '\0' x; echo; }
			[ $((i % 10)) = 0 ] && usleep 5000
		done; echo "$1 printed $i"; }
		w err >&2 & w out; wait`
	s := discoverFor(t, opt)
	id := runContainer(t, []string{"--log-driver", driver}, script)
	path := s.container(id, func(c Container) bool { return c.ViaAPI && c.LogPath != "" }).LogPath
	for n := range 20 {
		var before int64
		if fi, err := os.Stat(path); err == nil {
			before = fi.Size()
		}
		until(t, "growth", 20*time.Second, func() bool {
			fi, err := os.Stat(path)
			return err == nil && fi.Size() > before+100_000
		})
		s.stop()
		if n%4 == 3 { // a crash in the middle of a write
			f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = f.WriteString(`{"log":"out 1`)
			_ = f.Close()
		}
		s = discoverFor(t, opt)
	}
	docker(t, "exec", id, "touch", "/stop")
	docker(t, "wait", id)
	s.container(id, func(c Container) bool { return !c.Running })
	for _, stream := range []string{"out", "err"} {
		got := linesOf(t, path, "std"+stream)
		var printed int
		if _, err := fmt.Sscanf(got[len(got)-1], stream+" printed %d", &printed); err != nil || printed < 1000 {
			t.Fatalf("%s: the last of %d lines is %.60q: %v", stream, len(got), got[len(got)-1], err)
		}
		var want []string
		for i := 1; i <= printed; i++ {
			want = append(want, fmt.Sprintf("%s %d", stream, i))
			if i%3000 == 0 {
				want = append(want, fmt.Sprintf("%s long %d %s", stream, i, strings.Repeat("x", 50000)))
			}
		}
		want = append(want, fmt.Sprintf("%s printed %d", stream, printed))
		if len(got) != len(want) {
			t.Errorf("%s: %d lines, want %d", stream, len(got), len(want))
		}
		for i := range min(len(got), len(want)) {
			if got[i] != want[i] {
				t.Fatalf("%s: line %d is %.60q, want %.60q", stream, i, got[i], want[i])
			}
		}
		t.Logf("%s: %d lines through 20 restarts", stream, len(got))
	}
}

// After removal the copy stays until it is settled, then it goes.
func TestRealLocalDriverRemoved(t *testing.T) {
	opt := e2eOptions(t)
	settled := make(chan struct{})
	opt.Settled = func(string, os.FileInfo) bool {
		select {
		case <-settled:
			return true
		default:
			return false
		}
	}
	s := discoverFor(t, opt)
	id := runContainer(t, []string{"--log-driver", "local"}, "for i in 1 2 3; do echo $i; done; exec sleep 3600")
	path := s.container(id, func(c Container) bool { return c.ViaAPI }).LogPath
	until(t, "three lines", 10*time.Second, func() bool { return len(linesOf(t, path, "stdout")) == 3 })
	docker(t, "rm", "-f", id)
	c := s.container(id, func(c Container) bool { return !c.Running })
	if c.Name == "" || c.Labels["mesoscope.test"] != "discover" {
		t.Errorf("what is left: %+v", c)
	}
	s.stop()
	s = discoverFor(t, opt) // it is still there for an agent that was restarted
	s.container(id, func(c Container) bool { return !c.Running && c.Name != "" })
	close(settled)
	s.stop()
	discoverFor(t, opt)
	until(t, "removal of the copy", 10*time.Second, func() bool { _, err := os.Stat(filepath.Dir(path)); return err != nil })
}

// A driver that Docker itself cannot read is read from dual logging's cache.
func TestRealDualLogging(t *testing.T) {
	opt := e2eOptions(t)
	s := discoverFor(t, opt)
	id := runContainer(t, []string{"--log-driver", "syslog", "--log-opt", "syslog-address=udp://127.0.0.1:9"}, "echo cached; exec sleep 3600")
	path := s.container(id, func(c Container) bool { return c.ViaAPI }).LogPath
	until(t, "a line", 10*time.Second, func() bool { return len(linesOf(t, path, "stdout")) == 1 })
	id = runContainer(t, []string{"--log-driver", "syslog", "--log-opt", "syslog-address=udp://127.0.0.1:9", "--log-opt", "cache-disabled=true"}, "echo lost; exec sleep 3600")
	c := s.container(id, func(c Container) bool { return c.Problem != "" })
	if c.LogPath != "" || !strings.Contains(c.Problem, "not readable: driver syslog") {
		t.Errorf("without cache: %+v", c)
	}
}

// An agent that may use the socket but not read Docker's files follows by API.
func TestRealNoFileRights(t *testing.T) {
	const variable = "MESOSCOPE_TEST_NO_RIGHTS_ID"
	if id := os.Getenv(variable); id != "" { // the agent without rights
		opt := e2eOptions(t)
		var log lockedBuffer
		opt.Log = textLog(&log)
		s := discoverFor(t, opt)
		c := s.container(id, func(c Container) bool { return c.ViaAPI && c.Name != "" && c.Driver == jsonFile })
		until(t, "the line", 10*time.Second, func() bool { return len(linesOf(t, c.LogPath, "stdout")) == 1 })
		if log.count("at least once instead of exactly once") != 1 {
			t.Errorf("what is lost was not said once:\n%s", log.String())
		}
		return
	}
	needDocker(t)
	if os.Getuid() != 0 {
		t.Skip("needs root, to become somebody else")
	}
	socket, err := os.Stat("/var/run/docker.sock")
	if err != nil {
		t.Fatal(err)
	}
	id := runContainer(t, nil, "echo hi; exec sleep 3600")
	exe, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "norights") // t.TempDir lies below folders that only root may enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	bin := filepath.Join(dir, "discover.test")
	if err := errors.Join(os.Chmod(dir, 0o777), os.WriteFile(bin, exe, 0o755)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, "-test.run=^TestRealNoFileRights$", "-test.v")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), variable+"="+id, "TMPDIR="+dir, "HOME="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: socket.Sys().(*syscall.Stat_t).Gid}}
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: TestRealNoFileRights")) {
		t.Errorf("%v\n%s", err, out)
	}
}

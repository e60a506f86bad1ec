//go:build e2e && linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestSystemdHolds: the agent runs as the service of deploy/systemd, with all
// that the unit takes from it, under a real systemd, which is the first process
// of a container.
func TestSystemdHolds(t *testing.T) {
	root := dockerRoot(t)
	const unit = "mesoscope-agent.service"
	sink, hold, address := newLossySink(t), holdFolder(t, root, "systemd"), freeAddress(t)
	dir := systemdImage(t, "mesoscope-test/systemd")
	local := filepath.Join(dir, "local")
	text, err := os.ReadFile("../../deploy/systemd/" + unit)
	if err == nil {
		err = os.MkdirAll(filepath.Join(local, "bin"), 0o755)
	}
	if err == nil {
		err = os.Link(binary, filepath.Join(local, "bin", "mesoscope"))
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, unit), text, 0o644)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "env"), fmt.Appendf(nil, "MESOSCOPE_HTTP_LISTEN=%s\nMESOSCOPE_NODE_NAME=%s\nMESOSCOPE_OUTPUT_ELASTICSEARCH_HOSTS=%s\nMESOSCOPE_HOLD_MIN_FREE=0\nMESOSCOPE_DOCKER_ROOT=%s\nMESOSCOPE_HOLD_DIR=%s\n",
			address, node, sink.url, root, hold), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	machine := docker(t, "run", "-d", "--net", "host", "--label", label, "--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined",
		"--cgroupns", "host", "--tmpfs", "/run", "--tmpfs", "/tmp", "-e", "container=docker", "-v", "/sys/fs/cgroup:/sys/fs/cgroup", "-v", "/usr:/usr:ro", "-v", local+":/usr/local:ro",
		"-v", root+":"+root, "-v", "/var/run/docker.sock:/var/run/docker.sock:ro",
		"-v", filepath.Join(dir, unit)+":/etc/systemd/system/"+unit+":ro", "-v", filepath.Join(dir, "env")+":/etc/default/mesoscope-agent:ro",
		"mesoscope-test/systemd", "/usr/lib/systemd/systemd", "--unit="+unit)
	t.Cleanup(func() {
		if t.Failed() {
			for _, args := range [][]string{{"systemctl", "status", "--no-pager", "-n", "40", unit}, {"systemctl", "--failed", "--no-pager"}} {
				out, _ := exec.Command("docker", append([]string{"exec", machine}, args...)...).CombinedOutput()
				t.Logf("%s", out)
			}
			out, _ := exec.Command("docker", "logs", machine).CombinedOutput()
			t.Logf("%s", tailOf(string(out), 40))
		}
		_ = exec.Command("docker", "rm", "-f", "-v", machine).Run()
		_ = exec.Command("docker", "rmi", "mesoscope-test/systemd").Run()
	})
	a := &process{t: t, url: "http://" + address}
	answers := func() {
		t.Helper()
		within(t, 60*time.Second, "the service answers", func() error {
			_, _, err := a.get("/healthz")
			return err
		})
	}
	answers()
	show := func(property string) string {
		return docker(t, "exec", machine, "systemctl", "show", "--value", "-p", property, unit)
	}
	state, err := exec.Command("docker", "exec", machine, "cat", "/proc/"+show("MainPID")+"/status").Output()
	if err != nil {
		t.Fatal(err)
	}
	const dacOverride = 1 // its number, so bit 1
	for _, want := range []string{fmt.Sprintf("CapBnd:\t%016x", 1<<dacOverride), "NoNewPrivs:\t1", "Seccomp:\t2"} {
		if !strings.Contains(string(state), want) {
			t.Errorf("the service is not confined: want %q in\n%s", want, state)
		}
	}
	if got, want := show("CapabilityBoundingSet"), "cap_"+strings.ToLower(strings.Join(systemTask(t).capabilities(), " cap_")); got != want {
		t.Errorf("the service has %s, the system task %s", got, want)
	}
	holdsAll(t, sink, a, root, hold, func() {
		before := show("MainPID")
		docker(t, "exec", machine, "systemctl", "kill", "-s", "KILL", unit)
		within(t, 60*time.Second, "systemd starts it again", func() error {
			if now := show("MainPID"); now == before || now == "0" {
				return fmt.Errorf("pid %s", now)
			}
			return nil
		})
		answers()
	})
	docker(t, "exec", machine, "systemctl", "stop", unit)
	if result := show("Result"); result != "success" {
		t.Errorf("it ended with %s", result)
	}
}

// systemdImage imports an image for a systemd whose programs are those of this
// machine, mounted at /usr, and returns a folder for what else is to be mounted.
// All that its targets want is masked, as it would set up this machine.
func systemdImage(t *testing.T, name string) string {
	t.Helper()
	if _, err := os.Stat("/usr/lib/systemd/systemd"); err != nil {
		lacking(t, "no systemd: install the package of that name")
	}
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	units := filepath.Join(root, "etc/systemd/system")
	for _, d := range []string{"etc/systemd/system", "etc/default", "usr", "proc", "sys", "dev", "run", "tmp", "root", "home", "var/lib", "var/log", "var/tmp"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for file, text := range map[string]string{"machine-id": "", "passwd": "root:x:0:0::/root:/bin/sh\n", "group": "root:x:0:\n"} {
		if err := os.WriteFile(filepath.Join(root, "etc", file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{"bin", "sbin", "lib", "lib64"} {
		if to, err := os.Readlink("/" + d); err == nil {
			if err := os.Symlink(to, filepath.Join(root, d)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, pattern := range []string{"/usr/lib/systemd/system/*.target.wants/*", "/usr/lib/systemd/system/*.target.requires/*"} {
		wanted, _ := filepath.Glob(pattern)
		for _, w := range wanted {
			name := filepath.Base(w)
			if strings.HasPrefix(name, "systemd-journald") {
				continue
			}
			if err := os.Symlink("/dev/null", filepath.Join(units, name)); err != nil && !os.IsExist(err) {
				t.Fatal(err)
			}
		}
	}
	if out, err := exec.Command("sh", "-c", `tar -C "$0" -c . | docker import - "$1"`, root, name).CombinedOutput(); err != nil {
		t.Fatalf("import: %v: %s", err, out)
	}
	return dir
}

//go:build e2e && linux

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"testing"
	"time"
)

// TestARM64 runs the demo of the arm64 program, under qemu where this is
// another processor. It compares the lines written and stored by itself.
func TestARM64(t *testing.T) {
	program := filepath.Join(t.TempDir(), "mesoscope")
	if err := build(program, "GOOS=linux", "GOARCH=arm64"); err != nil {
		t.Fatal(err)
	}
	if runtime.GOARCH != "arm64" {
		emulate(t)
	}
	began := time.Now()
	cmd := exec.Command(program, "standalone", "--demo", "--for", "30s")
	// The sample alone: the other containers of this machine are not its test.
	cmd.Env = append(os.Environ(), "MESOSCOPE_HTTP_LISTEN="+freeAddress(t),
		"MESOSCOPE_DOCKER_ROOT=/nonexistent", "MESOSCOPE_DOCKER_SOCKET=unix:///nonexistent/docker.sock")
	out, err := cmd.CombinedOutput()
	numbers := regexp.MustCompile(`([\d,]+) lines written, ([\d,]+) lines stored`).FindSubmatch(out)
	if err != nil || numbers == nil || string(numbers[1]) != string(numbers[2]) || string(numbers[1]) == "0" {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s, %.0f s", numbers[0], time.Since(began).Seconds())
}

// emulate makes the kernel start arm64 programs in qemu, until the test's end:
// the demo starts itself, which qemu alone would not see.
func emulate(t *testing.T) {
	t.Helper()
	const dir = "/proc/sys/fs/binfmt_misc"
	rule, err := os.ReadFile("/usr/lib/binfmt.d/qemu-aarch64.conf")
	if err != nil {
		lacking(t, "qemu-user-static is missing: apt-get install qemu-user-static")
	}
	if _, err := os.Stat(dir + "/register"); err != nil {
		if out, err := exec.Command("mount", "-t", "binfmt_misc", "binfmt_misc", dir).CombinedOutput(); err != nil {
			lacking(t, "binfmt_misc cannot be mounted: "+string(out))
		}
	}
	if _, err := os.Stat(dir + "/qemu-aarch64"); err == nil {
		return
	}
	if err := os.WriteFile(dir+"/register", rule, 0); err != nil {
		lacking(t, "register qemu: "+err.Error())
	}
	t.Cleanup(func() {
		if err := os.WriteFile(dir+"/qemu-aarch64", []byte("-1"), 0); err != nil {
			t.Error(err)
		}
	})
}

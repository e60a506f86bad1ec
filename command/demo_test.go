package command

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startDemo starts a demo that has no other containers to follow than its own.
// tmp is the folder below which it works.
func startDemo(t *testing.T, args ...string) (c *child, tmp string) {
	t.Helper()
	tmp = t.TempDir()
	none := filepath.Join(t.TempDir(), "no-docker-here")
	env := []string{"env", "TMPDIR=" + tmp, "MESOSCOPE_HTTP_LISTEN=127.0.0.1:0", "MESOSCOPE_DOCKER_ROOT=" + none, "MESOSCOPE_DOCKER_SOCKET=unix://" + none + ".sock"}
	return start(t, env, append([]string{"standalone", "--demo"}, args...)...), tmp
}

// TestDemo runs the demo as a newcomer does, without Docker: every line that
// its services write is stored, and nothing of it is left behind.
func TestDemo(t *testing.T) {
	t.Parallel()
	c, tmp := startDemo(t, "--for", "8s")
	c.wait(`The page: +(http://127\.0\.0\.1:\d+)`)
	c.wait(`mesoscope|\S+ logs -f --store http`)
	const secret = "correct-horse-battery-staple" // the DATABASE_PASSWORD of a service
	seen, stores := false, 0
	until(t, "lines in the store", 7*time.Second, func() bool {
		stores = 0
		found := false
		filepath.WalkDir(tmp, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return nil
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return nil // rotated away
			}
			if strings.Contains(path, filepath.Join("docker", "containers")) {
				seen = seen || strings.Contains(string(text), secret)
				return nil
			}
			if strings.Contains(string(text), secret) {
				t.Errorf("%s holds the password of a service", path)
			}
			if strings.Contains(filepath.Base(path), ".db") {
				stores++
				found = found || strings.Contains(string(text), "checkout")
			}
			return nil
		})
		return found && seen
	})
	code := c.code()
	n := c.wait(`\n([\d,]+) lines written, `)
	if m := c.wait(` lines written, ([\d,]+) lines stored\.\n`); code != Done || m != n || n == "0" {
		t.Errorf("exit code %d, %s lines written, %s stored", code, n, m)
	}
	t.Logf("%s lines written and stored", n)
	if left, _ := os.ReadDir(tmp); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestDemoEnds: Ctrl-C ends the demo in order and takes everything away.
func TestDemoEnds(t *testing.T) {
	t.Parallel()
	c, tmp := startDemo(t)
	url := c.wait(`The page: +(http://127\.0\.0\.1:\d+)`)
	ask(t, url+"/healthz")
	c.signal(syscall.SIGINT)
	if code := c.code(); code != Done {
		t.Errorf("exit code %d", code)
	}
	if left, _ := os.ReadDir(tmp); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

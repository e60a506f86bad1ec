//go:build e2e && linux

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mesoscope/collector/status"
)

// TestStandaloneChecks: `mesoscope standalone` checks the containers of its host
// without a word of configuration: a Redis because of its image's name, a web
// server because of its labels. They are broken for real, and mended.
func TestStandaloneChecks(t *testing.T) {
	root := dockerRoot(t)
	redisImage(t)
	run := func(name string, args ...string) string {
		return docker(t, append([]string{"run", "-d", "--label", label, "--name", fmt.Sprintf("e2e-%d-%s", pid, name)}, args...)...)
	}
	web := run("web", "--expose", "8080", "--label", "mesoscope.check.page=http:/bin/", "--label", "mesoscope.check.page.expect=[STATUS] == 404",
		"--label", "mesoscope.check.page.interval=1s", "--label", "mesoscope.check.page.fail=2", "--label", "mesoscope.check.page.grace=1s", "--label", "mesoscope.team=shop",
		"--label", "mesoscope.check.wrong=http", "--label", "mesoscope.check.wrong.colour=red",
		"test/busybox", "sh", "-c", "httpd -p 8080 -h /; sleep 100000; exit 3")
	cache := run("cache", "mesoscope-test/redis")
	address := freeAddress(t)
	hold := filepath.Join(root, fmt.Sprintf("mesoscope-e2e-%d-checks", pid))
	t.Cleanup(func() { _ = os.RemoveAll(hold) })
	// The guessed check of Redis is quicker than by default, by checks.yml.
	overlay := filepath.Join(t.TempDir(), "checks.yml")
	if err := os.WriteFile(overlay, []byte("apps: {\"*\": {checks: {redis: {interval: 1s, fail: 2, grace: 1s}}}}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := newProcess(t, "standalone", address, fmt.Sprintf("data_dir: %s\nhttp: {listen: %s}\nnode: {name: %s}\ndocker: {root: %s}\nhold: {dir: %s}\ncollector: {checks_file: %s}\n",
		t.TempDir(), address, node, root, hold, overlay))
	s.start()

	becomes := func(what, id, name, want string) (c status.Check) {
		t.Helper()
		within(t, 90*time.Second, fmt.Sprintf("%s: %s of %.12s is %q", what, name, id, want), func() (err error) {
			if c, err = s.check(id, name); err == nil && c.Status.String() != want {
				err = fmt.Errorf("it is %s: %s", c.Status, c.Text)
			}
			if err != nil && want == "" && strings.Contains(err.Error(), "no check") {
				return nil
			}
			return err
		})
		return c
	}
	c := becomes("at first", web, "page", "OK")
	if c.Team != "shop" || c.Kind != "http" || c.Guessed || c.Host != node || c.App != fmt.Sprintf("e2e-%d-web", pid) || !strings.HasSuffix(c.Target, ":8080/bin/") {
		t.Errorf("%+v", c)
	}
	if c = becomes("at first", cache, "redis", "OK"); !c.Guessed || c.Kind != "redis" || !strings.Contains(c.From, "image mesoscope-test/redis") {
		t.Errorf("%+v", c)
	}

	docker(t, "pause", cache)
	c = becomes("paused", cache, "redis", "CRITICAL")
	code, out, _ := mesoscope(t, "status", "--url", s.url)
	if i := strings.Index(out, "CRITICAL"); code != 1 || i < 0 || i > strings.Index(out, "output  embedded") || !strings.Contains(out, "refused") || !strings.Contains(out, "colour") {
		t.Errorf("mesoscope status, exit code %d:\n%s", code, out)
	}
	question := fmt.Sprintf(`event.dataset: "mesoscope.check" and container.id: "%s"`, cache)
	within(t, time.Minute, "the store has the changes of the Redis", func() error {
		code, out, errs := mesoscope(t, "logs", "--store", s.url, question)
		if code != 0 || !strings.Contains(out, "redis of e2e-") || !strings.Contains(out, "is OK, was PENDING") || !strings.Contains(out, "is CRITICAL, was OK: ") {
			return fmt.Errorf("%d\n%s\n%s", code, out, errs)
		}
		return nil
	})
	if _, out, _ := mesoscope(t, "logs", "--store", s.url, "CRITICAL"); strings.Contains(out, "was OK") {
		t.Errorf("changes of checks stand among the lines:\n%s", out)
	}
	docker(t, "unpause", cache)
	becomes("goes on", cache, "redis", "OK")

	// A crash is no `docker stop`: what has failed stays, until it is started again or removed.
	docker(t, "exec", web, "sh", "-c", "kill $(pidof sleep)")
	becomes("crashed", web, "page", "CRITICAL")
	docker(t, "start", web)
	becomes("started again", web, "page", "OK")
	docker(t, "stop", "-t", "1", web)
	becomes("stopped by hand", web, "page", "")

	if code, body, err := s.get("/metrics"); err != nil || code != 200 || !strings.Contains(body, `probe_success{check="redis",kind="redis",app="e2e-`) || !strings.Contains(body, "mesoscope_lines_read_total") {
		t.Errorf("/metrics: %d %v, without the checks or without the agent's", code, err)
	}
}

// check is how the check of a container stands.
func (p *process) check(id, name string) (c status.Check, err error) {
	_, body, err := p.get(status.ChecksPath)
	var all []status.Check
	if err == nil {
		err = json.Unmarshal([]byte(body), &all)
	}
	for _, c := range all {
		if strings.Contains(c.ID, id) && c.Name == name {
			return c, nil
		}
	}
	if err == nil {
		err = fmt.Errorf("no check %s of %.12s among %d", name, id, len(all))
	}
	return c, err
}

// redisImage makes an image of this machine's Redis and the libraries it needs,
// which says as Redis' own does on which port it listens.
func redisImage(t *testing.T) {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		lacking(t, "redis-server is missing: apt-get install redis-server")
	}
	script := `set -e; { readlink -f "$0"; echo "$0"; ldd "$0" | grep -o '/[^ ]*'; } | sort -u | tar -chf - -P -T - |
		docker import -c 'EXPOSE 6379' -c "CMD [\"$0\", \"--bind\", \"0.0.0.0\", \"--protected-mode\", \"no\", \"--save\", \"\", \"--dir\", \"/\"]" - mesoscope-test/redis`
	if out, err := exec.Command("sh", "-c", script, path).CombinedOutput(); err != nil {
		t.Fatalf("import Redis: %v: %s", err, out)
	}
}

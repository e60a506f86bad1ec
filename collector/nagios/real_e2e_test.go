//go:build e2e && linux

package nagios

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"mesoscope/collector/check"
	"mesoscope/collector/state"
)

// nagiosConfig is the least that the monitoring core needs. %[1]s is its folder.
const nagiosConfig = `log_file=%[1]s/nagios.log
cfg_dir=%[1]s/objects
object_cache_file=%[1]s/objects.cache
precached_object_file=%[1]s/objects.precache
status_file=%[1]s/status.dat
status_update_interval=1
check_external_commands=1
command_file=%[1]s/nagios.cmd
query_socket=%[1]s/nagios.qh
lock_file=%[1]s/nagios.pid
temp_file=%[1]s/nagios.tmp
temp_path=%[1]s
check_result_path=%[1]s/results
check_result_reaper_frequency=1
check_service_freshness=1
service_freshness_check_interval=5
additional_freshness_latency=0
retain_state_information=0
check_for_updates=0
illegal_object_name_chars=` + "`~!$%%^&*|'\"<>?,()=" + `
illegal_macro_output_chars=` + "`~$&|'\"<>" + `
`

// contacts are what every configuration of Nagios has to have.
const contacts = `
define command {
    command_name  tell-nobody
    command_line  /bin/true
}
define contact {
    contact_name                   admin
    service_notification_period    mesoscope-always
    host_notification_period       mesoscope-always
    service_notification_commands  tell-nobody
    host_notification_commands     tell-nobody
}
define contactgroup {
    contactgroup_name  admins
    alias              Admins
    members            admin
}
`

// A core is a running nagios4 with the objects that we made.
type core struct {
	t   *testing.T
	dir string
}

func startNagios(t *testing.T, objects string) *core {
	t.Helper()
	bin, err := exec.LookPath("nagios4")
	if err != nil || os.Geteuid() != 0 {
		what := "needs root and the monitoring core of Nagios 4: apt-get install --no-install-recommends nagios4-core monitoring-plugins-basic"
		if os.Getenv("CI") != "" || os.Getenv("MESOSCOPE_TEST_CI") != "" {
			t.Fatal(what)
		}
		t.Skip(what)
	}
	// Not t.TempDir: the user nagios must be able to pass all folders above it.
	dir, err := os.MkdirTemp("", "mesoscope-nagios-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for _, d := range []string{"objects", "results"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cfg := filepath.Join(dir, "nagios.cfg")
	for path, text := range map[string]string{cfg: fmt.Sprintf(nagiosConfig, dir), filepath.Join(dir, "objects", "mesoscope.cfg"): objects, filepath.Join(dir, "objects", "contacts.cfg"): contacts} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	u, err := user.Lookup("nagios")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	for _, d := range []string{dir, filepath.Join(dir, "results")} {
		if err := os.Chown(d, uid, gid); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command(bin, "-v", cfg).CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("Total Warnings: 0")) || !bytes.Contains(out, []byte("Total Errors:   0")) {
		t.Fatalf("nagios4 -v: %v\n%s\n%s", err, out, objects)
	}
	cmd := exec.Command(bin, cfg)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { cmd.Wait(); close(done) }()
	c := &core{t, dir}
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt) // its workers go with it
		select {
		case <-done:
		case <-time.After(time.Minute):
			cmd.Process.Kill()
			<-done
		}
		if t.Failed() {
			text, _ := os.ReadFile(filepath.Join(dir, "nagios.log"))
			t.Logf("%s\n%s", said.String(), text)
		}
	})
	return c
}

// service is what status.dat says of a service.
func (c *core) service(name string) map[string]string {
	text, _ := os.ReadFile(filepath.Join(c.dir, "status.dat"))
	for _, block := range strings.Split(string(text), "servicestatus {")[1:] {
		block, _, _ = strings.Cut(block, "\n\t}")
		values := map[string]string{}
		for _, l := range strings.Split(block, "\n") {
			if k, v, ok := strings.Cut(strings.TrimSpace(l), "="); ok {
				values[k] = v
			}
		}
		if values["service_description"] == name {
			return values
		}
	}
	return nil
}

func (c *core) until(what, name string, ok func(map[string]string) bool) map[string]string {
	c.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		s := c.service(name)
		if s != nil && ok(s) {
			return s
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("not within 2 minutes: %s; %s is %v", what, name, s)
		}
	}
}

// TestRealNagios: Nagios takes the objects that we make, shows what we send,
// and finds out by itself when nothing comes any more.
func TestRealNagios(t *testing.T) {
	w := &world{apps: []check.App{{ID: "/prod/web", Expected: 2, Minimum: 1}}}
	odd := event("/prod/a$b (old)", "health", "n1", state.OK)
	same := event("/prod/a&b (old)", "health", "n1", state.Warning)
	web := func(s state.Status) []check.Event {
		one, two := event("/prod/web", "health", "n1", s), event("/prod/web", "health", "n2", state.OK)
		one.Result.Text = `cannot open C:\new | really`
		return []check.Event{one, two, odd, same}
	}
	w.set(web(state.OK)...)
	o := w.options()
	c := startNagios(t, Objects(o.Cluster, services(o), "", "admins"))
	o.CommandFile = filepath.Join(c.dir, "nagios.cmd")
	n, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { n.Run(ctx); close(done) }()
	t.Cleanup(func() { stop(); <-done })

	is := func(status state.Status) func(map[string]string) bool {
		return func(s map[string]string) bool {
			return s["has_been_checked"] == "1" && s["current_state"] == fmt.Sprint(int(status))
		}
	}
	c.until("all is well", "/prod/web health", is(state.OK))
	names := Names([]string{"/prod/a$b (old) health", "/prod/a&b (old) health"})
	c.until("names of which two would be the same", names["/prod/a$b (old) health"], is(state.OK))
	c.until("the other one", names["/prod/a&b (old) health"], is(state.Warning))

	w.set(web(state.Critical)...)
	n.Changed(check.Event{})
	s := c.until("an instance is down", "/prod/web health", is(state.Critical))
	if s["plugin_output"] != `CRITICAL: 1 of 2 can be reached: n1 CRITICAL: cannot open C:\new ¦ really` || s["long_plugin_output"] != `n1 CRITICAL: cannot open C:\\new ¦ really` ||
		!strings.HasPrefix(s["performance_data"], "time=0.012000s reachable=1;;;0") || s["host_name"] != "mesoscope-c 1" {
		t.Errorf("it is %q", s)
	}
	c.until("it stays so, and is hard", "/prod/web health", func(s map[string]string) bool { return is(state.Critical)(s) && s["state_type"] == "1" })
	w.set(web(state.OK)...)
	n.Changed(check.Event{})
	c.until("mended", "/prod/web health", is(state.OK))

	stop()
	<-done
	s = c.until("no results any more", "/prod/web health", is(state.Unknown))
	if s["plugin_output"] != "UNKNOWN: no result from the collector for too long" {
		t.Errorf("it is %q", s)
	}
}

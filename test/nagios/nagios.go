// Package nagios starts the monitoring core of Nagios 4 for tests, alone: no web
// server, no checks of its own. It is that of Debian's package nagios4-core.
//
// The way of the data: objects -> nagios4 -v -> nagios4 -> status.dat, read until
// a service is as it should be; the test's end stops it.
package nagios

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// config is the least that the monitoring core needs. %[1]s is its folder.
const config = `log_file=%[1]s/nagios.log
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

// A Core is a running nagios4.
type Core struct {
	CommandFile string
	t           testing.TB
	dir         string
}

// Start starts one with objects, which may name the contact group admins, and
// fails the test if Nagios finds an error in them or warns of something. What the
// machine lacks skips the test, and fails it in CI.
func Start(t testing.TB, objects string) *Core {
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
	for path, text := range map[string]string{cfg: fmt.Sprintf(config, dir), filepath.Join(dir, "objects", "mesoscope.cfg"): objects, filepath.Join(dir, "objects", "contacts.cfg"): contacts} {
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
	c := &Core{filepath.Join(dir, "nagios.cmd"), t, dir}
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
func (c *Core) service(name string) map[string]string {
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

// Until waits until a service is as it should be, and returns what status.dat
// says of it.
func (c *Core) Until(what, name string, ok func(map[string]string) bool) map[string]string {
	c.t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		s := c.service(name)
		if s != nil && ok(s) {
			return s
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("not within 3 minutes: %s; %s is %v", what, name, s)
		}
	}
}

// Is says whether a service has been checked and has a state (0 to 3).
func Is(state int) func(map[string]string) bool {
	return func(s map[string]string) bool {
		return s["has_been_checked"] == "1" && s["current_state"] == fmt.Sprint(state)
	}
}

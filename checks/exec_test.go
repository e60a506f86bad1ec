//go:build unix

package checks

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// script is a plugin made of shell lines.
func script(t *testing.T, lines string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "plugin")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+lines+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestExec(t *testing.T) {
	with := func(args ...string) func(*testing.T, *Target) {
		return func(_ *testing.T, to *Target) { to.Args = args }
	}
	testKind(t, "exec", "", []trial{
		{name: "ok", address: script(t, `echo "LOAD OK - 0.5 | load1=0.5;1;2;0; 'a b'=3MB;;;0;10"`), text: "LOAD OK - 0.5", metrics: "load1=0.5;1;2;0"},
		{name: "warning", address: script(t, `echo "warm"; exit 1`), want: Warning, signal: "warning", text: "warm"},
		{name: "critical", address: script(t, `echo "hot | t=99"; exit 2`), want: Critical, signal: "critical", text: "hot", metrics: "t=99"},
		{name: "unknown", address: script(t, `exit 3`), want: Unknown, signal: "unknown", text: "no output"},
		{name: "127", address: script(t, `no-such-program`), want: Unknown, signal: "exit", text: "exit code 127"},
		{name: "signal", address: script(t, `kill -SEGV $$`), want: Unknown, signal: "exit", text: "signal 11"},
		{name: "missing", address: "/no/such/plugin", want: Unknown, signal: "exit", text: "cannot start"},
		{name: "long text, second perfdata", address: script(t, `printf 'fine | a=1\nmore\nlines | b=2\nc=3\n'`), text: "fine", metrics: "a=1 b=2 c=3"},
		{name: "stderr alone", address: script(t, `echo broken >&2; exit 2`), want: Critical, signal: "critical", text: "broken"},
		{name: "arguments without a shell", address: script(t, `echo "$1"`), change: with("$(id); x"), text: "$(id); x"},
		{name: "clean environment", address: script(t, `echo "${HOME-none} $A"`), options: opt("env", "A=b"), text: "none b"},
		{name: "limit on a plugin's metric", address: script(t, `echo "ok | load1=5"`), options: opt("critical", "load1=4"), want: Critical, signal: "load1", text: "load1 is 5, outside of 4"},
		{name: "a plugin's own limits are its business", address: script(t, `echo "ok | load1=5;1;2"`)},
		{name: "slow", address: script(t, `sleep 60`), options: opt("timeout", "200ms"), want: Critical, signal: "timeout", text: "killed"},
		{name: "deaf to TERM", address: script(t, `trap '' TERM INT; while :; do sleep 1; done`), options: opt("timeout", "200ms"), want: Critical, signal: "timeout"},
		{name: "endless output", address: script(t, `while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done`), options: opt("timeout", "300ms"), want: Critical, signal: "timeout"},
		{name: "relative path", address: "plugin", want: Unknown, signal: "options", text: "no absolute path"},
	})
}

// TestExecUser: the plugin runs as another user, or not at all.
func TestExecUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	path := filepath.Join("/tmp", filepath.Base(t.TempDir())+strconv.Itoa(os.Getpid()))
	if err := os.WriteFile(path, []byte("#!/bin/sh\nid -un; id -G\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(path) })
	for user, want := range map[string]string{"nobody": "nobody", "": "root", "no-such-user": "cannot start"} {
		r := trial{address: path, change: func(_ *testing.T, to *Target) { to.User = user }}.run(t, "exec", "")
		if !strings.Contains(r.Text, want) {
			t.Errorf("%q: %s: %s", user, r.State, r.Text)
		}
		if user == "nobody" && len(strings.Fields(r.Long)) != 1 {
			t.Errorf("further groups: %s", r.Long)
		}
	}
}

// TestExecOutputIsCapped: 64 KiB are kept, and the plugin is not stopped by that.
func TestExecOutputIsCapped(t *testing.T) {
	r := trial{address: script(t, `echo first; head -c 3000000 /dev/zero | tr '\0' x; exit 1`)}.run(t, "exec", "")
	if r.State != Warning || r.Text != "first" || len(r.Long) > maxOutput+100 || !strings.HasSuffix(r.Long, "(output cut at 64 KiB)") {
		t.Errorf("%s %s, %d bytes of long text", r.State, r.Text, len(r.Long))
	}
}

// TestExecKillsChildren: also those that the plugin left in the background
// when it was killed, and when it ended by itself.
func TestExecKillsChildren(t *testing.T) {
	for name, end := range map[string]string{"killed": "wait", "ended": "exit 0"} {
		t.Run(name, func(t *testing.T) {
			note := filepath.Join(t.TempDir(), "pid")
			path := script(t, "sleep 300 & echo $! > "+note+"; "+end)
			trial{address: path, options: opt("timeout", "500ms")}.run(t, "exec", "")
			text, err := os.ReadFile(note)
			if err != nil {
				t.Fatal(err)
			}
			pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
			if err != nil {
				t.Fatal(err)
			}
			for end := time.Now().Add(5 * time.Second); alive(pid); {
				if time.Now().After(end) {
					_ = syscall.Kill(pid, syscall.SIGKILL)
					t.Fatalf("the child %d lives", pid)
				}
				time.Sleep(time.Millisecond) // polling: a kill takes a moment
			}
		})
	}
}

// alive says whether a process runs; a zombie that nobody has waited for does not.
func alive(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return false
	}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err != nil || !strings.Contains(string(stat), ") Z ")
}

package command

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mesoscope/internal/jsonfile"
)

// fill writes lines until so many files were begun and each is held.
func (l *logger) fill(files int) {
	l.t.Helper()
	for n := 0; n < files; {
		fi, err := os.Stat(l.writer.Path())
		if err != nil {
			l.t.Fatal(err)
		}
		if fi.Size() > 0 {
			until(l.t, "a file to be held", 20*time.Second, func() bool { return l.held(fi) })
		}
		for {
			if err := l.writer.WriteLine("stdout", []byte(strings.Repeat("x", 1000)), time.Now()); err != nil {
				l.t.Fatal(err)
			}
			now, err := os.Stat(l.writer.Path())
			if err != nil {
				l.t.Fatal(err)
			}
			if n == 0 || !os.SameFile(fi, now) {
				n++
				break
			}
		}
	}
	fi, err := os.Stat(l.writer.Path())
	if err != nil {
		l.t.Fatal(err)
	}
	until(l.t, "the last file to be held", 20*time.Second, func() bool {
		_, err := os.Stat(filepath.Join(l.holdFolder(), "container.json"))
		return err == nil && l.held(fi)
	})
}

// only are the held files that have no other name.
func (l *logger) only() (files int, size, disk int64) {
	l.t.Helper()
	links, err := filepath.Glob(filepath.Join(l.holdFolder(), "*_*"))
	if err != nil {
		l.t.Fatal(err)
	}
	for _, path := range links {
		fi, err := os.Stat(path)
		if err != nil {
			l.t.Fatal(err)
		}
		if st := fi.Sys().(*syscall.Stat_t); st.Nlink == 1 {
			files, size, disk = files+1, size+fi.Size(), disk+512*st.Blocks
		}
	}
	return files, size, disk
}

// TestReleaseHold: a node is given up while its sink is away. What the agent
// has held goes, and nothing else; not while it runs, and not too soon.
func TestReleaseHold(t *testing.T) {
	dir := t.TempDir()
	config := agentConfig(t, dir, "http://127.0.0.1:1", "") // nobody answers there
	gone := newContainerLogger(t, dir, 0, jsonfile.Options{MaxSize: 20_000, MaxFile: 1}, nil)
	stays := newContainerLogger(t, dir, 1, jsonfile.Options{MaxSize: 20_000, MaxFile: 1}, nil)
	agent := start(t, nil, "agent", "--config", config)
	agent.wait(followingNow)
	gone.fill(3)
	stays.fill(2)
	gone.remove()
	foreign := filepath.Join(gone.holdFolder(), "notes.txt")
	if err := os.WriteFile(foreign, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	release := func(more ...string) (int, string, string) {
		t.Helper()
		return run(t, append([]string{"agent", "--config", config, "--release-hold"}, more...)...)
	}

	code, out, errOut := release()
	if want := fmt.Sprintf("is locked by process %d; nothing was released", agent.cmd.Process.Pid); code != Bad || out != "" || !strings.Contains(errOut, want) {
		t.Errorf("beside an agent: %d %s%s, want %q", code, out, errOut, want)
	}
	agent.kill()
	code, out, errOut = release("--if-agent-dead", "1h")
	if code != Bad || out != "" || !strings.Contains(errOut, fmt.Sprintf("an agent (process %d) has written ", agent.cmd.Process.Pid)) {
		t.Errorf("soon after an agent: %d %s%s", code, out, errOut)
	}
	goneFiles, goneSize, goneDisk := gone.only()
	staysFiles, staysSize, staysDisk := stays.only()
	if goneFiles != 3 || staysFiles != 1 {
		t.Fatalf("%d and %d files are held alone, want 3 and 1", goneFiles, staysFiles)
	}
	for _, path := range []string{"data/agent/checkpoint", "data/agent/lock", "docker/mesoscope-hold/lock"} {
		old := time.Now().Add(-90 * time.Minute)
		if err := os.Chtimes(filepath.Join(dir, path), old, old); err != nil {
			t.Fatal(err)
		}
	}
	if code, out, errOut = release("--if-agent-dead", "2h"); code != Bad || !strings.Contains(errOut, "1h30m ago, which is less than 2h0m0s") {
		t.Errorf("%d %s%s", code, out, errOut)
	}
	code, out, errOut = release("--if-agent-dead", "1h", "--output", "json")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if code != Done || errOut != "" || len(lines) != 3 {
		t.Fatalf("%d %s%s", code, out, errOut)
	}
	var first struct{ Container released }
	var last struct{ Released released }
	if err := json.Unmarshal([]byte(lines[0]), &first); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(lines[2]), &last); err != nil {
		t.Fatal(err)
	}
	if want := (released{ID: gone.id, Name: "c0", Files: 3, FreedFiles: 3, FreedBytes: goneDisk, UnstoredFiles: 3, UnstoredBytes: goneSize}); first.Container != want {
		t.Errorf("%+v\nwant %+v", first.Container, want)
	}
	if want := (released{Dir: filepath.Join(dir, "docker", "mesoscope-hold"), Containers: 2, Files: 5, FreedFiles: 4, FreedBytes: goneDisk + staysDisk,
		UnstoredFiles: 4, UnstoredBytes: goneSize + staysSize}); last.Released != want {
		t.Errorf("%+v\nwant %+v", last.Released, want)
	}
	if names, _ := filepath.Glob(filepath.Join(dir, "docker", "mesoscope-hold", "*", "*")); len(names) != 1 || names[0] != foreign {
		t.Errorf("left: %v", names)
	}
	if _, err := os.Stat(stays.writer.Path()); err != nil {
		t.Errorf("Docker's own file: %v", err)
	}
	code, out, _ = release("--if-agent-dead", "1h")
	if code != Done || out != "nothing is held in "+filepath.Join(dir, "docker", "mesoscope-hold")+"\n" {
		t.Errorf("again: %d %s", code, out)
	}
}

// TestReleaseHoldText: the sentences for people, of the two ends that a file can
// have: its lines are stored, or not.
func TestReleaseHoldText(t *testing.T) {
	for _, c := range []struct {
		name string
		all  released
		list []released
		want string
	}{
		{"nothing", released{Dir: "/hold"}, nil, "nothing is held in /hold\n"},
		{"stored", released{Dir: "/hold", Containers: 1, Files: 2, FreedFiles: 1, FreedBytes: 4096}, []released{{ID: "0123456789abcdef", Name: "web", Files: 2, FreedBytes: 4096}},
			"CONTAINER  ID            FILES  FREED  NOT STORED\nweb        0123456789ab  2      4 KiB  0 B\n\nreleased 2 files of 1 container in /hold; 4 KiB freed\n" +
				"1 of them still lie in Docker's folder and freed nothing: an agent that starts here again reads them\nevery line of the freed files was stored\n"},
		{"lost", released{Dir: "/hold", Containers: 2, Files: 1, FreedFiles: 1, FreedBytes: 4096, UnstoredFiles: 1, UnstoredBytes: 2048}, []released{{ID: "a", Files: 1}, {ID: "b"}},
			"2 KiB of log in 1 freed file were not known to be stored: these lines are gone. An agent that starts here again writes down a gap for them\n"},
	} {
		var out strings.Builder
		if err := (&Agent{Output: "text"}).printReleased(IO{Out: &out}, c.all, c.list); err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(out.String(), c.want) {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, &out, c.want)
		}
	}
}

func TestReleaseHoldUsage(t *testing.T) {
	for _, args := range []string{"agent --if-agent-dead 1h", "agent --output json", "agent --release-hold --if-agent-dead=-1h", "agent --release-hold --if-agent-dead soon"} {
		if code, _, errOut := run(t, strings.Fields(args)...); code != Usage || errOut == "" {
			t.Errorf("%s: %d %s", args, code, errOut)
		}
	}
	code, out, _ := run(t, "agent", "--help")
	if code != Done {
		t.Error(code)
	}
	contains(t, strings.Join(strings.Fields(out), " "), "--release-hold", "--if-agent-dead=1h", "refuses while an agent runs", "Exit codes of --release-hold")
	// A folder that cannot be read is not an empty one.
	dir := t.TempDir()
	config := agentConfig(t, dir, "http://127.0.0.1:1", "")
	if err := os.Mkdir(filepath.Join(dir, "docker"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "docker", "mesoscope-hold"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, errOut := run(t, "agent", "--config", config, "--release-hold"); code != Unknown || !strings.Contains(errOut, "look at the hold folder") {
		t.Errorf("%d %s%s", code, out, errOut)
	}
}

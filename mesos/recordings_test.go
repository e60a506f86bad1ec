package mesos

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s:\n got:\n%s\nwant:\n%s", path, got, want)
	}
}

func print(s *State) string {
	var b strings.Builder
	fmt.Fprintf(&b, "agent %q host %q cluster %q\n", s.AgentID, s.Hostname, s.Cluster)
	for _, e := range s.Executors {
		fmt.Fprintf(&b, "executor %q container %q role %q of %q %q\n  in %q\n", e.ID, e.ContainerID, e.Role, e.Framework.Name, e.Framework.ID, e.Directory)
		for _, t := range e.Tasks {
			fmt.Fprintf(&b, "  task %q %q container %q labels %v\n", t.ID, t.Name, t.ContainerID, t.Labels)
		}
	}
	return b.String()
}

// TestRecordedStates decodes each recorded state of an agent, whole and byte
// by byte.
func TestRecordedStates(t *testing.T) {
	paths, _ := filepath.Glob("testdata/state/*.json")
	if len(paths) < 10 {
		t.Fatalf("%d recordings", len(paths))
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			s, err := ReadState(bytes.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			golden(t, strings.TrimSuffix(path, ".json")+".golden", print(s))
			slow, err := ReadState(iotest.OneByteReader(bytes.NewReader(text)))
			if err != nil || print(slow) != print(s) {
				t.Errorf("byte by byte: %v\n%v", err, slow)
			}
			for cut := 0; cut < len(bytes.TrimSpace(text)); cut += 97 {
				if s, err := ReadState(bytes.NewReader(text[:cut])); err == nil {
					t.Errorf("cut at %d: %d executors and no error", cut, len(s.Executors))
				}
			}
		})
	}
}

// TestNoState: what is not the state of an agent must not be taken for one on
// which nothing runs.
func TestNoState(t *testing.T) {
	for _, path := range []string{"flags.json", "not-found.txt", "statistics.json"} {
		text, err := os.ReadFile("testdata/other/" + path)
		if err != nil {
			t.Fatal(err)
		}
		if s, err := ReadState(bytes.NewReader(text)); err == nil {
			t.Errorf("%s: %+v", path, s)
		}
	}
	for _, text := range []string{"", "[]", "{}", "null", `"x"`, `{"id":"a"}`, `{"frameworks":[`} {
		if s, err := ReadState(strings.NewReader(text)); err == nil {
			t.Errorf("%s: %+v", text, s)
		}
	}
}

// TestOddStates: members of another kind than expected hide nothing else.
func TestOddStates(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		s, err := ReadState(strings.NewReader(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			return
		}
		if got := print(s); !strings.Contains(got, want) {
			t.Errorf("%s:\n%s\nlacks %s", text, got, want)
		}
	}
	f(`{"frameworks":null,"id":7}`, `agent ""`)
	f(`{"frameworks":{},"id":"a"}`, `agent "a"`)
	f(`{"frameworks":[{"executors":[{"tasks":[{"id":"t","labels":{"labels":[{"key":"a","value":"b"},{"key":"c"},{"key":7},null]}}],"id":"e"}],"id":"f","name":"n"}]}`,
		`task "t" "" container "" labels map[a:b c:]`)
	f(`{"frameworks":[{"executors":[{"tasks":[{"id":"t","labels":[{"key":"a","value":"1"},{"key":"a","value":"2"}]}]}],"id":"f","name":"n"}]}`, `labels map[a:2]`)
	f(`{"frameworks":[{"executors":[{"id":"e","container":"c"}],"name":"late","id":"f"}]}`, `executor "e" container "c" role "" of "late" "f"`)
	f(`{"frameworks":[{"executors":[{"tasks":[{"id":"\ud800\u0000","statuses":[{},{"container_status":null},{"container_status":{"container_id":{"parent":{"value":"p"},"value":"v"}}}]}]}]}]}`,
		`container "v"`)
	f(`{"frameworks":[{"executors":[{"queued_tasks":[{"id":"q"}],"completed_tasks":[{"id":"d"}]}]}],"completed_frameworks":[{"completed_executors":[{"id":"old"}]}]}`, `executor "old"`)
}

func TestMaster019(t *testing.T) {
	text, err := os.ReadFile("testdata/other/master-0.19.json")
	if err != nil {
		t.Fatal(err)
	}
	s, err := ReadState(bytes.NewReader(text))
	if err != nil || s.AgentID == "" {
		t.Errorf("%+v, %v", s, err)
	}
	// A master has frameworks, but no executors below them: nothing is joined.
	if slices.ContainsFunc(s.Executors, func(e Executor) bool { return e.ContainerID != "" }) {
		t.Errorf("%+v", s)
	}
}

// TestQueued: a task that waits has no labels yet.
func TestQueued(t *testing.T) {
	s, err := ReadState(strings.NewReader(`{"frameworks":[{"executors":[{"queued_tasks":[{"id":"q"}],"tasks":[{"id":"t"}],"completed_tasks":[{"id":"d"}]}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range s.Executors[0].Tasks {
		if task.Queued != (task.ID == "q") {
			t.Errorf("%+v", task)
		}
	}
}

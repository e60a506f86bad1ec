package discover

import (
	"os"
	"path/filepath"
	"testing"

	boxed "mesoscope/internal/sandbox"
)

// TestAurora: each run of each process of a task of Aurora is a log, with the task
// whose it is; new runs are found although Mesos' state stays as it was.
func TestAurora(t *testing.T) {
	b := newBoxes(t)
	task := "www-prod-hello-12-" + sandboxUUID + "1"
	e := b.add("thermos-"+task, sandboxUUID+"1", boxed.Task{ID: task, Name: "www/prod/hello"})
	run := func(process, n string) string {
		t.Helper()
		dir := filepath.Join(e.Dir(), "sandbox", ".logs", process, n)
		if err := os.MkdirAll(dir, 0o750); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	first := run("web server", "0")
	run("web-server", "0") // another one, with an id of its own
	if err := os.Symlink(first, filepath.Join(e.Dir(), "sandbox", ".logs", "link")); err != nil {
		t.Fatal(err)
	}
	b.tell()
	s := b.discover(newFakeRoot(t))
	id := sandboxUUID + "1.thermos-web%20server-"
	c := s.container(id+"0", func(c Container) bool { return !c.Waiting && c.Running })
	if c.Sandbox != first || c.Mesos.TaskID != task || c.Mesos.ExecutorID != "thermos-"+task || c.Name != task+"/web server" || ServiceName(c) != "www/prod/hello" || c.WorkDir() != b.work {
		t.Errorf("%+v %+v", c, c.Mesos)
	}
	s.container(sandboxUUID+"1.thermos-web-server-0", func(c Container) bool { return !c.Waiting })
	s.container(sandboxUUID+"1", func(c Container) bool { return !c.Waiting }) // what the executor itself prints

	// The process is started again.
	run("web server", "1")
	s.container(id+"1", func(c Container) bool { return c.Running && !c.Waiting })
	s.container(id+"0", func(c Container) bool { return !c.Running })
	s.wait("four logs", func(set map[string]Container) bool { return len(set) == 4 })

	b.list[0].Completed = true
	b.tell()
	s.container(id+"1", func(c Container) bool { return !c.Running })
	if err := e.Collect(); err != nil {
		t.Fatal(err)
	}
	s.wait("the end of collected ones", func(set map[string]Container) bool { return len(set) == 0 })
}

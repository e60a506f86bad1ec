package discover

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"mesoscope/config"
	boxed "mesoscope/internal/sandbox"
)

const sandboxUUID = "c7c311a4-b669-11e6-a48f-0ea4f4b1778"

// boxes are sandboxes on the disk, and the Mesos agent that tells of them.
type boxes struct {
	t    *testing.T
	work string
	list []*boxed.Executor
	fake *fakeMesos
}

func newBoxes(t *testing.T) *boxes {
	return &boxes{t: t, work: t.TempDir(), fake: newFakeMesos(t, noTasks)}
}

// add makes a sandbox; the agent tells of it with tell.
func (b *boxes) add(executor, container string, tasks ...boxed.Task) *boxed.Executor {
	b.t.Helper()
	e := &boxed.Executor{Run: boxed.Run{Work: b.work, Agent: "S0", Framework: "F", Executor: executor, Container: container}, FrameworkName: "marathon", Tasks: tasks}
	if err := e.Make(); err != nil {
		b.t.Fatal(err)
	}
	b.list = append(b.list, e)
	return e
}

func (b *boxes) tell() {
	var list []boxed.Executor
	for _, e := range b.list {
		list = append(list, *e)
	}
	state := string(boxed.State("S0", list))
	b.fake.state.Store(&state)
}

func (b *boxes) discover(r fakeRoot) *seen {
	return discoverFor(b.t, Options{Docker: config.Docker{Root: r.root}, Mesos: config.Mesos{Agent: b.fake.URL, Sandboxes: true}})
}

// TestSandboxes: each sandbox is one container, whatever links lead to it, with the
// task whose it is; those of Docker tasks are none.
func TestSandboxes(t *testing.T) {
	b := newBoxes(t)
	web := "shop_web." + sandboxUUID + "1"
	b.add(web, sandboxUUID+"1", boxed.Task{ID: web, Name: "web.shop", Labels: map[string]string{"team": "a"}})
	b.add("docker."+sandboxUUID+"2", sandboxUUID+"2", boxed.Task{ID: "docker." + sandboxUUID + "2", Name: "docker", Docker: true})
	pod := b.add("instance-shop_pod.deadbeef", sandboxUUID+"3", boxed.Task{ID: "pod.a", Name: "a", Container: "nested-a"}, boxed.Task{ID: "pod.b", Name: "b", Container: "nested-b"})
	pod.Pod = true
	for _, task := range pod.Tasks {
		if _, err := pod.Nested(task.ID, task.Container); err != nil {
			t.Fatal(err)
		}
	}
	off := "off." + sandboxUUID + "4"
	b.add(off, sandboxUUID+"4", boxed.Task{ID: off, Name: "off", Labels: map[string]string{"mesoscope.logs.enabled": "false"}})
	b.tell()
	s := b.discover(newFakeRoot(t))
	want := map[string]string{sandboxUUID + "1": web, sandboxUUID + "3": "", sandboxUUID + "3.nested-a": "pod.a", sandboxUUID + "3.nested-b": "pod.b"}
	s.wait("all sandboxes", func(set map[string]Container) bool {
		for _, c := range set {
			if c.Waiting {
				return false
			}
		}
		return len(set) == len(want)
	})
	for id, task := range want {
		c := s.container(id, func(Container) bool { return true })
		if c.Mesos.TaskID != task || c.Mesos.FrameworkName != "marathon" || c.Mesos.AgentID != "S0" || !c.Running || c.WorkDir() != b.work {
			t.Errorf("%s: %+v %+v", id, c, c.Mesos)
		}
		if real, err := filepath.EvalSymlinks(c.Sandbox); err != nil || real != c.Sandbox {
			t.Errorf("%s: %s is %s: %v", id, c.Sandbox, real, err)
		}
	}
	c := s.container(sandboxUUID+"1", func(Container) bool { return true })
	var doc struct {
		Container struct{ ID, Runtime string }
		Service   struct{ Name string }
		Mesos     struct {
			Task struct{ Labels map[string]string }
		}
	}
	if err := json.Unmarshal([]byte("{"+string(Fields(c, Host{}, "d", "n", "stdout"))+"}"), &doc); err != nil {
		t.Fatal(err)
	}
	if doc.Container.Runtime != "mesos" || doc.Container.ID != sandboxUUID+"1" || doc.Service.Name != "/shop/web" || doc.Mesos.Task.Labels["team"] != "a" {
		t.Errorf("%+v", doc)
	}
	if list := s.d.Excluded(); len(list) != 1 || list[0].Rule != disabledRule {
		t.Errorf("excluded: %+v", list)
	}

	// One comes, one ends and is forgotten by the agent, and is there until its folder
	// is collected.
	late := "late." + sandboxUUID + "5"
	b.add(late, sandboxUUID+"5", boxed.Task{ID: late, Name: "late"})
	b.list = b.list[1:]
	b.tell()
	s.container(sandboxUUID+"5", func(c Container) bool { return !c.Waiting && c.Mesos.TaskName == "late" })
	s.container(sandboxUUID+"1", func(c Container) bool { return !c.Running && c.Mesos.TaskID == web })
	if err := os.RemoveAll(filepath.Join(b.work, "slaves/S0/frameworks/F/executors", web)); err != nil {
		t.Fatal(err)
	}
	s.wait("the end of a collected one", func(set map[string]Container) bool { _, ok := set[sandboxUUID+"1"]; return !ok })
	// An agent that restarts takes nothing away.
	b.fake.state.Store(ptr("503"))
	b.fake.looks(t, s)
	s.container(sandboxUUID+"5", func(c Container) bool { return c.Running })
}

// TestSandboxOfDocker: whether a framework's own executor runs in Docker is known
// when its container is. Until then nothing of its sandbox is read.
func TestSandboxOfDocker(t *testing.T) {
	b, r := newBoxes(t), newFakeRoot(t)
	e := b.add("own", mesosUUID, boxed.Task{ID: "task", Name: "task", Queued: true})
	b.tell()
	s := b.discover(r)
	s.container(mesosUUID, func(c Container) bool { return c.Waiting && c.Undecided })
	r.mesosTask(fullID("a1"), mesosName)
	s.wait("only Docker's container", func(set map[string]Container) bool { _, ok := set[mesosUUID]; return !ok && len(set) == 1 })
	if list := s.d.Excluded(); len(list) > 0 {
		t.Errorf("the task is there twice: %+v", list)
	}
	if !s.d.Excludes(mesosUUID) {
		t.Error("it is not excluded, so what was held of it would be read")
	}
	e.Tasks[0].Queued = false
	b.tell()
	b.fake.looks(t, s)
	s.wait("only Docker's container", func(set map[string]Container) bool { return len(set) == 1 })

	// One that does not is read after a moment.
	other := b.add("other", sandboxUUID+"9", boxed.Task{ID: "t9", Name: "t9", Queued: true})
	b.tell()
	s.container(sandboxUUID+"9", func(c Container) bool { return c.Waiting })
	other.Tasks[0].Queued = false
	b.tell()
	s.container(sandboxUUID+"9", func(c Container) bool { return !c.Waiting && !c.Undecided })
}

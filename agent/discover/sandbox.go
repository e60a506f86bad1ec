package discover

import (
	"cmp"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"mesoscope/mesos"
)

// A task that does not run in Docker has its output in its sandbox: the files stdout
// and stderr, written by the Mesos agent. Which sandboxes there are, the agent's
// state says; nothing is found by looking for files, since `latest` and `tasks/` lead
// to the same ones once more, and Docker tasks have a sandbox, too.

// RuntimeMesos is the Runtime of a container whose log lies in its sandbox.
const RuntimeMesos = "mesos"

// Stdout and Stderr are the logs of such a container.
func (c *Container) Stdout() string { return filepath.Join(c.Sandbox, "stdout") }
func (c *Container) Stderr() string { return filepath.Join(c.Sandbox, "stderr") }

// WorkDir is the work folder of the agent that made the sandbox of c; "": unknown.
func (c *Container) WorkDir() string {
	work, _, ok := strings.Cut(c.Sandbox, "/slaves/")
	if !ok || c.Runtime != RuntimeMesos {
		return ""
	}
	return work
}

// repeatsRule excludes the sandbox of a task that runs in Docker.
const repeatsRule = "sandbox that repeats its Docker container's lines"

// A sandbox is what Mesos says of one container of the Mesos containerizer.
type sandbox struct {
	dir       string
	container string // of the executor
	task      string // in a pod: whose sandbox it is
	taskName  string
	process   string // of Aurora's executor: whose output it is
	running   bool
	// decided says that it is known whether its task runs in Docker, and docker that
	// it does, although the sandbox was taken for one to be read.
	decided, docker bool
}

// sandboxes are those that are there, or may be.
type sandboxes struct {
	known  map[string]sandbox   // by the id of the Container
	docker map[string]bool      // Mesos' ids of containers that Docker runs
	since  map[string]time.Time // when tasks of an undecided one were launched, as far as is known
	watch  sandboxWatch
}

func newSandboxes() *sandboxes {
	return &sandboxes{known: map[string]sandbox{}, docker: map[string]bool{}, since: map[string]time.Time{}}
}

// sandboxesOf are the sandboxes of one executor that are to be read, by id.
func (s *sandboxes) sandboxesOf(e *mesos.Executor) map[string]sandbox {
	if slices.ContainsFunc(e.Tasks, func(t mesos.Task) bool { return t.Docker }) {
		s.docker[e.ContainerID] = true
	}
	if e.ContainerID == "" || e.Directory == "" || s.docker[e.ContainerID] {
		return nil
	}
	own := sandbox{dir: e.Directory, container: e.ContainerID, running: !e.Completed, decided: e.Pod}
	launched := e.Completed
	for _, t := range e.Tasks {
		own.decided = own.decided || t.Own
		launched = launched || !t.Queued
	}
	if !own.decided && launched {
		// An executor of its framework's may run in Docker, which tells of that.
		if s.since[e.ContainerID].IsZero() {
			s.since[e.ContainerID] = time.Now()
		}
		own.decided = time.Since(s.since[e.ContainerID]) >= mesosGrace
	}
	all := map[string]sandbox{e.ContainerID: own}
	thermosRuns(e, own, all)
	for _, t := range e.Tasks {
		nested := nestedContainer(e, t)
		if nested == "" {
			continue
		}
		all[e.ContainerID+"."+nested] = sandbox{dir: filepath.Join(e.Directory, "containers", nested), container: e.ContainerID, task: t.ID, taskName: t.Name,
			running: !e.Completed && !t.Ended, decided: own.decided}
	}
	return all
}

// nestedContainer is the container of a task that has one of its own within its
// executor's; "": it has none, or not yet.
func nestedContainer(e *mesos.Executor, t mesos.Task) string {
	if t.ContainerID != "" {
		if t.ContainerID == e.ContainerID {
			return ""
		}
		return t.ContainerID
	}
	if !e.Pod || t.Queued {
		return ""
	}
	// No status has told yet, but the link to its sandbox is there.
	to, err := os.Readlink(filepath.Join(e.Directory, "tasks", t.ID))
	if err != nil || filepath.Dir(to) != filepath.Join(e.Directory, "containers") {
		return ""
	}
	return filepath.Base(to)
}

// takeSandboxes takes over what a state says. What it does not name any more stays
// as long as its folder does: an agent remembers only so many that have ended.
func (d *Discoverer) takeSandboxes(s *mesos.State) {
	if d.boxes == nil || s.Recovering {
		return
	}
	named := map[string]sandbox{}
	missing := ""
	for i := range s.Executors {
		e := &s.Executors[i]
		for id, box := range d.boxes.sandboxesOf(e) {
			if _, err := os.Stat(box.dir); err == nil {
				named[id] = box
			} else if box.running && box.task == "" {
				missing = box.dir
			}
		}
	}
	if missing != "" {
		work, _, _ := strings.Cut(missing, "/slaves/")
		if _, err := os.Stat(work); err != nil {
			d.once("work_dir", func() {
				d.log.Warn("the sandboxes of Mesos are not in reach, so the lines of tasks without Docker are not collected; mount the agent's work_dir at the same path, or set mesos.sandboxes to false", "work_dir", work, "err", err)
			})
		}
	}
	d.boxes.watch.follow(s)
	for id, old := range maps.Clone(d.boxes.known) {
		box, ok := named[id]
		switch {
		case !ok && gone(old.dir):
			delete(d.boxes.since, old.container)
			d.setSandbox(id, nil)
			continue
		case !ok:
			box, box.running = old, false
		}
		box.decided, box.docker = box.decided || old.decided, d.boxes.docker[box.container]
		named[id] = box
	}
	for id, box := range named {
		d.setSandbox(id, &box)
	}
}

// setSandbox takes over what is known of a sandbox; nil: it is not there.
func (d *Discoverer) setSandbox(id string, box *sandbox) {
	old, known := d.boxes.known[id]
	switch {
	case box == nil:
		delete(d.boxes.known, id)
	case known && old == *box:
		return
	default:
		d.boxes.known[id] = *box
	}
	d.touch(id)
}

func gone(dir string) bool {
	_, err := os.Stat(dir)
	return errors.Is(err, fs.ErrNotExist)
}

// lookAtSandboxes finds out which have been removed, and whether Mesos may know of
// new ones. It is called each second.
func (d *Discoverer) lookAtSandboxes() {
	if d.boxes == nil {
		return
	}
	ask := d.boxes.watch.changed()
	for id, box := range maps.Clone(d.boxes.known) {
		ask = ask || !box.decided
		if !box.running && gone(box.dir) {
			d.setSandbox(id, nil)
		}
		if d.tasks == nil || box.decided {
			continue
		}
		if e := d.tasks.byContainer[box.container]; e != nil { // the state may be the same for long
			if now, ok := d.boxes.sandboxesOf(e)[id]; ok && now.decided {
				d.setSandbox(id, &now)
			}
		}
	}
	d.lookAtThermos()
	if ask {
		d.mesos.ask()
	}
	if len(d.boxes.known) > 0 && !d.answered && time.Since(d.began) > absentLook && gone(d.opt.Docker.Root) {
		d.answered = true // there is no Docker that could
	}
}

// inDocker notes that Docker runs what Mesos calls container: its sandbox repeats
// the lines of its log.
func (d *Discoverer) inDocker(container string) {
	if d.boxes == nil || container == "" || d.boxes.docker[container] {
		return
	}
	d.boxes.docker[container] = true
	for id, box := range maps.Clone(d.boxes.known) {
		if box.container == container {
			box.decided, box.docker = true, true
			d.setSandbox(id, &box)
		}
	}
}

// buildSandbox makes the Container of a sandbox.
func (d *Discoverer) buildSandbox(id string, box sandbox) (c Container, _ Excluded) {
	c = Container{ID: id, Runtime: RuntimeMesos, Sandbox: box.dir, Running: box.running, Driver: "sandbox"}
	c.note(fromState, "id", "sandbox", "running")
	m := Mesos{ContainerID: box.container, TaskID: box.task, TaskName: box.taskName}
	if s, ok := mesos.ParseSandbox(runOf(box.dir)); ok {
		m.AgentID, m.FrameworkID, m.ExecutorID = s.AgentID, s.FrameworkID, s.ExecutorID
	}
	c.Mesos = &m
	c.note(fromState, keyContainer, keyAgent, keyFramework, keyExecutor)
	if box.task != "" {
		c.note(fromState, keyTask, keyTaskName)
	}
	d.enrich(&c)
	c.Name = cmp.Or(c.Mesos.TaskID, c.Mesos.ExecutorID, id)
	if box.process != "" {
		c.Name += "/" + box.process
	}
	c.note(fromState, "name")
	c.Undecided = !box.decided
	c.Waiting = c.Waiting || c.Undecided
	rule := ""
	switch {
	case box.docker:
		rule = repeatsRule
	case d.self.is(&c) && !c.enabled():
		rule = selfRule
	case c.disabled():
		rule = disabledRule
		d.switchedOff(c)
	default:
		if d.Excludes(id) {
			d.switchedOn(id)
		}
		c.LogPath = c.Stdout()
		return c, Excluded{}
	}
	return Container{}, Excluded{ID: id, Name: c.Name, Rule: rule, Of: c}
}

// runOf is the sandbox of the executor in whose sandbox dir is.
func runOf(dir string) string {
	run, _, _ := strings.Cut(dir, "/containers/")
	run, _, _ = strings.Cut(run, "/sandbox/.logs/")
	return run
}

// A sandboxWatch tells when Mesos may have begun something: it then has made a
// folder. That costs a few calls a second, which a question to an agent with a large
// state would not.
type sandboxWatch struct {
	frameworks []string // folders of frameworks' folders
	runs       []string // sandboxes of pods that run
	last       map[string]time.Time
	until      time.Time // the agent may not tell of it at once
}

// follow takes over where to look.
func (w *sandboxWatch) follow(s *mesos.State) {
	w.frameworks, w.runs = nil, nil
	for _, e := range s.Executors {
		work, _, ok := strings.Cut(e.Directory, "/slaves/")
		if !ok {
			continue
		}
		if dir := filepath.Join(work, "slaves", s.AgentID, "frameworks"); !slices.Contains(w.frameworks, dir) {
			w.frameworks = append(w.frameworks, dir)
		}
		if !e.Completed {
			w.runs = append(w.runs, filepath.Dir(e.Directory))
			if e.Pod {
				w.runs = append(w.runs, filepath.Join(e.Directory, "tasks"))
			}
		}
	}
}

// changed says whether there may be something new.
func (w *sandboxWatch) changed() bool {
	now := map[string]time.Time{}
	look := func(dir string) {
		if fi, err := os.Stat(dir); err == nil {
			now[dir] = fi.ModTime()
		}
	}
	for _, dir := range w.frameworks {
		look(dir)
		list, _ := os.ReadDir(dir)
		for _, e := range list {
			look(filepath.Join(dir, e.Name(), "executors"))
		}
	}
	for _, dir := range w.runs {
		look(dir)
	}
	if !reflect.DeepEqual(now, w.last) {
		w.last, w.until = now, time.Now().Add(5*time.Second)
	}
	return time.Now().Before(w.until)
}

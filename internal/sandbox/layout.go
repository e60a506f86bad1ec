package sandbox

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
)

// A Run is one run of an executor: one container, or a pod of nested ones.
type Run struct {
	Work      string // the agent's work_dir, absolute
	Agent     string // the agent's id
	Framework string
	Executor  string
	Container string
}

// Dir is its sandbox.
func (r Run) Dir() string {
	return filepath.Join(r.executors(), r.Executor, "runs", r.Container)
}

func (r Run) executors() string {
	return filepath.Join(r.Work, "slaves", r.Agent, "frameworks", r.Framework, "executors")
}

// Make makes its folder and the link `latest`.
func (r Run) Make() error {
	if err := os.MkdirAll(r.Dir(), 0o750); err != nil {
		return err
	}
	latest := filepath.Join(filepath.Dir(r.Dir()), "latest")
	if err := os.Remove(latest); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.Symlink(r.Dir(), latest)
}

// Nested makes the sandbox of a task of a pod, and the link to it.
func (r Run) Nested(task, container string) (dir string, err error) {
	dir = filepath.Join(r.Dir(), "containers", container)
	if err := errors.Join(os.MkdirAll(dir, 0o750), os.MkdirAll(filepath.Join(r.Dir(), "tasks"), 0o750)); err != nil {
		return "", err
	}
	return dir, os.Symlink(dir, filepath.Join(r.Dir(), "tasks", task))
}

// Collect is the agent's garbage collection: the run goes, and then its executor.
func (r Run) Collect() error {
	return errors.Join(os.RemoveAll(r.Dir()), os.RemoveAll(filepath.Join(r.executors(), r.Executor)))
}

// A Task is what the agent says of one task of a Run.
type Task struct {
	ID, Name  string
	Container string // its own, in a pod; else ""
	Docker    bool   // it runs in Docker
	Queued    bool   // the executor does not have it yet
	Labels    map[string]string
}

// An Executor is what the agent says of a Run.
type Executor struct {
	Run
	FrameworkName string
	Pod           bool // it is Mesos' default executor
	Completed     bool
	Tasks         []Task
}

type object = map[string]any

// State is the answer of an agent at /state.
func State(agent string, executors []Executor) []byte {
	frameworks := map[string]object{}
	var list []object
	for _, e := range executors {
		f := frameworks[e.Framework]
		if f == nil {
			f = object{"id": e.Framework, "name": e.FrameworkName, "executors": []object{}, "completed_executors": []object{}}
			frameworks[e.Framework] = f
			list = append(list, f)
		}
		x := object{"id": e.Executor, "name": "", "container": e.Container, "directory": e.Dir(), "queued_tasks": []object{}}
		if e.Pod {
			x["type"] = "DEFAULT"
		}
		var tasks, queued []object
		for _, t := range e.Tasks {
			if t.Queued {
				queued = append(queued, object{"id": t.ID, "name": t.Name})
				continue
			}
			tasks = append(tasks, e.task(t))
		}
		key := "executors"
		x["tasks"], x["queued_tasks"] = tasks, queued
		if e.Completed {
			key, x["tasks"], x["completed_tasks"] = "completed_executors", []object{}, tasks
		}
		f[key] = append(f[key].([]object), x)
	}
	text, err := json.Marshal(object{"id": agent, "hostname": "n", "flags": object{}, "frameworks": list, "completed_frameworks": []object{}})
	if err != nil {
		panic("BUG: sandbox: " + err.Error()) // maps, lists and strings
	}
	return text
}

func (e Executor) task(t Task) object {
	id := object{"value": e.Container}
	if t.Container != "" {
		id = object{"value": t.Container, "parent": object{"value": e.Container}}
	}
	state := "TASK_RUNNING"
	if e.Completed {
		state = "TASK_FINISHED"
	}
	x := object{"id": t.ID, "name": t.Name, "framework_id": e.Framework, "executor_id": "", "state": state,
		"statuses": []object{{"state": state, "container_status": object{"container_id": id}}}}
	if e.Executor != t.ID {
		x["executor_id"] = e.Executor // not one that Mesos has made for this task
	}
	if t.Docker {
		x["container"] = object{"type": "DOCKER", "docker": object{"image": "x"}}
	}
	var labels []object
	for k, v := range t.Labels {
		labels = append(labels, object{"key": k, "value": v})
	}
	if labels != nil {
		x["labels"] = labels
	}
	return x
}

package mesos

import (
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// A State is what an agent says of itself and of what runs on it, in order of
// its answer. What has ended is in it for as long as the agent remembers it.
type State struct {
	AgentID   string // "f424a2df-…-S0"
	Hostname  string
	Cluster   string // only agents before 0.23 tell
	Executors []Executor
	// Recovering says that the agent has no state to tell yet: Executors are
	// those of Containers.
	Recovering bool
}

// An Executor is one run of an executor: one container, whose sandbox is
// Directory.
type Executor struct {
	ID          string
	ContainerID string // Mesos' own, a UUID
	Directory   string // absolute
	Role        string // "" if unknown
	Framework   Framework
	// Pod says that it is Mesos' own default executor, whose tasks have containers
	// of their own within it.
	Pod bool
	// Completed says that it has ended.
	Completed bool
	Tasks     []Task
}

// A Framework is who asked for a task: "marathon".
type Framework struct {
	ID   string
	Name string
}

// A Task is one task of an Executor.
type Task struct {
	ID   string
	Name string
	// ContainerID is that of the task's own container in a pod, else the
	// executor's; "" if no status tells it.
	ContainerID string
	Labels      map[string]string
	// Docker says that the Docker containerizer runs it, Own that its executor was
	// made for it alone by Mesos. Both are false while it is Queued.
	Docker, Own bool
	// Ended says that it does not run any more.
	Ended bool
	// Queued says that the executor does not have the task yet. The agent does
	// not tell the labels of such a task.
	Queued bool
}

// ReadState decodes an agent's /state as it comes, and keeps only what State
// holds: such an answer can have 100 MB. Members of another kind than expected
// count as absent, unknown ones are passed over, so that no version of Mesos
// makes its tasks invisible. An answer without an agent's id or frameworks is
// an error.
func ReadState(r io.Reader) (*State, error) {
	d := newDecoder(r)
	var s State
	frameworks := false
	err := d.object(func(key []byte) error {
		switch string(key) {
		case `"id"`:
			return d.text(&s.AgentID)
		case `"hostname"`:
			return d.text(&s.Hostname)
		case `"cluster"`:
			return d.text(&s.Cluster)
		case `"frameworks"`:
			frameworks = true
			return d.array(func() error { return d.framework(&s) })
		case `"completed_frameworks"`: // whose executors stand in completed_executors
			return d.array(func() error { return d.framework(&s) })
		}
		return d.SkipValue()
	})
	if err != nil {
		return nil, fmt.Errorf("decode state of mesos agent: %w", err)
	}
	if !frameworks {
		return nil, errNoState
	}
	return &s, nil
}

var errNoState = errors.New("decode state of mesos agent: it names no frameworks, so it is something else")

// decoder reads JSON token by token. Its methods pass over values of another
// kind than the one asked for.
type decoder struct{ *jsontext.Decoder }

// object calls member for each member, with its name as it stands in the
// text, quotes included; member reads the value.
func (d decoder) object(member func(name []byte) error) error {
	if d.PeekKind() != '{' {
		return d.SkipValue()
	}
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	for d.PeekKind() != '}' {
		name, err := d.ReadValue()
		if err != nil {
			return err
		}
		if err := member(name); err != nil {
			return err
		}
	}
	_, err := d.ReadToken()
	return err
}

func (d decoder) array(element func() error) error {
	if d.PeekKind() != '[' {
		return d.SkipValue()
	}
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	for d.PeekKind() != ']' {
		if err := element(); err != nil {
			return err
		}
	}
	_, err := d.ReadToken()
	return err
}

func (d decoder) text(to *string) error {
	if d.PeekKind() != '"' {
		return d.SkipValue()
	}
	t, err := d.ReadToken()
	if err == nil {
		*to = t.String()
	}
	return err
}

func (d decoder) framework(s *State) error {
	var f Framework
	first := len(s.Executors)
	err := d.object(func(key []byte) error {
		switch string(key) {
		case `"id"`:
			return d.text(&f.ID)
		case `"name"`:
			return d.text(&f.Name)
		case `"executors"`:
			return d.array(func() error { return d.executor(s, false) })
		case `"completed_executors"`:
			return d.array(func() error { return d.executor(s, true) })
		}
		return d.SkipValue()
	})
	// The order of the members is not fixed: the names may come last.
	for i := first; i < len(s.Executors); i++ {
		s.Executors[i].Framework = f
	}
	return err
}

func (d decoder) executor(s *State, completed bool) error {
	e := Executor{Completed: completed}
	kind := ""
	err := d.object(func(key []byte) error {
		switch string(key) {
		case `"id"`:
			return d.text(&e.ID)
		case `"container"`:
			return d.text(&e.ContainerID)
		case `"directory"`:
			return d.text(&e.Directory)
		case `"role"`:
			return d.text(&e.Role)
		case `"type"`:
			return d.text(&kind)
		case `"tasks"`:
			return d.array(func() error { return d.task(&e, Task{}) })
		case `"completed_tasks"`:
			return d.array(func() error { return d.task(&e, Task{Ended: true}) })
		case `"queued_tasks"`:
			return d.array(func() error { return d.task(&e, Task{Queued: true}) })
		}
		return d.SkipValue()
	})
	e.Pod = kind == "DEFAULT"
	s.Executors = append(s.Executors, e)
	return err
}

func (d decoder) task(e *Executor, t Task) error {
	executor, named, state, kind := "", false, "", ""
	err := d.object(func(key []byte) error {
		switch string(key) {
		case `"id"`:
			return d.text(&t.ID)
		case `"name"`:
			return d.text(&t.Name)
		case `"labels"`:
			return d.labels(&t.Labels)
		case `"statuses"`:
			return d.array(func() error { return d.status(&t) })
		case `"executor_id"`:
			named = true
			return d.text(&executor)
		case `"state"`:
			return d.text(&state)
		case `"container"`:
			return d.object(func(key []byte) error {
				if string(key) == `"type"` {
					return d.text(&kind)
				}
				return d.SkipValue()
			})
		}
		return d.SkipValue()
	})
	t.Docker, t.Own = kind == "DOCKER", named && executor == ""
	t.Ended = t.Ended || terminal[state]
	if t.ID != "" {
		e.Tasks = append(e.Tasks, t)
	}
	return err
}

// terminal are the states that a task does not leave.
var terminal = map[string]bool{
	"TASK_FINISHED": true, "TASK_FAILED": true, "TASK_KILLED": true, "TASK_ERROR": true, "TASK_LOST": true, "TASK_DROPPED": true, "TASK_GONE": true, "TASK_GONE_BY_OPERATOR": true,
}

// labels reads [{"key":…,"value":…}], or the nested {"labels":[…]} of other
// answers. A value may be missing; of a key that repeats the last one counts.
func (d decoder) labels(to *map[string]string) error {
	if d.PeekKind() == '{' {
		return d.object(func(key []byte) error {
			if string(key) == `"labels"` {
				return d.labels(to)
			}
			return d.SkipValue()
		})
	}
	return d.array(func() error {
		var k, v string
		err := d.object(func(key []byte) error {
			switch string(key) {
			case `"key"`:
				return d.text(&k)
			case `"value"`:
				return d.text(&v)
			}
			return d.SkipValue()
		})
		if k != "" {
			if *to == nil {
				*to = make(map[string]string)
			}
			(*to)[k] = v
		}
		return err
	})
}

// status finds container_status.container_id.value.
func (d decoder) status(t *Task) error {
	in := func(name string, then func() error) error {
		return d.object(func(key []byte) error {
			if string(key) == name {
				return then()
			}
			return d.SkipValue()
		})
	}
	return in(`"container_status"`, func() error {
		return in(`"container_id"`, func() error {
			return in(`"value"`, func() error { return d.text(&t.ContainerID) })
		})
	})
}

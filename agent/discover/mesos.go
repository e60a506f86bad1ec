package discover

import (
	"cmp"
	"maps"
	"strings"

	"mesoscope/mesos"
)

// Mesos is what Mesos knows a container as.
type Mesos struct {
	AgentID       string            `json:"agent_id,omitempty"`
	FrameworkID   string            `json:"framework_id,omitempty"`
	FrameworkName string            `json:"framework_name,omitempty"`
	ExecutorID    string            `json:"executor_id,omitempty"`
	ContainerID   string            `json:"container_id,omitempty"` // Mesos' own, a UUID
	TaskID        string            `json:"task_id,omitempty"`
	TaskName      string            `json:"task_name,omitempty"`
	TaskLabels    map[string]string `json:"task_labels,omitempty"`
	Role          string            `json:"role,omitempty"`
	Job           string            `json:"job,omitempty"` // of Chronos, Metronome, Aurora, Singularity
}

// An App is an app or pod of Marathon.
type App struct {
	ID      string            `json:"id"` // "/group/app"
	Version string            `json:"version,omitempty"`
	Labels  map[string]string `json:"labels,omitempty"`
	// Switches are the mesoscope.* labels of the app as Marathon has it now,
	// whatever version the container is of.
	Switches map[string]string `json:"switches,omitempty"`
}

// The keys of Container.From for the members of Mesos and App: the names of
// their fields in a document, where they have one.
const (
	keyAgent     = "mesos.agent.id"
	keyFramework = "mesos.framework.id"
	keyFrameName = "mesos.framework.name"
	keyExecutor  = "mesos.executor.id"
	keyContainer = "mesos.container.id"
	keyTask      = "mesos.task.id"
	keyTaskName  = "mesos.task.name"
	keyTaskLabel = "mesos.task.labels"
	keyRole      = "mesos.role"
	keyJob       = "mesos.job"
	keyApp       = "marathon.app.id"
	keyVersion   = "marathon.app.version"
	keyAppLabels = "marathon.app.labels"
	keySwitches  = "marathon.app.switches"
)

const (
	fromSandbox    = "sandbox bind"
	fromName       = "container name"
	fromState      = "mesos agent"
	fromQueued     = "mesos agent, before its start"
	fromContainers = "mesos agent /containers"
	fromMarathon   = "marathon"
	fromExecutor   = "executor id"
	fromTaskID     = "form of the task id"
	fromEarlier    = "earlier task of the framework"
)

// fact sets one member of c.Mesos unless it is known. strong replaces it.
func (c *Container) fact(to *string, key, value, from string, strong bool) {
	if value == "" || *to != "" && (!strong || *to == value) {
		return
	}
	*to = value
	c.note(from, key)
}

// identify fills c.Mesos and c.Marathon from what the container itself tells:
// the path of its sandbox, its name, its environment and labels, and the form
// of its ids. What is known already stays.
func (c *Container) identify() {
	m := Mesos{}
	if c.Mesos != nil {
		m = *c.Mesos
	}
	if s, ok := mesos.ParseSandbox(c.Sandbox); ok {
		c.fact(&m.AgentID, keyAgent, s.AgentID, fromSandbox, false)
		c.fact(&m.FrameworkID, keyFramework, s.FrameworkID, fromSandbox, false)
		c.fact(&m.ExecutorID, keyExecutor, s.ExecutorID, fromSandbox, false)
		c.fact(&m.ContainerID, keyContainer, s.ContainerID, fromSandbox, false)
	}
	// Not MESOS_CONTAINER_NAME: what a task starts inherits it, and would be
	// taken for the task by the surest of the keys.
	if name, ok := mesos.ParseContainerName(c.Name); ok {
		c.fact(&m.AgentID, keyAgent, name.AgentID, fromName, false)
		c.fact(&m.ContainerID, keyContainer, name.ContainerID, fromName, false)
	}
	env := func(to *string, key string, names ...string) {
		for _, name := range names {
			c.fact(to, key, c.Env[name], "env "+name, false)
		}
	}
	env(&m.FrameworkID, keyFramework, "MESOS_FRAMEWORK_ID")
	env(&m.ExecutorID, keyExecutor, "MESOS_EXECUTOR_ID")
	env(&m.AgentID, keyAgent, "MESOS_SLAVE_ID")
	env(&m.Role, keyRole, "MESOS_ALLOCATION_ROLE")
	env(&m.TaskID, keyTask, "MESOS_TASK_ID")
	c.fact(&m.TaskID, keyTask, c.Labels["MESOS_TASK_ID"], "label MESOS_TASK_ID", false)
	if _, known := mesos.ParseTaskID(m.ExecutorID); known && m.TaskID == "" && !strings.HasPrefix(m.ExecutorID, "instance-") {
		// A Docker task has no executor of its own: Mesos calls the one that it
		// makes as the task. Aurora puts a word before it.
		c.fact(&m.TaskID, keyTask, strings.TrimPrefix(m.ExecutorID, "thermos-"), fromExecutor, false)
	}
	env(&m.Job, keyJob, "CHRONOS_JOB_NAME", "METRONOME_JOB_ID")
	if !m.empty() {
		c.Mesos = &m
	}
	c.identifyApp()
}

func (m *Mesos) empty() bool {
	return m.AgentID == "" && m.FrameworkID == "" && m.ExecutorID == "" && m.ContainerID == "" && m.TaskID == "" && m.Job == "" && m.Role == ""
}

// identifyApp finds the app or job of a task.
func (c *Container) identifyApp() {
	app := App{}
	if c.Marathon != nil {
		app = *c.Marathon
	}
	c.fact(&app.ID, keyApp, c.Env["MARATHON_APP_ID"], "env MARATHON_APP_ID", false)
	if m := c.Mesos; m != nil {
		task, ok := mesos.ParseTaskID(cmp.Or(m.TaskID, m.ExecutorID))
		agrees := task.Sure || strings.Contains(strings.ToLower(m.FrameworkName), string(task.Scheduler))
		switch {
		case !ok || !agrees:
		case task.Scheduler == mesos.Marathon:
			c.fact(&app.ID, keyApp, task.App, fromTaskID, false)
		default:
			next := *m
			c.fact(&next.Job, keyJob, task.App, fromTaskID, false)
			c.Mesos = &next
		}
	}
	if app.ID == "" {
		return
	}
	c.fact(&app.Version, keyVersion, c.Env["MARATHON_APP_VERSION"], "env MARATHON_APP_VERSION", false)
	switch {
	case c.From[keyAppLabels] == fromMarathon:
	case c.Mesos != nil && len(c.Mesos.TaskLabels) > 0:
		app.Labels = c.Mesos.TaskLabels // Marathon gives its tasks the labels of the app
		c.note(cmp.Or(c.From[keyTaskLabel], fromState), keyAppLabels)
	case len(app.Labels) == 0:
		// Their names are in capitals here, and long ones are left out.
		for name, value := range c.Env {
			if label, ok := strings.CutPrefix(name, marathonLabel); ok {
				if app.Labels == nil {
					app.Labels = make(map[string]string)
				}
				app.Labels[label] = value
			}
		}
		if app.Labels != nil {
			c.note("env "+marathonLabel+"*", keyAppLabels)
		}
	}
	c.Marathon = &app
}

// ofMesos says whether Mesos may know of c.
func (c *Container) ofMesos() bool { return c.Mesos != nil || c.Marathon != nil }

// joined says whether Mesos has said all that it will say of c.
func (c *Container) joined() bool {
	return c.From[keyTask] == fromState || c.From[keyFrameName] == fromState
}

// A directoryOfTasks finds executors by everything that a container may know
// of itself.
type directoryOfTasks struct {
	agentID     string
	byContainer map[string]*mesos.Executor
	byTask      map[string][]*mesos.Executor
	byExecutor  map[[2]string][]*mesos.Executor // framework and executor id
}

func newDirectoryOfTasks(s *mesos.State) *directoryOfTasks {
	d := &directoryOfTasks{agentID: s.AgentID, byContainer: map[string]*mesos.Executor{}, byTask: map[string][]*mesos.Executor{},
		byExecutor: map[[2]string][]*mesos.Executor{}}
	for i := range s.Executors {
		e := &s.Executors[i]
		if e.ContainerID != "" {
			d.byContainer[e.ContainerID] = e
		}
		for _, t := range e.Tasks {
			d.byTask[t.ID] = append(d.byTask[t.ID], e)
		}
		key := [2]string{e.Framework.ID, e.ID}
		d.byExecutor[key] = append(d.byExecutor[key], e)
	}
	return d
}

// find is the executor of a container, nil if there is none or more than one:
// no line is given to the wrong task.
func (d *directoryOfTasks) find(m *Mesos) *mesos.Executor {
	if m.ContainerID != "" {
		// The surest key. If the agent does not know it (any more), another run
		// of the same executor is not it either.
		return d.byContainer[m.ContainerID]
	}
	if m.ExecutorID != "" {
		if list := d.byExecutor[[2]string{m.FrameworkID, m.ExecutorID}]; len(list) == 1 {
			return list[0]
		}
	}
	if m.TaskID != "" {
		if list := d.byTask[m.TaskID]; len(list) == 1 && (m.FrameworkID == "" || list[0].Framework.ID == m.FrameworkID) {
			return list[0]
		}
	}
	return nil
}

// join adds what Mesos says of the container. What Mesos says replaces what
// the container says of itself: an environment is inherited by what a task
// starts, and can be set by anybody.
func (d *directoryOfTasks) join(c *Container) {
	if c.Mesos == nil {
		return
	}
	e := d.find(c.Mesos)
	if e == nil {
		return
	}
	m := *c.Mesos
	from := fromState
	t := taskOf(e, c.ownTask())
	switch {
	case t != nil && t.Queued:
		from = fromQueued // more will be known in a moment
	case len(e.Tasks) == 0 && e.Framework.Name == "":
		from = fromContainers
	}
	agent := d.agentID
	if s, ok := mesos.ParseSandbox(e.Directory); ok {
		agent = s.AgentID // an agent that got a new id remembers what ran under the old one
	}
	c.fact(&m.AgentID, keyAgent, agent, from, true)
	c.fact(&m.FrameworkID, keyFramework, e.Framework.ID, from, true)
	if c.fact(&m.FrameworkName, keyFrameName, e.Framework.Name, from, true); e.Framework.Name != "" {
		c.note(from, keyFrameName) // also where both agree
	}
	c.fact(&m.ExecutorID, keyExecutor, e.ID, from, true)
	c.fact(&m.ContainerID, keyContainer, e.ContainerID, from, false)
	c.fact(&m.Role, keyRole, e.Role, from, false)
	if t != nil {
		c.fact(&m.TaskID, keyTask, t.ID, from, true)
		c.note(from, keyTask) // also where both agree
		c.fact(&m.TaskName, keyTaskName, t.Name, from, true)
		if len(t.Labels) > 0 && !maps.Equal(m.TaskLabels, t.Labels) {
			m.TaskLabels = t.Labels
			c.note(from, keyTaskLabel)
		}
	}
	if t == nil && len(e.Tasks) > 0 {
		m.TaskID, m.TaskName, m.TaskLabels = "", "", nil
		c.From = maps.Clone(c.From)
		for _, key := range []string{keyTask, keyTaskName, keyTaskLabel} {
			delete(c.From, key)
		}
	}
	c.Mesos = &m
	c.identifyApp()
}

// ownTask is the task that the container itself names.
func (c *Container) ownTask() string {
	if c.Runtime == RuntimeMesos {
		return c.Mesos.TaskID
	}
	return cmp.Or(c.Env["MESOS_TASK_ID"], c.Labels["MESOS_TASK_ID"])
}

// taskOf is the task in a Docker container of e: the one that the container
// names, or the one that the executor was made for. Any other executor can run
// one task after another in its container, so that even its only task is not
// that of all lines.
func taskOf(e *mesos.Executor, named string) *mesos.Task {
	for i := range e.Tasks {
		if t := &e.Tasks[i]; t.ID == named || e.ID == t.ID || e.ID == "thermos-"+t.ID || e.ID == "marathon-"+t.ID {
			return t
		}
	}
	return nil
}

// remember takes over what was joined earlier, for when Mesos does not know the
// container any more, or cannot be asked.
func (c *Container) remember(old Container) {
	if old.Mesos != nil {
		c.Mesos = old.Mesos
	}
	if old.Marathon != nil {
		c.Marathon = old.Marathon
	}
	if len(old.From) == 0 {
		return
	}
	c.ownFrom(0) // the rest of old.From is known already, and room for it would stay
	for key, from := range old.From {
		if strings.HasPrefix(key, "mesos.") || strings.HasPrefix(key, "marathon.") {
			c.From[key] = from
		}
	}
}

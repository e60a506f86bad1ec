package discover

import (
	"bytes"
	"cmp"
	"encoding/json"
)

// ecsVersion is the version of the Elastic Common Schema that the documents
// follow.
const ecsVersion = "8.17.0"

// The members of a document that a stream's lines share, in ECS. The order of
// the struct's fields is the order in the document.
type streamFields struct {
	Stream       string             `json:"stream,omitempty"`
	Container    containerFields    `json:"container"`
	Host         hostFields         `json:"host"`
	Service      serviceFields      `json:"service"`
	Orchestrator *orchestratorField `json:"orchestrator,omitempty"`
	Mesos        *mesosFields       `json:"mesos,omitempty"`
	Marathon     *marathonFields    `json:"marathon,omitempty"`
	Agent        agentFields        `json:"agent"`
	ECS          struct {
		Version string `json:"version"`
	} `json:"ecs"`
	DataStream struct {
		Type      string `json:"type"`
		Dataset   string `json:"dataset"`
		Namespace string `json:"namespace"`
	} `json:"data_stream"`
}

type containerFields struct {
	ID      string            `json:"id"`
	Name    string            `json:"name,omitempty"`
	Runtime string            `json:"runtime"`
	Image   *imageFields      `json:"image,omitempty"`
	Labels  map[string]string `json:"labels,omitempty"`
}

type imageFields struct {
	Name string   `json:"name,omitempty"`
	Tag  []string `json:"tag,omitempty"` // ECS has an array here
}

type hostFields struct {
	Name     string   `json:"name"`
	Hostname string   `json:"hostname"`
	IP       []string `json:"ip,omitempty"`
}

type serviceFields struct {
	Name    string     `json:"name"`
	Version string     `json:"version,omitempty"`
	Node    *nodeField `json:"node,omitempty"`
}

type nodeField struct {
	Name string `json:"name"`
}

type orchestratorField struct {
	Type      string         `json:"type"`
	Namespace string         `json:"namespace,omitempty"`
	Resource  *resourceField `json:"resource,omitempty"`
}

type resourceField struct {
	Type string `json:"type"`
	ID   string `json:"id,omitempty"`
	Name string `json:"name,omitempty"`
}

type idField struct {
	ID string `json:"id"`
}

type namedField struct {
	ID     string            `json:"id,omitempty"`
	Name   string            `json:"name,omitempty"`
	Labels map[string]string `json:"labels,omitempty"`
}

type mesosFields struct {
	Agent     *idField    `json:"agent,omitempty"`
	Framework *namedField `json:"framework,omitempty"`
	Executor  *idField    `json:"executor,omitempty"`
	Task      *namedField `json:"task,omitempty"`
}

type marathonFields struct {
	App struct {
		ID      string            `json:"id"`
		Version string            `json:"version,omitempty"`
		Labels  map[string]string `json:"labels,omitempty"`
	} `json:"app"`
}

type agentFields struct {
	Name        string `json:"name"`
	Type        string `json:"type"`
	Version     string `json:"version,omitempty"`
	ID          string `json:"id,omitempty"`
	EphemeralID string `json:"ephemeral_id,omitempty"`
}

// Fields encodes what all lines of one stream ("stdout" or "stderr") of a
// container share, as record.Stream.Fields wants it: JSON members in a fixed
// order, without the braces. The keys of labels stay as they are, dots and all,
// in one flat object: the index maps it as flattened, so "app" and
// "app.kubernetes.io/name" do not clash.
func Fields(c Container, h Host, dataset, namespace, stream string) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(fieldsOf(c, h, dataset, namespace, stream)); err != nil {
		panic("BUG: discover: strings and maps of strings cannot fail to encode: " + err.Error())
	}
	return bytes.TrimSuffix(bytes.TrimPrefix(b.Bytes(), []byte("{")), []byte("}\n"))
}

func fieldsOf(c Container, h Host, dataset, namespace, stream string) streamFields {
	service, _ := serviceName(c)
	version, _ := serviceVersion(c)
	node, _ := serviceNode(c)
	orchestrator, _ := orchestrator(c)
	labels := labelsOf(&c)
	f := streamFields{
		Stream:       stream,
		Container:    containerFields{ID: c.ID, Name: c.Name, Runtime: cmp.Or(c.Runtime, "docker"), Labels: labels.container},
		Host:         hostFields{Name: h.Name, Hostname: h.Hostname, IP: h.IPs},
		Service:      serviceFields{Name: service, Version: version},
		Orchestrator: orchestrator,
		Agent:        agentFields{Name: h.Name, Type: "mesoscope", Version: h.Agent.Version, ID: h.Agent.ID, EphemeralID: h.Agent.EphemeralID},
	}
	if c.Image.Name != "" {
		f.Container.Image = &imageFields{Name: c.Image.Name}
		if c.Image.Tag != "" {
			f.Container.Image.Tag = []string{c.Image.Tag}
		}
	}
	if node != "" {
		f.Service.Node = &nodeField{Name: node}
	}
	if m := c.Mesos; m != nil {
		f.Mesos = &mesosFields{Agent: id(m.AgentID), Framework: named(m.FrameworkID, m.FrameworkName, nil),
			Executor: id(m.ExecutorID), Task: named(m.TaskID, m.TaskName, labels.task)}
		if *f.Mesos == (mesosFields{}) {
			f.Mesos = nil
		}
	}
	if app := c.Marathon; app != nil {
		f.Marathon = new(marathonFields)
		f.Marathon.App.ID, f.Marathon.App.Version, f.Marathon.App.Labels = app.ID, app.Version, labels.app
	}
	f.ECS.Version = ecsVersion
	f.DataStream.Type, f.DataStream.Dataset, f.DataStream.Namespace = "logs", dataset, namespace
	return f
}

// A choice is a value that a field can have, and where it is from.
type choice struct{ value, from string }

// first is the first choice with a value.
func first(choices ...choice) (value, from string) {
	for _, c := range choices {
		if c.value != "" {
			return c.value, c.from
		}
	}
	return "", ""
}

func (c *Container) label(name string) choice { return choice{c.Labels[name], "label " + name} }

func (c *Container) taskID() choice {
	if c.Mesos == nil {
		return choice{}
	}
	return choice{c.Mesos.TaskID, c.From[keyTask]}
}

// taskName is for tasks without a container that has a name.
func (c *Container) taskName() choice {
	if c.Mesos == nil || c.Runtime != RuntimeMesos {
		return choice{}
	}
	return choice{c.Mesos.TaskName, c.From[keyTaskName]}
}

func (c *Container) job() choice {
	if c.Mesos == nil {
		return choice{}
	}
	return choice{c.Mesos.Job, c.From[keyJob]}
}

func (c *Container) app() choice {
	if c.Marathon == nil {
		return choice{}
	}
	return choice{c.Marathon.ID, c.From[keyApp]}
}

// ServiceName is the name under which people look for a container's lines, by
// the first of these that is there: what they said themselves, what the
// scheduler calls it, the container's own name.
func ServiceName(c Container) string {
	name, _ := serviceName(c)
	return name
}

func serviceName(c Container) (name, from string) {
	own, ownFrom := c.setting("mesoscope.service")
	return first(
		choice{own, ownFrom},
		c.app(),
		c.job(),
		c.label("com.docker.swarm.service.name"),
		c.label("com.docker.compose.service"),
		c.label("io.kubernetes.container.name"),
		c.taskName(),
		choice{c.Name, c.From["name"]},
		choice{c.ID[:min(12, len(c.ID))], c.From["id"]}, // Docker's short id, until the name is known
	)
}

func serviceVersion(c Container) (version, from string) {
	app := choice{}
	if c.Marathon != nil {
		app = choice{c.Marathon.Version, c.From[keyVersion]}
	}
	return first(app, c.label("org.opencontainers.image.version"))
}

// serviceNode tells the instances of a service apart.
func serviceNode(c Container) (name, from string) {
	return first(c.taskID(), c.label("com.docker.swarm.task.id"), c.label("io.kubernetes.pod.name"))
}

// orchestrator is who runs the container. Kubernetes and Swarm come first:
// their labels are on the very container, also where they run under Mesos.
func orchestrator(c Container) (o *orchestratorField, from string) {
	l := c.Labels
	switch {
	case l["io.kubernetes.pod.name"] != "":
		return &orchestratorField{Type: "kubernetes", Namespace: l["io.kubernetes.pod.namespace"],
			Resource: &resourceField{Type: "pod", ID: l["io.kubernetes.pod.uid"], Name: l["io.kubernetes.pod.name"]}}, "label io.kubernetes.*"
	case l["com.docker.swarm.task.id"] != "":
		return &orchestratorField{Type: "swarm", Namespace: l["com.docker.stack.namespace"],
			Resource: &resourceField{Type: "task", ID: l["com.docker.swarm.task.id"], Name: l["com.docker.swarm.task.name"]}}, "label com.docker.swarm.*"
	case !c.ofMesos():
		return nil, ""
	}
	o = &orchestratorField{Type: "mesos"}
	if c.Mesos != nil {
		o.Namespace = c.Mesos.Role
	}
	task, name := c.taskID(), ""
	if name, _ = first(c.app(), c.job()); task.value != "" {
		o.Resource = &resourceField{Type: "task", ID: task.value, Name: name}
	}
	_, from = first(task, c.app(), choice{"x", c.From[keyContainer]})
	return o, from
}

func named(id, name string, labels map[string]string) *namedField {
	if id == "" && name == "" && len(labels) == 0 {
		return nil
	}
	return &namedField{id, name, labels}
}

func id(s string) *idField {
	if s == "" {
		return nil
	}
	return &idField{ID: s}
}

package discover

import (
	"bytes"
	"cmp"
	"encoding/json"
	"strings"
)

// ecsVersion is the version of the Elastic Common Schema that the documents
// follow.
const ecsVersion = "8.17.0"

// maxLabel bounds a label's value in a document, in bytes: Elasticsearch
// refuses a document with a keyword of more than 32,766.
const maxLabel = 8 << 10

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

type mesosFields struct {
	Task      *idField `json:"task,omitempty"`
	Framework *idField `json:"framework,omitempty"`
	Executor  *idField `json:"executor,omitempty"`
}

type marathonFields struct {
	App struct {
		ID      string `json:"id"`
		Version string `json:"version,omitempty"`
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
// order, without the braces. The keys of container.labels stay as Docker has
// them, dots and all, in one flat object: the index maps it as flattened, so
// "app" and "app.kubernetes.io/name" do not clash.
func Fields(c Container, h Host, dataset, namespace, stream string) []byte {
	f := streamFields{
		Stream:    stream,
		Container: containerFields{ID: c.ID, Name: c.Name, Runtime: "docker", Labels: labelFields(c.Labels)},
		Host:      hostFields{Name: h.Name, Hostname: h.Hostname, IP: h.IPs},
		Service:   serviceFields{Name: ServiceName(c), Version: serviceVersion(c)},
		Agent:     agentFields{Name: h.Name, Type: "mesoscope", Version: h.Agent.Version, ID: h.Agent.ID, EphemeralID: h.Agent.EphemeralID},
	}
	if c.Image.Name != "" {
		f.Container.Image = &imageFields{Name: c.Image.Name}
		if c.Image.Tag != "" {
			f.Container.Image.Tag = []string{c.Image.Tag}
		}
	}
	f.Orchestrator = orchestrator(c)
	if node := cmp.Or(taskID(c), c.Labels["com.docker.swarm.task.id"], c.Labels["io.kubernetes.pod.name"]); node != "" {
		f.Service.Node = &nodeField{Name: node}
	}
	m := mesosFields{Task: id(taskID(c)), Framework: id(c.Env["MESOS_FRAMEWORK_ID"]), Executor: id(c.Env["MESOS_EXECUTOR_ID"])}
	if m != (mesosFields{}) {
		f.Mesos = &m
	}
	if app := c.Env["MARATHON_APP_ID"]; app != "" {
		f.Marathon = new(marathonFields)
		f.Marathon.App.ID, f.Marathon.App.Version = app, c.Env["MARATHON_APP_VERSION"]
	}
	f.ECS.Version = ecsVersion
	f.DataStream.Type, f.DataStream.Dataset, f.DataStream.Namespace = "logs", dataset, namespace

	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(f); err != nil {
		panic("BUG: discover: strings and maps of strings cannot fail to encode: " + err.Error())
	}
	return bytes.TrimSuffix(bytes.TrimPrefix(b.Bytes(), []byte("{")), []byte("}\n"))
}

// ServiceName is the name under which people look for a container's lines, by
// the first of these that is there: what they said themselves, what the
// scheduler calls it, the container's own name.
func ServiceName(c Container) string {
	return cmp.Or(
		c.Labels["mesoscope.service"],
		c.Env[marathonLabel+"MESOSCOPE_SERVICE"],
		c.Env["MARATHON_APP_ID"],
		c.Env["CHRONOS_JOB_NAME"],
		c.Env["METRONOME_JOB_ID"],
		c.Labels["com.docker.swarm.service.name"],
		c.Labels["com.docker.compose.service"],
		c.Labels["io.kubernetes.container.name"],
		c.Name,
		c.ID[:min(12, len(c.ID))], // Docker's short id, until the name is known
	)
}

func serviceVersion(c Container) string {
	return cmp.Or(c.Env["MARATHON_APP_VERSION"], c.Labels["org.opencontainers.image.version"])
}

// taskID is the Mesos task's; newer Marathons also make a Docker label of it.
func taskID(c Container) string {
	return cmp.Or(c.Env["MESOS_TASK_ID"], c.Labels["MESOS_TASK_ID"])
}

// orchestrator is who runs the container. Kubernetes and Swarm come first:
// their labels are on the very container, also where they run under Mesos.
func orchestrator(c Container) *orchestratorField {
	l := c.Labels
	switch {
	case l["io.kubernetes.pod.name"] != "":
		return &orchestratorField{Type: "kubernetes", Namespace: l["io.kubernetes.pod.namespace"],
			Resource: &resourceField{Type: "pod", ID: l["io.kubernetes.pod.uid"], Name: l["io.kubernetes.pod.name"]}}
	case l["com.docker.swarm.task.id"] != "":
		return &orchestratorField{Type: "swarm", Namespace: l["com.docker.stack.namespace"],
			Resource: &resourceField{Type: "task", ID: l["com.docker.swarm.task.id"], Name: l["com.docker.swarm.task.name"]}}
	case taskID(c) != "" || c.Env["MESOS_CONTAINER_NAME"] != "" || c.Env["MARATHON_APP_ID"] != "":
		o := &orchestratorField{Type: "mesos", Namespace: c.Env["MESOS_ALLOCATION_ROLE"]}
		if task := taskID(c); task != "" {
			o.Resource = &resourceField{Type: "task", ID: task,
				Name: cmp.Or(c.Env["MARATHON_APP_ID"], c.Env["CHRONOS_JOB_NAME"], c.Env["METRONOME_JOB_ID"])}
		}
		return o
	}
	return nil
}

func id(s string) *idField {
	if s == "" {
		return nil
	}
	return &idField{ID: s}
}

// labelFields makes labels storable: an empty key and a NUL in a key would
// have the whole document refused by a flattened field, as would a huge value.
func labelFields(labels map[string]string) map[string]string {
	if len(labels) == 0 {
		return nil
	}
	out := make(map[string]string, len(labels))
	for k, v := range labels {
		if k == "" {
			continue
		}
		if len(v) > maxLabel {
			v = strings.ToValidUTF8(v[:maxLabel], "") + "…"
		}
		out[strings.ReplaceAll(k, "\x00", "\uFFFD")] = v
	}
	return out
}

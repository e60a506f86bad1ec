package mesos

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// A MasterClient asks one of several masters; those that do not lead send on
// to the one that does.
type MasterClient struct {
	urls   []string
	access Access
	http   *http.Client
}

// NewMaster is for the masters at URLs, "http://m1:5050". Nothing is asked yet.
func NewMaster(urls []string, access Access) (*MasterClient, error) {
	m := &MasterClient{access: access, http: newHTTP(access, false)}
	for _, base := range urls {
		if u, err := url.Parse(base); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return nil, fmt.Errorf("%q is not the URL of a Mesos master; write http://m1:5050", base)
		}
		m.urls = append(m.urls, strings.TrimRight(base, "/"))
	}
	return m, nil
}

// URL is all addresses, for messages.
func (m *MasterClient) URL() string { return strings.Join(m.urls, ",") }

// A MasterAgent is an agent as the master knows it.
type MasterAgent struct {
	ID       string `json:"id"`
	Hostname string `json:"hostname"`
	Active   bool   `json:"active"`
}

// A MasterTask is a task as the master knows it.
type MasterTask struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	Framework string `json:"framework_id"`
	Agent     string `json:"slave_id"`
	State     string `json:"state"`
	Labels    []struct {
		Key   string `json:"key"`
		Value string `json:"value"`
	} `json:"labels"`
	Resources struct {
		Ports string `json:"ports"` // "[31000-31001, 31005-31005]"
	} `json:"resources"`
	Discovery struct {
		Ports struct {
			Ports []struct {
				Number int    `json:"number"`
				Name   string `json:"name"`
			} `json:"ports"`
		} `json:"ports"`
	} `json:"discovery"`
	Container struct {
		Type   string `json:"type"` // DOCKER, MESOS
		Docker struct {
			Image        string `json:"image"`
			Network      string `json:"network"` // HOST, BRIDGE, USER
			PortMappings []struct {
				HostPort      int    `json:"host_port"`
				ContainerPort int    `json:"container_port"`
				Protocol      string `json:"protocol"`
			} `json:"port_mappings"`
		} `json:"docker"`
		Networks []struct {
			Name string `json:"name"` // of a network of containers
		} `json:"network_infos"`
	} `json:"container"`
	Statuses []struct {
		State     string  `json:"state"`
		Timestamp float64 `json:"timestamp"` // seconds since 1970; some executors tell none
		Healthy   *bool   `json:"healthy"`
		Container struct {
			ID struct {
				Value string `json:"value"`
			} `json:"container_id"`
			Networks []struct {
				Addresses []struct {
					IP string `json:"ip_address"`
				} `json:"ip_addresses"`
			} `json:"network_infos"`
		} `json:"container_status"`
	} `json:"statuses"`
}

// Since is when the task began to run; zero if that is not told.
func (t *MasterTask) Since() (at time.Time) {
	for _, s := range t.Statuses {
		if began := time.UnixMicro(int64(s.Timestamp * 1e6)).UTC(); s.State == "TASK_RUNNING" && s.Timestamp > 0 && (at.IsZero() || began.Before(at)) {
			at = began
		}
	}
	return at
}

// Sick says whether its last health check failed.
func (t *MasterTask) Sick() bool {
	n := len(t.Statuses)
	return n > 0 && t.Statuses[n-1].Healthy != nil && !*t.Statuses[n-1].Healthy
}

// DockerName is what Docker calls its container, "" if it has none there.
func (t *MasterTask) DockerName() (name string) {
	for _, s := range t.Statuses {
		if id := s.Container.ID.Value; id != "" && t.Container.Type == "DOCKER" {
			name = "mesos-" + id
		}
	}
	return name
}

// HostPorts are those of the agent's machine, for people: "31000->80/tcp" of a
// bridge, else "31000"; what a task in a network of its own declares, if it has
// been given none.
func (t *MasterTask) HostPorts() (list []string) {
	for _, p := range t.Container.Docker.PortMappings {
		list = append(list, fmt.Sprintf("%d->%d/%s", p.HostPort, p.ContainerPort, cmp.Or(p.Protocol, "tcp")))
	}
	if list == nil {
		list = portList(t.Resources.Ports)
	}
	if list == nil {
		for _, p := range t.Discovery.Ports.Ports {
			list = append(list, strconv.Itoa(p.Number))
		}
	}
	return list
}

// Agents asks for all agents that the master knows.
func (m *MasterClient) Agents(ctx context.Context) ([]MasterAgent, error) {
	var all struct {
		Agents []MasterAgent `json:"slaves"`
	}
	err := m.decode(ctx, "/slaves", &all)
	if notFound(err) {
		old, err := m.old(ctx)
		return old.Agents, err
	}
	if err != nil {
		return nil, err
	}
	if all.Agents == nil {
		return nil, errors.New("/slaves of the master: the answer has no list of agents")
	}
	return all.Agents, nil
}

// Frameworks asks for the names of all frameworks that the master knows, by id.
func (m *MasterClient) Frameworks(ctx context.Context) (map[string]string, error) {
	var all masterState
	err := m.decode(ctx, "/state-summary", &all)
	if notFound(err) {
		all, err = m.old(ctx)
	}
	names := map[string]string{}
	for _, f := range slices.Concat(all.Completed, all.Frameworks) {
		names[f.ID] = f.Name
	}
	return names, err
}

// masterState is all that a master knows, of which newer ones are asked for parts.
type masterState struct {
	Agents     []MasterAgent     `json:"slaves"`
	Frameworks []masterFramework `json:"frameworks"`
	Completed  []masterFramework `json:"completed_frameworks"`
}

type masterFramework struct {
	ID    string       `json:"id"`
	Name  string       `json:"name"`
	Tasks []MasterTask `json:"tasks"`
	Ended []MasterTask `json:"completed_tasks"`
}

// old asks a master from before 1.0, which has one answer for everything.
func (m *MasterClient) old(ctx context.Context) (s masterState, err error) {
	if err = m.decode(ctx, "/state.json", &s); notFound(err) {
		err = fmt.Errorf("%s answers neither what a Mesos master answers now nor /state.json, so it is none", m.URL())
	}
	if err == nil && s.Agents == nil {
		err = errors.New("/state.json of the master: the answer has no list of agents")
	}
	return s, err
}

func notFound(err error) bool {
	var code *StatusError
	return errors.As(err, &code) && code.Code == http.StatusNotFound
}

// tasksPage is how many tasks are asked for at once, those that have ended
// among them.
const tasksPage = 20_000

// Tasks asks for all tasks, also those that have ended.
func (m *MasterClient) Tasks(ctx context.Context) ([]MasterTask, error) {
	return m.tasks(ctx, tasksPage)
}

func (m *MasterClient) tasks(ctx context.Context, page int) (list []MasterTask, err error) {
	seen := map[string]bool{}
	for offset := 0; ; offset += page {
		var some struct {
			Tasks []MasterTask `json:"tasks"`
		}
		err := m.decode(ctx, "/tasks?limit="+strconv.Itoa(page)+"&offset="+strconv.Itoa(offset), &some)
		if offset == 0 && notFound(err) {
			return m.oldTasks(ctx)
		}
		if err != nil {
			return nil, err
		}
		if some.Tasks == nil {
			return nil, errors.New("/tasks of the master: the answer has no list of tasks")
		}
		for _, t := range some.Tasks {
			// Pages move while they are read; and an id can be used again.
			if key := t.Framework + " " + t.ID + " " + t.State; !seen[key] {
				seen[key] = true
				list = append(list, t)
			}
		}
		if len(some.Tasks) < page {
			return list, nil
		}
	}
}

func (m *MasterClient) oldTasks(ctx context.Context) (list []MasterTask, err error) {
	s, err := m.old(ctx)
	for _, f := range slices.Concat(s.Frameworks, s.Completed) {
		for _, t := range slices.Concat(f.Tasks, f.Ended) {
			t.Framework = f.ID // those below it are its own, whatever they say
			list = append(list, t)
		}
	}
	return list, err
}

// decode asks one master after another until one answers.
func (m *MasterClient) decode(ctx context.Context, path string, into any) error {
	var all error
	for _, base := range m.urls {
		resp, err := m.access.get(ctx, m.http, base+path)
		if err != nil {
			all = errors.Join(all, err)
			continue
		}
		err = json.UnmarshalRead(resp.Body, into, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
		resp.Body.Close()
		if err == nil {
			return nil
		}
		all = errors.Join(all, fmt.Errorf("decode %s%s: %w", base, path, err))
	}
	return all
}

// portList writes out "[31000-31002, 31005-31005]": each port of a task, which
// are few; of a longer range the range.
func portList(text string) (list []string) {
	for part := range strings.SplitSeq(strings.Trim(text, "[] "), ",") {
		from, to, ok := strings.Cut(strings.TrimSpace(part), "-")
		a, err := strconv.Atoi(from)
		b, err2 := strconv.Atoi(to)
		switch {
		case !ok || err != nil || err2 != nil || b < a:
		case b-a > 20:
			list = append(list, from+"-"+to)
		default:
			for p := a; p <= b; p++ {
				list = append(list, strconv.Itoa(p))
			}
		}
	}
	return list
}

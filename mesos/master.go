package mesos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// A MasterTask is a task as the master has it: of any framework, on any agent.
type MasterTask struct {
	ID, Name  string
	Framework Framework
	Host      string // of its agent; "" if the master does not tell
	State     string // "TASK_RUNNING"
	Healthy   *bool  // by its last health check; nil: it has none
	Since     time.Time
	Labels    map[string]string
	Docker    bool // in Docker's containerizer
	// ContainerID is Mesos' own; Docker's container is called "mesos-" and it.
	ContainerID string
	// Ports are those of the agent: "31000->80/tcp" of a bridge, else "31000".
	Ports []string
}

// A MasterClient asks one of several masters: all know who leads, and send who
// asks there.
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

// mostTasks is the limit of one question: without one, a master tells 100.
const mostTasks = "1000000"

// Tasks asks for all tasks that the leading master remembers, ended ones among
// them. Masters before 1.0 are asked for their whole state.
func (m *MasterClient) Tasks(ctx context.Context) ([]MasterTask, error) {
	var all error
	for _, base := range m.urls {
		tasks, err := m.ask(ctx, base)
		if err == nil {
			return tasks, nil
		}
		all = errors.Join(all, err)
	}
	return nil, all
}

func (m *MasterClient) ask(ctx context.Context, base string) ([]MasterTask, error) {
	for _, paths := range [][]string{{"/tasks?limit=" + mostTasks, "/state-summary"}, {"/state.json"}} {
		var s masterState
		var err error
		for _, path := range paths {
			if err = m.read(ctx, base+path, &s); err != nil {
				break
			}
		}
		var code *StatusError
		if errors.As(err, &code) && code.Code == http.StatusNotFound {
			continue
		}
		if err != nil {
			return nil, err
		}
		return s.named(), nil
	}
	return nil, fmt.Errorf("%s answers neither /tasks nor /state.json, so it is no Mesos master", base)
}

func (m *MasterClient) read(ctx context.Context, url string, s *masterState) error {
	resp, err := m.access.get(ctx, m.http, url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := s.add(resp.Body); err != nil {
		return fmt.Errorf("%s: decode answer of mesos master: %w", url, err)
	}
	return nil
}

// masterState is what the answers of a master say together.
type masterState struct {
	tasks      []masterTask
	hosts      map[string]string // by agent
	frameworks map[string]string // names
}

type masterTask struct {
	MasterTask
	agent string
	ports struct{ mapped, discovered, offered []string }
}

func (s *masterState) named() []MasterTask {
	var list []MasterTask
	for _, t := range s.tasks {
		t.Host, t.Framework.Name = s.hosts[t.agent], s.frameworks[t.Framework.ID]
		switch {
		case len(t.ports.mapped) > 0:
			t.Ports = t.ports.mapped
		case len(t.ports.offered) > 0:
			t.Ports = t.ports.offered
		default:
			t.Ports = t.ports.discovered
		}
		list = append(list, t.MasterTask)
	}
	return list
}

var errNoMaster = errors.New("it has neither tasks nor agents, so it is something else")

// add reads /tasks, /state-summary or /state.json.
func (s *masterState) add(r io.Reader) error {
	if s.hosts == nil {
		s.hosts, s.frameworks = map[string]string{}, map[string]string{}
	}
	d := newDecoder(r)
	known := false
	tasks := func() error { return d.array(func() error { return d.masterTask(s) }) }
	err := d.object(func(key []byte) error {
		switch string(key) {
		case `"tasks"`:
			known = true
			return tasks()
		case `"slaves"`:
			known = true
			return d.array(func() error {
				var id, host string
				err := d.object(func(key []byte) error {
					switch string(key) {
					case `"id"`:
						return d.text(&id)
					case `"hostname"`:
						return d.text(&host)
					}
					return d.SkipValue()
				})
				s.hosts[id] = host
				return err
			})
		case `"frameworks"`, `"completed_frameworks"`:
			return d.array(func() error {
				var id, name string
				first := len(s.tasks)
				err := d.object(func(key []byte) error {
					switch string(key) {
					case `"id"`:
						return d.text(&id)
					case `"name"`:
						return d.text(&name)
					case `"tasks"`, `"completed_tasks"`, `"unreachable_tasks"`:
						return tasks()
					}
					return d.SkipValue()
				})
				s.frameworks[id] = name
				for i := first; i < len(s.tasks); i++ { // those below it are its own, whatever they say
					s.tasks[i].Framework.ID = id
				}
				return err
			})
		}
		return d.SkipValue()
	})
	if err == nil && !known {
		return errNoMaster
	}
	return err
}

func (d decoder) masterTask(s *masterState) error {
	var t masterTask
	err := d.object(func(key []byte) error {
		switch string(key) {
		case `"id"`:
			return d.text(&t.ID)
		case `"name"`:
			return d.text(&t.Name)
		case `"framework_id"`:
			return d.text(&t.Framework.ID)
		case `"slave_id"`:
			return d.text(&t.agent)
		case `"state"`:
			return d.text(&t.State)
		case `"labels"`:
			return d.labels(&t.Labels)
		case `"statuses"`:
			return d.array(func() error { return d.masterStatus(&t) })
		case `"resources"`:
			return d.object(func(key []byte) error {
				var text string
				if string(key) != `"ports"` {
					return d.SkipValue()
				}
				err := d.text(&text)
				t.ports.offered = portList(text)
				return err
			})
		case `"container"`, `"discovery"`:
			value, err := d.ReadValue() // key is no more
			if err == nil {
				t.place(value)
			}
			return err
		}
		return d.SkipValue()
	})
	if t.ID != "" {
		s.tasks = append(s.tasks, t)
	}
	return err
}

// masterStatus reads one change of a task's state, in order of time. The first
// one since which it runs is when it began.
func (d decoder) masterStatus(t *masterTask) error {
	value, err := d.ReadValue()
	if err != nil {
		return err
	}
	var s struct {
		State     string
		Timestamp float64 // seconds
		Healthy   *bool
		Container struct {
			ID struct{ Value string } `json:"container_id"`
		} `json:"container_status"`
	}
	if unmarshal(value, &s) != nil {
		return nil // of another form than any known
	}
	if t.Since.IsZero() && s.State == "TASK_RUNNING" && s.Timestamp > 0 { // some executors tell no time
		t.Since = time.UnixMicro(int64(s.Timestamp * 1e6)).UTC()
	}
	t.Healthy = s.Healthy
	if s.Container.ID.Value != "" {
		t.ContainerID = s.Container.ID.Value
	}
	return nil
}

// place reads which ports a task declares, and what it is in.
func (t *masterTask) place(value jsontext.Value) {
	var v struct {
		Type   string
		Docker struct {
			Mappings []struct {
				Host      int `json:"host_port"`
				Container int `json:"container_port"`
				Protocol  string
			} `json:"port_mappings"`
		}
		Ports struct {
			Ports []struct{ Number int }
		}
	}
	if unmarshal(value, &v) != nil {
		return
	}
	t.Docker = t.Docker || v.Type == "DOCKER" // only of a container
	for _, p := range v.Docker.Mappings {
		protocol := p.Protocol
		if protocol == "" {
			protocol = "tcp"
		}
		t.ports.mapped = append(t.ports.mapped, fmt.Sprintf("%d->%d/%s", p.Host, p.Container, protocol))
	}
	for _, p := range v.Ports.Ports {
		t.ports.discovered = append(t.ports.discovered, strconv.Itoa(p.Number))
	}
}

// unmarshal takes names in any case, and what is doubled or no UTF-8.
func unmarshal(value jsontext.Value, into any) error {
	return json.Unmarshal(value, into, json.MatchCaseInsensitiveNames(true), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
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

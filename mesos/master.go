package mesos

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

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
		Docker struct {
			Image        string `json:"image"`
			Network      string `json:"network"` // HOST, BRIDGE, USER
			PortMappings []struct {
				HostPort      int `json:"host_port"`
				ContainerPort int `json:"container_port"`
			} `json:"port_mappings"`
		} `json:"docker"`
		Networks []struct {
			Name string `json:"name"` // of a network of containers
		} `json:"network_infos"`
	} `json:"container"`
	Statuses []struct {
		State     string  `json:"state"`
		Timestamp float64 `json:"timestamp"` // seconds since 1970
		Container struct {
			Networks []struct {
				Addresses []struct {
					IP string `json:"ip_address"`
				} `json:"ip_addresses"`
			} `json:"network_infos"`
		} `json:"container_status"`
	} `json:"statuses"`
}

// Agents asks for all agents that the master knows.
func (m *MasterClient) Agents(ctx context.Context) ([]MasterAgent, error) {
	var all struct {
		Agents []MasterAgent `json:"slaves"`
	}
	if err := m.decode(ctx, "/slaves", &all); err != nil {
		return nil, err
	}
	if all.Agents == nil {
		return nil, errors.New("/slaves of the master: the answer has no list of agents")
	}
	return all.Agents, nil
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
		if err := m.decode(ctx, "/tasks?limit="+strconv.Itoa(page)+"&offset="+strconv.Itoa(offset), &some); err != nil {
			return nil, err
		}
		if some.Tasks == nil {
			return nil, errors.New("/tasks of the master: the answer has no list of tasks")
		}
		for _, t := range some.Tasks {
			if key := t.Framework + " " + t.ID; !seen[key] { // pages move while they are read
				seen[key] = true
				list = append(list, t)
			}
		}
		if len(some.Tasks) < page {
			return list, nil
		}
	}
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

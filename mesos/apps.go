package mesos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// An AppState is an app with what runs of it.
type AppState struct {
	ID        string            `json:"id"`
	Version   string            `json:"version"`
	Instances int               `json:"instances"` // how many there should be
	Labels    map[string]string `json:"labels"`
	Tasks     []AppTask         `json:"tasks"` // nil: the answer does not have them
	Running   int               `json:"tasksRunning"`
	Checks    []HealthCheck     `json:"healthChecks"`
	Upgrade   struct {
		MinimumHealthCapacity *float64 `json:"minimumHealthCapacity"` // nil: 1
	} `json:"upgradeStrategy"`
	Deployments []struct {
		ID string `json:"id"`
	} `json:"deployments"`
	Networks []struct {
		Mode string `json:"mode"` // host, container, container/bridge; since 1.5
	} `json:"networks"`
	PortDefinitions []PortDefinition `json:"portDefinitions"`
	Container       struct {
		PortMappings []PortDefinition `json:"portMappings"` // since 1.5
		Docker       struct {
			Image        string           `json:"image"`
			Network      string           `json:"network"` // HOST, BRIDGE, USER; until 1.5
			PortMappings []PortDefinition `json:"portMappings"`
		} `json:"docker"`
	} `json:"container"`
	IPAddress *struct {
		Discovery struct {
			Ports []struct {
				Number int    `json:"number"`
				Name   string `json:"name"`
			} `json:"ports"`
		} `json:"discovery"`
	} `json:"ipAddress"` // until 1.5: an address of its own for each task
}

// A PortDefinition is a port that an app declares.
type PortDefinition struct {
	Name          string `json:"name"`
	ContainerPort int    `json:"containerPort"`
	HostPort      *int   `json:"hostPort"` // nil in a network of its own: not mapped
}

// An AppTask is one task of an app.
type AppTask struct {
	ID          string    `json:"id"`
	AppID       string    `json:"appId"`
	Host        string    `json:"host"`
	Ports       []int     `json:"ports"` // on the host
	State       string    `json:"state"` // TASK_RUNNING; "" before 0.14
	StartedAt   time.Time `json:"startedAt,omitzero"`
	Version     string    `json:"version"`
	IPAddresses []struct {
		IPAddress string `json:"ipAddress"`
	} `json:"ipAddresses"`
	Results []HealthResult `json:"healthCheckResults"`
}

// A HealthCheck is one that an app asks Marathon or the executor for.
type HealthCheck struct {
	Protocol    string `json:"protocol"` // HTTP HTTPS TCP COMMAND MESOS_HTTP MESOS_HTTPS MESOS_TCP
	Path        string `json:"path"`
	Port        int    `json:"port"` // 0: PortIndex counts
	PortIndex   int    `json:"portIndex"`
	Grace       int    `json:"gracePeriodSeconds"`
	Interval    int    `json:"intervalSeconds"`
	Timeout     int    `json:"timeoutSeconds"`
	MaxFailures int    `json:"maxConsecutiveFailures"`
}

// A HealthResult is what Marathon knows of a task's health.
type HealthResult struct {
	Alive       bool      `json:"alive"`
	Failures    int       `json:"consecutiveFailures"`
	LastSuccess time.Time `json:"lastSuccess,omitzero"`
	LastFailure time.Time `json:"lastFailure,omitzero"`
	Cause       string    `json:"lastFailureCause"`
}

// errNoTasks says that an answer with apps did not have their tasks, although
// some run.
var errNoTasks = errors.New("apps without tasks")

// Apps asks for all apps with their tasks.
func (m *MarathonClient) Apps(ctx context.Context) ([]AppState, error) {
	apps, err := m.apps(ctx, "/v2/apps?embed=apps.tasks&embed=apps.deployments")
	if !errors.Is(err, errNoTasks) {
		return apps, err
	}
	// a Marathon that does not embed: a second question
	var all struct {
		Tasks []AppTask `json:"tasks"`
	}
	if err := m.decode(ctx, "/v2/tasks", &all); err != nil {
		return nil, err
	}
	of := map[string][]AppTask{}
	for _, t := range all.Tasks {
		of[t.AppID] = append(of[t.AppID], t)
	}
	for i := range apps {
		apps[i].Tasks = of[apps[i].ID]
	}
	return apps, nil
}

func (m *MarathonClient) apps(ctx context.Context, path string) ([]AppState, error) {
	var all struct {
		Apps []AppState `json:"apps"`
	}
	if err := m.decode(ctx, path, &all); err != nil {
		return nil, err
	}
	if all.Apps == nil { // something else answered; "no apps" would remove everything
		return nil, fmt.Errorf("decode %s of marathon: the answer has no list of apps", path)
	}
	for _, a := range all.Apps {
		if a.Tasks == nil && a.Running > 0 {
			return all.Apps, errNoTasks
		}
	}
	return all.Apps, nil
}

// decode reads one answer. A whole one is needed: a piece of a list would make
// the rest look gone.
func (m *MarathonClient) decode(ctx context.Context, path string, into any) error {
	resp, err := m.any(ctx, path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("read %s of marathon: %w", path, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s of marathon: %w", path, &StatusError{Code: resp.StatusCode})
	}
	if err := json.Unmarshal(text, into, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)); err != nil {
		return fmt.Errorf("decode %s of marathon: %w", path, err)
	}
	return nil
}

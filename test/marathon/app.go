package marathon

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// An App is an app definition, as far as Mesoscope's own have members. The types
// are those of the API description of Marathon 1.5 to 1.11.
type App struct {
	ID                    string            `json:"id"`
	Instances             int32             `json:"instances"`
	Constraints           [][]string        `json:"constraints"`
	AcceptedResourceRoles []string          `json:"acceptedResourceRoles"`
	CPUs                  float64           `json:"cpus"`
	Mem                   float64           `json:"mem"`
	User                  string            `json:"user"`
	Cmd                   string            `json:"cmd"`
	Args                  []string          `json:"args"`
	Env                   map[string]string `json:"env"`
	Labels                map[string]string `json:"labels"`
	Container             *Container        `json:"container"`
	Networks              []Network         `json:"networks"`
	PortDefinitions       []Port            `json:"portDefinitions"`
	RequirePorts          bool              `json:"requirePorts"`
	Fetch                 []Artifact        `json:"fetch"`
	HealthChecks          []HealthCheck     `json:"healthChecks"`
	UpgradeStrategy       *struct {
		MinimumHealthCapacity *float64 `json:"minimumHealthCapacity"`
		MaximumOverCapacity   *float64 `json:"maximumOverCapacity"`
	} `json:"upgradeStrategy"`
	BackoffSeconds             int32   `json:"backoffSeconds"`
	BackoffFactor              float64 `json:"backoffFactor"`
	MaxLaunchDelaySeconds      int32   `json:"maxLaunchDelaySeconds"`
	TaskKillGracePeriodSeconds int32   `json:"taskKillGracePeriodSeconds"`
}

// A Container is what an app runs in.
type Container struct {
	Type    string   `json:"type"`
	Docker  *Docker  `json:"docker"`
	Volumes []Volume `json:"volumes"`
}

// A Docker is a container of Docker; parameters are options of docker run.
type Docker struct {
	Image          string `json:"image"`
	ForcePullImage bool   `json:"forcePullImage"`
	Privileged     bool   `json:"privileged"`
	Parameters     []struct {
		Key   string `json:"key"`
		Value string `json:"value"`
	} `json:"parameters"`
}

// A Volume is a folder or file of the host.
type Volume struct {
	ContainerPath string `json:"containerPath"`
	HostPath      string `json:"hostPath"`
	Mode          string `json:"mode"`
}

// A Network is one that the app joins.
type Network struct {
	Mode string `json:"mode"`
	Name string `json:"name"`
}

// A Port is one that Mesos has to offer; 0 is any.
type Port struct {
	Port     int    `json:"port"`
	Name     string `json:"name"`
	Protocol string `json:"protocol"`
}

// An Artifact is fetched into the sandbox.
type Artifact struct {
	URI        string `json:"uri"`
	Executable bool   `json:"executable"`
	Extract    bool   `json:"extract"`
	Cache      bool   `json:"cache"`
	DestPath   string `json:"destPath"`
}

// A HealthCheck kills the task if it fails too often.
type HealthCheck struct {
	Protocol               string `json:"protocol"`
	Path                   string `json:"path"`
	Port                   *int   `json:"port"`
	PortIndex              *int   `json:"portIndex"`
	GracePeriodSeconds     int32  `json:"gracePeriodSeconds"`
	IntervalSeconds        int32  `json:"intervalSeconds"`
	TimeoutSeconds         int32  `json:"timeoutSeconds"`
	DelaySeconds           int32  `json:"delaySeconds"`
	MaxConsecutiveFailures *int32 `json:"maxConsecutiveFailures"`
}

var pathID = regexp.MustCompile(`^/(([a-z0-9]|[a-z0-9][a-z0-9-]*[a-z0-9])/)*([a-z0-9]|[a-z0-9][a-z0-9-]*[a-z0-9])$`)

// ReadApp decodes an app definition and says what a Marathon whose role is
// role ("*": none) would refuse in it.
func ReadApp(text []byte, role string) (App, error) {
	var a App
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&a); err != nil {
		return a, err
	}
	if _, err := d.Token(); err != io.EOF {
		return a, errors.New("more than one object")
	}
	var errs []error
	refuse := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	refuse(!pathID.MatchString(a.ID), "id: %q is not the path of an app", a.ID)
	refuse((a.Cmd == "") == (len(a.Args) == 0), "one of cmd and args is needed")
	refuse(a.Instances < 0 || a.CPUs < 0.001 || a.Mem < 0, "instances, cpus, mem: out of range")
	refuse(a.BackoffFactor != 0 && a.BackoffFactor < 1 || a.BackoffSeconds < 0 || a.MaxLaunchDelaySeconds < 0, "backoff: out of range")
	for _, r := range a.AcceptedResourceRoles {
		refuse(r != "*" && r != role, "acceptedResourceRoles: %q is neither * nor the role of this Marathon", r)
	}
	for _, c := range a.Constraints {
		refuse(len(c) < 2 || len(c) > 3 || !slices.Contains([]string{"UNIQUE", "CLUSTER", "GROUP_BY", "LIKE", "UNLIKE", "MAX_PER", "IS"}, c[1]) ||
			c[1] == "UNIQUE" && len(c) == 3, "constraints: %q", c)
	}
	if u := a.UpgradeStrategy; u != nil {
		for _, f := range []*float64{u.MinimumHealthCapacity, u.MaximumOverCapacity} {
			refuse(f != nil && (*f < 0 || *f > 1), "upgradeStrategy: %v is not from 0 to 1", f)
		}
	}
	refuse(len(a.Networks) > 1 || len(a.Networks) == 1 && !slices.Contains([]string{"host", "container", "container/bridge"}, a.Networks[0].Mode), "networks: %v", a.Networks)
	refuse(a.RequirePorts && len(a.PortDefinitions) == 0, "requirePorts without ports")
	refuse(slices.ContainsFunc(a.Fetch, func(f Artifact) bool { return !strings.Contains(f.URI, "://") }), "fetch: not a URI")
	errs = append(errs, a.Container.refused()...)
	for _, h := range a.HealthChecks {
		refuse(!slices.Contains([]string{"HTTP", "HTTPS", "TCP", "COMMAND", "MESOS_TCP", "MESOS_HTTP", "MESOS_HTTPS"}, h.Protocol), "healthChecks: protocol %q", h.Protocol)
		refuse((h.Port == nil) == (h.PortIndex == nil), "healthChecks: one of port and portIndex is needed")
		refuse(h.PortIndex != nil && *h.PortIndex >= len(a.PortDefinitions), "healthChecks: no port has the index")
		refuse(h.Path != "" && !strings.HasPrefix(h.Path, "/"), "healthChecks: path %q", h.Path)
	}
	return a, errors.Join(errs...)
}

func (c *Container) refused() (errs []error) {
	if c == nil {
		return nil
	}
	if c.Type != "DOCKER" && c.Type != "MESOS" || c.Type == "DOCKER" && (c.Docker == nil || c.Docker.Image == "") {
		errs = append(errs, fmt.Errorf("container: %s without what it runs", c.Type))
	}
	for _, v := range c.Volumes {
		if v.ContainerPath == "" || v.HostPath == "" || v.Mode != "RO" && v.Mode != "RW" {
			errs = append(errs, fmt.Errorf("container.volumes: %+v", v))
		}
	}
	if c.Docker != nil {
		for _, p := range c.Docker.Parameters {
			if p.Key == "" {
				errs = append(errs, errors.New("container.docker.parameters: no key"))
			}
		}
	}
	return errs
}

package discover

import (
	"strings"

	"mesoscope/config"
	"mesoscope/mesos"
)

// A container chooses by these labels, or variables like
// MESOSCOPE_LOGS_ENABLED, whether and where its lines go.
const (
	switchEnabled   = "mesoscope.logs.enabled"   // false: not followed
	switchDataset   = "mesoscope.logs.dataset"   // "mesos.…"
	switchNamespace = "mesoscope.logs.namespace" //
)

// disabledRule excludes a container that does not want to be followed;
// pauseRule the container that only keeps a pod's network; executorRule the one
// that prints what its task's own container prints.
const (
	disabledRule = switchEnabled + "=false"
	pauseRule    = "pause container of Kubernetes"
	executorRule = "executor that repeats its task's lines"
)

// setting looks for a switch. What Marathon says can change while the container
// runs, so it comes first; then the labels of the task, of the container, and
// its environment.
func (c *Container) setting(name string) (value, from string) {
	upper := strings.ToUpper(strings.ReplaceAll(name, ".", "_"))
	if app := c.Marathon; app != nil {
		if v, ok := app.Switches[name]; ok {
			return v, "marathon label " + name
		}
		if v, ok := app.Labels[name]; ok {
			return v, "marathon label " + name
		}
		if v, ok := app.Labels[upper]; ok { // as it comes in the environment
			return v, "marathon label " + upper
		}
	}
	if c.Mesos != nil {
		if v, ok := c.Mesos.TaskLabels[name]; ok {
			return v, "task label " + name
		}
	}
	if v, ok := c.Labels[name]; ok {
		return v, "docker label " + name
	}
	for _, variable := range []string{marathonLabel + upper, upper} {
		if v, ok := c.Env[variable]; ok {
			return v, "env " + variable
		}
	}
	return "", ""
}

// disabled says whether the container does not want to be followed.
func (c *Container) disabled() bool {
	value, _ := c.setting(switchEnabled)
	switch strings.ToLower(strings.TrimSpace(value)) {
	case "false", "0", "no", "off":
		return true
	}
	return false
}

// enabled says whether the container wants to be followed in so many words.
func (c *Container) enabled() bool {
	value, _ := c.setting(switchEnabled)
	switch strings.ToLower(strings.TrimSpace(value)) {
	case "true", "1", "yes", "on":
		return true
	}
	return false
}

// choose takes over where the container wants its lines to go. What cannot be
// the name of a data stream is left out; explain says why.
func (c *Container) choose() {
	if v, from := c.setting(switchDataset); v != "" && config.Dataset(v) == nil {
		c.Dataset = v
		c.note(from, "data_stream.dataset")
	}
	if v, from := c.setting(switchNamespace); v != "" && config.DataStreamPart(v) == nil {
		c.Namespace = v
		c.note(from, "data_stream.namespace")
	}
}

// repeats says whether c is the executor of a task that has a container of its
// own.
func (c *Container) repeats() bool {
	name, _ := mesos.ParseContainerName(c.Name)
	return name.Executor
}

// pause says whether c is the pause container of a pod: by its label, its name
// or its kind.
func (c *Container) pause() bool {
	return c.Labels["io.kubernetes.container.name"] == "POD" || c.Labels["io.kubernetes.docker.type"] == "podsandbox" ||
		strings.HasPrefix(c.Name, "k8s_POD_") || strings.HasPrefix(c.Name, "k8s_POD.")
}

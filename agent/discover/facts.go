package discover

import (
	"maps"
	"strings"
	"time"
)

// The origins that stand in Container.From.
const (
	fromDirectory  = "directory name"
	fromConfig     = "config.v2.json"
	fromHostConfig = "hostconfig.json"
	fromAPI        = "docker api"
	fromAttrs      = "json-file attrs"
	fromCopy       = "local copy"
)

// jsonFile is Docker's name of the driver whose files are followed directly.
const jsonFile = "json-file"

// allowedEnv are the environment variables that a Container keeps. All others
// may be secrets and are never read further.
var allowedEnv = map[string]bool{
	"MARATHON_APP_ID":           true,
	"MARATHON_APP_VERSION":      true,
	"MARATHON_APP_LABELS":       true,
	"MARATHON_APP_DOCKER_IMAGE": true,
	"MESOS_TASK_ID":             true,
	"MESOS_CONTAINER_NAME":      true,
	"MESOS_EXECUTOR_ID":         true,
	"MESOS_FRAMEWORK_ID":        true,
	"MESOS_SLAVE_ID":            true,
	"MESOS_ALLOCATION_ROLE":     true,
	"PORTS":                     true, // that Marathon gives to a container in the host's network
	"CHRONOS_JOB_NAME":          true,
	"CHRONOS_JOB_OWNER":         true,
	"METRONOME_JOB_ID":          true,
	"METRONOME_JOB_RUN_ID":      true,

	"MESOSCOPE_LOGS_ENABLED":   true,
	"MESOSCOPE_LOGS_DATASET":   true,
	"MESOSCOPE_LOGS_NAMESPACE": true,
}

// marathonLabel begins the variables in which Marathon gives an app's labels
// to its tasks: it never makes Docker labels of them.
const marathonLabel = "MARATHON_APP_LABEL_"

func envAllowed(name string) bool {
	return allowedEnv[name] || strings.HasPrefix(name, marathonLabel)
}

// selectEnv makes a map of the allowed ones among Docker's "NAME=value" pairs.
func selectEnv(pairs []string) map[string]string {
	var env map[string]string
	for _, p := range pairs {
		name, value, ok := strings.Cut(p, "=")
		if !ok || !envAllowed(name) {
			continue
		}
		if env == nil {
			env = make(map[string]string)
		}
		env[name] = value
	}
	return env
}

// parseImage cuts an image reference into name and tag: "reg:5000/team/web:3"
// is "reg:5000/team/web" and "3". A digest ("web@sha256:…") is no tag, and a
// bare id ("sha256:…") is neither name nor tag.
func parseImage(ref, id string) Image {
	img := Image{ID: id}
	if strings.HasPrefix(ref, "sha256:") {
		if img.ID == "" {
			img.ID = ref
		}
		return img
	}
	ref, _, digest := strings.Cut(ref, "@")
	img.Name = ref
	if colon := strings.LastIndexByte(ref, ':'); colon > strings.LastIndexByte(ref, '/') {
		img.Name, img.Tag = ref[:colon], ref[colon+1:]
	} else if ref != "" && !digest {
		img.Tag = "latest" // what Docker runs when no tag is given
	}
	return img
}

// network gives Docker's "default" its real name.
func network(mode string) string {
	if mode == "default" {
		return "bridge"
	}
	return mode
}

// oomKilled is Container.OOMKilled of what Docker says of a container's state.
func oomKilled(was bool, finished string) (at time.Time) {
	if was {
		at, _ = time.Parse(time.RFC3339Nano, finished) // without a time there is nothing to tell it by
	}
	return at
}

// note says for each of the members where it came from. It makes a new map,
// because Containers are copied and those copies are read elsewhere.
func (c *Container) note(origin string, members ...string) {
	c.ownFrom(len(members))
	for _, m := range members {
		c.From[m] = origin
	}
}

// ownFrom makes c.From a map that no copy of c has, with room for more members.
func (c *Container) ownFrom(more int) {
	from := make(map[string]string, len(c.From)+more)
	maps.Copy(from, c.From)
	c.From = from
}

// merge adds what over knows to c. over wins for what changes in a container's
// life (name, running); else it fills only what c does not know.
func merge(c, over Container) Container {
	c.ownFrom(len(over.From)) // once: a map for each member was much of the start with thousands of containers
	take := func(member string, wins bool, set func()) {
		origin, known := over.From[member]
		if _, have := c.From[member]; known && (wins || !have) {
			set()
			c.From[member] = origin
		}
	}
	take("name", true, func() { c.Name = over.Name })
	take("running", true, func() { c.Running = over.Running })
	take("image", false, func() { c.Image = over.Image })
	take("labels", false, func() { c.Labels = over.Labels })
	take("env", false, func() { c.Env = over.Env })
	take("created", false, func() { c.Created = over.Created })
	take("tty", false, func() { c.TTY = over.TTY })
	take("network", false, func() { c.Network = over.Network })
	take("host", false, func() { c.Host = over.Host })
	take("sandbox", false, func() { c.Sandbox = over.Sandbox })
	take("driver", false, func() { c.Driver, c.DriverOpts = over.Driver, over.DriverOpts })
	take("log_path", false, func() { c.LogPath = over.LogPath })
	if over.OOMKilled.After(c.OOMKilled) { // a list of the API does not say it
		c.OOMKilled = over.OOMKilled
	}
	return c
}

// WithAttrs adds the attrs of a json-file entry to c: what --log-opt labels,
// env and tag put into each entry. Known variables (MARATHON_APP_ID…) become
// Env, others Labels. It is for containers whose own configuration is gone, so
// nothing that c knows already is replaced. c itself is not changed.
func WithAttrs(c Container, attrs map[string]string) Container {
	labels, env := maps.Clone(c.Labels), maps.Clone(c.Env)
	added := make(map[string]bool)
	add := func(to *map[string]string, member, key, value string) {
		if _, have := (*to)[key]; have {
			return
		}
		if *to == nil {
			*to = make(map[string]string)
		}
		(*to)[key] = value
		added[member] = true
	}
	for key, value := range attrs {
		if envAllowed(key) {
			add(&env, "env", key, value)
		} else {
			add(&labels, "labels", key, value)
		}
	}
	if len(added) == 0 {
		return c
	}
	c.Labels, c.Env = labels, env
	for member := range added {
		origin := fromAttrs
		if old := c.From[member]; old != "" && old != fromAttrs {
			origin = old + ", " + fromAttrs
		}
		c.note(origin, member)
	}
	c.identify()
	c.choose()
	return c
}

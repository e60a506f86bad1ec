package marathon_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mesoscope/internal/version"
	"mesoscope/test/marathon"
)

// TestDeployedApps: Marathon takes the apps of deploy/marathon, and those that
// run once a machine can do so and be upgraded.
func TestDeployedApps(t *testing.T) {
	paths, err := filepath.Glob("../../deploy/marathon/*.json")
	if err != nil || len(paths) == 0 {
		t.Fatal(paths, err)
	}
	for _, path := range paths {
		name := filepath.Base(path)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		a, err := marathon.ReadApp(text, "*")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if c := a.Container; c != nil {
			if c.Docker.Image != "mesoscope:"+version.Version || c.Docker.Privileged {
				t.Errorf("%s: %+v", name, c.Docker)
			}
			for _, v := range c.Volumes {
				if v.ContainerPath != v.HostPath { // sandboxes have absolute links in them, and paths stand in what Docker tells
					t.Errorf("%s: %s is elsewhere in the container: %s", name, v.HostPath, v.ContainerPath)
				}
			}
		}
		for _, f := range a.Fetch {
			if !strings.Contains(f.URI, "/"+version.Version+"/") {
				t.Errorf("%s: %s is not of this version", name, f.URI)
			}
		}
		if !strings.HasPrefix(name, "agent") {
			continue
		}
		u := a.UpgradeStrategy
		if len(a.Constraints) != 1 || !slices.Equal(a.Constraints[0], []string{"hostname", "UNIQUE"}) {
			t.Errorf("%s: more than one may run on a machine: %v", name, a.Constraints)
		}
		if u == nil || u.MinimumHealthCapacity == nil || *u.MinimumHealthCapacity != 0 || u.MaximumOverCapacity == nil || *u.MaximumOverCapacity != 0 {
			t.Errorf("%s: there is no second machine for a new task, so none would ever be upgraded: %+v", name, u)
		}
		if len(a.HealthChecks) != 1 || a.HealthChecks[0].MaxConsecutiveFailures == nil || *a.HealthChecks[0].MaxConsecutiveFailures == 0 {
			t.Errorf("%s: with 0 a check by Mesos kills at once: %+v", name, a.HealthChecks)
		}
	}
}

func TestReadApp(t *testing.T) {
	const good = `{"id":"/a/b","cmd":"x","cpus":0.1,"mem":32,"instances":1}`
	if _, err := marathon.ReadApp([]byte(good), "*"); err != nil {
		t.Fatal(err)
	}
	for more, want := range map[string]string{
		`"instance":1`: "unknown field",
		`"args":["y"]`: "one of cmd and args",
		`"mem":"32"`:   "cannot unmarshal string",
		`"acceptedResourceRoles":["slave_public"]`:    "neither * nor the role",
		`"constraints":[["hostname","ONCE"]]`:         "constraints",
		`"upgradeStrategy":{"maximumOverCapacity":2}`: "not from 0 to 1",
		`"container":{"type":"DOCKER"}`:               "without what it runs",
		`"container":{"type":"DOCKER","docker":{"image":"x"},"volumes":[{"hostPath":"/a","mode":"RW"}]}`: "volumes",
		`"healthChecks":[{"protocol":"HTTP","portIndex":0}]`:                                             "no port has the index",
		`"healthChecks":[{"protocol":"MESOS_HTTP"}]`:                                                     "one of port and portIndex",
		`"requirePorts":true`:          "requirePorts",
		`"networks":[{"mode":"HOST"}]`: "networks",
	} {
		text := strings.TrimSuffix(good, "}") + "," + more + "}"
		if _, err := marathon.ReadApp([]byte(text), "*"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", more, err, want)
		}
	}
}

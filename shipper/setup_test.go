package shipper

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"mesoscope/config"
	"mesoscope/test/fakees"
)

func setupConfig() config.Elasticsearch {
	c := testConfig()
	c.Retention = config.Duration(30 * 24 * time.Hour)
	return c
}

func runSetup(t *testing.T, fake *fakees.Server, cfg config.Elasticsearch) (Report, error) {
	t.Helper()
	c, err := newClient(cfg, fake.Transport())
	if err != nil {
		t.Fatal(err)
	}
	return Setup(t.Context(), c, cfg)
}

func TestSetupAdaptsToTheServer(t *testing.T) {
	for _, c := range []struct {
		name     string
		fake     *fakees.Server
		logsdb   string
		leftOut  string
		contains []string // path: text
		absent   []string
	}{
		{name: "full 9", fake: &fakees.Server{BuiltIn: []string{"logs@mappings", "logs@settings", "ecs@mappings"}},
			contains: []string{
				`/_component_template/logs-mesos@package: "type":"match_only_text"`,
				`/_component_template/logs-mesos@package: "index.mode":"logsdb"`,
				`/_component_template/logs-mesos@package: "index.lifecycle.name":"logs-mesos"`,
				`/_index_template/logs-mesos: "composed_of":["logs@mappings","logs@settings","ecs@mappings","logs-mesos@package","logs-mesos@custom"]`,
				`/_index_template/logs-mesoscope: "logs-mesoscope.*-*"`,
				`/_ilm/policy/logs-mesos: "min_age":"30d"`,
			},
			absent: []string{`/_index_template/logs-mesos: data_retention`}},
		{name: "logsdb off", fake: &fakees.Server{}, logsdb: "off", leftOut: "logs@mappings, logs@settings, ecs@mappings",
			absent: []string{`/_component_template/logs-mesos@package: logsdb`}},
		{name: "8.16 auto", fake: &fakees.Server{Version: "8.16.6"}, leftOut: "logs@mappings, logs@settings, ecs@mappings",
			absent: []string{`/_component_template/logs-mesos@package: logsdb`}},
		{name: "poor", fake: &fakees.Server{Lacks: map[string]bool{"match_only_text": true, "ilm": true, "lifecycle": true, "logsdb": true}}, logsdb: "on",
			leftOut: "index.mode|match_only_text|logs@mappings, logs@settings, ecs@mappings|30d",
			contains: []string{
				`/_component_template/logs-mesos@package: "message":{"norms":false,"type":"text"}`,
				`/_index_template/logs-mesos: "data_retention":"30d"`,
			},
			absent: []string{`/_component_template/logs-mesos@package: lifecycle`}},
		{name: "no ILM", fake: &fakees.Server{Lacks: map[string]bool{"ilm": true}}, leftOut: "logs@mappings, logs@settings, ecs@mappings",
			contains: []string{`/_index_template/logs-mesos: "data_retention":"30d"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := setupConfig()
			if c.logsdb != "" {
				cfg.LogsDB = c.logsdb
			}
			rep, err := runSetup(t, c.fake, cfg)
			if err != nil {
				t.Fatal(err)
			}
			var left []string
			for _, s := range rep.LeftOut() {
				left = append(left, s.Name)
			}
			if got := strings.Join(left, "|"); got != c.leftOut {
				t.Errorf("left out %q, want %q", got, c.leftOut)
			}
			for _, w := range c.contains {
				path, text, _ := strings.Cut(w, ": ")
				if !strings.Contains(string(c.fake.Object(path)), text) {
					t.Errorf("%s lacks %s: %s", path, text, c.fake.Object(path))
				}
			}
			for _, w := range c.absent {
				path, text, _ := strings.Cut(w, ": ")
				if strings.Contains(string(c.fake.Object(path)), text) {
					t.Errorf("%s has %s: %s", path, text, c.fake.Object(path))
				}
			}
			writes := c.fake.Writes()
			rep, err = runSetup(t, c.fake, cfg)
			if err != nil || rep.Changed() || c.fake.Writes() != writes {
				t.Errorf("second time: %v, %d writes: %+v", err, c.fake.Writes()-writes, rep.Steps)
			}
			cfg.Retention = config.Duration(7 * 24 * time.Hour)
			if rep, err = runSetup(t, c.fake, cfg); err != nil || !rep.Changed() {
				t.Errorf("after a change of retention: %v, %+v", err, rep.Steps)
			}
		})
	}
}

func TestSetupRespectsOthers(t *testing.T) {
	fake := &fakees.Server{}
	if _, err := runSetup(t, fake, setupConfig()); err != nil {
		t.Fatal(err)
	}
	newer := strings.ReplaceAll(string(fake.Object("/_index_template/logs-mesos")), fmt.Sprintf(`"version":%d`, templateVersion), `"version":99`)
	fake.Put("/_index_template/logs-mesos", newer)
	rep, err := runSetup(t, fake, setupConfig())
	if err != nil || rep.Changed() || string(fake.Object("/_index_template/logs-mesos")) != newer {
		t.Errorf("a newer template: %v %+v", err, rep.Steps)
	}
	fake.Put("/_index_template/logs-mesos", `{"index_patterns":["logs-mesos*"]}`)
	if _, err = runSetup(t, fake, setupConfig()); err == nil || !strings.Contains(err.Error(), "was not made by mesoscope") {
		t.Errorf("a foreign template: %v", err)
	}
	fake.Authorized = func(string) bool { return false }
	if _, err = runSetup(t, fake, setupConfig()); !errors.Is(err, ErrForbidden) {
		t.Errorf("without rights: %v", err)
	}
	if _, err = runSetup(t, &fakees.Server{Version: "7.17.0"}, setupConfig()); err == nil || !strings.Contains(err.Error(), "7.17.0") {
		t.Errorf("7.17: %v", err)
	}
}

package discover

import (
	"strings"
	"testing"
	"time"

	"mesoscope/config"
)

// TestOwnOutput: what this process prints is not followed, nor what its app's
// earlier tasks here have printed, unless somebody says that it is wanted.
func TestOwnOutput(t *testing.T) {
	me := self{container: fullID("a1"), app: "/mesoscope/agent", sandbox: "/m/slaves/S0/frameworks/F/executors/me/runs/r1"}
	on := map[string]string{switchEnabled: "true"}
	for name, c := range map[string]struct {
		c   Container
		own bool
	}{
		"its container":            {Container{ID: me.container}, true},
		"its container, wanted":    {Container{ID: me.container, Labels: on}, false},
		"an earlier task":          {Container{ID: fullID("b2"), Marathon: &App{ID: me.app}}, true},
		"an earlier task, wanted":  {Container{ID: fullID("b2"), Marathon: &App{ID: me.app, Switches: on}}, false},
		"an earlier task, by env":  {Container{ID: fullID("b2"), Marathon: &App{ID: me.app}, Env: map[string]string{"MESOSCOPE_LOGS_ENABLED": "true"}}, false},
		"its sandbox":              {Container{ID: fullID("c3"), Sandbox: me.sandbox}, true},
		"another app":              {Container{ID: fullID("d4"), Marathon: &App{ID: "/mesoscope/collector"}}, false},
		"another task's sandbox":   {Container{ID: fullID("d4"), Sandbox: me.sandbox + "x"}, false},
		"a container without both": {Container{ID: fullID("d4")}, false},
	} {
		d := &Discoverer{self: me}
		if rule := d.excludedBy(&c.c); (rule == selfRule) != c.own || !c.own && rule != "" {
			t.Errorf("%s: rule %q, own %v", name, rule, c.own)
		}
		d.self = self{} // in no container: nothing is its own
		if rule := d.excludedBy(&c.c); rule != "" {
			t.Errorf("%s: rule %q outside of all containers", name, rule)
		}
	}
}

// TestOwnApp: the container of the task that ran before an upgrade is still
// there, and is never announced.
func TestOwnApp(t *testing.T) {
	t.Setenv("MARATHON_APP_ID", "/mesoscope/agent")
	r := newFakeRoot(t)
	for id, app := range map[string]string{"a1": "/mesoscope/agent", "b2": "/mesoscope/collector"} {
		r.mkdir(fullID(id))
		r.write(fullID(id), "config.v2.json", strings.Replace(runningConfig, `"Env":[`, `"Env":["MARATHON_APP_ID=`+app+`",`, 1))
		r.write(fullID(id), "hostconfig.json", jsonFileHost)
	}
	s := discoverFor(t, Options{Docker: config.Docker{Root: r.root}})
	s.container(fullID("b2"), func(c Container) bool { return c.Marathon != nil })
	until(t, "that the agent's is excluded", 10*time.Second, func() bool { return len(s.d.Excluded()) == 1 })
	if x := s.d.Excluded()[0]; x.ID != fullID("a1") || x.Rule != selfRule || s.everSeen(fullID("a1")) {
		t.Errorf("%+v", x)
	}
}

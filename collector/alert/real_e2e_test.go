//go:build e2e

package alert

import (
	"context"
	"log/slog"
	"maps"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mesoscope/collector/check"
	"mesoscope/collector/state"
	real "mesoscope/test/prometheus"
)

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(real.Tool(t, name), args...).CombinedOutput()
	if err != nil {
		t.Errorf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

const deploy = "../../deploy/"

// TestDeployedFiles: Prometheus and Alertmanager take what we ship, and make of
// it what we say.
func TestDeployedFiles(t *testing.T) {
	rules, err := filepath.Glob(deploy + "prometheus/*.rules.yml")
	tests, err2 := filepath.Glob(deploy + "prometheus/*_test.yml")
	if err != nil || err2 != nil || len(rules) == 0 || len(rules) != len(tests) {
		t.Fatalf("rules %v, tests %v, want one of each: %v %v", rules, tests, err, err2)
	}
	run(t, "promtool", append([]string{"check", "rules"}, rules...)...)
	run(t, "promtool", append([]string{"test", "rules"}, tests...)...)
	run(t, "promtool", "check", "config", deploy+"prometheus/scrape.yml")
	am := configuration
	run(t, "amtool", "check-config", am)
	for _, c := range []struct{ receiver, labels string }{
		{"deadman", "alertname=Watchdog collector=col-1"},
		{"nobody", "alertname=MaintenanceActive cluster=c1 host=n1 cause_id=7"},
		{"nobody", "alertname=DeployRunning cluster=c1 app=/prod/web cause_id=7"},
		{"pager", "alertname=CollectorDown collector=col-1"},
		{"pager", "alertname=HostDown cluster=c1 host=n1"},
		{"pager", "alertname=CheckFailed app=/prod/web severity=critical page=true"},
		{"pager", "alertname=CheckFailed app=/prod/web severity=critical page=true realert_every=15m"},
		{"pager", "alertname=AppDown app=/prod/web severity=critical page=somebody-without-a-route"},
		{"team", "alertname=CheckFailed app=/prod/web severity=critical page=false realert_every=24h"},
		{"team", "alertname=CheckFailed app=/prod/web severity=warning page=true"},
		{"team", "alertname=AgentSilent cluster=c1 host=n1"},
	} {
		run(t, "amtool", append([]string{"config", "routes", "test", "--config.file", am, "--verify.receivers", c.receiver}, strings.Fields(c.labels)...)...)
	}
}

// configuration is the one that we ship.
const configuration = deploy + "alertmanager/alertmanager.yml"

// feed runs Alerts against a real Alertmanager.
type feed struct {
	mu     sync.Mutex
	events map[string]check.Event
	apps   map[string]check.App
	alerts *Alerts
}

func startFeed(t *testing.T, url string) *feed {
	f := &feed{events: map[string]check.Event{}, apps: map[string]check.App{}}
	var err error
	f.alerts, err = New(Options{
		Cluster: "c1", Collector: "col-1", Alertmanagers: []string{url}, Registry: prometheus.NewRegistry(), Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Events: func(yield func(check.Event) bool) { f.each(func(e check.Event) { yield(e) }) },
		Apps: func(yield func(check.App) bool) {
			f.mu.Lock()
			defer f.mu.Unlock()
			for _, a := range f.apps {
				yield(a)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { f.alerts.Run(ctx); close(done) }()
	t.Cleanup(func() { stop(); <-done })
	return f
}

func (f *feed) each(do func(check.Event)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.events {
		do(e)
	}
}

// set puts checks and apps in place of those before.
func (f *feed) set(apps []check.App, events ...check.Event) {
	f.mu.Lock()
	f.events, f.apps = map[string]check.Event{}, map[string]check.App{}
	for _, e := range events {
		f.events[e.ID] = e
	}
	for _, a := range apps {
		f.apps[a.ID] = a
	}
	f.mu.Unlock()
	f.alerts.Changed(check.Event{})
}

// TestRealAlertmanager: alarms arrive with the right labels, hold each other
// back as they should, and end when all is well.
func TestRealAlertmanager(t *testing.T) {
	am := real.StartAlertmanager(t, configuration)
	f := startFeed(t, am.URL)
	on := func(id, host string, s state.Status) check.Event {
		e := event(id, bad(s, time.Minute))
		e.Host = host
		return e
	}
	static := func(id string) check.Event { // of no app and no host
		e := event(id, bad(state.Critical, time.Minute))
		e.Name, e.App, e.Host, e.Framework = id, "", "", ""
		return e
	}

	first := on("1", "n1", state.Critical)
	f.set(nil, first)
	am.Want("the alarm arrives", "CheckFailed critical health n1: active")
	list, err := am.Alerts()
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range list {
		want := map[string]string{"alertname": "CheckFailed", "cluster": "c1", "app": "/prod/web", "check": "health", "kind": "http", "host": "n1", "slot": "0", "framework": "marathon", "team": "shop", "severity": "critical", "page": "true"}
		if !maps.Equal(x.Labels, want) || !strings.Contains(x.Annotations["summary"], "connection refused") || x.Receivers[0].Name != "pager" {
			t.Errorf("it is %+v, want labels %v", x, want)
		}
		if d := x.StartsAt.Sub(first.State.FirstBad).Abs(); d > time.Millisecond { // JSON there has milliseconds
			t.Errorf("startsAt is %s off", d)
		}
	}
	f.set(nil)
	am.Want("mended")

	f.set([]check.App{{ID: "/prod/web", Framework: "marathon", Expected: 2, Running: 2}}, on("1", "n1", state.Critical), on("2", "n2", state.Critical), static("door"))
	am.Want("AppDown holds its checks back, and no other one",
		"AppDown critical: active", "CheckFailed critical door: active", "CheckFailed critical health n1: suppressed", "CheckFailed critical health n2: suppressed")
	f.set([]check.App{{ID: "/prod/web", Framework: "marathon", Expected: 2, Running: 2, Reachable: 1, Minimum: 1}}, on("1", "n1", state.Critical))
	am.Want("AppDegraded does too", "AppDegraded critical: active", "CheckFailed critical health n1: suppressed")

	worse := on("1", "n1", state.Critical)
	worse.State.Previous = state.Warning
	door := static("door")
	door.State.Previous = state.Warning
	f.set(nil, worse, door, on("2", "n2", state.Warning))
	am.Want("critical holds the warning of the same check back",
		"CheckFailed critical door: active", "CheckFailed critical health n1: active", "CheckFailed warning door: suppressed",
		"CheckFailed warning health n1: suppressed", "CheckFailed warning health n2: active")

	// A cause that lacks the label holds nothing back, nor does it reach what
	// lacks the label.
	f.set(nil, on("1", "n1", state.Critical), static("door"))
	am.Want("two checks", "CheckFailed critical door: active", "CheckFailed critical health n1: active")
	am.Post(map[string]string{"alertname": "HostDown", "cluster": "c1"}, map[string]string{"alertname": "DeployRunning", "cluster": "c1"},
		map[string]string{"alertname": "MaintenanceActive", "host": "n1"}, map[string]string{"alertname": AppDown, "cluster": "c1", "severity": "critical"})
	am.Want("causes without host or app", "AppDown critical: active", "CheckFailed critical door: active", "CheckFailed critical health n1: active",
		"DeployRunning: active", "HostDown: active", "MaintenanceActive n1: active")
	am.Post(map[string]string{"alertname": "HostDown", "cluster": "c1", "host": "n1"})
	am.Want("a dead host", "AppDown critical: active", "CheckFailed critical door: active", "CheckFailed critical health n1: suppressed",
		"DeployRunning: active", "HostDown: active", "HostDown n1: active", "MaintenanceActive n1: active")
}

// TestDeploymentHoldsBack: a deployment holds back what it disturbs, but never
// that nothing is left.
func TestDeploymentHoldsBack(t *testing.T) {
	am := real.StartAlertmanager(t, configuration)
	app := func(name string) map[string]string {
		return map[string]string{"alertname": name, "cluster": "c1", "app": "/prod/web", "severity": "critical"}
	}
	host := func(name string) map[string]string {
		return map[string]string{"alertname": name, "cluster": "c1", "host": "n1", "severity": "critical"}
	}
	am.Post(app("DeployRunning"), app("DeploymentStuck"), app(AppDegraded), host("MaintenanceActive"), host("HostDown"), host("AgentSilent"))
	am.Want("causes and consequences", "AgentSilent critical n1: suppressed", "AppDegraded critical: suppressed", "DeployRunning critical: active",
		"DeploymentStuck critical: active", "HostDown critical n1: suppressed", "MaintenanceActive critical n1: active")
	am.Post(app(AppDown))
	am.Want("none is left", "AgentSilent critical n1: suppressed", "AppDegraded critical: suppressed", "AppDown critical: active", "DeployRunning critical: active",
		"DeploymentStuck critical: active", "HostDown critical n1: suppressed", "MaintenanceActive critical n1: active")
}

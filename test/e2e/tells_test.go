//go:build e2e && linux

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mesoscope/collector/state"
	"mesoscope/test/fakees"
	"mesoscope/test/marathon"
	"mesoscope/test/nagios"
	"mesoscope/test/prometheus"
)

// alarm is an alert by its name.
func alarm(t *testing.T, am *prometheus.Alertmanager, name string) (found prometheus.Alert) {
	t.Helper()
	list, err := am.Alerts()
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range list {
		if x.Labels["alertname"] == name {
			return x
		}
	}
	t.Fatalf("no %s in %+v", name, list)
	return found
}

// TestCollectorTells breaks a real Redis and mends it, and looks where people
// look: in Alertmanager, whoever sends to it, in Nagios, and in the store.
func TestCollectorTells(t *testing.T) {
	deploy, err := filepath.Abs("../../deploy")
	if err != nil {
		t.Fatal(err)
	}
	sent := prometheus.StartAlertmanager(t, deploy+"/alertmanager/alertmanager.yml")  // by the collector
	ruled := prometheus.StartAlertmanager(t, deploy+"/alertmanager/alertmanager.yml") // by Prometheus
	store := &fakees.Server{}
	es := httptest.NewServer(store)
	t.Cleanup(es.Close)
	cache, web := freePort(t), freePort(t)
	redis := service(t, "redis-server", "--port", cache, "--save", "", "--dir", t.TempDir())
	plainNginx(t, web)
	m := marathon.Start(t)
	m.List(hostApp("/prod/cache", "redis:7", cache, nil), hostApp("/prod/web", "example/web:1", web, map[string]string{"mesoscope.check.health": "http:/health"}))
	dir, address := t.TempDir(), freeAddress(t)
	overlay := filepath.Join(dir, "checks.yml")
	if err := os.WriteFile(overlay, []byte(`apps: {"*": {team: shop, realert_every: 40m, runbook: "http://wiki/cache", checks: {health: {interval: 1s, grace: 0s}, redis: {interval: 1s, timeout: 2s}}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf(`data_dir: %s
http: {listen: "%s"}
node: {name: c1}
mesos: {marathon: ["%s"]}
output: {elasticsearch: {hosts: ["%s"]}}
collector:
  cluster: e2e
  checks_file: %s
  url: http://collector.example.org
  alertmanager: ["%s"]
`, dir, address, m.URL, es.URL, overlay, sent.URL)
	p := newProcess(t, "collector", address, config)
	p.start()
	stands(t, p, "/prod/cache redis", state.OK)
	stands(t, p, "/prod/web health", state.OK)

	// Nagios gets its objects from the collector, and then the collector its pipe
	code, objects, err := p.get("/api/v1/nagios/objects.cfg?contact_groups=admins")
	if err != nil || code != 200 {
		t.Fatal(code, err)
	}
	core := nagios.Start(t, objects)
	if err := os.WriteFile(p.config, []byte(config+"  nagios: {command_file: "+core.CommandFile+"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if res, err := http.Post(p.url+"/-/reload", "", nil); err != nil || res.StatusCode != 200 {
		t.Fatal(res, err)
	}
	for _, name := range []string{"mesoscope-self", "mesoscope-checks"} { // what bridges failed scrapes would hold up the test
		text, err := os.ReadFile(filepath.Join(deploy, "prometheus", name+".rules.yml"))
		if err != nil {
			t.Fatal(err)
		}
		text = []byte(strings.NewReplacer("[1m]", "[5s]", "interval: 15s", "interval: 1s").Replace(string(text)))
		if err := os.WriteFile(filepath.Join(dir, name+".rules.yml"), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	prometheus.StartPrometheus(t, fmt.Sprintf(`global: {scrape_interval: 1s, evaluation_interval: 1s}
scrape_configs: [{job_name: mesoscope-collector, honor_labels: true, static_configs: [{targets: ["%s"]}]}]
rule_files: ["%s/*.rules.yml"]
alerting: {alertmanagers: [{static_configs: [{targets: ["%s"]}]}]}
`, address, dir, strings.TrimPrefix(ruled.URL, "http://")))
	core.Until("all is well", "/prod/cache redis", nagios.Is(0))
	core.Until("all is well", "/prod/web health", nagios.Is(0))
	plugin := filepath.Join(dir, "check_mesoscope")
	if err := os.Symlink(binary, plugin); err != nil {
		t.Fatal(err)
	}
	asks := func(want int, part string) {
		t.Helper()
		within(t, time.Minute, "the plugin says it", func() error {
			cmd := exec.Command(plugin, "-H", address, "-s", "/prod/cache redis")
			out, _ := cmd.Output()
			if cmd.ProcessState.ExitCode() != want || !bytes.Contains(out, []byte(part)) {
				return fmt.Errorf("%d %s", cmd.ProcessState.ExitCode(), out)
			}
			return nil
		})
	}
	asks(0, "OK: 1 of 1 can be reached | time=")

	if err := redis.Kill(); err != nil {
		t.Fatal(err)
	}
	for who, am := range map[string]*prometheus.Alertmanager{"collector": sent, "Prometheus": ruled} {
		am.Want("the alarm of the "+who, "AppDown critical: active", "CheckFailed critical redis 127.0.0.1: suppressed")
	}
	for name, labels := range map[string]map[string]string{
		"CheckFailed": {"check": "redis", "kind": "redis", "host": "127.0.0.1", "slot": "0"}, "AppDown": {},
	} {
		maps.Copy(labels, map[string]string{"alertname": name, "cluster": "e2e", "app": "/prod/cache", "framework": "marathon", "team": "shop", "severity": "critical", "realert_every": "1h"})
		a, b := alarm(t, sent, name), alarm(t, ruled, name)
		labels["page"] = a.Labels["page"] // of a check that only the image suggests, it is false
		if !maps.Equal(a.Labels, labels) || !maps.Equal(b.Labels, labels) {
			t.Errorf("%s has the labels\n%v by the collector,\n%v by Prometheus, want\n%v", name, a.Labels, b.Labels, labels)
		}
	}
	first := alarm(t, sent, "CheckFailed")
	if first.Labels["page"] != "false" || alarm(t, sent, "AppDown").Labels["page"] != "true" || first.Annotations["runbook"] != "http://wiki/cache" ||
		first.Annotations["evidence_url"] != "http://collector.example.org/api/v1/checks?app=%2Fprod%2Fcache" || !strings.Contains(first.Annotations["summary"], "connection refused") {
		t.Errorf("the alarm is %+v", first)
	}
	down := core.Until("Nagios shows it", "/prod/cache redis", nagios.Is(2))
	if down["host_name"] != "mesoscope-e2e" || !strings.HasPrefix(down["plugin_output"], "CRITICAL: 0 of 1 can be reached: 127.0.0.1 CRITICAL: ") {
		t.Errorf("Nagios says %q", down)
	}
	asks(2, "CRITICAL: 0 of 1 can be reached")
	stored := func(status string) {
		t.Helper()
		within(t, time.Minute, "the store has the change to "+status, func() error {
			for _, d := range store.Docs("logs-mesoscope.check-default") {
				var doc struct {
					Service   struct{ Name string }
					Mesoscope struct {
						Check struct{ Name, Status string }
					}
				}
				if err := json.Unmarshal(d.Source, &doc); err != nil {
					return err
				}
				if doc.Service.Name == "/prod/cache" && doc.Mesoscope.Check.Name == "redis" && doc.Mesoscope.Check.Status == status {
					return nil
				}
			}
			return fmt.Errorf("%d documents", len(store.Docs("logs-mesoscope.check-default")))
		})
	}
	stored("OK")
	stored("CRITICAL")

	// a collector that is killed goes on with the same alarms
	p.kill()
	p.start()
	stands(t, p, "/prod/cache redis", state.Critical)
	asks(2, "CRITICAL")
	within(t, time.Minute, "the new process has the alarm", func() error {
		_, text, err := p.get("/metrics")
		if err == nil && (!strings.Contains(text, `mesoscope_alert{alertname="AppDown"`) || !strings.Contains(text, `mesoscope_alert{alertname="CheckFailed"`)) {
			err = fmt.Errorf("no mesoscope_alert for them")
		}
		return err
	})
	if again := alarm(t, sent, "CheckFailed"); !again.StartsAt.Equal(first.StartsAt) || !maps.Equal(again.Labels, first.Labels) {
		t.Errorf("after a restart: %+v, before: %+v", again, first)
	}

	service(t, "redis-server", "--port", cache, "--save", "", "--dir", t.TempDir())
	sent.Want("mended, by the collector")
	ruled.Want("mended, by Prometheus")
	core.Until("mended, in Nagios", "/prod/cache redis", nagios.Is(0))
	asks(0, "OK: 1 of 1")
	p.stop()
}

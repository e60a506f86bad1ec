package command

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mesoscope/collector/declare"
	"mesoscope/collector/state"
	"mesoscope/collector/status"
	"mesoscope/collector/target"
)

// TestCollector: the whole process, from a file of targets over a restart and a
// reload to the commands that ask it.
func TestCollector(t *testing.T) {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("fine")) }))
	defer service.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := closed.Addr().String()
	closed.Close()
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("targets.json", fmt.Sprintf(`[{"targets":[%q],"labels":{"app":"/shop","host":"n1"}},{"targets":[%q],"labels":{"app":"/gone","host":"n1"}}]`, service.URL, nobody))
	write("checks.yml", `apps: {"/*": {team: shop, checks: {http: {interval: 1s}, tcp: {interval: 1s, grace: 0s}}}}`)
	const settings = "data_dir: %s\nhttp: {listen: '127.0.0.1:0'}\nnode: {name: c1}\ncollector: {cluster: %s, checks_file: checks.yml, targets_files: [targets.json]}\n"
	file := write("c.yml", fmt.Sprintf(settings, dir, "prod"))
	const ready = `msg="checking the cluster".* status=(\S+)`
	red := func(url string) (list []status.Check) {
		t.Helper()
		until(t, "both checks have a result", time.Minute, func() bool {
			text, err := fetch(url + status.ChecksPath)
			return err == nil && json.Unmarshal([]byte(text), &list) == nil && len(list) == 2 && list[0].Status == state.Critical && list[1].Status == state.OK
		})
		return list
	}
	p := start(t, nil, "collector", "--config", file)
	url := p.wait(ready)
	first := red(url)
	if text := ask(t, url+"/metrics"); !strings.Contains(text, `probe_success{check="tcp",kind="tcp",app="/gone",host="n1",slot="0",framework="",cluster="prod",team="shop",vantage="c1"} 0`) ||
		!strings.Contains(text, "mesoscope_build_info{") {
		t.Error(text)
	}
	code, out, _ := run(t, "status", "--url", url)
	if code != Bad {
		t.Error(code)
	}
	contains(t, out, "collector of prod on c1", "CRITICAL  /gone  tcp", "connection refused by "+nobody, "2 checks, 1 OK, 1 CRITICAL")
	if code, out, _ = run(t, "explain", "check", "/shop", "--url", url); code != Done {
		t.Error(code)
	}
	contains(t, out, "/shop http: OK, 1 instance\n", `checks.yml apps["/*"]`)

	// another configuration: the same states, nothing is asked anew
	write("c.yml", fmt.Sprintf(settings, dir, "test"))
	p.signal(syscall.SIGHUP)
	url = p.wait(`cluster=test.* status=(\S+)`)
	if again := red(url); !again[0].Since.Equal(first[0].Since) {
		t.Errorf("%+v\n%+v", first[0], again[0])
	}
	until(t, "series with the new name", time.Minute, func() bool {
		return strings.Contains(ask(t, url+"/metrics"), `cluster="test",team="shop"`)
	})
	p.signal(syscall.SIGTERM)
	if c := p.code(); c != Done {
		t.Errorf("exit code %d", c)
	}
	p = start(t, nil, "collector", "--config", file)
	if again := red(p.wait(ready)); !again[0].Since.Equal(first[0].Since) {
		t.Errorf("after a restart: %+v\n%+v", first[0], again[0])
	}
}

// TestCollectorConfig: what is wrong is said with its place.
func TestCollectorConfig(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.yml")
	checks := filepath.Join(t.TempDir(), "checks.yml")
	for name, text := range map[string]string{path: "collector: {checks_file: " + checks + "}\n", checks: "apps: {/a: {cheks: {}}}"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	code, _, errOut := run(t, "validate", "--for", "collector", "--config", path)
	if code != Bad {
		t.Error(code)
	}
	contains(t, errOut, `collector.checks_file: `+checks+`: apps["/a"].cheks: unknown key`)
	if code, _, errOut = run(t, "collector"); code != Bad {
		t.Error(code)
	}
	contains(t, errOut, "a collector needs to know what to check")
}

func TestStatusOfCollector(t *testing.T) {
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	defer server.Close()
	now := time.Now()
	good, bad := status.Status{Kind: status.Kind, Version: "0.1.0", Node: "c1", Cluster: "prod", UptimeSeconds: 60, Checks: 1, By: map[string]int{"OK": 1}}, status.Status{}
	bad = good
	bad.Problems = []string{"files fail\x1b"}
	bad.Sources = []target.Status{{Source: "marathon http://m", Instances: 2, Error: "no leader"}}
	bad.Apps = []status.App{{ID: "/web", Expected: 3, Running: 2, Reachable: 1}}
	bad.Findings = []status.Finding{{App: "/web", Check: "x", Text: "a bad label", Instances: 2}}
	list := []status.Check{{Name: "health", App: "/w\x1b[2J", Host: "n1", Status: state.Critical, FirstBad: now.Add(-time.Hour), Since: now, Text: "refused"}, {Name: "b", App: "/b", Status: state.OK, Since: now}}
	answer := func(path string, v any) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) { json.NewEncoder(w).Encode(v) })
	}
	answer("/bad"+status.StatusPath, bad)
	answer("/bad"+status.ChecksPath, list)
	answer("/good"+status.StatusPath, good)
	answer("/good"+status.ChecksPath, list[1:])
	code, out, _ := run(t, "status", "--url", server.URL+"/bad")
	if code != Bad || strings.Contains(out, "/b ") || strings.Contains(out, "\x1b") {
		t.Errorf("%d\n%s", code, out)
	}
	contains(t, out, "  ! files fail", `CRITICAL  /w\x1b[2J  health  n1    1h0m`, "app     /web: 2 of 3 instances run, 1 can be reached", "refused /web x: a bad label", "source  marathon http://m: 2 instances, fails: no leader")
	if code, out, _ = run(t, "status", "--url", server.URL+"/good"); code != Done {
		t.Errorf("%d\n%s", code, out)
	}
	contains(t, out, "1 check, 1 OK")
	if code, out, _ = run(t, "status", "--url", server.URL+"/bad", "--output", "json"); code != Bad || strings.Count(out, "\n") != 3 {
		t.Errorf("%d\n%s", code, out)
	}
}

func TestExplainCheck(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		list := []status.Explained{}
		if r.URL.Path == status.ExplainPath && r.FormValue("app") == "/prod/*" {
			list = append(list, status.Explained{App: "/prod/web", Check: "health", Status: "OK", Instances: 2, Values: []declare.Value{{Key: "kind", Value: "ht\x1btp", From: "label x"}}},
				status.Explained{App: "/prod/web", Check: "old", Status: "refused", Problem: "no such kind", Instances: 2})
		}
		json.NewEncoder(w).Encode(list)
	}))
	defer server.Close()
	code, out, _ := run(t, "explain", "check", "/prod/*", "--url", server.URL+"/")
	if want := "/prod/web health: OK, 2 instances\nkind  ht\\x1btp  label x\n\n/prod/web old: refused, 2 instances\n  ! no such kind\n"; code != Bad || out != want {
		t.Errorf("%d\n%s\nwant\n%s", code, out, want)
	}
	if code, out, _ = run(t, "explain", "check", "/prod/*", "--url", server.URL, "--output", "json"); code != Bad || strings.Count(out, "\n") != 2 {
		t.Errorf("%d\n%s", code, out)
	}
	if code, _, errOut := run(t, "explain", "check", "/x", "--url", server.URL); code != Bad || !strings.Contains(errOut, `nothing is checked of "/x"`) {
		t.Errorf("%d %s", code, errOut)
	}
	server.Close()
	if code, _, errOut := run(t, "explain", "check", "/x", "--url", server.URL); code != Unknown {
		t.Errorf("%d %s", code, errOut)
	}
}

// TestCollectorProbes: with a file of modules alone it stands in for
// blackbox_exporter, and a reload with bad ones changes nothing.
func TestCollectorProbes(t *testing.T) {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("fine")) }))
	defer service.Close()
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("blackbox.yml", "modules: {web: {prober: http}}\n")
	file := write("c.yml", fmt.Sprintf("data_dir: %s\nhttp: {listen: '127.0.0.1:0'}\ncollector: {modules_file: blackbox.yml}\n", dir))
	p := start(t, nil, "collector", "--config", file)
	url := p.wait(`msg="checking the cluster".* status=(\S+)`)
	probe := func(module string) string {
		t.Helper()
		text, err := fetch(url + "/probe?module=" + module + "&target=" + service.URL)
		if err != nil {
			return err.Error()
		}
		return text
	}
	if text := probe("web"); !strings.Contains(text, "probe_success 1\n") {
		t.Errorf("/probe says %s", text)
	}
	reload := func() int {
		answer, err := http.Post(url+"/-/reload", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		return answer.StatusCode
	}
	write("blackbox.yml", "modules: {other: {prober: unix}}\n")
	if code := reload(); code != http.StatusBadRequest {
		t.Errorf("a reload with bad modules: %d", code)
	}
	if text := probe("web"); !strings.Contains(text, "probe_success 1\n") {
		t.Errorf("after a bad reload /probe says %s", text)
	}
	code, _, said := run(t, "validate", "--for", "collector", "--config", file)
	if code != Bad || !strings.Contains(said, "collector.modules_file: ") || !strings.Contains(said, "blackbox.yml:1:") {
		t.Errorf("validate: %d %s", code, said)
	}
}

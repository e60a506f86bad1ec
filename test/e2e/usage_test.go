//go:build e2e && linux

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"mesoscope/agent/status"
	"mesoscope/test/fakees"
	"mesoscope/test/mesos"
)

// works is a command that uses a CPU now and then, for ever.
const works = `while :; do i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done; sleep 0.1; done`

// measured is what others say of a container, and what the agent does. What
// counts grows only, so the agent's number, of a look between two others, has to
// lie between theirs, however slow the machine is.
type measured struct {
	cpu, user, system              float64 // seconds
	periods, throttled, stopped    float64 // of the CPU limit; seconds
	read, written                  float64 // bytes
	memory, limit, rss, pids, most float64
}

// TestUsage holds what the agent says of containers against what Docker and a
// real Mesos say of the same ones.
func TestUsage(t *testing.T) {
	root := dockerRoot(t)
	m := mesos.Start(t)
	server := httptest.NewServer(&fakees.Server{})
	t.Cleanup(server.Close)
	agent := newAgent(t, "usage", root, m.Agent, server.URL)
	agent.start()

	run := func(name, network string, args ...string) string {
		t.Helper()
		name = fmt.Sprintf("usage-%s-%d", name, time.Now().UnixNano())
		id := docker(t, append([]string{"run", "-d", "--network", network, "--label", label, "--label", "mesoscope.service=" + name, "--name", name}, args...)...)
		t.Cleanup(func() { docker(t, "rm", "-f", "-v", id) })
		return id
	}
	const lines = 500
	ids := map[string]string{
		"busy":   run("busy", "none", "--cpus", "0.2", "-m", "64m", "--pids-limit", "77", "test/busybox", "sh", "-c", "dd if=/dev/zero of=/big bs=1M count=8 oflag=direct; dd if=/big of=/dev/null bs=1M iflag=direct; while :; do :; done"),
		"free":   run("free", "none", "test/busybox", "sh", "-c", works),
		"talks":  run("talks", "bridge", "-p", "127.0.0.1::80", "test/busybox", "sh", "-c", fmt.Sprintf("i=0; while [ $i -lt %d ]; do echo line $i; i=$((i+1)); done; sleep 1000", lines)),
		"killed": run("killed", "none", "-m", "64m", "test/busybox", "sh", "-c", "(tail /dev/zero); sleep 1000"),
	}
	const app = "/usage/web"
	tasks := m.Run(mesos.Tasks{Framework: "marathon", Name: "usage_web.instance-c7c311a4-b669-11e6-a48f-0ea4f4b1778c._app", N: 2, Env: map[string]string{"MARATHON_APP_ID": app}, Command: works})
	tasks.Wait("both tasks run", func(said string) bool { return strings.Count(said, "TASK_RUNNING") == 2 })

	// All are known and have been looked at twice.
	var usage status.Usage
	find := func(match func(status.ContainerUsage) bool) (found []status.ContainerUsage) {
		for _, c := range usage.Containers {
			if match(c) {
				found = append(found, c)
			}
		}
		return found
	}
	ask := func() error {
		_, body, err := agent.get(status.UsagePath)
		if err == nil {
			usage = status.Usage{}
			err = json.Unmarshal([]byte(body), &usage)
		}
		return err
	}
	ofTask := func(c status.ContainerUsage) bool { return c.App == app && c.Task != "" && c.Measured }
	within(t, 2*time.Minute, "all are measured, with their tasks", func() error {
		if err := ask(); err != nil {
			return err
		}
		n := len(find(ofTask))
		for name, id := range ids {
			if len(find(func(c status.ContainerUsage) bool { return c.ID == id && c.Measured })) == 0 {
				return fmt.Errorf("%s is not measured: %s", name, usage.Problem)
			}
		}
		if n != 2 {
			return fmt.Errorf("%d tasks", n)
		}
		return nil
	})

	began := time.Now()
	before := map[string]measured{}
	for name, id := range ids {
		before[name] = dockerSays(t, id)
	}
	mesosBefore := mesosSays(t, m)
	within(t, 2*time.Minute, "a look after that", func() error {
		if err := ask(); err != nil {
			return err
		}
		if !usage.Time.After(began) {
			return fmt.Errorf("the last one was at %s", usage.Time)
		}
		return nil
	})
	series := scrape(t, agent)
	after := map[string]measured{}
	for name, id := range ids {
		after[name] = dockerSays(t, id)
	}
	mesosAfter := mesosSays(t, m)

	for name, id := range ids {
		got := agentSays(t, series, id)
		compare(t, name+" (docker)", before[name], got, after[name])
	}
	found := find(ofTask)
	if len(found) != 2 || found[0].Slot == found[1].Slot {
		t.Errorf("tasks: %+v", found)
	}
	for _, c := range found {
		if c.Framework != "marathon" {
			t.Errorf("framework %q", c.Framework)
		}
		a, b := mesosBefore[c.Task], mesosAfter[c.Task]
		if a.cpu == 0 || b.cpu == 0 {
			t.Errorf("Mesos says nothing of %q: %v", c.Task, mesosAfter)
		}
		compare(t, c.Task+" (mesos)", a, agentSays(t, series, c.ID), b)
	}
	within(t, 2*time.Minute, "the container that uses up its limit is seen to", func() error {
		if got := agentSays(t, scrape(t, agent), ids["busy"]); got.throttled == 0 || got.cpu == 0 {
			return fmt.Errorf("%+v", got)
		}
		return nil
	})
	within(t, 2*time.Minute, "the OOM kill is counted", func() error {
		if n := scrape(t, agent)[ids["killed"]]["mesoscope_container_oom_kills_total"]; n < 1 {
			return fmt.Errorf("%v", n)
		}
		return nil
	})
	ended := run("ended", "none", "-m", "32m", "test/busybox", "sh", "-c", "exec tail /dev/zero") // the kernel's count goes with it
	within(t, 2*time.Minute, "the container that ended by it is named", func() error {
		name := strings.TrimPrefix(docker(t, "inspect", "-f", "{{.Name}}", ended), "/")
		_, body, err := agent.get("/metrics")
		if err != nil {
			return err
		}
		if want := fmt.Sprintf("mesoscope_container_oom_ends_total{app=%q,framework=\"\"} 1\n", name); !strings.Contains(body, want) {
			return fmt.Errorf("no %s", want)
		}
		if err := ask(); err != nil {
			return err
		}
		if c := find(func(c status.ContainerUsage) bool { return c.ID == ended }); len(c) != 1 || c[0].OOMKills != 1 {
			return fmt.Errorf("%+v", c)
		}
		_, out, _ := mesoscope(t, "where", name, "--url", agent.url, "--all")
		if !strings.Contains(out, " out of memory, Exited (137)") {
			return fmt.Errorf("where:\n%s", out)
		}
		return nil
	})
	within(t, 2*time.Minute, "the lines are counted", func() error {
		if n := scrape(t, agent)[ids["talks"]]["mesoscope_container_log_lines_total"]; n != lines {
			return fmt.Errorf("%v", n)
		}
		return nil
	})
	code, out, stderr := mesoscope(t, "top", "--url", agent.url, "--all")
	if code != 0 || !strings.Contains(out, app) || !strings.Contains(out, found[0].Task[len(found[0].Task)-8:]) {
		t.Errorf("top: %d %s\n%s", code, stderr, out)
	}
	t.Logf("mesoscope top:\n%s", out)

	code, out, stderr = mesoscope(t, "where", app, "--url", agent.url)
	if code != 0 || !strings.HasPrefix(out, app+" is on "+node+" (2)\n") || strings.Count(out, "Up ") != 2 {
		t.Errorf("where: %d %s\n%s", code, stderr, out)
	}
	port := docker(t, "port", ids["talks"], "80/tcp") // 127.0.0.1:49153
	_, port, _ = strings.Cut(strings.Fields(port)[0], ":")
	code, out, stderr = mesoscope(t, "where", "usage-talks-*", "--url", agent.url)
	if code != 0 || !strings.Contains(out, " "+port+"->80/tcp ") {
		t.Errorf("where, of a container with the port %s: %d %s\n%s", port, code, stderr, out)
	}
}

// compare holds the agent's numbers against two others' in between.
func compare(t *testing.T, what string, before, got, after measured) {
	t.Helper()
	between := func(name string, a, x, b, off float64) {
		t.Helper()
		if math.IsNaN(a) || math.IsNaN(b) {
			return // they do not tell
		}
		if math.IsNaN(x) || x < min(a, b)-off || x > max(a, b)+off {
			t.Errorf("%s: %s is %v, and should be between %v and %v", what, name, x, a, b)
		}
	}
	const tick = 0.011 // some tell hundredths of a second
	between("CPU", before.cpu, got.cpu, after.cpu, 2*tick)
	between("CPU outside of the kernel", before.user, got.user, after.user, tick)
	between("CPU in the kernel", before.system, got.system, after.system, tick)
	between("periods", before.periods, got.periods, after.periods, 0)
	between("throttled periods", before.throttled, got.throttled, after.throttled, 0)
	between("throttled time", before.stopped, got.stopped, after.stopped, 1e-6)
	between("bytes read", before.read, got.read, after.read, 0)
	between("bytes written", before.written, got.written, after.written, 0)
	const slack = 8 << 20 // the kernel keeps some pages for each CPU, and shells come and go
	between("memory", before.memory, got.memory, after.memory, slack)
	between("RSS", before.rss, got.rss, after.rss, slack)
	between("memory limit", before.limit, got.limit, after.limit, 0)
	between("pids", before.pids, got.pids, after.pids, 2)
	between("pids limit", before.most, got.most, after.most, 0)
}

// dockerSays is GET /containers/<id>/stats. Docker tells the machine's memory
// for no limit.
func dockerSays(t *testing.T, id string) measured {
	t.Helper()
	var s struct {
		Pids struct{ Current, Limit float64 } `json:"pids_stats"`
		CPU  struct {
			Usage struct {
				Total  float64 `json:"total_usage"`
				Kernel float64 `json:"usage_in_kernelmode"`
				User   float64 `json:"usage_in_usermode"`
			} `json:"cpu_usage"`
			Throttling struct {
				Periods   float64
				Throttled float64 `json:"throttled_periods"`
				Time      float64 `json:"throttled_time"`
			} `json:"throttling_data"`
		} `json:"cpu_stats"`
		Memory struct{ Usage, Limit float64 } `json:"memory_stats"`
		IO     struct {
			Bytes []struct {
				Op    string
				Value float64
			} `json:"io_service_bytes_recursive"`
		} `json:"blkio_stats"`
	}
	client := http.Client{Transport: &http.Transport{Dial: func(string, string) (net.Conn, error) { return net.Dial("unix", "/var/run/docker.sock") }}}
	defer client.CloseIdleConnections()
	res, err := client.Get("http://docker/containers/" + id + "/stats?stream=false&one-shot=true")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&s); err != nil {
		t.Fatal(err)
	}
	m := measured{cpu: s.CPU.Usage.Total / 1e9, user: s.CPU.Usage.User / 1e9, system: s.CPU.Usage.Kernel / 1e9,
		periods: s.CPU.Throttling.Periods, throttled: s.CPU.Throttling.Throttled, stopped: s.CPU.Throttling.Time / 1e9,
		memory: math.NaN(), rss: math.NaN(), limit: s.Memory.Limit, pids: s.Pids.Current, most: s.Pids.Limit}
	if s.Memory.Usage < 64<<20 { // else it grows while we look
		m.memory = s.Memory.Usage
	}
	if m.limit > 64<<20 {
		m.limit = 0
	}
	if m.most > 1e15 {
		m.most = 0
	}
	for _, b := range s.IO.Bytes {
		switch strings.ToLower(b.Op) {
		case "read":
			m.read += b.Value
		case "write":
			m.written += b.Value
		}
	}
	return m
}

// mesosSays is GET /monitor/statistics, by the executor's id, which of a Docker
// task is the task's.
func mesosSays(t *testing.T, s *mesos.Server) map[string]measured {
	t.Helper()
	var list []struct {
		ExecutorID string `json:"executor_id"`
		Statistics struct {
			User   float64 `json:"cpus_user_time_secs"`
			System float64 `json:"cpus_system_time_secs"`
			RSS    float64 `json:"mem_rss_bytes"`
			Limit  float64 `json:"mem_limit_bytes"`
		}
	}
	within(t, time.Minute, "Mesos tells its statistics", func() error {
		res, err := http.Get(s.Agent + "/monitor/statistics")
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if err := json.NewDecoder(res.Body).Decode(&list); err != nil {
			return err
		}
		for _, e := range list {
			if e.Statistics.User+e.Statistics.System == 0 {
				return fmt.Errorf("nothing of %s", e.ExecutorID)
			}
		}
		return nil
	})
	no := math.NaN()
	all := map[string]measured{}
	for _, e := range list {
		all[e.ExecutorID] = measured{cpu: e.Statistics.User + e.Statistics.System, user: e.Statistics.User, system: e.Statistics.System, rss: e.Statistics.RSS, limit: e.Statistics.Limit,
			periods: no, throttled: no, stopped: no, read: no, written: no, memory: no, pids: no, most: no}
	}
	return all
}

// scrape reads /metrics: the numbers of each container, by its id and the name
// of the metric.
func scrape(t *testing.T, p *process) map[string]map[string]float64 {
	t.Helper()
	_, body, err := p.get("/metrics")
	if err != nil {
		t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	labels := func(m *dto.Metric) (key, id string) {
		for _, l := range m.Label {
			switch l.GetName() {
			case "app", "framework", "slot":
				key += l.GetName() + "=" + l.GetValue() + " "
			case "id":
				id = l.GetValue()
			}
		}
		return key, id
	}
	of := map[string]string{}
	for _, m := range families["mesoscope_container_info"].GetMetric() {
		key, id := labels(m)
		of[key] = id
	}
	out := map[string]map[string]float64{}
	for name, f := range families {
		for _, m := range f.Metric {
			key, _ := labels(m)
			id := of[key]
			if id == "" {
				continue
			}
			if out[id] == nil {
				out[id] = map[string]float64{}
			}
			out[id][name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return out
}

// agentSays is what the agent's metrics say of a container.
func agentSays(t *testing.T, series map[string]map[string]float64, id string) measured {
	t.Helper()
	get := func(name string) float64 {
		v, ok := series[id]["mesoscope_container_"+name]
		if !ok {
			return math.NaN()
		}
		return v
	}
	return measured{cpu: get("cpu_usage_seconds_total"), user: get("cpu_user_seconds_total"), system: get("cpu_system_seconds_total"),
		periods: get("cpu_cfs_periods_total"), throttled: get("cpu_cfs_throttled_periods_total"), stopped: get("cpu_cfs_throttled_seconds_total"),
		read: get("blkio_read_bytes_total"), written: get("blkio_written_bytes_total"),
		memory: get("memory_usage_bytes"), rss: get("memory_rss_bytes"), limit: get("memory_limit_bytes"), pids: get("pids"), most: get("pids_limit")}
}

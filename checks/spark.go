package checks

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"
)

var sparkKind = Kind{
	Summary: "Spark: an application's driver, its executors, jobs, streaming; or a master and its workers; or a history server",
	Target:  "URL",
	Example: `check spark http://n12.example.net:4040 --app orders --executors 4`,
	Options: slices.Concat([]Option{
		{Name: "role", Placeholder: "ROLE", Default: "driver", Help: "What answers there: driver (usually port 4040), master (8080) or history (18080).", parse: oneOf("driver", "master", "history")},
		{Name: "app", Placeholder: "NAME", Help: "An application of this name must run.", parse: parseText},
		{Name: "executors", Placeholder: "N", Help: "Of a driver: how many executors it must have.", parse: parseCount},
		{Name: "workers", Placeholder: "N", Help: "Of a master: how many workers must be alive.", parse: parseCount},
	}, baseOptions),
	Metrics: []Limits{
		{Name: "apps", Help: "of a master or a history server: running applications"},
		{Name: "executors", Help: "of a driver: active executors"},
		{Name: "tasks_failed", Help: "of a driver: percent of the tasks of its executors", Warning: "10", Critical: "50"},
		{Name: "jobs_failed", Help: "of a driver: percent of the finished jobs that it remembers", Warning: "10", Critical: "50"},
		{Name: "delay", Help: "of a streaming driver: how many batches late a batch begins", Warning: "1", Critical: "10"},
		{Name: "workers", Help: "of a master: workers that are alive"},
		{Name: "cores", Help: "of a master: percent of the workers' cores that are in use"},
		{Name: "waiting", Help: "of a master: applications that wait for cores", Warning: "0"},
		{Name: "restarts", Help: "of a history server: how often the application that began most often in the last hour began again", Warning: "3", Critical: "10"},
		certificateLimits,
	},
	Signals: slices.Concat(baseSignals, []Signal{
		{"missing_app", Critical, "no application of the name --app runs there"},
		{"missing_executors", Critical, "no executor, or fewer than --executors"},
		{"slow", Warning, "of a streaming driver: a batch takes longer than its interval"},
		{"recovering", Warning, "a master has just become the leader"},
		{"missing_workers", Critical, "of a master: no worker is alive, or fewer than --workers"},
	}),
	Facts:   []string{"STATUS", "RESPONSE_TIME", "IP", "BODY", "CONNECTED", "CERTIFICATE_EXPIRATION"},
	address: baseURL("4040"),
	check:   checkSpark,
}

// A sparkApp is an item of /api/v1/applications.
type sparkApp struct {
	ID, Name string
	Attempts []struct {
		Start     int64 `json:"startTimeEpoch"` // ms
		Completed bool
		Version   string `json:"appSparkVersion"`
	}
}

func checkSpark(ctx context.Context, t Target) (r Result) {
	switch value[string](t, "role") {
	case "master":
		r.askSparkMaster(ctx, t)
	case "history":
		r.askSparkHistory(ctx, t)
	default:
		r.askSparkDriver(ctx, t)
	}
	return r
}

func (r *Result) askSparkDriver(ctx context.Context, t Target) {
	var apps []sparkApp
	if !r.askJSON(ctx, t, "/api/v1/applications", &apps) {
		return
	}
	if len(apps) == 0 || apps[0].ID == "" {
		r.find(Critical, "protocol", "/api/v1/applications: the answer is not that of a Spark driver")
		return
	}
	app := apps[0]
	if want := value[string](t, "app"); want != "" && want != app.Name {
		r.find(Critical, "missing_app", "the driver runs %s, wanted %s", app.Name, want)
	}
	version := ""
	if n := len(app.Attempts); n > 0 && app.Attempts[n-1].Version != "" {
		version = ", Spark " + app.Attempts[n-1].Version
	}
	var executors []struct {
		ID     string
		Active *bool   `json:"isActive"` // since 2.0
		Cores  float64 `json:"totalCores"`
		Total  float64 `json:"totalTasks"`
		Failed float64 `json:"failedTasks"`
	}
	base := "/api/v1/applications/" + url.PathEscape(app.ID)
	if !r.askJSON(ctx, t, base+"/executors", &executors) {
		return
	}
	count, total, failed, local := 0, 0.0, 0.0, false
	for _, e := range executors {
		if e.Active != nil && !*e.Active {
			continue
		}
		total, failed = total+e.Total, failed+e.Failed
		if e.ID != "driver" && e.ID != "<driver>" {
			count++
		} else if e.Cores > 0 {
			local = true // the driver works itself
		}
	}
	r.say("%s runs with %d executors%s", app.Name, count, version)
	r.measure("executors", float64(count), "")
	if want := value[int](t, "executors"); count < want || count == 0 && !local {
		r.find(Critical, "missing_executors", "%s has %d executors, wanted %d", app.Name, count, max(want, 1))
	}
	if total > 0 {
		r.measure("tasks_failed", percent(failed, total), "%").about = fmt.Sprintf("%d of %d tasks failed", int(failed), int(total))
	}
	var jobs []struct{ Status string }
	if !r.askJSON(ctx, t, base+"/jobs", &jobs) {
		return
	}
	bad, ended := 0.0, 0.0
	for _, j := range jobs {
		switch j.Status {
		case "FAILED":
			bad++
			ended++
		case "SUCCEEDED":
			ended++
		}
	}
	if ended > 0 {
		r.measure("jobs_failed", percent(bad, ended), "%").about = fmt.Sprintf("%d of %d jobs failed", int(bad), int(ended))
	}
	r.judgeStreaming(ctx, t, base)
}

// judgeStreaming: a driver that does not stream answers 404.
func (r *Result) judgeStreaming(ctx context.Context, t Target, base string) {
	p, ok := r.ask(ctx, t, base+"/streaming/statistics", http.StatusNotFound)
	if !ok || p.status == http.StatusNotFound {
		return
	}
	var s struct {
		Batch   float64  `json:"batchDuration"`
		Delay   *float64 `json:"avgSchedulingDelay"`
		Process *float64 `json:"avgProcessingTime"`
	}
	if !r.decode(p, base+"/streaming/statistics", &s) || s.Batch <= 0 {
		return
	}
	interval := time.Duration(s.Batch) * time.Millisecond
	if s.Delay != nil {
		r.measure("delay", float64(int64(*s.Delay/s.Batch*100+0.5))/100, "").about = fmt.Sprintf("a batch begins %s late, one comes each %s", time.Duration(*s.Delay)*time.Millisecond, interval)
	}
	if s.Process != nil && *s.Process > s.Batch {
		r.find(Warning, "slow", "a batch takes %s, one comes each %s", time.Duration(*s.Process)*time.Millisecond, interval)
	}
}

func (r *Result) askSparkMaster(ctx context.Context, t Target) {
	var m struct {
		Status  string
		Workers []struct {
			State string
			Cores float64
			Used  float64 `json:"coresused"`
		}
		Apps []struct{ Name, State string } `json:"activeapps"`
	}
	if !r.askJSON(ctx, t, "/json/", &m) {
		return
	}
	switch m.Status {
	case "ALIVE":
	case "STANDBY":
		r.say("stands by")
		return
	case "RECOVERING", "COMPLETING_RECOVERY":
		r.find(Warning, "recovering", "the master is %s", m.Status)
		return
	default:
		r.find(Critical, "protocol", "/json/: the answer is not that of a Spark master")
		return
	}
	alive, cores, used := 0, 0.0, 0.0
	for _, w := range m.Workers {
		if w.State == "ALIVE" {
			alive, cores, used = alive+1, cores+w.Cores, used+w.Used
		}
	}
	var names, waiting []string
	for _, a := range m.Apps {
		names = append(names, a.Name)
		if a.State == "WAITING" {
			waiting = append(waiting, a.Name)
		}
	}
	r.measure("workers", float64(alive), "")
	if cores > 0 {
		r.measure("cores", percent(used, cores), "%")
	}
	r.measure("apps", float64(len(names)), "")
	r.measure("waiting", float64(len(waiting)), "").about = "applications wait for cores: " + firstOf(waiting)
	r.say("leads %d workers, %d applications run", alive, len(names))
	if want := max(value[int](t, "workers"), 1); alive < want {
		r.find(Critical, "missing_workers", "%d workers are alive, wanted %d", alive, want)
	}
	r.judgeApps(t, names)
}

func (r *Result) askSparkHistory(ctx context.Context, t Target) {
	var running, lately []sparkApp
	since := time.Now().Add(-time.Hour)
	if !r.askJSON(ctx, t, "/api/v1/applications?status=running", &running) ||
		!r.askJSON(ctx, t, "/api/v1/applications?minDate="+since.UTC().Format("2006-01-02T15:04:05.000")+"GMT", &lately) {
		return
	}
	var names []string
	for _, a := range running {
		if a.ID == "" {
			r.find(Critical, "protocol", "/api/v1/applications: the answer is not that of Spark")
			return
		}
		names = append(names, a.Name)
	}
	begun, most := map[string]int{}, ""
	for _, a := range lately {
		for _, attempt := range a.Attempts {
			if attempt.Start >= since.UnixMilli() {
				begun[a.Name]++
			}
		}
		if most == "" || begun[a.Name] > begun[most] {
			most = a.Name
		}
	}
	r.measure("apps", float64(len(names)), "")
	r.measure("restarts", float64(max(begun[most]-1, 0)), "").about = fmt.Sprintf("%s began %d times in the last hour", most, begun[most])
	r.say("%d applications run", len(names))
	r.judgeApps(t, names)
}

func (r *Result) judgeApps(t Target, names []string) {
	if want := value[string](t, "app"); want != "" && !slices.Contains(names, want) {
		r.find(Critical, "missing_app", "%s does not run (running: %s)", want, firstOf(names))
	}
}

package checks

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

var chronosKind = Kind{
	Summary: "Chronos and Metronome: jobs whose last run failed, that did not start when they should, that run for too long",
	Target:  "URL",
	Example: `check chronos http://c1.example.net:4400 --job backup --job billing --tolerance 15m --warning running=3600`,
	Options: slices.Concat([]Option{
		{Name: "job", Placeholder: "NAME", Many: true, Help: "A job that there must be; with it, only those that are named are judged.", parse: parseText},
		{Name: "tolerance", Placeholder: "DURATION", Default: "5m", Help: "How late a job may start.", parse: parseTolerance},
	}, baseOptions),
	Metrics: []Limits{
		{Name: "jobs", Help: "jobs that are judged"},
		{Name: "disabled", Help: "jobs that are switched off; they are never late and have not failed"},
		{Name: "failed", Help: "jobs whose last run failed", Warning: "0"},
		{Name: "late", Help: "jobs that should have started by now", Critical: "0"},
		{Name: "active", Help: "of Metronome: runs under way"},
		{Name: "running", Help: "of Metronome: seconds since the oldest of them began"},
		certificateLimits,
	},
	Signals: slices.Concat(baseSignals, []Signal{
		{"missing_job", Critical, "there is no job of a --job's name"},
	}),
	Facts:   []string{"STATUS", "RESPONSE_TIME", "IP", "BODY", "CONNECTED", "CERTIFICATE_EXPIRATION"},
	address: baseURL("4400"),
	check:   checkChronos,
}

// A chronosJob is a job of either, as far as it is judged.
type chronosJob struct {
	name           string
	disabled       bool
	next           time.Time // when it should start; zero if no time says so
	success, error time.Time // when a run ended so, last
	active         []time.Time
}

// checkChronos finds out who answers by the place where the jobs are.
func checkChronos(ctx context.Context, t Target) (r Result) {
	for _, place := range []struct {
		path string
		read func([]byte) ([]chronosJob, error)
	}{
		{"/scheduler/jobs", readChronos}, // Chronos 2
		{"/v1/scheduler/jobs", readChronos},
		{"/v1/jobs?embed=activeRuns&embed=schedules&embed=historySummary", readMetronome},
	} {
		p, ok := r.ask(ctx, t, place.path, http.StatusNotFound)
		if !ok {
			return r
		}
		if p.status == http.StatusNotFound {
			continue
		}
		jobs, err := place.read(p.body)
		if err != nil {
			r.find(Critical, "protocol", "%s: the answer is not the JSON that belongs there: %v", place.path, err)
			return r
		}
		r.judgeJobs(t, jobs, time.Now())
		return r
	}
	r.find(Critical, "status", "there are neither jobs of Chronos nor of Metronome: 404 Not Found")
	return r
}

// readChronos reads the list of Chronos. The beginning of a schedule is the
// time of the next run: Chronos moves it with each start.
func readChronos(body []byte) ([]chronosJob, error) {
	var list []struct {
		Name, Schedule         string
		Disabled               bool
		LastSuccess, LastError string
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, err
	}
	var out []chronosJob
	for _, j := range list {
		if j.Name == "" {
			return nil, fmt.Errorf("a job has no name")
		}
		out = append(out, chronosJob{name: j.Name, disabled: j.Disabled, next: nextStart(j.Schedule), success: chronosTime(j.LastSuccess), error: chronosTime(j.LastError)})
	}
	return out, nil
}

// nextStart is the beginning of R[n]/BEGIN/PERIOD; zero for R0, which is over,
// and for jobs that follow others.
func nextStart(schedule string) time.Time {
	parts := strings.Split(schedule, "/")
	if len(parts) != 3 || !strings.HasPrefix(parts[0], "R") || parts[0] == "R0" {
		return time.Time{}
	}
	return chronosTime(parts[1])
}

func readMetronome(body []byte) ([]chronosJob, error) {
	var list []struct {
		ID      string
		Runs    []struct{ CreatedAt string }                  `json:"activeRuns"`
		Plan    []metronomeSchedule                           `json:"schedules"`
		Summary struct{ LastSuccessAt, LastFailureAt string } `json:"historySummary"`
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, err
	}
	var out []chronosJob
	for _, j := range list {
		if j.ID == "" {
			return nil, fmt.Errorf("a job has no id")
		}
		job := chronosJob{name: j.ID, success: chronosTime(j.Summary.LastSuccessAt), error: chronosTime(j.Summary.LastFailureAt), disabled: len(j.Plan) > 0}
		for _, p := range j.Plan {
			if !p.Enabled {
				continue
			}
			job.disabled = false
			if at := chronosTime(p.Next); !at.IsZero() && (job.next.IsZero() || at.Before(job.next)) {
				job.next = at
			}
		}
		for _, run := range j.Runs {
			if at := chronosTime(run.CreatedAt); !at.IsZero() {
				job.active = append(job.active, at)
			}
		}
		out = append(out, job)
	}
	return out, nil
}

// A metronomeSchedule says when a job starts next.
type metronomeSchedule struct {
	Enabled bool
	Next    string `json:"nextRunAt"`
}

// chronosTime reads a time as the two write it; zero if it is none.
func chronosTime(s string) time.Time {
	for _, form := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999Z0700", "2006-01-02T15:04Z07:00"} {
		if at, err := time.Parse(form, s); err == nil {
			return at
		}
	}
	return time.Time{}
}

func (r *Result) judgeJobs(t Target, all []chronosJob, now time.Time) {
	named := values[string](t, "job")
	tolerance := value[time.Duration](t, "tolerance")
	var lacking, failed, late []string
	for _, n := range named {
		if !slices.ContainsFunc(all, func(j chronosJob) bool { return j.name == n }) {
			lacking = append(lacking, n)
		}
	}
	jobs, disabled, active := 0, 0, 0
	oldest := now
	for _, j := range all {
		if len(named) > 0 && !slices.Contains(named, j.name) {
			continue
		}
		jobs++
		for _, at := range j.active {
			active++
			if at.Before(oldest) {
				oldest = at
			}
		}
		if j.disabled {
			disabled++
			continue
		}
		if j.error.After(j.success) {
			failed = append(failed, fmt.Sprintf("%s (%s ago)", j.name, ago(now.Sub(j.error))))
		}
		if !j.next.IsZero() && now.Sub(j.next) > tolerance {
			late = append(late, fmt.Sprintf("%s (by %s)", j.name, ago(now.Sub(j.next))))
		}
	}
	r.measure("jobs", float64(jobs), "")
	r.measure("disabled", float64(disabled), "")
	r.measure("failed", float64(len(failed)), "").about = fmt.Sprintf("the last run of %d jobs failed: %s", len(failed), firstOf(failed))
	r.measure("late", float64(len(late)), "").about = fmt.Sprintf("%d jobs did not start when they should: %s", len(late), firstOf(late))
	r.measure("active", float64(active), "")
	r.measure("running", float64(int(now.Sub(oldest).Seconds())), "s").about = "the oldest run goes on for " + ago(now.Sub(oldest))
	r.say("%d jobs, %d disabled", jobs, disabled)
	if len(lacking) > 0 {
		r.find(Critical, "missing_job", "there is no job %s", firstOf(lacking))
	}
}

func parseTolerance(s string) (any, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return nil, fmt.Errorf("%q is no duration, as 15m or 1h", s)
	}
	return d, nil
}

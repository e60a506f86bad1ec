package checks

import (
	"fmt"
	"testing"
	"time"
)

func TestChronos(t *testing.T) {
	const old, now, metronome = "/scheduler/jobs", "/v1/scheduler/jobs", "/v1/jobs"
	at := func(ago time.Duration) string {
		return time.Now().Add(-ago).UTC().Format("2006-01-02T15:04:05.000Z")
	}
	zone := func(ago time.Duration) string {
		return time.Now().Add(-ago).UTC().Format("2006-01-02T15:04:05.000") + "+0000"
	}
	job := func(name string, next, success, failure time.Duration, more string) string {
		return fmt.Sprintf(`{"name":"%s","schedule":"R/%s/PT1H","lastSuccess":"%s","lastError":"%s"%s}`, name, at(next), at(success), at(failure), more)
	}
	good := job("backup", -time.Minute, time.Hour, 2*time.Hour, "")
	never := `{"name":"new","schedule":"R/` + at(-time.Hour) + `/PT1H","lastSuccess":"","lastError":""}`
	follows := `{"name":"after","parents":["backup"],"lastSuccess":"` + at(time.Hour) + `","lastError":""}`
	over := `{"name":"once","schedule":"R0/` + at(100*time.Hour) + `/PT1H","lastSuccess":"` + at(time.Hour) + `","lastError":""}`
	failed := job("billing", -time.Minute, 2*time.Hour, time.Hour, "")
	late := job("report", 10*time.Minute, time.Hour, 2*time.Hour, "")
	disabled := job("off", 99*time.Hour, 99*time.Hour, 98*time.Hour, `,"disabled":true`)
	run := func(next, success, failure time.Duration, enabled bool) string {
		return fmt.Sprintf(`{"id":"prod.backup","activeRuns":[{"id":"x","createdAt":"%s"},{"id":"y","createdAt":"%s"}],"schedules":[{"enabled":%t,"nextRunAt":"%s"},{"enabled":false,"nextRunAt":"%s"}],"historySummary":{"lastSuccessAt":"%s","lastFailureAt":"%s"}}`,
			zone(time.Minute), zone(2*time.Hour), enabled, zone(next), zone(999*time.Hour), zone(success), zone(failure))
	}
	list := func(path string, jobs ...string) trial {
		text := "["
		for i, j := range jobs {
			if i > 0 {
				text += ","
			}
			text += j
		}
		return trial{serve: site(map[string]string{path: text + "]"})}
	}
	trials := brokenBase(t, old)
	for i := range trials {
		if trials[i].name == "a list" {
			trials[i].text = "not the JSON"
		}
	}
	add := func(name string, c trial, options map[string][]string, want State, signal, text, metrics string) {
		c.name, c.options, c.want, c.signal, c.text, c.metrics = name, options, want, signal, text, metrics
		trials = append(trials, c)
	}
	add("good", list(old, good, never, follows, over, disabled), nil, OK, "", "5 jobs, 1 disabled", "jobs=5 disabled=1 failed=0;0 late=0;;0")
	add("Chronos 3", list(now, good), nil, OK, "", "1 jobs", "")
	add("no jobs", list(now), nil, OK, "", "0 jobs", "")
	add("failed", list(now, good, failed), nil, Warning, "failed", "the last run of 1 jobs failed: billing (60 minutes ago)", "failed=1;0")
	add("late", list(now, good, late), nil, Critical, "late", "1 jobs did not start when they should: report (by 10 minutes)", "late=1;;0")
	add("not too late", list(now, late), opt("tolerance", "15m"), OK, "", "", "")
	add("another job is late", list(now, good, late), opt("job", "backup"), OK, "", "1 jobs", "")
	add("that job is late", list(now, good, late), opt("job", "backup", "job", "report"), Critical, "late", "", "")
	add("missing job", list(now, good), opt("job", "nope"), Critical, "missing_job", "there is no job nope", "")
	add("Metronome", list(metronome, run(-time.Hour, time.Hour, 2*time.Hour, true)), nil, OK, "", "1 jobs, 0 disabled", "active=2")
	add("Metronome failed", list(metronome, run(-time.Hour, 2*time.Hour, time.Hour, true)), nil, Warning, "failed", "prod.backup", "")
	add("Metronome late", list(metronome, run(time.Hour, time.Hour, 2*time.Hour, true)), nil, Critical, "late", "prod.backup (by 60 minutes)", "")
	add("Metronome disabled", list(metronome, run(time.Hour, 2*time.Hour, time.Hour, false)), nil, OK, "", "1 disabled", "")
	add("Metronome runs for long", list(metronome, run(-time.Hour, time.Hour, 2*time.Hour, true)), opt("warning", "running=3600"), Warning, "running", "the oldest run goes on for 2 hours", "")
	add("Metronome, another", list(metronome, `{}`), nil, Critical, "protocol", "no id", "")
	add("bad tolerance", trial{address: "host"}, opt("tolerance", "5"), Unknown, "options", "--tolerance", "")
	trials = append(trials, expiring(t, map[string]string{old: "[" + good + "]"}))
	testKind(t, "chronos", "http://%s", trials)
}

// FuzzChronos: no list of jobs makes the reader panic.
func FuzzChronos(f *testing.F) {
	f.Add([]byte(`[{"name":"a","schedule":"R/2015-11-16T00:00:00.000Z/PT24H","lastError":"2015-11-16T00:00:00.000Z"}]`))
	f.Add([]byte(`[{"id":"a","schedules":[{"enabled":true,"nextRunAt":"2016-07-15T13:02:59.735+0000"}],"activeRuns":[{"createdAt":"x"}]}]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, read := range []func([]byte) ([]chronosJob, error){readChronos, readMetronome} {
			jobs, err := read(b)
			if err != nil {
				continue
			}
			r := Result{}
			r.judgeJobs(Target{}, jobs, time.Unix(1e9, 0))
			if len(jobs) > len(b) {
				t.Errorf("%d jobs of %d bytes", len(jobs), len(b))
			}
		}
	})
}

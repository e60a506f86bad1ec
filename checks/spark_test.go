package checks

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestSpark(t *testing.T) {
	const apps = "/api/v1/applications"
	begun := func(name string, ago time.Duration) string {
		return fmt.Sprintf(`{"id":"%s-%s","name":"%s","attempts":[{"startTimeEpoch":%d,"completed":false,"appSparkVersion":"3.5.6"}]}`, name, ago, name, time.Now().Add(-ago).UnixMilli())
	}
	one := `[{"id":"a1","name":"orders","attempts":[{"startTimeEpoch":1,"completed":false,"appSparkVersion":"3.5.6"}]}]`
	executors := func(tasks, failed int) string {
		return fmt.Sprintf(`[{"id":"driver","isActive":true,"totalCores":0},{"id":"0","isActive":true,"totalCores":2,"totalTasks":%d,"failedTasks":%d},{"id":"1","totalCores":2},{"id":"2","isActive":false,"totalCores":2,"failedTasks":99}]`, tasks, failed)
	}
	jobs := func(failed, good int) string {
		return "[" + strings.Repeat(`{"status":"FAILED"},`, failed) + strings.Repeat(`{"status":"SUCCEEDED"},`, good) + `{"status":"RUNNING"}]`
	}
	driver := func(more ...string) func(net.Conn) {
		pages := map[string]string{apps: one, apps + "/a1/executors": executors(100, 1), apps + "/a1/jobs": jobs(0, 9)}
		for i := 0; i < len(more); i += 2 {
			pages[apps+more[i]] = more[i+1]
		}
		return site(pages)
	}
	const streaming = "/a1/streaming/statistics"
	master := func(status, more string) func(net.Conn) {
		return site(map[string]string{"/json/": `{"status":"` + status + `","workers":[{"state":"ALIVE","cores":8,"coresused":4},{"state":"ALIVE","cores":8,"coresused":0},{"state":"DEAD","cores":8,"coresused":8}],"activeapps":[{"name":"orders","state":"RUNNING"}` + more + `]}`})
	}
	history := func(running, lately string) func(net.Conn) {
		return web(func(w io.Writer, q *http.Request) {
			if q.URL.Query().Get("status") == "running" {
				reply(w, 200, running)
			} else {
				reply(w, 200, lately)
			}
		})
	}
	asMaster, asHistory := opt("role", "master"), opt("role", "history")
	testKind(t, "spark", "http://%s", append(brokenBase(t, apps), []trial{
		{name: "driver", serve: driver(), options: opt("app", "orders", "executors", "2"), text: "orders runs with 2 executors, Spark 3.5.6", metrics: "executors=2 tasks_failed=1%;10;50 jobs_failed=0%;10;50"},
		{name: "local driver", serve: driver("/a1/executors", `[{"id":"<driver>","totalCores":2}]`), text: "0 executors"},
		{name: "no application", serve: site(map[string]string{apps: "[]"}), want: Critical, signal: "protocol"},
		{name: "another application", serve: driver(), options: opt("app", "bills"), want: Critical, signal: "missing_app", text: "runs orders, wanted bills"},
		{name: "too few executors", serve: driver(), options: opt("executors", "3"), want: Critical, signal: "missing_executors"},
		{name: "no executor", serve: driver("/a1/executors", `[{"id":"driver","isActive":true,"totalCores":0}]`), want: Critical, signal: "missing_executors", text: "0 executors, wanted 1"},
		{name: "tasks fail", serve: driver("/a1/executors", executors(100, 51)), want: Critical, signal: "tasks_failed", text: "51 of 100 tasks failed"},
		{name: "jobs fail", serve: driver("/a1/jobs", jobs(2, 8)), want: Warning, signal: "jobs_failed", text: "2 of 10 jobs failed"},
		{name: "streams", serve: driver(streaming, `{"batchDuration":1000,"avgSchedulingDelay":2,"avgProcessingTime":300}`), metrics: "delay=0;1;10"},
		{name: "streams late", serve: driver(streaming, `{"batchDuration":1000,"avgSchedulingDelay":2500,"avgProcessingTime":300}`), want: Warning, signal: "delay", text: "begins 2.5s late, one comes each 1s"},
		{name: "streams slowly", serve: driver(streaming, `{"batchDuration":1000,"avgProcessingTime":1300}`), want: Warning, signal: "slow", text: "takes 1.3s"},
		{name: "executors cut", serve: driver("/a1/executors", "500 oops"), want: Critical, signal: "status"},
		{name: "master", serve: master("ALIVE", ""), options: opt("role", "master", "app", "orders", "workers", "2"), text: "leads 2 workers, 1 applications run", metrics: "workers=2 cores=25% apps=1 waiting=0;0"},
		{name: "master stands by", serve: master("STANDBY", ""), options: asMaster, text: "stands by"},
		{name: "master recovers", serve: master("RECOVERING", ""), options: asMaster, want: Warning, signal: "recovering"},
		{name: "no master", serve: master("", ""), options: asMaster, want: Critical, signal: "protocol"},
		{name: "too few workers", serve: master("ALIVE", ""), options: opt("role", "master", "workers", "3"), want: Critical, signal: "missing_workers"},
		{name: "no worker", serve: site(map[string]string{"/json/": `{"status":"ALIVE"}`}), options: asMaster, want: Critical, signal: "missing_workers"},
		{name: "master without the app", serve: master("ALIVE", ""), options: opt("role", "master", "app", "bills"), want: Critical, signal: "missing_app"},
		{name: "waits for cores", serve: master("ALIVE", `,{"name":"bills","state":"WAITING"}`), options: asMaster, want: Warning, signal: "waiting", text: "wait for cores: bills"},
		{name: "history", serve: history("["+begun("orders", time.Minute)+"]", "["+begun("orders", time.Minute)+"]"), options: asHistory, text: "1 applications run", metrics: "apps=1 restarts=0;3;10"},
		{name: "history, not running", serve: history("["+begun("bills", time.Minute)+"]", "[]"), options: opt("role", "history", "app", "orders"), want: Critical, signal: "missing_app", text: "orders does not run (running: bills)"},
		{name: "history, again and again", serve: history("[]", "["+begun("a", time.Minute)+","+begun("b", 2*time.Minute)+strings.Repeat(","+begun("a", 3*time.Minute), 4)+strings.Repeat(","+begun("b", 3*time.Hour), 9)+"]"), options: asHistory, want: Warning, signal: "restarts", text: "a began 5 times in the last hour"},
		{name: "bad role", address: "host", options: opt("role", "worker"), want: Unknown, signal: "options", text: "--role"},
		expiring(t, map[string]string{apps: one, apps + "/a1/executors": executors(100, 1), apps + "/a1/jobs": jobs(0, 9)}),
	}...))
}

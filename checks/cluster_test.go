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

// site answers paths, without their query, with status 200; others with 404. A
// text that begins with three digits and a space is another status.
func site(pages map[string]string) func(net.Conn) {
	return web(func(w io.Writer, q *http.Request) {
		if wait := q.URL.Query().Get("timeout"); wait != "" && !strings.HasSuffix(wait, "ms") && !strings.HasSuffix(wait, "secs") {
			reply(w, 400, "") // as Mesos does, which knows no "4s"
			return
		}
		body, ok := pages[q.URL.Path]
		status := 404
		if ok {
			status = 200
			if n, err := fmt.Sscanf(body, "%3d ", &status); n == 0 || err != nil {
				status = 200
			}
		}
		reply(w, status, body)
	})
}

// broken base URLs: what all kinds that are asked below a URL must find.
func brokenBase(t *testing.T, first string) []trial {
	soon := issue(t, "127.0.0.1", time.Now().Add(10*24*time.Hour))
	return append(withForm(t, "http://%s", broken(nil)), []trial{
		{name: "other JSON", serve: site(map[string]string{first: `{}`}), want: Critical, signal: "protocol", text: first},
		{name: "no JSON", serve: site(map[string]string{first: `<html>`}), want: Critical, signal: "protocol", text: "not the JSON"},
		{name: "a list", serve: site(map[string]string{first: `[[]]`}), want: Critical, signal: "protocol"},
		{name: "404", serve: site(nil), want: Critical, signal: "status", text: "404"},
		{name: "500", serve: site(map[string]string{first: `500 oops`}), want: Critical, signal: "status", text: "500"},
		{name: "password needed", serve: site(map[string]string{first: `401 no`}), text: "alive, password needed"},
		{name: "password refused", serve: site(map[string]string{first: `401 no`}), options: opt("username", "a", "password-file", secretFile(t, "b")), want: Critical, signal: "credentials"},
		{name: "huge", serve: site(map[string]string{first: strings.Repeat(" ", maxJSON+10)}), want: Critical, signal: "protocol", text: "larger than 8 MiB"},
		{name: "unknown issuer", address: "https://%s", serve: overTLS(soon, site(nil)), want: Critical, signal: "certificate"},
		{name: "query in the URL", address: "http://host/?a=b", want: Unknown, signal: "options", text: "TARGET"},
	}...)
}

// expiring is the same site behind a certificate that ends soon.
func expiring(t *testing.T, pages map[string]string) trial {
	soon := issue(t, "127.0.0.1", time.Now().Add(10*24*time.Hour))
	return trial{name: "certificate ends soon", address: "https://%s", serve: overTLS(soon, site(pages)), options: opt("ca-file", soon.caFile), want: Warning, signal: "certificate_days"}
}

func TestElasticsearch(t *testing.T) {
	const path, nodes = "/_cluster/health", "/_nodes/stats/fs,jvm,thread_pool"
	health := func(status string, more string) string {
		return `{"cluster_name":"logs","status":"` + status + `","number_of_nodes":3,"unassigned_shards":2,"active_shards_percent_as_number":98.5` + more + `}`
	}
	stats := func(free, heap string) string {
		return `{"nodes":{"a":{"fs":{"total":{"total_in_bytes":1000,"available_in_bytes":900}},"jvm":{"mem":{"heap_used_percent":10}},"thread_pool":{"write":{"rejected":4}}},
			"b":{"fs":{"total":{"total_in_bytes":1000,"available_in_bytes":` + free + `}},"jvm":{"mem":{"heap_used_percent":` + heap + `}},"thread_pool":{"write":{"rejected":1}}}}}`
	}
	with := func(h, s string) func(net.Conn) { return site(map[string]string{path: h, nodes: s}) }
	testKind(t, "elasticsearch", "http://%s", append(brokenBase(t, path), []trial{
		{name: "green", serve: with(health("green", ""), stats("500", "20")), text: "logs is green, 3 nodes", metrics: "nodes=3 shards=98.5% disk=50%;80;90 heap=20%;90;97 rejected=5c"},
		{name: "statistics not allowed", serve: with(health("green", ""), "403 no"), text: "green"},
		{name: "yellow", serve: with(health("yellow", ""), stats("500", "20")), want: Warning, signal: "yellow"},
		{name: "red", serve: with(health("red", ""), stats("500", "20")), want: Critical, signal: "red", text: "2 shards without a node"},
		{name: "nodes", serve: with(health("green", ""), stats("500", "20")), options: opt("nodes", "3")},
		{name: "missing nodes", serve: with(health("green", ""), stats("500", "20")), options: opt("nodes", "4"), want: Critical, signal: "missing_nodes"},
		{name: "disk", serve: with(health("green", ""), stats("99", "20")), want: Critical, signal: "disk", text: "90.1%"},
		{name: "heap", serve: with(health("green", ""), stats("500", "91")), want: Warning, signal: "heap"},
		{name: "pending", serve: with(health("green", `,"number_of_pending_tasks":101`), stats("500", "20")), want: Warning, signal: "pending"},
		{name: "condition", serve: with(health("green", ""), stats("500", "20")), options: opt("expect", "[BODY].number_of_nodes > 3"), want: Critical, signal: "expect"},
		expiring(t, map[string]string{path: health("green", "")}),
	}...))
}

func TestMesosMaster(t *testing.T) {
	const path = "/metrics/snapshot"
	metrics := func(more string) string {
		return `{"master/elected":1,"master/uptime_secs":7200,"master/frameworks_active":2,"master/tasks_running":9,"master/tasks_lost":1,"registrar/log/recovered":1` + more + `}`
	}
	with := func(m string) func(net.Conn) { return site(map[string]string{path: m}) }
	testKind(t, "mesos-master", "http://%s", append(brokenBase(t, path), []trial{
		{name: "leader", serve: with(metrics(`,"master/slaves_active":20`)), text: "leads 20 agents and 2 frameworks, 9 tasks run", metrics: "agents=20 agents_lost=0%;0;10 tasks_lost=1c"},
		{name: "with the process in the path", address: "http://%s/master", serve: site(map[string]string{path: metrics(`,"master/slaves_active":20`)}), text: "leads 20"},
		{name: "standby", serve: with(`{"master/elected":0,"master/uptime_secs":7200}`), text: "stands by, up 2 hours"},
		{name: "one agent lost", serve: with(metrics(`,"master/slaves_active":20,"master/slaves_inactive":1,"master/slaves_disconnected":1`)), want: Warning, signal: "agents_lost", text: "1 of 21 agents are lost"},
		{name: "that is all right", serve: with(metrics(`,"master/slaves_active":20,"master/slaves_inactive":1`)), options: opt("warning", "agents_lost=")},
		{name: "many lost", serve: with(metrics(`,"master/slaves_active":20,"master/slaves_unreachable":3`)), want: Critical, signal: "agents_lost"},
		{name: "no agent", serve: with(metrics("")), want: Critical, signal: "agents"},
		{name: "registrar", serve: with(strings.Replace(metrics(`,"master/slaves_active":20`), `recovered":1`, `recovered":0`, 1)), want: Critical, signal: "registrar"},
		{name: "queue", serve: with(metrics(`,"master/slaves_active":20,"master/event_queue_messages":20000`)), want: Critical, signal: "queue"},
		{name: "an agent's address", serve: with(`{"slave/registered":1}`), want: Critical, signal: "protocol", text: "another kind of process"},
		expiring(t, map[string]string{path: metrics(`,"master/slaves_active":20`)}),
	}...))
}

func TestMesosAgent(t *testing.T) {
	const path = "/metrics/snapshot"
	with := func(m string) func(net.Conn) { return site(map[string]string{path: m}) }
	good := `{"slave/registered":1,"slave/uptime_secs":7200,"slave/tasks_running":3,"slave/executors_running":2,"slave/recovery_errors":0}`
	testKind(t, "mesos-agent", "http://%s", append(brokenBase(t, path), []trial{
		{name: "good", serve: with(good), text: "registered, up 2 hours, 3 tasks run", metrics: "tasks_running=3 executors_running=2"},
		{name: "with the process in the path", address: "http://%s/slave(1)", serve: site(map[string]string{path: good})},
		{name: "not registered", serve: with(`{"slave/registered":0,"slave/uptime_secs":7200}`), want: Critical, signal: "registered"},
		{name: "not yet registered", serve: with(`{"slave/registered":0,"slave/uptime_secs":5}`), want: Warning, signal: "registered"},
		{name: "recovering", serve: with(`503 Agent has not finished recovery`), want: Warning, signal: "recovering"},
		{name: "recovery errors", serve: with(strings.Replace(good, `errors":0`, `errors":2`, 1)), want: Warning, signal: "recovery_errors"},
		expiring(t, map[string]string{path: good}),
	}...))
}

func TestMarathon(t *testing.T) {
	const info = `{"name":"marathon","version":"1.11.24","leader":"m1:8080","frameworkId":"f-1"}`
	pages := func(info, deployments, queue string) map[string]string {
		return map[string]string{"/v2/info": info, "/v2/deployments": deployments, "/v2/queue": queue}
	}
	with := func(info, deployments, queue string) func(net.Conn) { return site(pages(info, deployments, queue)) }
	deploy := func(age time.Duration) string {
		return `[{"id":"d","version":"` + time.Now().Add(-age).UTC().Format(time.RFC3339Nano) + `","affectedApps":["/prod/web"]}]`
	}
	empty := `{"queue":[]}`
	testKind(t, "marathon", "http://%s", append(brokenBase(t, "/v2/info"), []trial{
		{name: "good", serve: with(info, "[]", empty), text: "Marathon 1.11.24, leader m1:8080", metrics: "deployments=0 overdue=0;0"},
		{name: "deploying", serve: with(info, deploy(5*time.Minute), empty), text: "1 deploys, the oldest of /prod/web for 5 minutes", metrics: "deployments=1"},
		{name: "stuck", serve: with(info, deploy(40*time.Minute), empty), want: Warning, signal: "deploy_age", text: "the deploy of /prod/web goes on for 40 minutes"},
		{name: "waiting in its delay", serve: with(info, "[]", `{"queue":[{"count":2,"delay":{"timeLeftSeconds":10,"overdue":false},"app":{"id":"/a"}}]}`), metrics: "waiting=1 backoff=10s;300"},
		{name: "overdue", serve: with(info, "[]", `{"queue":[{"count":2,"delay":{"timeLeftSeconds":0,"overdue":true},"app":{"id":"/a"}}]}`), want: Warning, signal: "overdue", text: "get no offer: /a"},
		{name: "crash loop", serve: with(info, "[]", `{"queue":[{"count":1,"delay":{"timeLeftSeconds":1200,"overdue":false},"app":{"id":"/a"}}]}`), want: Warning, signal: "backoff"},
		{name: "no leader", serve: with(`{"version":"1.11"}`, "[]", empty), want: Critical, signal: "leader"},
		{name: "no framework", serve: with(`{"version":"1.11","leader":"m1"}`, "[]", empty), want: Critical, signal: "framework"},
		{name: "queue fails", serve: with(info, "[]", "500 oops"), want: Critical, signal: "status", text: "/v2/queue"},
		expiring(t, pages(info, "[]", empty)),
	}...))
}

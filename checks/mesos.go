package checks

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Both kinds read /metrics/snapshot, a flat object of numbers; /state is never
// asked for, because that costs a master more than it tells.

var mesosMasterKind = Kind{
	Summary: "Mesos master: leads or stands by, its registrar, its agents",
	Target:  "URL",
	Example: `check mesos-master http://m1.example.net:5050`,
	Options: baseOptions,
	Metrics: []Limits{
		{Name: "elected", Help: "1 if this master leads"},
		{Name: "uptime", Help: "seconds"},
		{Name: "agents", Help: "active agents"},
		{Name: "agents_lost", Help: "of a leader: percent of its agents that are inactive, disconnected or unreachable", Warning: "0", Critical: "10"},
		{Name: "frameworks", Help: "active frameworks"},
		{Name: "tasks_running", Help: "running tasks"},
		{Name: "tasks_lost", Help: "tasks lost since this master leads (counter)"},
		{Name: "tasks_failed", Help: "tasks failed since this master leads (counter)"},
		{Name: "queue", Help: "messages that wait for the master", Warning: "1000", Critical: "10000"},
		certificateLimits,
	},
	Signals: slices.Concat(baseSignals, []Signal{
		{"registrar", Critical, "a leader has not recovered its registry"},
		{"agents", Critical, "a leader has no active agent"},
	}),
	Facts:   []string{"STATUS", "RESPONSE_TIME", "IP", "BODY", "CONNECTED", "CERTIFICATE_EXPIRATION"},
	address: processURL("5050"),
	check:   checkMesosMaster,
}

var mesosAgentKind = Kind{
	Summary: "Mesos agent: registered with its master, and how it recovered",
	Target:  "URL",
	Example: `check mesos-agent http://n12.example.net:5051`,
	Options: baseOptions,
	Metrics: []Limits{
		{Name: "uptime", Help: "seconds"},
		{Name: "tasks_running", Help: "running tasks"},
		{Name: "executors_running", Help: "running executors"},
		{Name: "recovery_errors", Help: "errors when it read its own state at the start", Warning: "0"},
		certificateLimits,
	},
	Signals: slices.Concat(baseSignals, []Signal{
		{"registered", Critical, "no master knows it (WARNING in its first minute)"},
		{"recovering", Warning, "it has just started and reads its own state"},
	}),
	Facts:   []string{"STATUS", "RESPONSE_TIME", "IP", "BODY", "CONNECTED", "CERTIFICATE_EXPIRATION"},
	address: processURL("5051"),
	check:   checkMesosAgent,
}

// processURL is a base URL without the name of a process (/master, /slave(1)):
// metrics stand beside those, not below.
func processURL(port string) func(string) (string, error) {
	read := baseURL(port)
	return func(s string) (string, error) {
		base, err := read(s)
		return strings.TrimSuffix(strings.TrimSuffix(base, "/master"), "/slave(1)"), err
	}
}

// snapshot reads the metrics; the server gives up before we do.
func (r *Result) snapshot(ctx context.Context, t Target, marker string, also ...int) (map[string]float64, bool) {
	var m map[string]float64
	wait := max(1, t.Timeout.Milliseconds()*8/10) // Mesos knows ms and secs, but no s
	if !r.askJSON(ctx, t, fmt.Sprintf("/metrics/snapshot?timeout=%dms", wait), &m, also...) {
		return nil, false
	}
	if _, ok := m[marker]; !ok {
		r.find(Critical, "protocol", "/metrics/snapshot has no %s: another kind of process answers there", marker)
		return nil, false
	}
	return m, true
}

func checkMesosMaster(ctx context.Context, t Target) (r Result) {
	m, ok := r.snapshot(ctx, t, "master/elected")
	if !ok {
		return r
	}
	leads := m["master/elected"] == 1
	r.measure("elected", m["master/elected"], "")
	r.measure("uptime", m["master/uptime_secs"], "s")
	queue := m["master/event_queue_messages"] + m["master/event_queue_dispatches"] + m["master/event_queue_http_requests"]
	r.measure("queue", queue, "")
	if !leads {
		r.say("stands by, up %s", ago(time.Duration(m["master/uptime_secs"])*time.Second))
		return r
	}
	active := m["master/slaves_active"]
	// an agent that is disconnected is inactive too
	lost := max(m["master/slaves_inactive"], m["master/slaves_disconnected"]) + m["master/slaves_unreachable"]
	r.measure("agents", active, "")
	if active+lost > 0 {
		r.measure("agents_lost", percent(lost, active+lost), "%").about = fmt.Sprintf("%d of %d agents are lost", int(lost), int(active+lost))
	}
	r.measure("frameworks", m["master/frameworks_active"], "")
	r.measure("tasks_running", m["master/tasks_running"], "")
	r.measure("tasks_lost", m["master/tasks_lost"], "c")
	r.measure("tasks_failed", m["master/tasks_failed"], "c")
	r.say("leads %d agents and %d frameworks, %d tasks run", int(active), int(m["master/frameworks_active"]), int(m["master/tasks_running"]))
	if recovered, ok := m["registrar/log/recovered"]; ok && recovered != 1 {
		r.find(Critical, "registrar", "the registry is not recovered: no agent can register")
	}
	if active == 0 {
		r.find(Critical, "agents", "no active agent")
	}
	return r
}

func checkMesosAgent(ctx context.Context, t Target) (r Result) {
	m, ok := r.snapshot(ctx, t, "slave/registered", 503)
	if !ok {
		if r.facts.status == 503 {
			r.Findings = nil
			r.find(Warning, "recovering", "it answers 503: it has just started and reads its own state")
		}
		return r
	}
	up := time.Duration(m["slave/uptime_secs"]) * time.Second
	r.measure("uptime", m["slave/uptime_secs"], "s")
	r.measure("tasks_running", m["slave/tasks_running"], "")
	r.measure("executors_running", m["slave/executors_running"], "")
	r.measure("recovery_errors", m["slave/recovery_errors"], "")
	r.say("registered, up %s, %d tasks run", ago(up), int(m["slave/tasks_running"]))
	if m["slave/registered"] != 1 {
		state := Critical
		if up < time.Minute {
			state = Warning
		}
		r.find(state, "registered", "not registered with a master, up %s", ago(up))
	}
	return r
}

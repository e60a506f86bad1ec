package checks

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

var cephKind = Kind{
	Summary: "Ceph: health and what is wrong by name, monitors, OSDs, space (the manager's metrics, or ceph-rest-api)",
	Target:  "URL",
	Example: `check ceph http://mgr1.example.net:9283 --critical disk=85`,
	Options: baseOptions,
	Metrics: []Limits{
		{Name: "mons", Help: "monitors in the quorum"},
		{Name: "osds", Help: "OSDs"},
		{Name: "osds_up", Help: "OSDs that run"},
		{Name: "osds_in", Help: "OSDs that hold data"},
		{Name: "disk", Help: "percent used of the cluster", Warning: "80", Critical: "90"},
		{Name: "pgs_inactive", Help: "placement groups that serve nobody"},
		certificateLimits,
	},
	Signals: slices.Concat(baseSignals, []Signal{
		{"health_warn", Warning, "HEALTH_WARN, with the names of its checks; not if noout is set and nothing is wrong but what that explains"},
		{"health_err", Critical, "HEALTH_ERR, with the names of its checks"},
		{"quorum", Warning, "monitors are not in the quorum"},
	}),
	Facts:   []string{"STATUS", "RESPONSE_TIME", "IP", "BODY", "CONNECTED", "CERTIFICATE_EXPIRATION"},
	address: baseURL("9283"),
	check:   checkCeph,
}

// checkCeph asks the manager; where there is no such page, ceph-rest-api, which
// clusters of before 2017 have in its place.
func checkCeph(ctx context.Context, t Target) (r Result) {
	p, ok := r.ask(ctx, t, "/metrics", http.StatusNotFound)
	if !ok {
		return r
	}
	if p.status == http.StatusNotFound {
		r.askCephREST(ctx, t)
		return r
	}
	if strings.TrimSpace(string(p.body)) == "" {
		r.say("stands by: only the active manager has metrics")
		return r
	}
	samples := parseSamples(string(p.body))
	if len(samples["ceph_health_status"]) == 0 {
		r.find(Critical, "protocol", "/metrics has no ceph_health_status: something else answers there")
		return r
	}
	r.judgeCeph(samples)
	return r
}

// A sample is one line of Prometheus' text format.
type sample struct {
	labels map[string]string
	value  float64
}

// parseSamples reads the metrics of Ceph, by name. A line that is none is left
// out.
func parseSamples(text string) map[string][]sample {
	out := map[string][]sample{}
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "ceph_") {
			continue
		}
		name, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		labels := map[string]string{}
		if at := strings.IndexByte(line, '{'); at >= 0 && at < len(name) {
			end := strings.LastIndexByte(line, '}')
			if end < at {
				continue
			}
			name, rest = line[:at], strings.TrimSpace(line[end+1:])
			for pair := range strings.SplitSeq(line[at+1:end], "\",") {
				if key, v, ok := strings.Cut(pair, "=\""); ok {
					labels[strings.TrimSpace(key)] = strings.TrimSuffix(v, "\"")
				}
			}
		}
		number, _, _ := strings.Cut(rest, " ") // a time may follow
		if v, err := finite(number); err == nil {
			out[name] = append(out[name], sample{labels, v})
		}
	}
	return out
}

// sum adds the values of a metric and counts them.
func sum(samples []sample) (total float64, n int) {
	for _, s := range samples {
		total += s.value
	}
	return total, len(samples)
}

// planned are the checks that come by themselves when OSDs are down while
// noout says that somebody is working on them.
var planned = []string{"OSDMAP_FLAGS", "OSD_FLAGS", "OSD_DOWN", "OSD_HOST_DOWN", "OSD_RACK_DOWN", "OSD_ROOT_DOWN", "PG_DEGRADED"}

func (r *Result) judgeCeph(samples map[string][]sample) {
	var names []string
	for _, s := range samples["ceph_health_detail"] {
		if s.value > 0 {
			names = append(names, s.labels["name"])
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	noout, _ := sum(samples["ceph_osd_flag_noout"])
	inQuorum, mons := sum(samples["ceph_mon_quorum_status"])
	up, osds := sum(samples["ceph_osd_up"])
	in, _ := sum(samples["ceph_osd_in"])
	r.measure("mons", inQuorum, "")
	r.measure("osds", float64(osds), "")
	r.measure("osds_up", up, "")
	r.measure("osds_in", in, "")
	all, _ := sum(samples["ceph_cluster_total_bytes"])
	if used, n := sum(samples["ceph_cluster_total_used_bytes"]); n > 0 && all > 0 {
		r.measure("disk", percent(used, all), "%")
	}
	pgs, n := sum(samples["ceph_pg_total"])
	if active, m := sum(samples["ceph_pg_active"]); n > 0 && m > 0 {
		r.measure("pgs_inactive", max(0, pgs-active), "")
	}
	counts := fmt.Sprintf("%d of %d OSDs up, %d monitors", int(up), osds, int(inQuorum))
	explained := noout > 0 && !slices.ContainsFunc(names, func(n string) bool { return !slices.Contains(planned, n) })
	switch status := samples["ceph_health_status"][0].value; {
	case status == 0:
		r.say("HEALTH_OK, %s", counts)
	case status == 1 && explained:
		r.say("HEALTH_WARN as planned, noout is set: %s; %s", firstOf(names), counts)
	case status == 1:
		r.find(Warning, "health_warn", "HEALTH_WARN: %s; %s", firstOf(names), counts)
	default:
		r.find(Critical, "health_err", "HEALTH_ERR: %s; %s", firstOf(names), counts)
	}
	if lost := mons - int(inQuorum); lost > 0 {
		r.find(Warning, "quorum", "%d of %d monitors are not in the quorum", lost, mons)
	}
}

func (r *Result) askCephREST(ctx context.Context, t Target) {
	var answer struct {
		Output struct {
			Status  string `json:"overall_status"`
			Now     string `json:"status"` // since Luminous
			Summary []struct{ Summary string }
			Checks  map[string]any
		}
	}
	const path = "/api/v0.1/health.json"
	if !r.askJSON(ctx, t, path, &answer) {
		return
	}
	var names []string
	for _, s := range answer.Output.Summary {
		names = append(names, oneLine(s.Summary))
	}
	for name := range answer.Output.Checks {
		names = append(names, name)
	}
	slices.Sort(names)
	switch status := orElse(answer.Output.Now, answer.Output.Status); status {
	case "HEALTH_OK":
		r.say("HEALTH_OK")
	case "HEALTH_WARN":
		r.find(Warning, "health_warn", "HEALTH_WARN: %s", firstOf(names))
	case "HEALTH_ERR":
		r.find(Critical, "health_err", "HEALTH_ERR: %s", firstOf(names))
	default:
		r.find(Critical, "protocol", "%s: the answer is not that of Ceph", path)
	}
}

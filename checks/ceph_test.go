package checks

import (
	"fmt"
	"strings"
	"testing"
)

// cephMetrics is what an active manager says.
func cephMetrics(status int, noout int, up int, used int, checks ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# HELP ceph_health_status Cluster health status\n# TYPE ceph_health_status untyped\nceph_health_status %d.0\n", status)
	for _, c := range checks {
		fmt.Fprintf(&b, "ceph_health_detail{name=\"%s\",severity=\"HEALTH_WARN\"} 1.0\n", c)
	}
	b.WriteString("ceph_health_detail{name=\"RECENT_CRASH\",severity=\"HEALTH_WARN\"} 0.0\n")
	fmt.Fprintf(&b, "ceph_osd_flag_noout %d.0\nceph_cluster_total_bytes 1000.0\nceph_cluster_total_used_bytes %d.0\nceph_pg_total{pool_id=\"1\"} 32.0\nceph_pg_active{pool_id=\"1\"} 30.0\n", noout, used)
	for i := range 3 {
		fmt.Fprintf(&b, "ceph_mon_quorum_status{ceph_daemon=\"mon.%d\"} 1.0\nceph_osd_up{ceph_daemon=\"osd.%d\"} %d.0\nceph_osd_in{ceph_daemon=\"osd.%d\"} 1.0\n", i, i, boolInt(i < up), i)
	}
	b.WriteString("other_metric 5\nceph_odd{a=\"x\nceph_odd nonsense\n")
	return b.String()
}

func TestCeph(t *testing.T) {
	const path, rest = "/metrics", "/api/v0.1/health.json"
	with := func(text string) trial { return trial{serve: site(map[string]string{path: text})} }
	old := func(output string) trial {
		return trial{serve: site(map[string]string{rest: `{"status":"OK","output":` + output + `}`})}
	}
	trials := brokenBase(t, path)
	for i := range trials { // /metrics is no JSON, and a 404 leads to the old page
		switch trials[i].name {
		case "no JSON", "a list", "other JSON":
			trials[i].text = "ceph_health_status"
		}
	}
	add := func(name string, c trial, want State, signal, text, metrics string) {
		c.name, c.want, c.signal, c.text, c.metrics = name, want, signal, text, metrics
		trials = append(trials, c)
	}
	add("good", with(cephMetrics(0, 0, 3, 500)), OK, "", "HEALTH_OK, 3 of 3 OSDs up, 3 monitors", "mons=3 osds=3 osds_up=3 osds_in=3 disk=50%;80;90 pgs_inactive=2")
	add("standby", with(" \n"), OK, "", "stands by", "")
	add("warning", with(cephMetrics(1, 0, 2, 500, "OSD_DOWN", "PG_DEGRADED")), Warning, "health_warn", "HEALTH_WARN: OSD_DOWN, PG_DEGRADED; 2 of 3 OSDs up", "")
	add("planned", with(cephMetrics(1, 1, 2, 500, "OSDMAP_FLAGS", "OSD_DOWN")), OK, "", "as planned, noout is set", "")
	add("more than planned", with(cephMetrics(1, 1, 2, 500, "OSDMAP_FLAGS", "SLOW_OPS")), Warning, "health_warn", "SLOW_OPS", "")
	add("error", with(cephMetrics(2, 1, 2, 500, "OSD_FULL")), Critical, "health_err", "HEALTH_ERR: OSD_FULL", "")
	add("disk", with(cephMetrics(0, 0, 3, 901)), Critical, "disk", "", "")
	add("quorum", with(strings.Replace(cephMetrics(0, 0, 3, 500), `"mon.2"} 1.0`, `"mon.2"} 0.0`, 1)), Warning, "quorum", "1 of 3 monitors", "")
	add("old", old(`{"overall_status":"HEALTH_OK","summary":[]}`), OK, "", "HEALTH_OK", "")
	add("old warning", old(`{"overall_status":"HEALTH_WARN","summary":[{"severity":"HEALTH_WARN","summary":"1 near full osd(s)"}]}`), Warning, "health_warn", "1 near full osd(s)", "")
	add("old error", old(`{"status":"HEALTH_ERR","overall_status":"HEALTH_WARN","checks":{"OSD_FULL":{}}}`), Critical, "health_err", "OSD_FULL", "")
	add("old, another", old(`{}`), Critical, "protocol", "not that of Ceph", "")
	trials = append(trials, expiring(t, map[string]string{path: cephMetrics(0, 0, 3, 500)}))
	testKind(t, "ceph", "http://%s", trials)
}

// FuzzSamples: lines of any kind are read or left out.
func FuzzSamples(f *testing.F) {
	f.Add(cephMetrics(1, 0, 2, 500, "OSD_DOWN"))
	f.Add("ceph_a{b=\"}\"} 1 2\nceph_}{ 3")
	f.Fuzz(func(t *testing.T, text string) {
		for name, all := range parseSamples(text) {
			if !strings.HasPrefix(name, "ceph_") {
				t.Errorf("%q is a name", name)
			}
			for _, s := range all {
				if s.value != s.value {
					t.Errorf("%q is no number", name)
				}
			}
		}
	})
}

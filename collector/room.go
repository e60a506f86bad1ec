package collector

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"mesoscope/checks/schedule"
)

// A connection that was closed stays in the kernel's tables for a while.
const (
	trackedFor = 120 // seconds, in conntrack's
	waitsFor   = 60  // seconds, its port, for the same target
)

// room is what the kernel has place for; 0 is not known, and no limit.
type room struct{ tracked, ports float64 }

// readRoom reads the kernel's settings below root, "/proc/sys/net".
func readRoom(root string) (r room) {
	text, _ := os.ReadFile(root + "/netfilter/nf_conntrack_max") // without conntrack there is none
	r.tracked, _ = strconv.ParseFloat(strings.TrimSpace(string(text)), 64)
	text, _ = os.ReadFile(root + "/ipv4/ip_local_port_range")
	if f := strings.Fields(string(text)); len(f) == 2 {
		low, _ := strconv.ParseFloat(f[0], 64)
		high, _ := strconv.ParseFloat(f[1], 64)
		r.ports = high - low + 1
	}
	return r
}

// tooTight says what the planned checks would fill more than half of, or "".
// Then other programs of this machine, and we, begin to fail at random.
func (r room) tooTight(jobs []schedule.Job, targets map[string]string) string {
	all, of, worst := 0.0, map[string]float64{}, ""
	for _, j := range jobs {
		if j.Class != schedule.Network {
			continue
		}
		rate := 1 / j.Every.Seconds()
		all += rate
		t := targets[j.ID]
		if of[t] += rate; of[t] > of[worst] {
			worst = t
		}
	}
	switch {
	case r.tracked > 0 && all*trackedFor > r.tracked/2:
		return fmt.Sprintf("%.0f checks a second keep %.0f connections in the kernel's table, which has place for %.0f: raise net.netfilter.nf_conntrack_max, or do not track these connections",
			all, all*trackedFor, r.tracked)
	case r.ports > 0 && of[worst]*waitsFor > r.ports/2:
		return fmt.Sprintf("%.0f checks a second of %s keep %.0f ports busy, of %.0f: raise their interval, or widen net.ipv4.ip_local_port_range",
			of[worst], worst, of[worst]*waitsFor, r.ports)
	}
	return ""
}

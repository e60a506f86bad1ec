package nagios

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Paths at which services are served.
const (
	ServicesPath = "/api/v1/nagios/services"    // a list of Service; ?service=NAME
	ObjectsPath  = "/api/v1/nagios/objects.cfg" // Nagios' configuration; ?use=TEMPLATE &contact_groups=A,B
)

// ServeHTTP answers at ServicesPath and ObjectsPath.
func (n *Nagios) ServeHTTP(w http.ResponseWriter, r *http.Request) { n.mux.ServeHTTP(w, r) }

func (n *Nagios) routes() {
	n.mux = http.NewServeMux()
	n.mux.HandleFunc("GET "+ServicesPath, func(w http.ResponseWriter, r *http.Request) {
		list := n.Services() // never nil
		if name := r.FormValue("service"); name != "" {
			list = slices.DeleteFunc(list, func(s Service) bool { return !s.called(name) })
		}
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		json.NewEncoder(w).Encode(list) // fails only when the client has gone
	})
	n.mux.HandleFunc("GET "+ObjectsPath, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Write([]byte(Objects(n.o.Cluster, n.Services(), clean(r.FormValue("use")), groups(r.FormValue("contact_groups"))))) // as above
	})
}

// called says whether somebody who asks for name means s: by the name that
// Nagios has, or by app and check as they are.
func (s Service) called(name string) bool {
	return s.Name == name || strings.TrimSpace(s.App+" "+s.Check) == name
}

func groups(list string) string {
	parts := strings.Split(list, ",")
	for i := range parts {
		parts[i] = clean(strings.TrimSpace(parts[i]))
	}
	return strings.Join(parts, ",")
}

// Objects is a configuration for Nagios with one host, and one passive service
// for each of list. When results stop to come, Nagios itself makes a service
// UNKNOWN, after three intervals. use is a template to inherit from and
// contactGroups who is told; both may be "".
func Objects(cluster string, list []Service, use, contactGroups string) string {
	var b strings.Builder
	define := func(kind string, pairs ...string) {
		fmt.Fprintf(&b, "\ndefine %s {\n", kind)
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i+1] != "" {
				fmt.Fprintf(&b, "    %-24s %s\n", pairs[i], pairs[i+1])
			}
		}
		b.WriteString("}\n")
	}
	host := clean("mesoscope-" + cluster)
	b.WriteString("# Made by mesoscope collector; do not change it by hand. It belongs into a folder\n" +
		"# that Nagios reads (cfg_dir), and is to be fetched anew when checks come or go.\n")
	define("command", "command_name", "mesoscope-stale", "command_line", `/usr/lib/nagios/plugins/check_dummy 3 "no result from the collector for too long"`)
	define("timeperiod", "timeperiod_name", "mesoscope-always", "alias", "Always",
		"sunday", "00:00-24:00", "monday", "00:00-24:00", "tuesday", "00:00-24:00", "wednesday", "00:00-24:00", "thursday", "00:00-24:00", "friday", "00:00-24:00", "saturday", "00:00-24:00")
	define("host", "host_name", host, "alias", "Apps of the cluster "+clean(cluster), "address", "127.0.0.1", "max_check_attempts", "1",
		"active_checks_enabled", "0", "check_period", "mesoscope-always", "notification_period", "mesoscope-always", "contact_groups", contactGroups)
	// N of M is behind a result already; three attempts bridge the moment in
	// which a deployment replaces an instance.
	define("service", "name", "mesoscope-service", "use", use, "register", "0", "host_name", host,
		"active_checks_enabled", "0", "passive_checks_enabled", "1", "check_freshness", "1", "check_command", "mesoscope-stale",
		"max_check_attempts", "3", "check_interval", "1", "retry_interval", "1", "check_period", "mesoscope-always",
		"notification_period", "mesoscope-always", "notification_interval", "60", "flap_detection_enabled", "0", "contact_groups", contactGroups)
	for _, s := range list {
		threshold := max(3*s.Interval, 3*least) + 5*time.Second
		define("service", "use", "mesoscope-service", "service_description", s.Name, "freshness_threshold", fmt.Sprint(int(threshold.Seconds())),
			"notes_url", link(s.Runbook), "_TEAM", clean(oneLine(s.Team)))
	}
	return b.String()
}

// link is a URL that can stand in Nagios' files, or "".
func link(s string) string {
	if !strings.HasPrefix(s, "http://") && !strings.HasPrefix(s, "https://") || strings.ContainsAny(s, "; \t\r\n\\\"'<>") {
		return ""
	}
	return s
}

package config

import (
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// clusterName is what may stand in a label and in the name of a Nagios host.
var clusterName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)

func (r *reader) checkCollector(kind Kind, c *Config) {
	o := &c.Collector
	const at = "collector."
	if !clusterName.MatchString(o.Cluster) {
		r.fail(at+"cluster", "%q is not a name; use up to 64 letters, digits, _, - and .", o.Cluster)
	}
	if kind == KindCollector && len(c.Mesos.Marathon) == 0 && len(c.Mesos.Master) == 0 && o.ChecksFile == "" && len(o.TargetsFiles) == 0 && o.ModulesFile == "" {
		r.fail("collector", "a collector needs to know what to check; set mesos.marathon, mesos.master, %stargets_files or %schecks_file, or %smodules_file to be asked by /probe alone", at, at, at)
	}
	r.readable(at+"checks_file", &o.ChecksFile)
	r.readable(at+"modules_file", &o.ModulesFile)
	for i, p := range o.TargetsFiles {
		key := at + "targets_files[" + strconv.Itoa(i) + "]"
		switch {
		case p == "":
			r.fail(key, "is empty; write a path")
		case strings.HasSuffix(p, "/"):
			r.fail(key, "%s is a folder; write %s*.json", p, p)
		case r.places[at+"targets_files"].source == "":
			o.TargetsFiles[i] = absolute(r.dir, p)
		}
	}
	for i, n := range o.LabelTargets {
		if _, err := netip.ParsePrefix(n); err != nil {
			r.fail(at+"label_targets["+strconv.Itoa(i)+"]", "%q is not a network; write it as 10.1.0.0/16, and one address as 10.1.2.3/32", n)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(o.Credentials)) {
		v, key := o.Credentials[name], at+"credentials."+name
		if len(v.Apps) == 0 {
			r.fail(key+".apps", "is missing: whose checks may use it? write [\"/prod/*\"]")
		}
		if v.PasswordFile == "" {
			r.fail(key+".password_file", "is missing; put the password into a file and name that")
		} else if r.readable(key+".password_file", &v.PasswordFile) {
			if _, err := Secret(v.PasswordFile); err != nil {
				r.fail(key+".password_file", "%v", err)
			}
		}
		o.Credentials[name] = v // with the whole path
	}
	if o.Exec.Allow != "" {
		r.absolutePath(at+"exec.allow", o.Exec.Allow)
	}
	if r.readable(at+"admin_token_file", &o.AdminTokenFile) {
		if token, err := Secret(o.AdminTokenFile); err != nil {
			r.fail(at+"admin_token_file", "%v", err)
		} else if strings.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c > '~' }) {
			r.fail(at+"admin_token_file", "%s holds more than one word; a token is letters and digits without spaces", o.AdminTokenFile)
		}
	}
}

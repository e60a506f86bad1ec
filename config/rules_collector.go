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
	r.token(at+"admin_token_file", &o.AdminTokenFile)
	r.checkTold(o)
}

// checkTold is about whom a collector tells of what it finds.
func (r *reader) checkTold(o *Collector) {
	const at = "collector."
	if o.URL != "" {
		r.serverURL(at+"url", o.URL, "9912", "no password; this URL stands in alerts")
	}
	seen := map[string]int{}
	for i, u := range o.Alertmanager {
		key := at + "alertmanager[" + strconv.Itoa(i) + "]"
		r.serverURL(key, u, "9093", at+"alertmanager_credentials_file")
		if first, twice := seen[u]; twice {
			r.fail(key, "is the same as alertmanager[%d]; remove one", first)
		} else {
			seen[u] = i
		}
	}
	if key := at + "alertmanager_credentials_file"; r.readable(key, &o.AlertmanagerCredentialsFile) {
		if _, _, err := Credentials(o.AlertmanagerCredentialsFile); err != nil {
			r.fail(key, "%v", err)
		}
	}
	n := &o.Nagios
	switch {
	case n.NRDP != "" && n.TokenFile == "":
		r.fail(at+"nagios.token_file", "is missing; NRDP takes nothing without a token: put it into a file and name that")
	case n.NRDP == "" && n.TokenFile != "":
		r.fail(at+"nagios.token_file", "has no effect without nagios.nrdp; remove it")
	}
	if n.NRDP != "" {
		r.serverURL(at+"nagios.nrdp", n.NRDP, "80/nrdp/", at+"nagios.token_file")
	}
	r.token(at+"nagios.token_file", &n.TokenFile)
	if n.CommandFile != "" {
		r.absolutePath(at+"nagios.command_file", n.CommandFile)
	}
}

// token checks a key that names a file with a token.
func (r *reader) token(key string, path *string) {
	if !r.readable(key, path) {
		return
	}
	if token, err := Secret(*path); err != nil {
		r.fail(key, "%v", err)
	} else if strings.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c > '~' }) {
		r.fail(key, "%s holds more than one word; a token is letters and digits without spaces", *path)
	}
}

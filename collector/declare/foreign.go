package declare

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"mesoscope/collector/target"
)

// datadogPrefix begins the labels by which Datadog's agent is told what to check.
const datadogPrefix = "com.datadoghq.ad."

// integrations are the kinds that do what an integration of Datadog does.
var integrations = map[string]string{
	"redisdb": "redis", "mysql": "mysql", "postgres": "postgres", "zk": "zookeeper", "elastic": "elasticsearch", "kafka": "kafka", "kafka_consumer": "kafka",
	"cassandra": "cassandra", "nginx": "http", "apache": "http", "http_check": "http", "tcp_check": "tcp", "tls": "tls", "haproxy": "http",
	"mesos_master": "mesos-master", "mesos_slave": "mesos-agent", "marathon": "marathon", "spark": "spark", "ceph": "ceph",
}

// datadog reads both forms of Datadog's labels. Only what is asked is taken,
// never a password.
func (d *declared) datadog(i target.Instance) {
	type integration struct {
		Instances []map[string]any `json:"instances"`
	}
	found := map[string]integration{}
	label := datadogPrefix + "checks"
	bad := func(err error) { d.problems = append(d.problems, Problem{"label " + label, err.Error()}) }
	if text, ok := i.Labels[label]; ok {
		if err := json.Unmarshal([]byte(text), &found); err != nil {
			bad(fmt.Errorf("not in Datadog's form: %w", err))
			return
		}
	} else if text, ok := i.Labels[datadogPrefix+"check_names"]; ok {
		label = datadogPrefix + "check_names"
		var names []string
		if err := json.Unmarshal([]byte(text), &names); err != nil {
			bad(fmt.Errorf("not in Datadog's form: %w", err))
			return
		}
		label = datadogPrefix + "instances"
		var instances []any // each is an instance, or a list of them
		if err := json.Unmarshal([]byte(i.Labels[label]), &instances); err != nil {
			bad(fmt.Errorf("not in Datadog's form: %w", err))
			return
		}
		for n, name := range names {
			if n >= len(instances) {
				break
			}
			list, isList := instances[n].([]any)
			if !isList {
				list = []any{instances[n]}
			}
			one := found[name]
			for _, v := range list {
				if m, ok := v.(map[string]any); ok {
					one.Instances = append(one.Instances, m)
				}
			}
			found[name] = one
		}
	}
	for _, name := range slices.Sorted(maps.Keys(found)) {
		kind, known := integrations[name]
		if !known {
			bad(fmt.Errorf("no kind of check does what Datadog's %q does", name))
			continue
		}
		for n, settings := range found[name].Instances {
			check := "dd-" + strings.ReplaceAll(name, "_", "-")
			if n > 0 {
				check += "-" + strconv.Itoa(n)
			}
			if err := d.datadogCheck(check, kind, "label "+label, settings, i); err != nil {
				bad(fmt.Errorf("%s: %w", name, err))
				delete(d.checks, check)
			}
		}
	}
}

// datadogCheck makes one check of an instance of an integration.
func (d *declared) datadogCheck(name, kind, from string, settings map[string]any, i target.Instance) error {
	text := func(key string) string {
		switch v := settings[key].(type) {
		case string:
			return v
		case float64:
			return strconv.FormatFloat(v, 'f', -1, 64)
		}
		return ""
	}
	at := ""
	for _, key := range []string{"url", "nginx_status_url", "apache_status_url", "spark_url", "server", "host", "kafka_connect_str"} {
		if at = text(key); at != "" {
			break
		}
	}
	at, err := filled(at, i)
	if err != nil {
		return err
	}
	set := func(key, text string) { d.set(name, key, value{text: text, from: from}) }
	set("kind", kind)
	port, err := filled(text("port"), i)
	if err != nil {
		return err
	}
	host := at
	if u, err := url.Parse(at); err == nil && u.Host != "" {
		host = u.Hostname()
		if u.Scheme == "https" && urlKinds[kind] != "" {
			set("scheme", "https")
		}
		if kind == "http" {
			set("path", u.RequestURI())
		}
		if u.Port() != "" {
			port = u.Port()
		}
	} else if h, p, err := net.SplitHostPort(at); err == nil {
		host, port = h, p
	}
	if host != "" && host != i.Address && host != i.Host && host != "localhost" && host != "127.0.0.1" {
		return fmt.Errorf("it asks %s, which is not the instance", host)
	}
	if port != "" {
		set("port", port)
	}
	if v := text("timeout"); v != "" {
		set("timeout", v+"s")
	}
	if settings["tls_verify"] == false || settings["disable_ssl_validation"] == true {
		set("insecure", "true")
	}
	return nil
}

// filled replaces Datadog's template variables by what the instance has.
func filled(text string, i target.Instance) (string, error) {
	for strings.Contains(text, "%%") {
		before, rest, _ := strings.Cut(text, "%%")
		name, after, ok := strings.Cut(rest, "%%")
		if !ok {
			return "", fmt.Errorf("%q has no second %%%%", text)
		}
		with := ""
		index, numbered := strings.CutPrefix(name, "port_")
		switch {
		case name == "host" || strings.HasPrefix(name, "host_"):
			with = i.Address
		case name == "hostname":
			with = i.Host
		case name == "port":
			index, numbered = "0", true
			fallthrough
		case numbered:
			n, err := strconv.Atoi(index)
			if err != nil || n < 0 || n >= len(i.Ports) {
				return "", fmt.Errorf("%%%%%s%%%% is none of its %d ports", name, len(i.Ports))
			}
			with = strconv.Itoa(i.Ports[n].Number)
		default:
			return "", fmt.Errorf("%%%%%s%%%% is not known here", name)
		}
		text = before + with + after
	}
	return text, nil
}

// consulLabel holds a check, or a list of checks, in the form of Consul's agent.
const consulLabel = "mesoscope.consul"

// consulCheck is the part of Consul's form that can be done from outside.
type consulCheck struct {
	ID       string              `json:"id"`
	Name     string              `json:"name"`
	HTTP     string              `json:"http"`
	Method   string              `json:"method"`
	Body     string              `json:"body"`
	Header   map[string][]string `json:"header"`
	TCP      string              `json:"tcp"`
	GRPC     string              `json:"grpc"`
	GRPCTLS  bool                `json:"grpc_use_tls"`
	Insecure bool                `json:"tls_skip_verify"`
	Server   string              `json:"tls_server_name"`
	Interval string              `json:"interval"`
	Timeout  string              `json:"timeout"`
	Pass     int                 `json:"success_before_passing"`
	Fail     int                 `json:"failures_before_critical"`
	Args     []string            `json:"args"`
	Script   []string            `json:"script_args"`
	TTL      string              `json:"ttl"`
}

// consul reads Consul's form of checks.
func (d *declared) consul(i target.Instance) {
	text, ok := i.Labels[consulLabel]
	if !ok {
		return
	}
	from := "label " + consulLabel
	bad := func(format string, args ...any) {
		d.problems = append(d.problems, Problem{from, fmt.Sprintf(format, args...)})
	}
	var whole struct {
		Check  *consulCheck  `json:"check"`
		Checks []consulCheck `json:"checks"`
		consulCheck
	}
	list := []consulCheck{}
	if strings.HasPrefix(strings.TrimSpace(text), "[") {
		if err := json.Unmarshal([]byte(text), &list); err != nil {
			bad("not in Consul's form: %v", err)
			return
		}
	} else if err := json.Unmarshal([]byte(text), &whole); err != nil {
		bad("not in Consul's form: %v", err)
		return
	} else {
		list = whole.Checks
		if whole.Check != nil {
			list = append(list, *whole.Check)
		}
		if len(list) == 0 {
			list = append(list, whole.consulCheck)
		}
	}
	for n, c := range list {
		name := "consul"
		if n > 0 {
			name += "-" + strconv.Itoa(n)
		}
		if err := d.consulCheck(name, from, c, i); err != nil {
			bad("check %d: %v", n+1, err)
			delete(d.checks, name)
		}
	}
}

func (d *declared) consulCheck(name, from string, c consulCheck, i target.Instance) error {
	set := func(key, text string) {
		if text != "" && text != "0" {
			d.set(name, key, value{text: text, from: from})
		}
	}
	at := ""
	switch {
	case len(c.Args)+len(c.Script) > 0:
		return fmt.Errorf("programs are started from checks.yml only")
	case c.HTTP != "":
		u, err := url.Parse(c.HTTP)
		if err != nil || u.Host == "" {
			return fmt.Errorf("%q is no URL", c.HTTP)
		}
		set("kind", u.Scheme)
		set("path", u.RequestURI())
		set("method", c.Method)
		set("data", c.Body)
		n := 1
		for _, k := range slices.Sorted(maps.Keys(c.Header)) {
			for _, v := range c.Header[k] {
				key := "header"
				if n > 1 {
					key += "." + strconv.Itoa(n)
				}
				set(key, k+": "+v)
				n++
			}
		}
		at = u.Host
	case c.TCP != "":
		set("kind", "tcp")
		at = c.TCP
	case c.GRPC != "":
		set("kind", "grpc")
		address, service, _ := strings.Cut(c.GRPC, "/")
		set("service", service)
		at = address
		if c.GRPCTLS {
			set("tls", "true")
		}
	default:
		return fmt.Errorf("only http, tcp and grpc can be done from outside")
	}
	host, port, err := net.SplitHostPort(at)
	if err != nil {
		host, port = at, ""
	}
	if host != i.Address && host != i.Host && host != "localhost" && host != "127.0.0.1" {
		return fmt.Errorf("it asks %s, which is not the instance", host)
	}
	set("port", port)
	if c.Insecure {
		set("insecure", "true")
	}
	set("servername", c.Server)
	set("interval", c.Interval)
	set("timeout", c.Timeout)
	set("pass", strconv.Itoa(c.Pass))
	if c.Fail > 0 {
		set("fail", strconv.Itoa(c.Fail))
	}
	return nil
}

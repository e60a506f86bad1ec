package declare

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"mesoscope/collector/target"
)

const (
	prefix     = "mesoscope."
	fromImage  = "image "
	fromHealth = "healthChecks["
	// command is the kind of what Marathon's executor runs. No place but
	// Marathon's healthChecks can declare it.
	command = "command"
)

var checkName = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)

// images are the kinds of programs that images are called after, by the last
// part of the name without its registry and tag.
var images = []struct {
	pattern *regexp.Regexp
	kind    string
	port    int // inside the container
}{
	{regexp.MustCompile(`^(redis|redis-server|redis-stack.*|valkey|keydb)$`), "redis", 6379},
	{regexp.MustCompile(`^codis(-proxy)?$`), "codis", 19000},
	{regexp.MustCompile(`^(mysql|mysql-server|mariadb|mariadb-galera|percona|percona-server|percona-xtradb-cluster)$`), "mysql", 3306},
	{regexp.MustCompile(`^(postgres|postgresql|timescaledb|postgis)$`), "postgres", 5432},
	{regexp.MustCompile(`^(zookeeper|cp-zookeeper)$`), "zookeeper", 2181},
	{regexp.MustCompile(`^(elasticsearch|elasticsearch-oss|opensearch)$`), "elasticsearch", 9200},
	{regexp.MustCompile(`^(kafka|cp-kafka|cp-server)$`), "kafka", 9092},
	{regexp.MustCompile(`^(cassandra|scylla)$`), "cassandra", 9042},
	{regexp.MustCompile(`^(nginx|nginx-unprivileged|httpd|apache|caddy|haproxy|traefik|tomcat|jetty|openresty)$`), "http", 80},
	{regexp.MustCompile(`^(spark-driver)$`), "spark", 4040},
	{regexp.MustCompile(`^(chronos)$`), "chronos", 4400},
	{regexp.MustCompile(`^(marathon)$`), "marathon", 8080},
}

// imageName is "redis" of "registry:5000/library/redis:7@sha256:…".
func imageName(image string) string {
	image, _, _ = strings.Cut(image, "@")
	image = image[strings.LastIndexByte(image, '/')+1:]
	name, _, _ := strings.Cut(image, ":")
	return name
}

// image guesses a check of the image's name.
func (d *declared) image(i target.Instance) {
	name := imageName(i.Image)
	for _, known := range images {
		if name == "" || !known.pattern.MatchString(name) || len(i.Ports) == 0 {
			continue
		}
		from := fromImage + i.Image
		d.set(known.kind, "kind", value{text: known.kind, from: from})
		for _, p := range i.Ports {
			if p.Container == known.port || p.Container == 0 && p.Number == known.port {
				d.set(known.kind, "port", value{text: strconv.Itoa(p.Number), from: from})
			}
		}
		return
	}
}

// health imports the checks that Marathon was asked for: what Marathon calls
// good is good, but seen from here.
func (d *declared) health(i target.Instance) {
	for n, h := range i.Health {
		name := "marathon"
		if n > 0 {
			name += "-" + strconv.Itoa(n)
		}
		from := fmt.Sprintf("%s%d] of %s", fromHealth, n, i.App)
		set := func(key, text string) { d.set(name, key, value{text: text, from: from}) }
		set("kind", h.Kind)
		if h.Kind == command {
			if h.Grace > 0 {
				set("grace", h.Grace.String())
			}
			continue
		}
		if h.Kind != "tcp" {
			if h.Path != "" {
				set("path", h.Path)
			}
			set("no-redirects", "true")
			if h.Kind == "https" {
				set("insecure", "true")
			}
		}
		if h.Port != 0 {
			set("port", strconv.Itoa(h.Port))
		} else {
			set("port_index", strconv.Itoa(h.PortIndex))
		}
		if h.Timeout > 0 {
			set("timeout", h.Timeout.String())
		}
		if h.Grace > 0 {
			set("grace", h.Grace.String())
		}
	}
}

// file makes a check of a target that a file names: labels check and kind of a
// URL or an address.
func (d *declared) file(i target.Instance) {
	if i.Literal == "" {
		return
	}
	from := "target " + i.Literal + " of " + i.Origin
	set := func(name, key, text string) { d.set(name, key, value{text: text, from: from, trusted: true}) }
	for key := range owning {
		if text := i.Labels[key]; text != "" {
			d.app[key] = value{text: text, from: from, trusted: true}
		}
	}
	kind, path, _ := strings.Cut(i.Labels["check"], ":")
	if kind == "" {
		kind = "tcp"
		if strings.Contains(i.Literal, "://") {
			kind = "http"
		}
	}
	name := baseKind(kind)
	if kind == "tcp" && len(i.Ports) == 0 {
		return // a bare host: checks.yml may say what to do with it
	}
	set(name, "kind", kind)
	if path != "" {
		set(name, "path", path)
	}
	if strings.Contains(i.Literal, "://") && path == "" {
		set(name, "target", i.Literal)
	}
}

// labels reads mesoscope.check.<name>[.<option>] and the ownership of the app.
func (d *declared) labels(i target.Instance) {
	// kinds first, as another kind ends what was said before
	keys := make([]string, 0, len(i.Labels))
	for key := range i.Labels {
		if strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b string) int { return strings.Compare(a, b) }) // "…health" stands before "…health.port"
	for _, label := range keys {
		text := i.Labels[label]
		v := value{text: text, from: "label " + label, trusted: i.Trusted}
		key := strings.TrimPrefix(label, prefix)
		if owning[key] {
			d.app[key] = v
			continue
		}
		rest, ours := strings.CutPrefix(key, "check.")
		if !ours {
			continue
		}
		name, option, _ := strings.Cut(rest, ".")
		if !checkName.MatchString(name) {
			d.problems = append(d.problems, Problem{v.from, fmt.Sprintf("%q is no name of a check: 1 to 32 of a-z, 0-9 and -", name)})
			continue
		}
		if option != "" {
			d.set(name, option, v)
			continue
		}
		kind, path, has := strings.Cut(text, ":")
		v.text = kind
		d.set(name, "kind", v)
		if has {
			v.text = path
			d.set(name, "path", v)
		}
	}
}

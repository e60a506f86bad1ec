package config

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
)

const (
	// minBulk: one line may be 1 MiB, and its metadata comes on top.
	minBulk = 2 * mib
	// maxBulk is Elasticsearch's default http.max_content_length; a larger
	// request is answered with 413.
	maxBulk = 100 * mib
	// maxName is Elasticsearch's limit for each part of a data stream's name.
	maxName = 100

	minRetention = Duration(3600e9)
	maxRetention = 36500 * day
)

func (r *reader) checkOutput(kind Kind, o *Output) {
	switch {
	case kind == KindCollector && o.Embedded != nil:
		r.fail("output.embedded", "a collector has no store of its own; set output.elasticsearch, or remove it")
	case o.Elasticsearch != nil && o.Embedded != nil:
		r.fail("output", "elasticsearch and embedded are both set; keep one")
	case kind == Agent && o.Embedded != nil:
		r.fail("output.embedded", "an agent has no store of its own; set output.elasticsearch, or run mesoscope standalone")
	case kind == Agent && o.Elasticsearch == nil:
		r.fail("output", "an agent needs to know where lines go; set output.elasticsearch.hosts or %s",
			EnvName("output.elasticsearch.hosts"))
	}
	if o.Elasticsearch != nil {
		r.checkElasticsearch(o.Elasticsearch)
	}
	if o.Embedded != nil {
		r.checkEmbedded(*o.Embedded)
	}
}

func (r *reader) checkEmbedded(e Embedded) {
	const at = "output.embedded."
	r.absolutePath(at+"path", e.Path)
	within(r, at+"max_size", e.MaxSize, 10*mib, 1<<50, "")
	within(r, at+"max_age", e.MaxAge, Duration(60e9), maxRetention, "")
}

func (r *reader) checkElasticsearch(e *Elasticsearch) {
	const at = "output.elasticsearch."
	https := r.checkHosts(at+"hosts", e.Hosts)
	if err := Dataset(e.Dataset); err != nil {
		r.fail(at+"dataset", "%v", err)
	}
	r.dataStreamPart(at+"namespace", e.Namespace)
	r.checkAccess(e, https)
	within(r, at+"compression_level", e.CompressionLevel, 0, 9, "; 0 is off, 1 is a good choice")
	within(r, at+"bulk_max_bytes", e.BulkMaxBytes, minBulk, maxBulk, "; Elasticsearch refuses larger requests, and one line may be 1MiB")
	within(r, at+"flush_interval", e.FlushInterval, Duration(1e6), Duration(60e9), "")
	within(r, at+"workers", e.Workers, 1, 32, "")
	within(r, at+"retention", e.Retention, minRetention, maxRetention, "")
	r.oneOf(at+"ids", e.IDs, "content", "auto")
	r.oneOf(at+"logsdb", e.LogsDB, "auto", "on", "off")
	r.checkMemory(e)
}

// checkHosts says whether one of the hosts is reached by TLS.
func (r *reader) checkHosts(key string, hosts []string) (https bool) {
	if len(hosts) == 0 {
		r.fail(key, "is empty; write [http://127.0.0.1:9200]")
	}
	seen := map[string]int{}
	for i, h := range hosts {
		at := key + "[" + strconv.Itoa(i) + "]"
		u, err := url.Parse(h)
		switch {
		case !strings.Contains(h, "://") && !strings.ContainsAny(h, "/ @") && h != "":
			r.fail(at, "%q is not a URL; write http://%s", h, withPort(h))
		case err != nil || u.Hostname() == "" || (u.Scheme != "http" && u.Scheme != "https"):
			r.fail(at, "%q is not a URL of a server; write http://HOST:9200 or https://HOST:9200", hidePassword(h))
		case u.User != nil:
			r.fail(at, "a user or password stands in the URL; write %s, and set output.elasticsearch.username and password_file",
				(&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String())
		case u.RawQuery != "" || u.Fragment != "":
			r.fail(at, "%q has more than a server and a path; cut it at the ? or #", h)
		case u.Port() != "" && !validPort(u.Port()):
			r.fail(at, "%q has no valid port; write a number from 1 to 65535", h)
		}
		if first, twice := seen[h]; twice {
			r.fail(at, "%q is the same as hosts[%d]; remove one", h, first)
		} else {
			seen[h] = i
		}
		https = https || (err == nil && u.Scheme == "https")
	}
	return https
}

func validPort(s string) bool {
	n, err := strconv.Atoi(s)
	return err == nil && n > 0 && n < 65536
}

// withPort adds Elasticsearch's port to a host that has none.
func withPort(host string) string {
	if strings.Contains(host, ":") {
		return host
	}
	return host + ":9200"
}

// hidePassword keeps what stands before an @ out of a message.
func hidePassword(s string) string {
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		return "…" + s[i:]
	}
	return s
}

// checkAccess checks how the agent shows who it is, and whom it trusts.
func (r *reader) checkAccess(e *Elasticsearch, https bool) {
	const at = "output.elasticsearch."
	switch {
	case e.APIKeyFile != "" && (e.Username != "" || e.PasswordFile != ""):
		r.fail(at+"api_key_file", "is set beside username and password_file; keep one of the two ways")
	case e.Username != "" && e.PasswordFile == "":
		r.fail(at+"username", "has no password; put it into a file and name that in %spassword_file", at)
	case e.Username == "" && e.PasswordFile != "":
		r.fail(at+"password_file", "belongs to no user; set %susername", at)
	}
	for _, s := range []struct {
		key  string
		path *string
	}{{at + "password_file", &e.PasswordFile}, {at + "api_key_file", &e.APIKeyFile}} {
		if r.readable(s.key, s.path) {
			if _, err := Secret(*s.path); err != nil {
				r.fail(s.key, "%v", err)
			}
		}
	}
	if r.readable(at+"ca_file", &e.CAFile) {
		pem, err := os.ReadFile(e.CAFile)
		if err == nil && !x509.NewCertPool().AppendCertsFromPEM(pem) {
			r.fail(at+"ca_file", "%s holds no certificate in PEM form", e.CAFile)
		} else if !https {
			r.fail(at+"ca_file", "has no effect because no host is https; write https://… in hosts, or remove it")
		}
	}
	if r.keyPair("output.elasticsearch", &e.CertFile, &e.KeyFile) && !https {
		r.fail(at+"cert_file", "has no effect because no host is https; write https://… in hosts, or remove it")
	}
}

func (r *reader) dataStreamPart(key, name string) {
	if err := DataStreamPart(name); err != nil {
		r.fail(key, "%v", err)
	}
}

// DataStreamPart checks the naming rules of data streams: type-dataset-namespace,
// hence no - inside a part; the other characters are those that no index name
// may have. The error says what to write instead.
// https://www.elastic.co/docs/reference/ecs/ecs-data_stream
func DataStreamPart(name string) error {
	switch {
	case name == "":
		return errors.New("is empty; remove the key for the default")
	case len(name) > maxName:
		return fmt.Errorf("is %d bytes long; at most %d are possible", len(name), maxName)
	case strings.ToLower(name) != name:
		return fmt.Errorf("%q has capitals; write %s", name, strings.ToLower(name))
	case strings.Contains(name, "-"):
		return fmt.Errorf("%q contains -, which separates the parts of a data stream's name; write %s", name, strings.ReplaceAll(name, "-", "_"))
	case strings.ContainsAny(name, `\/*?"<>|,#: `+"\t\r\n"):
		return fmt.Errorf(`%q contains one of \ / * ? " < > | , # : or a space; use letters, digits, . and _`, name)
	case strings.ContainsAny(name[:1], "._+"):
		return fmt.Errorf("%q begins with %q; begin it with a letter or digit", name, name[:1])
	}
	return nil
}

// Dataset checks the name of a dataset for lines: only for those that begin with
// mesos. there is an index template.
func Dataset(name string) error {
	if err := DataStreamPart(name); err != nil {
		return err
	}
	if rest, ok := strings.CutPrefix(name, "mesos."); !ok || rest == "" {
		return fmt.Errorf("%q does not begin with mesos.; the index template is for logs-mesos.*-* only, write for example mesos.container", name)
	}
	return nil
}

// checkMemory shows the arithmetic, because "too little memory" alone does not
// say which of four keys to change.
func (r *reader) checkMemory(e *Elasticsearch) {
	limit := r.config.MemoryLimit
	copies, form := Bytes(1), "plain"
	if e.CompressionLevel > 0 {
		copies, form = 2, "plain and compressed"
	}
	bulks := Bytes(e.Workers + 1) // one more is being filled
	need := bulks * e.BulkMaxBytes * copies
	if need <= limit/bulkShare || e.BulkMaxBytes > maxBulk || e.Workers > 32 || limit < minMemory {
		return
	}
	advice := fmt.Sprintf("raise memory_limit to %s", roundUp(need*bulkShare))
	if fits := limit / bulkShare / bulks / copies / mib * mib; fits >= minBulk {
		advice += fmt.Sprintf(", or lower bulk_max_bytes to %s", fits)
	} else {
		advice += ", or lower bulk_max_bytes and workers"
	}
	r.fail("output.elasticsearch.bulk_max_bytes",
		"does not fit into memory_limit: (workers %d + 1 being filled) × %s × %d (%s) = %s, and bulks may take half of %s; %s",
		e.Workers, e.BulkMaxBytes, copies, form, need, limit, advice)
}

// roundUp is b in whole MiB.
func roundUp(b Bytes) Bytes { return (b + mib - 1) / mib * mib }

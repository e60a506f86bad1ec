package config

import (
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const (
	// minMemory is what the process itself, the open files of a busy node and
	// one small bulk need; below that GOMEMLIMIT would only burn CPU.
	minMemory = 64 * mib
	// bulkShare of memory_limit may be taken by bulks. A quarter is for what is
	// sent again, the rest for readers, joiners and the process itself.
	bulkShare = 2
)

// check holds the finished configuration against the rules that concern more
// than the type of one key.
func (r *reader) check(kind Kind) {
	c := r.config
	r.absolutePath("data_dir", c.DataDir)
	if c.MemoryLimit < minMemory {
		r.fail("memory_limit", "%s is too little; write %s or more", c.MemoryLimit, Bytes(minMemory))
	}
	r.checkHTTP(&c.HTTP)
	r.checkDocker(c.Docker)
	r.checkMesos(&c.Mesos)
	r.absolutePath("hold.dir", c.Hold.Dir)
	if _, _, err := parseMinFree(c.Hold.MinFree); err != nil {
		r.fail("hold.min_free", "%v", err)
	}
	if strings.ContainsFunc(c.Node.Name, func(c rune) bool { return c <= ' ' }) {
		r.fail("node.name", "%q contains a space; write the name of this machine", c.Node.Name)
	}
	r.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	r.oneOf("log.format", c.Log.Format, "text", "json")
	r.checkOutput(kind, &c.Output)
	r.checkCollector(kind, c)
}

func (r *reader) checkHTTP(h *HTTP) {
	host, port, err := net.SplitHostPort(h.Listen)
	n, numErr := strconv.Atoi(port)
	switch {
	case err != nil:
		r.fail("http.listen", "%q is not host:port; write 127.0.0.1:9911 or, for all networks, :9911", h.Listen)
	case numErr != nil || n < 0 || n > 65535:
		r.fail("http.listen", "%q is not a port; write a number from 0 (any free one) to 65535", port)
	case strings.ContainsAny(host, "/ "):
		r.fail("http.listen", "%q is not a host; write 127.0.0.1:9911 without http://", host)
	}
	r.keyPair("http.tls", &h.TLS.CertFile, &h.TLS.KeyFile)
	if r.readable("http.token_file", &h.TokenFile) {
		token, err := Secret(h.TokenFile)
		if err != nil {
			r.fail("http.token_file", "%v", err)
		} else if strings.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c > '~' }) {
			r.fail("http.token_file", "%s holds more than one word; a token is letters and digits without spaces", h.TokenFile)
		}
	}
}

func (r *reader) checkDocker(d Docker) {
	r.absolutePath("docker.root", d.Root)
	if path, ok := strings.CutPrefix(d.Socket, "unix://"); d.Socket != "" && (!ok || !filepath.IsAbs(path)) {
		r.fail("docker.socket", `%q is not a socket of this machine; write unix:///var/run/docker.sock, or "" to read files alone`, d.Socket)
	}
	for i, e := range d.Exclude {
		key := "docker.exclude[" + strconv.Itoa(i) + "]"
		kind, pattern, ok := strings.Cut(e, ":")
		switch {
		case strings.TrimSpace(e) == "":
			r.fail(key, "is empty; write a container's name, name:PATTERN, image:PATTERN or label:KEY=PATTERN")
		case !ok:
		case kind != "name" && kind != "image" && kind != "label":
			r.fail(key, "%q is none of name, image, label; write for example image:%s", kind, e)
		case pattern == "" || strings.HasPrefix(pattern, "="):
			r.fail(key, "%q has no pattern; write for example name:test-* or label:com.example.team=ops", e)
		}
	}
}

// absolutePath refuses paths that depend on where the process was started.
func (r *reader) absolutePath(key, path string) {
	if !filepath.IsAbs(path) {
		r.fail(key, "%q is not an absolute path; begin it with /", path)
	}
}

func (r *reader) oneOf(key, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		r.fail(key, "%q is not known; write one of %s", value, strings.Join(allowed, ", "))
	}
}

// within refuses a size or number outside its limits.
func within[T Bytes | Duration | int](r *reader, key string, value, low, high T, why string) {
	if value < low || value > high {
		r.fail(key, "%v is not from %v to %v%s", value, low, high, why)
	}
}

// readable makes the path of a *_file key absolute and says whether one is set and
// can be read. A relative one begins at the folder of the configuration if it
// stands there, else at the working folder.
func (r *reader) readable(key string, path *string) bool {
	if *path == "" {
		return false
	}
	dir := r.dir
	if r.places[key].source != "" {
		dir = "."
	}
	if full, err := filepath.Abs(absolute(dir, *path)); err == nil {
		*path = full
	}
	f, err := os.Open(*path)
	if err != nil {
		r.fail(key, "%v", err)
		return false
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		r.fail(key, "%s is a folder; name a file", *path)
		return false
	}
	return true
}

// keyPair checks that cert_file and key_file below section belong together.
func (r *reader) keyPair(section string, cert, key *string) bool {
	certKey, keyKey := join(section, "cert_file"), join(section, "key_file")
	switch {
	case *cert == "" && *key == "":
		return false
	case *key == "":
		r.fail(certKey, "a certificate needs its private key; set %s too", keyKey)
		return false
	case *cert == "":
		r.fail(keyKey, "a private key needs its certificate; set %s too", certKey)
		return false
	}
	certOK, keyOK := r.readable(certKey, cert), r.readable(keyKey, key)
	if !certOK || !keyOK {
		return false
	}
	if _, err := tls.LoadX509KeyPair(*cert, *key); err != nil {
		r.fail(certKey, "does not go with %s: %v", keyKey, err)
		return false
	}
	return true
}

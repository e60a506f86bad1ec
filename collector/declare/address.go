package declare

import (
	"cmp"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"mesoscope/collector/target"
)

// port is where the instance is asked; 0 is the kind's own.
func (b *builder) port() (int, error) {
	ports := b.i.Ports
	if v, ok := b.c["port"]; ok {
		n, err := strconv.Atoi(v.text)
		if err != nil || n < 1 || n > 65535 {
			return 0, b.wrong("port", "%q is no port", v.text)
		}
		if v.trusted {
			if own, ok := findPort(ports, n); ok {
				return own, nil
			}
			return n, nil
		}
		return b.ownPort("port", v.text)
	}
	if v, ok := b.c["port_name"]; ok {
		at := slices.IndexFunc(ports, func(p target.Port) bool { return p.Name == v.text && v.text != "" })
		if at < 0 {
			return 0, b.wrong("port_name", "no port is called %q", v.text)
		}
		return ports[at].Number, nil
	}
	index := 0
	if v, ok := b.c["port_index"]; ok {
		n, err := strconv.Atoi(v.text)
		if err != nil || n < 0 || n >= len(ports) {
			return 0, b.wrong("port_index", "%q is none of its %d ports, which are counted from 0", v.text, len(ports))
		}
		index = n
	}
	if len(ports) > 0 {
		return ports[index].Number, nil
	}
	if b.i.Trusted || b.c["kind"].trusted {
		return 0, nil
	}
	return 0, b.wrong("port_index", "the instance has no port")
}

// ownPort is a port that the instance has, by its number inside of the
// container or on the host.
func (b *builder) ownPort(key, text string) (int, error) {
	n, _ := strconv.Atoi(text)
	if own, ok := findPort(b.i.Ports, n); ok {
		return own, nil
	}
	if n > 0 && n < 65536 && len(b.o.LabelTargets) > 0 && b.o.mayPointTo(b.i.Address) == nil {
		return n, nil
	}
	return 0, b.wrong(key, "%s is no port of the instance", text)
}

func findPort(ports []target.Port, n int) (int, bool) {
	for _, p := range ports {
		if p.Container == n && n != 0 {
			return p.Number, true
		}
	}
	for _, p := range ports {
		if p.Number == n && n != 0 {
			return n, true
		}
	}
	return 0, false
}

// address is what checks.New wants for the kind.
func (b *builder) address() (address string, args []string, err error) {
	for _, key := range []string{"kind", "path", "port", "port_index", "port_name", "scheme", "target"} {
		if v, ok := b.c[key]; ok && !v.trusted {
			b.confined = true
		}
	}
	if b.kind == "exec" {
		return b.program()
	}
	path := b.c["path"]
	if v, ok := b.c["target"]; ok {
		return b.elsewhere("target", v)
	}
	if strings.Contains(path.text, "://") {
		return b.elsewhere("path", path)
	}
	if b.kind == "docker" || b.kind == "volume" {
		if b.i.App != "" || path.text == "" {
			return "", nil, b.wrong("kind", "%s is possible in the section static only: it looks at the collector's own machine", b.kind)
		}
		return path.text, nil, nil
	}
	if b.i.Address == "" {
		return "", nil, b.wrong("target", "is missing")
	}
	port, err := b.port()
	if err != nil {
		return "", nil, err
	}
	host := b.i.Address
	if port != 0 {
		host = net.JoinHostPort(host, strconv.Itoa(port))
	}
	scheme, isURL := urlKinds[b.kind]
	switch {
	case isURL:
		if b.c["kind"].text == "https" {
			scheme = "https"
		}
		if v, ok := b.c["scheme"]; ok {
			if v.text != "http" && v.text != "https" {
				return "", nil, b.wrong("scheme", "%q is neither http nor https", v.text)
			}
			scheme = v.text
		}
		if b.kind == "http" && path.text == "" {
			path.text = "/"
		}
		if path.text != "" && path.text[0] != '/' {
			return "", nil, b.wrong("path", "%q does not begin with /", path.text)
		}
		return scheme + "://" + host + path.text, nil, nil
	case b.kind == "dns":
		if _, set := b.options["server"]; !set {
			b.options["server"] = []string{host}
		}
		if path.text == "" {
			return "", nil, b.wrong("path", "which name? dns:NAME")
		}
		return path.text, nil, nil
	case path.text != "" && (b.kind == "mysql" || b.kind == "postgres"):
		return host + "/" + path.text, nil, nil
	case path.text != "":
		return "", nil, b.wrong("path", "%s has none, but there is %q", b.kind, path.text)
	}
	return host, nil, nil
}

// elsewhere is a target that is named as a whole.
func (b *builder) elsewhere(key string, v value) (string, []string, error) {
	if !v.trusted {
		if err := b.o.mayPointTo(hostOf(v.text)); err != nil {
			return "", nil, b.wrong(key, "%q: %v", shown(v.text), err)
		}
	}
	return v.text, nil, nil
}

// program is a plugin with its arguments. {host} and {port} in them are the
// instance's.
func (b *builder) program() (string, []string, error) {
	path, ok := b.c["path"]
	if !ok {
		path = b.c["target"]
	}
	for _, key := range []string{"path", "target", "args"} {
		if v, ok := b.c[key]; ok && !v.trusted {
			return "", nil, b.wrong(key, "programs are started from checks.yml only")
		}
	}
	clean := filepath.Clean(path.text)
	if b.o.ExecAllow == "" || !strings.HasPrefix(clean, filepath.Clean(b.o.ExecAllow)+"/") {
		return "", nil, b.wrong("path", "%q is not below %s (collector.exec.allow)", path.text, cmp.Or(b.o.ExecAllow, "any folder"))
	}
	var args []string
	for n := 1; ; n++ {
		key := "args"
		if n > 1 {
			key += "." + strconv.Itoa(n)
		}
		v, ok := b.c[key]
		if !ok {
			break
		}
		text := v.text
		if strings.Contains(text, "{host}") || strings.Contains(text, "{port}") {
			port, err := b.port()
			if err != nil {
				return "", nil, err
			}
			if strings.HasPrefix(b.i.Address, "-") {
				return "", nil, b.wrong(key, "%q is no address", b.i.Address)
			}
			text = strings.NewReplacer("{host}", b.i.Address, "{port}", strconv.Itoa(port)).Replace(text)
		}
		args = append(args, text)
	}
	return clean, args, nil
}

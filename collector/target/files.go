package target

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

// Files are targets in the form of Prometheus' file_sd, JSON or YAML:
//
//   - targets: ["shop.example.net:443", "https://shop.example.net/health"]
//     labels: {app: /prod/shop, host: n1, team: shop}
//
// Labels beginning with __ are Prometheus' own and ignored.
type Files struct {
	Patterns []string // paths; * in the last part

	last  map[string]file // by path
	whole []Instance      // of all, as long as none has changed
}

// A file is what was read last, and when it was written.
type file struct {
	stamp     string
	instances []Instance
	err       error
}

// group is one entry of such a file.
type group struct {
	Targets []string          `yaml:"targets" json:"targets"`
	Labels  map[string]string `yaml:"labels" json:"labels"`
}

// maxFile bounds a file, in bytes: 100,000 targets are a few MiB.
const maxFile = 64 << 20

// Name names it in messages.
func (f *Files) Name() string { return "files " + strings.Join(f.Patterns, ",") }

// Every is how often it is looked whether a file has changed.
func (f *Files) Every() time.Duration { return 2 * time.Second }

// Find reads the files that have changed. One that is bad keeps the targets
// that it had; one that is gone has none.
func (f *Files) Find(context.Context) (Set, error) {
	now := map[string]file{}
	var out Set
	var bad []error
	paths, changed := 0, false
	for _, pattern := range f.Patterns {
		found, err := filepath.Glob(pattern)
		if err != nil {
			bad = append(bad, fmt.Errorf("%s: %w", pattern, err))
		}
		if len(found) == 0 && !strings.ContainsAny(pattern, "*?[") {
			bad = append(bad, fmt.Errorf("%s: no such file", pattern))
			found = []string{pattern}
		}
		for _, path := range found {
			if _, twice := now[path]; twice {
				continue
			}
			known := f.read(path)
			now[path] = known
			paths++
			changed = changed || known.stamp != f.last[path].stamp
			if out.Instances == nil {
				out.Instances = slices.Clip(known.instances) // usually there is one file
			} else {
				out.Instances = append(out.Instances, known.instances...)
			}
			if known.err != nil {
				bad = append(bad, fmt.Errorf("%s: %w", path, known.err))
			}
		}
	}
	if changed || paths != len(f.last) {
		f.whole = out.Instances
	}
	out.Instances = f.whole // the same slice says that nothing has changed
	f.last = now
	if len(bad) > 0 && len(out.Instances) == 0 {
		return Set{}, errors.Join(bad...)
	}
	return out, errors.Join(bad...)
}

// read is a file as it is, or as it was if it cannot be read.
func (f *Files) read(path string) file {
	known := f.last[path]
	info, err := os.Stat(path)
	if err != nil {
		known.err = errors.Unwrap(err) // the path is said anyway
		return known
	}
	stamp := fmt.Sprint(info.ModTime().UnixNano(), info.Size())
	if stamp == known.stamp {
		return known
	}
	known.stamp = stamp
	instances, err := readFile(path, info.Size())
	if err != nil {
		known.err = err
		return known
	}
	known.instances, known.err = instances, nil
	return known
}

func readFile(path string, size int64) ([]Instance, error) {
	if size > maxFile {
		return nil, fmt.Errorf("larger than %d MiB", maxFile>>20)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var groups []group
	if strings.HasSuffix(path, ".json") {
		err = json.Unmarshal(text, &groups)
	} else {
		err = yaml.UnmarshalWithOptions(text, &groups, yaml.Strict())
	}
	if err != nil {
		return nil, fmt.Errorf("not in the form of file_sd: %w", err)
	}
	var out []Instance
	for n, g := range groups {
		if len(g.Targets) == 0 {
			return nil, fmt.Errorf("group %d has no targets", n+1)
		}
		labels := map[string]string{} // one for all of the group
		for k, v := range g.Labels {
			if !strings.HasPrefix(k, "__") {
				labels[k] = v
			}
		}
		for _, t := range g.Targets {
			i, err := fromFile(t, labels)
			if err != nil {
				return nil, fmt.Errorf("group %d: %w", n+1, err)
			}
			out = append(out, i)
		}
	}
	return out, nil
}

// fromFile makes an instance of a target as people write it: host:port, a URL,
// or a bare host.
func fromFile(literal string, labels map[string]string) (Instance, error) {
	i := Instance{ID: literal, Literal: literal, Labels: labels, Trusted: true}
	for k, v := range labels {
		switch k {
		case "app":
			i.App = v
		case "host":
			i.Host = v
		case "framework":
			i.Framework = v
		case "task":
			i.Task = v
		}
	}
	address := literal
	if strings.Contains(literal, "://") {
		u, err := url.Parse(literal)
		if err != nil || u.Hostname() == "" {
			return i, fmt.Errorf("%q is no URL", literal)
		}
		address = u.Host
		if u.Port() == "" {
			address = net.JoinHostPort(u.Hostname(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
		}
	}
	if host, port, err := net.SplitHostPort(address); err == nil {
		n, err := strconv.Atoi(port)
		if err != nil || n < 1 || n > 65535 {
			return i, fmt.Errorf("%q has no valid port", literal)
		}
		i.Address, i.Ports = host, []Port{{Number: n}}
	} else {
		i.Address = address
	}
	if i.Address == "" {
		return i, fmt.Errorf("%q names no host", literal)
	}
	if i.App != "" { // the same address can be there for two apps
		i.ID = i.App + " " + literal
	}
	if i.Host == "" {
		i.Host = i.Address
	}
	return i, nil
}

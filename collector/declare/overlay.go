package declare

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"mesoscope/checks"
)

// An Overlay is checks.yml: checks by app, by host and of single targets. It
// needs no restart of any app, and whoever writes it is trusted.
type Overlay struct {
	Apps   []Entry // in the order of the file: later ones count
	Hosts  []Entry
	Static []Static
}

// An Entry is what is said of the apps or hosts that its pattern matches.
type Entry struct {
	Pattern string
	app     values
	checks  []namedValues
}

type namedValues struct {
	name   string
	values values
}

// A Static is a target that belongs to nothing that is discovered.
type Static struct {
	Name, App, Host, From string
	values                values
}

// maxOverlay bounds the file, in bytes.
const maxOverlay = 16 << 20

// ReadOverlay reads checks.yml. It is good as a whole, or refused.
func ReadOverlay(path string) (*Overlay, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxOverlay {
		return nil, fmt.Errorf("%s is larger than %d MiB", path, maxOverlay>>20)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	o, err := ParseOverlay(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return o, nil
}

// ParseOverlay is ReadOverlay for a text.
func ParseOverlay(text []byte) (*Overlay, error) {
	root, err := ordered(text)
	if err != nil {
		return nil, err
	}
	o := &Overlay{}
	for _, section := range root {
		switch key := fmt.Sprint(section.Key); key {
		case "apps", "hosts":
			list, err := parseEntries(key, section.Value)
			if err != nil {
				return nil, err
			}
			if key == "apps" {
				o.Apps = list
			} else {
				o.Hosts = list
			}
		case "static":
			if o.Static, err = parseStatic(section.Value); err != nil {
				return nil, err
			}
		case "jobs", "logs":
			return nil, fmt.Errorf("%s: not in this version; remove it", key)
		default:
			return nil, fmt.Errorf("%s: unknown key; there are apps, hosts, static", key)
		}
	}
	return o, nil
}

// ParseEntry reads what the overlay's API takes: an entry of the section apps,
// as JSON or YAML. from says who wrote it.
func ParseEntry(pattern string, text []byte, from string) (Entry, error) {
	m, err := ordered(text)
	if err != nil {
		return Entry{}, err
	}
	return parseEntry(pattern, from, "", m)
}

// ordered reads a mapping and keeps its order.
func ordered(text []byte) (yaml.MapSlice, error) {
	var root any
	if err := yaml.UnmarshalWithOptions(text, &root, yaml.UseOrderedMap()); err != nil {
		return nil, fmt.Errorf("not YAML: %w", err)
	}
	if root == nil {
		return nil, nil
	}
	m, ok := root.(yaml.MapSlice)
	if !ok {
		return nil, fmt.Errorf("it is no mapping of keys to values")
	}
	return m, nil
}

func mapping(at string, v any) (yaml.MapSlice, error) {
	if v == nil {
		return nil, nil
	}
	m, ok := v.(yaml.MapSlice)
	if !ok {
		return nil, fmt.Errorf("%s: is no mapping of keys to values", at)
	}
	return m, nil
}

func parseEntries(section string, v any) (list []Entry, err error) {
	m, err := mapping(section, v)
	if err != nil {
		return nil, err
	}
	for _, item := range m {
		pattern := fmt.Sprint(item.Key)
		at := section + `["` + pattern + `"]`
		entry, err := mapping(at, item.Value)
		if err != nil {
			return nil, err
		}
		e, err := parseEntry(pattern, "checks.yml "+at, at+".", entry)
		if err != nil {
			return nil, err
		}
		list = append(list, e)
	}
	return list, nil
}

// parseEntry reads {team: x, checks: {name: {…} or off}}.
func parseEntry(pattern, from, at string, m yaml.MapSlice) (Entry, error) {
	e := Entry{Pattern: pattern, app: values{}}
	for _, item := range m {
		key := fmt.Sprint(item.Key)
		switch {
		case owning[key]:
			text, err := scalar(at+key, item.Value)
			if err != nil {
				return e, err
			}
			e.app[key] = value{text: text, from: from, trusted: true}
		case key == "checks":
			list, err := mapping(at+key, item.Value)
			if err != nil {
				return e, err
			}
			for _, c := range list {
				name := fmt.Sprint(c.Key)
				if !checkName.MatchString(name) {
					return e, fmt.Errorf("%schecks: %q is no name of a check: 1 to 32 of a-z, 0-9 and -", at, name)
				}
				v, err := parseCheck(from, at+"checks."+name, c.Value)
				if err != nil {
					return e, err
				}
				e.checks = append(e.checks, namedValues{name, v})
			}
		default:
			return e, fmt.Errorf("%s%s: unknown key; there are checks, %s", at, key, strings.Join(sortedKeys(owning), ", "))
		}
	}
	if _, err := ownerOf(e.app, nil); err != nil {
		return e, err
	}
	return e, nil
}

// parseCheck reads the settings of one check.
func parseCheck(from, at string, v any) (values, error) {
	if v == off || v == false { // what YAML makes of off is a matter of its version
		return values{"kind": {text: off, from: from, trusted: true}}, nil
	}
	m, err := mapping(at, v)
	if err != nil {
		return nil, fmt.Errorf("%w, nor off", err)
	}
	out := values{}
	for _, item := range m {
		key := fmt.Sprint(item.Key)
		put := func(k string, v any) error {
			text, err := scalar(at+"."+k, v)
			if err != nil {
				return err
			}
			out[k] = value{text: text, from: from, trusted: true}
			return nil
		}
		switch list := item.Value.(type) {
		case []any:
			for n, v := range list {
				k := key
				if n > 0 {
					k += "." + strconv.Itoa(n+1)
				}
				if err := put(k, v); err != nil {
					return nil, err
				}
			}
		case yaml.MapSlice:
			if key != "warning" && key != "critical" {
				return nil, fmt.Errorf("%s.%s: is a mapping, wanted a value", at, key)
			}
			for _, limit := range list {
				if err := put(key+"."+fmt.Sprint(limit.Key), limit.Value); err != nil {
					return nil, err
				}
			}
		default:
			if err := put(key, item.Value); err != nil {
				return nil, err
			}
		}
	}
	return out, plausible(at, out)
}

// plausible finds the mistakes that can be seen without an instance.
func plausible(at string, c values) error {
	for key, v := range c {
		if !knownKey(key) {
			return fmt.Errorf("%s.%s: unknown key, and no kind of check has such an option", at, key)
		}
		if _, isKind := checks.Kinds[baseKind(v.text)]; key == "kind" && !isKind && v.text != off {
			return fmt.Errorf("%s.kind: there is no %q; the kinds are %s", at, v.text, strings.Join(checks.Names(), ", "))
		}
		if _, err := time.ParseDuration(v.text); err != nil && (key == "interval" || key == "timeout" || key == "grace") {
			return fmt.Errorf("%s.%s: %q is no duration, as 10s", at, key, v.text)
		}
	}
	_, err := ownerOf(nil, c)
	return err
}

func knownKey(key string) bool {
	if scheduling[key] || owning[key] || placing[key] {
		return true
	}
	if m := numbered.FindStringSubmatch(key); m != nil {
		key = m[1]
	}
	if key == "args" {
		return true
	}
	for _, limit := range []string{"warning.", "critical."} {
		if strings.HasPrefix(key, limit) {
			return true
		}
	}
	for _, k := range checks.Kinds {
		if slices.ContainsFunc(k.AllOptions(), func(o checks.Option) bool { return o.Name == key }) {
			return true
		}
	}
	return false
}

// parseStatic reads [{name, kind, target, …}].
func parseStatic(v any) (list []Static, err error) {
	items, ok := v.([]any)
	if !ok && v != nil {
		return nil, fmt.Errorf("static: is no list")
	}
	seen := map[string]bool{}
	for n, item := range items {
		at := fmt.Sprintf("static[%d]", n)
		m, err := mapping(at, item)
		if err != nil {
			return nil, err
		}
		s := Static{From: "checks.yml " + at}
		var rest yaml.MapSlice
		for _, i := range m {
			to, own := map[string]*string{"name": &s.Name, "app": &s.App, "host": &s.Host}[fmt.Sprint(i.Key)]
			if !own {
				rest = append(rest, i)
				continue
			}
			if *to, err = scalar(at+"."+fmt.Sprint(i.Key), i.Value); err != nil {
				return nil, err
			}
		}
		if !checkName.MatchString(s.Name) {
			return nil, fmt.Errorf("%s.name: %q is no name of a check: 1 to 32 of a-z, 0-9 and -", at, s.Name)
		}
		id := s.Host + " " + s.App + " " + s.Name
		if seen[s.Name] {
			return nil, fmt.Errorf("%s.name: %q is there twice", at, s.Name)
		}
		seen[s.Name], seen[id] = true, true
		if s.values, err = parseCheck(s.From, at, rest); err != nil {
			return nil, err
		}
		if s.values["kind"].text == "" || cmp.Or(s.values["target"].text, s.values["path"].text) == "" {
			return nil, fmt.Errorf("%s: wants name, kind and target", at)
		}
		list = append(list, s)
	}
	return list, nil
}

// scalar is a single value as text.
func scalar(at string, v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case bool, int, int64, uint64:
		return fmt.Sprint(v), nil
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), nil
	case nil:
		return "", fmt.Errorf("%s: has no value", at)
	}
	return "", fmt.Errorf("%s: is no single value", at)
}

func sortedKeys(m map[string]bool) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

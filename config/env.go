package config

import (
	"fmt"
	"reflect"
	"regexp"
	"strings"
)

// envPrefix begins every variable that sets a key.
const envPrefix = "MESOSCOPE_"

// foreign are variables with our prefix that are not keys: the commands' own,
// those by which a container chooses what becomes of its own lines,
// and those that Kubernetes and Docker links set when a service or a linked
// container is called mesoscope. Refusing those would keep the process from
// starting in a place where everything is right.
var foreign = regexp.MustCompile(`^MESOSCOPE_(STORE|CONFIG|TEST_.*|LOGS_(ENABLED|DATASET|NAMESPACE)|(\w+_)?SERVICE_(HOST|PORT)(_\w+)?|(\w+_)?PORT(_\d+_(TCP|UDP)(_\w+)?)?|ENV_.*|NAME)$`)

// keys lists the paths of all keys that hold a value, in the order of the file.
func keys() []string {
	var out []string
	var walk func(t reflect.Type, path string)
	walk = func(t reflect.Type, path string) {
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if t.Kind() != reflect.Struct {
			out = append(out, path)
			return
		}
		for _, m := range members(t) {
			walk(t.Field(m.index).Type, join(path, m.name))
		}
	}
	walk(reflect.TypeFor[Config](), "")
	return out
}

// EnvName is the variable that sets a key: "http.listen" -> "MESOSCOPE_HTTP_LISTEN".
func EnvName(key string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// readEnv lays the MESOSCOPE_ variables over the file.
func (r *reader) readEnv(env []string) {
	byName := map[string]string{}
	var all []string
	for _, k := range keys() {
		byName[EnvName(k)] = k
		all = append(all, EnvName(k))
	}
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		if !strings.HasPrefix(name, envPrefix) {
			continue
		}
		if key, ok := byName[name]; ok {
			r.setVariable(name, key, value)
			continue
		}
		if foreign.MatchString(name) {
			continue
		}
		problem := "no key of the configuration has this name; unset it"
		for _, k := range notYet {
			if name == EnvName(k) || strings.HasPrefix(name, EnvName(k)+"_") {
				problem = "not in this version; unset it"
			}
		}
		if n := nearestName(name, all); n != "" && !strings.HasPrefix(problem, "not") {
			problem = fmt.Sprintf("no key of the configuration has this name; did you mean %s?", n)
		}
		r.errs = append(r.errs, &Error{File: name, Problem: problem})
	}
}

// nearestName is nearest without the prefix that all names share.
func nearestName(name string, all []string) string {
	short := make([]string, len(all))
	for i, a := range all {
		short[i] = strings.ToLower(strings.TrimPrefix(a, envPrefix))
	}
	n := nearest(strings.TrimPrefix(name, envPrefix), short)
	if n == "" {
		return ""
	}
	return envPrefix + strings.ToUpper(n)
}

// setVariable gives key the value of a variable, with ${…} replaced: no shell
// does that for what a scheduler sets, and MESOSCOPE_HTTP_LISTEN=:${PORT0} is
// how a port becomes known that is chosen with the machine.
func (r *reader) setVariable(name, key, written string) {
	value, err := expand(written, ".", r.lookup)
	if err == nil && strings.Contains(written, placeholder+"file:") {
		r.hide = append(r.hide, value, written)
	}
	if err != nil {
		value = "" // the error says why
	}
	r.set(name, key, value)
	if err != nil {
		r.withdraw(key)
		r.fail(key, "%v", err)
		return
	}
	if value != written {
		r.places[key] = place{source: name, text: written}
	}
}

// set gives key the value of a variable or flag called source.
func (r *reader) set(source, key, value string) {
	v := reflect.ValueOf(r.config).Elem()
	for name := range strings.SplitSeq(key, ".") {
		if v.Kind() == reflect.Pointer {
			v = open(v)
		}
		i := -1
		for _, m := range members(v.Type()) {
			if m.name == name {
				i = m.index
			}
		}
		if i < 0 {
			panic("BUG: config: " + source + " sets the unknown key " + key)
		}
		v = v.Field(i)
	}
	for k := range r.places { // what the file said about it no longer counts
		if k == key || strings.HasPrefix(k, key+"[") {
			delete(r.places, k)
		}
	}
	r.places[key] = place{source: source}
	r.withdraw(key)
	if err := assign(v, value); err != nil {
		r.fail(key, "%v", err)
	}
}

// withdraw forgets errors about the value of key in the file, because another
// value has taken its place. Syntax errors and unknown keys stay.
func (r *reader) withdraw(key string) {
	for k := range r.bad {
		if k == key || strings.HasPrefix(k, key+"[") {
			delete(r.bad, k)
		}
	}
	kept := r.errs[:0]
	for _, e := range r.errs {
		if e.Key != key && !strings.HasPrefix(e.Key, key+"[") {
			kept = append(kept, e)
		}
	}
	r.errs = kept
}

// splitList cuts "a, b" at the commas; "" is the empty list.
func splitList(s string) []string {
	out := []string{}
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

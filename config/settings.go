package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// A Setting is one key in force, in a form that may be shown to anyone.
type Setting struct {
	Key     string `json:"key"`               // "output.elasticsearch.hosts"
	Value   string `json:"value"`             // as a person writes it; lists as [a, b]
	From    string `json:"from"`              // "default", "line 12", "MESOSCOPE_HTTP_LISTEN", "--data-dir"
	Default bool   `json:"default,omitempty"` // nobody set it
}

// Redacted lists all keys in force in the order of the documentation. What a
// ${…} was replaced by is not shown but the ${…} itself, because it may come
// from a secret file; *_file keys show the path, never the content.
func (c Config) Redacted() []Setting {
	var out []Setting
	var walk func(v reflect.Value, path string)
	walk = func(v reflect.Value, path string) {
		if v.Kind() == reflect.Pointer {
			if v.IsNil() {
				return
			}
			v = v.Elem()
		}
		if v.Kind() == reflect.Struct {
			for _, m := range members(v.Type()) {
				walk(v.Field(m.index), join(path, m.name))
			}
			return
		}
		if v.Kind() == reflect.Map {
			names := v.MapKeys()
			slices.SortFunc(names, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
			for _, name := range names {
				walk(v.MapIndex(name), join(path, name.String()))
			}
			return
		}
		out = append(out, c.setting(path, v))
	}
	walk(reflect.ValueOf(c), "")
	return out
}

func (c Config) setting(key string, v reflect.Value) Setting {
	p, set := c.places[key]
	s := Setting{Key: key, From: "default", Default: !set}
	switch {
	case p.source != "":
		s.From = p.source
	case set:
		s.From = fmt.Sprintf("line %d", p.line)
	}
	if list, ok := v.Interface().([]string); ok && p.text == "" {
		shown := make([]string, len(list))
		for i, item := range list {
			shown[i] = item
			if text := c.places[fmt.Sprintf("%s[%d]", key, i)].text; text != "" {
				shown[i] = text
			}
		}
		s.Value = "[" + strings.Join(shown, ", ") + "]"
		return s
	}
	s.Value = fmt.Sprint(v.Interface())
	if p.text != "" {
		s.Value = p.text
	}
	return s
}

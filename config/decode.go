package config

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// notYet are keys of the documented configuration whose part is not built. A
// file that has them is refused: a key that is read and has no effect would let
// people believe that it does something.
var notYet = []string{"collectors", "logs", "datasets"}

// secretNames are keys that people expect and that hold a secret; the value is
// the key that names a file instead.
var secretNames = map[string]string{"password": "password_file", "api_key": "api_key_file", "token": "token_file"}

// A member is one key of a section.
type member struct {
	name  string
	index int
}

// members lists the keys of a struct type in their order.
func members(t reflect.Type) []member {
	var ms []member
	for i := range t.NumField() {
		if name := t.Field(i).Tag.Get("yaml"); name != "" {
			ms = append(ms, member{name, i})
		}
	}
	return ms
}

func names(ms []member) []string {
	out := make([]string, len(ms))
	for i, m := range ms {
		out[i] = m.name
	}
	return out
}

// join is the path of a member of a section.
func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// plain follows anchors and aliases to the node that they stand for.
func (r *reader) plain(n ast.Node, path string) (ast.Node, bool) {
	for range 16 { // an alias of an alias is already odd; a circle must end
		switch v := n.(type) {
		case *ast.AnchorNode:
			r.anchors[v.Name.String()] = v.Value
			n = v.Value
		case *ast.AliasNode:
			target, ok := r.anchors[v.Value.String()]
			if !ok {
				r.failAt(n, path, "*%s is not defined above; write &%s before the value that it stands for", v.Value, v.Value)
				return nil, false
			}
			n = target
		case *ast.TagNode:
			r.failAt(n, path, "a type tag (%s) has no meaning here; write the value alone", v.Start.Value)
			return nil, false
		default:
			return n, n != nil
		}
	}
	r.failAt(n, path, "this alias leads in a circle; write the value itself")
	return nil, false
}

// decode puts the value of node n into v, which is the key at path.
func (r *reader) decode(n ast.Node, path string, v reflect.Value) {
	n, ok := r.plain(n, path)
	if !ok {
		return
	}
	if v.Kind() == reflect.Pointer {
		v = open(v)
	}
	if _, seen := r.places[path]; !seen || v.Kind() != reflect.Struct {
		r.places[path] = position(n) // of a section the place of its key is kept
	}
	switch v.Kind() {
	case reflect.Struct:
		r.section(n, path, v)
	case reflect.Slice:
		r.list(n, path, v)
	case reflect.Map:
		r.sections(n, path, v)
	default:
		if text, ok := r.scalar(n, path); ok {
			if err := assign(v, text); err != nil {
				r.failAt(n, path, "%v", err)
			}
		}
	}
}

// open makes the section behind a nil pointer, with its defaults.
func open(v reflect.Value) reflect.Value {
	if v.IsNil() {
		v.Set(reflect.New(v.Type().Elem()))
		switch s := v.Interface().(type) {
		case *Elasticsearch:
			*s = DefaultElasticsearch()
		case *Embedded:
			*s = DefaultEmbedded()
		}
	}
	return v.Elem()
}

// section decodes a mapping along the struct v.
func (r *reader) section(n ast.Node, path string, v reflect.Value) {
	if n.Type() == ast.NullType {
		return // "hold:" with everything below commented out
	}
	var values []*ast.MappingValueNode
	switch m := n.(type) {
	case *ast.MappingNode:
		values = m.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{m}
	default:
		r.failAt(n, path, "%s is not a section; its keys are: %s", kindOf(n), strings.Join(names(members(v.Type())), ", "))
		return
	}
	seen := map[string]place{}
	for _, kv := range values {
		r.member(kv, path, v, seen)
	}
}

// sections decodes a mapping of names to sections into a map of structs.
func (r *reader) sections(n ast.Node, path string, v reflect.Value) {
	if n.Type() == ast.NullType {
		return
	}
	var values []*ast.MappingValueNode
	switch m := n.(type) {
	case *ast.MappingNode:
		values = m.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{m}
	default:
		r.failAt(n, path, "%s is not a section; write NAME: {…}", kindOf(n))
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for _, kv := range values {
		name := keyText(kv.Key)
		key := join(path, name)
		if !sectionName.MatchString(name) {
			r.failAt(kv.Key, path, "%q is not a name; use letters, digits, _ and -", name)
			continue
		}
		if v.MapIndex(reflect.ValueOf(name)).IsValid() {
			r.failAt(kv.Key, key, "is here a second time; keep one")
			continue
		}
		r.places[key] = position(kv.Key)
		one := reflect.New(v.Type().Elem()).Elem()
		r.decode(kv.Value, key, one)
		v.SetMapIndex(reflect.ValueOf(name), one)
	}
}

var sectionName = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// member decodes one "key: value" of a section.
func (r *reader) member(kv *ast.MappingValueNode, path string, v reflect.Value, seen map[string]place) {
	name := keyText(kv.Key)
	key := join(path, name)
	if kv.Key.IsMergeKey() {
		r.failAt(kv.Key, key, "merging is not supported; write the keys here")
		return
	}
	at := position(kv.Key)
	if first, twice := seen[name]; twice {
		r.failAt(kv.Key, key, "is here a second time, the first is in line %d; keep one", first.line)
		return
	}
	seen[name] = at
	all := members(v.Type())
	for _, m := range all {
		if m.name == name {
			r.places[key] = at
			r.decode(kv.Value, key, v.Field(m.index))
			return
		}
	}
	for _, k := range notYet {
		if k == key {
			r.notInThisVersion(kv.Key, kv.Value, key)
			return
		}
	}
	r.failAt(kv.Key, key, "unknown key%s", r.adviceFor(name, path, all))
}

// adviceFor says what to do about an unknown key of the section at path.
func (r *reader) adviceFor(name, path string, all []member) string {
	known := names(all)
	if file, ok := secretNames[name]; ok {
		for _, k := range known {
			if k == file {
				return fmt.Sprintf("; a secret does not stand here, put it into a file and name that in %s", join(path, file))
			}
		}
	}
	if n := nearest(name, known); n != "" {
		r.bad[join(path, n)] = true // that n is missing is the same mistake
		return fmt.Sprintf("; did you mean %s?", n)
	}
	for _, k := range keys() { // the right key in the wrong section
		if strings.HasSuffix(k, "."+name) || k == name {
			return fmt.Sprintf("; it belongs to another section: %s", k)
		}
	}
	if path == "" {
		path = "the file"
	}
	return fmt.Sprintf("; %s has: %s", path, strings.Join(known, ", "))
}

// notInThisVersion refuses a key of notYet. In a list of mappings each member
// is named, so that the message points at what the user wrote.
func (r *reader) notInThisVersion(key, value ast.Node, path string) {
	const problem = "not in this version; remove it"
	named := false
	if list, ok := value.(*ast.SequenceNode); ok {
		for i, item := range list.Values {
			m, ok := item.(*ast.MappingNode)
			for j := 0; ok && j < len(m.Values); j++ {
				k := m.Values[j].Key
				r.failAt(k, fmt.Sprintf("%s[%d].%s", path, i, keyText(k)), problem)
				named = true
			}
		}
	}
	if !named {
		r.failAt(key, path, problem)
	}
}

// list decodes a sequence into a slice of strings.
func (r *reader) list(n ast.Node, path string, v reflect.Value) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		r.failAt(n, path, "%s is not a list; write [a, b]", kindOf(n))
		return
	}
	out := make([]string, 0, len(seq.Values))
	for i, item := range seq.Values {
		key := fmt.Sprintf("%s[%d]", path, i)
		item, ok := r.plain(item, key)
		if !ok {
			continue
		}
		r.places[key] = position(item)
		if text, ok := r.scalar(item, key); ok {
			out = append(out, text)
		}
	}
	if len(out) == len(seq.Values) {
		v.Set(reflect.ValueOf(out))
	} else {
		r.bad[path] = true // indexes no longer agree with the file
	}
}

// scalar is the text of a value that is not a section and not a list, with
// ${…} replaced. A number is taken as it is written, so that 007 stays 007.
func (r *reader) scalar(n ast.Node, path string) (string, bool) {
	var text string
	switch v := n.(type) {
	case *ast.StringNode:
		text = v.Value
	case *ast.LiteralNode:
		text = v.Value.Value
	case *ast.IntegerNode, *ast.FloatNode:
		text = n.GetToken().Value
	case *ast.NullNode:
		r.failAt(n, path, `has no value; write one, "" for none, or remove the key`)
		return "", false
	case *ast.BoolNode:
		r.failAt(n, path, "%s is a truth value; no key is one, put it in quotes if it is a name", n.GetToken().Value)
		return "", false
	default:
		r.failAt(n, path, "%s is not a single value", kindOf(n))
		return "", false
	}
	expanded, err := expand(text, r.dir, r.lookup)
	if err != nil {
		r.failAt(n, path, "%v", err)
		return "", false
	}
	if strings.Contains(text, placeholder+"file:") {
		r.hide = append(r.hide, expanded, text)
	}
	if expanded != text {
		p := r.places[path]
		p.text = text
		r.places[path] = p
	}
	return expanded, true
}

// assign converts a text to the type of v.
func assign(v reflect.Value, text string) error {
	switch p := v.Addr().Interface().(type) {
	case *string:
		*p = text
	case *int:
		i, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("%q is not a whole number", text)
		}
		*p = i
	case *Bytes:
		b, err := ParseBytes(text)
		if err != nil {
			return err
		}
		*p = b
	case *Duration:
		d, err := ParseDuration(text)
		if err != nil {
			return err
		}
		*p = d
	case *[]string:
		*p = splitList(text)
	case *map[string]Credential:
		return errors.New("stands in the file only")
	default:
		panic(fmt.Sprintf("BUG: config: no conversion for %s", v.Type()))
	}
	return nil
}

// keyText is a key as written, without quotes.
func keyText(k ast.MapKeyNode) string {
	if s, ok := k.(*ast.StringNode); ok {
		return s.Value
	}
	if t := k.GetToken(); t != nil {
		return t.Value
	}
	return k.String()
}

// kindOf names a node for people.
func kindOf(n ast.Node) string {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a section"
	case *ast.SequenceNode:
		return "a list"
	case *ast.NullNode:
		return "nothing"
	case *ast.StringNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return strconv.Quote(n.GetToken().Value)
	}
	return "this"
}

package probe

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// A reader turns a YAML file into values, key by key, and notes each mistake
// with its line. It understands anchors, aliases and merged sections, which
// existing files have.
type reader struct {
	file    string
	anchors map[string]ast.Node
	secrets []string // values that are not to be shown
	errs    []error
}

// keys are what a section may have; each value takes its node.
type keys map[string]func(ast.Node)

// A refusal is a key that somebody could expect to work.
type refusal map[string]string

func (r *reader) fail(n ast.Node, format string, args ...any) {
	at := n.GetToken().Position
	r.errs = append(r.errs, fmt.Errorf("%s:%d:%d: %s", r.file, at.Line, at.Column, fmt.Sprintf(format, args...)))
}

// document is the root of a file, or nil if it has none.
func (r *reader) document(text []byte) ast.Node {
	f, err := parser.ParseBytes(text, 0)
	if err != nil {
		text, place := err.Error(), ""
		var syntax yaml.Error
		if errors.As(err, &syntax) {
			text = syntax.GetMessage()
			if t := syntax.GetToken(); t != nil {
				place = fmt.Sprintf(":%d:%d", t.Position.Line, t.Position.Column)
			}
		}
		r.errs = append(r.errs, fmt.Errorf("%s%s: %s", r.file, place, text))
		return nil
	}
	for _, d := range f.Docs {
		if d.Body != nil {
			return d.Body
		}
	}
	return nil
}

// plain follows anchors and aliases.
func (r *reader) plain(n ast.Node) ast.Node {
	for range 16 { // a circle must end
		switch v := n.(type) {
		case *ast.AnchorNode:
			r.anchors[v.Name.String()] = v.Value
			n = v.Value
		case *ast.AliasNode:
			target, ok := r.anchors[v.Value.String()]
			if !ok {
				r.fail(n, "*%s stands for nothing above", v.Value)
				return nil
			}
			n = target
		case *ast.TagNode:
			n = v.Value
		case *ast.NullNode:
			return nil
		default:
			return n
		}
	}
	r.fail(n, "this alias leads in a circle")
	return nil
}

// A pair is a key with its value.
type pair struct {
	name       string
	key, value ast.Node
}

// pairs are the members of a section, merged ones behind its own. That none is
// there twice the parser has seen to.
func (r *reader) pairs(n ast.Node) []pair {
	n = r.plain(n)
	var values []*ast.MappingValueNode
	switch m := n.(type) {
	case nil:
		return nil
	case *ast.MappingNode:
		values = m.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{m}
	default:
		r.fail(n, "a section is wanted here, with key: value")
		return nil
	}
	var own, merged []pair
	for _, v := range values {
		if v.Key.IsMergeKey() {
			for _, source := range r.items(v.Value) {
				merged = append(merged, r.pairs(source)...)
			}
			continue
		}
		own = append(own, pair{keyText(v.Key), v.Key, v.Value})
	}
	for _, p := range merged {
		if !slices.ContainsFunc(own, func(q pair) bool { return q.name == p.name }) {
			own = append(own, p)
		}
	}
	return own
}

func keyText(k ast.MapKeyNode) string {
	if s, ok := k.(*ast.StringNode); ok {
		return s.Value
	}
	return k.GetToken().Value
}

// items are the members of a list; a single value stands for a list of it only
// where a section is merged.
func (r *reader) items(n ast.Node) []ast.Node {
	if l, ok := r.plain(n).(*ast.SequenceNode); ok {
		return l.Values
	}
	return []ast.Node{n}
}

// section hands each key of a section to its reader.
func (r *reader) section(name string, n ast.Node, known keys, refused refusal) {
	for _, p := range r.pairs(n) {
		read, ok := known[p.name]
		switch why, no := refused[p.name]; {
		case no:
			r.fail(p.key, "%s: %s", p.name, why)
		case !ok:
			r.fail(p.key, "%s has no key %s, only %s", name, p.name, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		default:
			if value := r.plain(p.value); value != nil { // nothing is written: the default holds
				read(value)
			}
		}
	}
}

// scalar is the text of a single value.
func (r *reader) scalar(n ast.Node) (string, bool) {
	switch v := r.plain(n).(type) {
	case nil:
		return "", true
	case *ast.StringNode:
		return v.Value, true
	case *ast.LiteralNode:
		return v.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return v.GetToken().Value, true
	}
	r.fail(n, "a single value is wanted here")
	return "", false
}

// value makes a reader of a value of some type.
func value[T any](r *reader, to *T, convert func(string) (T, error)) func(ast.Node) {
	return func(n ast.Node) {
		s, ok := r.scalar(n)
		if !ok {
			return
		}
		v, err := convert(s)
		if err != nil {
			r.fail(n, "%v", err)
			return
		}
		*to = v
	}
}

// list makes a reader of a list of them.
func list[T any](r *reader, to *[]T, convert func(string) (T, error)) func(ast.Node) {
	return func(n ast.Node) {
		l, ok := n.(*ast.SequenceNode)
		if !ok {
			r.fail(n, "a list is wanted here, as [a, b]")
			return
		}
		*to = make([]T, len(l.Values))
		for i, item := range l.Values {
			value(r, &(*to)[i], convert)(item)
		}
	}
}

// each makes a reader of a list of sections.
func each(r *reader, read func(ast.Node)) func(ast.Node) {
	return func(n ast.Node) {
		l, ok := n.(*ast.SequenceNode)
		if !ok {
			r.fail(n, "a list of sections is wanted here")
			return
		}
		for _, item := range l.Values {
			read(item)
		}
	}
}

func (r *reader) text(to *string) func(ast.Node) {
	return value(r, to, func(s string) (string, error) { return s, nil })
}

// secret is text that must not be shown.
func (r *reader) secret(to *string) func(ast.Node) {
	return value(r, to, func(s string) (string, error) {
		r.hide(s)
		return s, nil
	})
}

func (r *reader) hide(s string) {
	if s != "" {
		r.secrets = append(r.secrets, s)
	}
}

// flag is a truth value in any of YAML 1.1's forms.
func (r *reader) flag(to *bool) func(ast.Node) {
	return value(r, to, func(s string) (bool, error) {
		switch strings.ToLower(s) {
		case "true", "yes", "on", "y":
			return true, nil
		case "false", "no", "off", "n":
			return false, nil
		}
		return false, fmt.Errorf("%q is neither true nor false", s)
	})
}

func (r *reader) number(to *int, least, most int) func(ast.Node) {
	return value(r, to, func(s string) (int, error) {
		n, err := strconv.Atoi(s)
		if err != nil || n < least || n > most {
			return 0, fmt.Errorf("%q is no whole number from %d to %d", s, least, most)
		}
		return n, nil
	})
}

// word is one of a few.
func word(words ...string) func(string) (string, error) {
	return func(s string) (string, error) {
		if !slices.Contains(words, s) {
			return "", fmt.Errorf("%q is none of %s", s, strings.Join(words, ", "))
		}
		return s, nil
	}
}

// source is a node as it is written, without the indentation that all its lines
// have.
func source(n ast.Node) string {
	lines := strings.Split(strings.Trim(n.String(), "\n"), "\n")
	least := math.MaxInt
	for _, l := range lines {
		if text := strings.TrimLeft(l, " "); text != "" {
			least = min(least, len(l)-len(text))
		}
	}
	for i, l := range lines {
		lines[i] = l[min(least, len(l)):]
	}
	return strings.Join(lines, "\n")
}

package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// maxFile bounds the file: a larger one is not a configuration but a mistake.
const maxFile = 1 * mib

// A Flag is a key set on the command line.
type Flag struct {
	Name  string // as typed, for errors: "--data-dir"
	Key   string // "data_dir"
	Value string // as in a MESOSCOPE_ variable: lists by comma
}

// Load reads the file at path ("" = no file), lays the MESOSCOPE_ variables of
// the environment and then the flags over it, and checks the whole. The error
// is an Errors unless the file cannot be read.
func Load(path string, kind Kind, flags ...Flag) (Config, error) {
	var text []byte
	if path != "" {
		info, err := os.Stat(path)
		if err != nil {
			return Config{}, fmt.Errorf("read configuration: %w", err)
		}
		if info.Size() > maxFile {
			return Config{}, fmt.Errorf("read configuration: %s is larger than %s", path, Bytes(maxFile))
		}
		if text, err = os.ReadFile(path); err != nil {
			return Config{}, fmt.Errorf("read configuration: %w", err)
		}
	}
	return Parse(path, text, kind, os.Environ(), flags...)
}

// Parse is Load for a text that is already read. name stands in errors, and
// relative paths of *_file keys and ${file:PATH} begin at its folder. env is
// the environment as in os.Environ. The error is an Errors.
func Parse(name string, text []byte, kind Kind, env []string, flags ...Flag) (Config, error) {
	c := Default(kind)
	r := reader{
		file: name, dir: filepath.Dir(name), config: &c,
		lookup: lookupIn(env), anchors: map[string]ast.Node{},
		places: map[string]place{}, bad: map[string]bool{},
	}
	r.readText(text)
	r.readEnv(env)
	for _, f := range flags {
		r.set(f.Name, f.Key, f.Value)
	}
	c.places = r.places
	c.complete(kind)
	r.check(kind)
	if len(r.errs) > 0 {
		return Config{}, r.errs.sorted()
	}
	return c, nil
}

func lookupIn(env []string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for _, e := range env {
			if v, ok := strings.CutPrefix(e, name+"="); ok {
				return v, true
			}
		}
		return "", false
	}
}

// A place is where a key got its value.
type place struct {
	line, column int    // in the file
	source       string // the variable or flag; "" = the file
	text         string // as written, if a ${…} was replaced in it
}

// A reader fills one Config and collects what is wrong.
type reader struct {
	file    string
	dir     string // where relative paths begin
	config  *Config
	lookup  func(string) (string, bool)
	anchors map[string]ast.Node
	places  map[string]place // by key
	bad     map[string]bool  // keys that already have an error; rules are silent about them
	hide    []string         // pairs for strings.NewReplacer: what ${file:…} gave, what is shown instead
	errs    Errors
}

// readText decodes the YAML text.
func (r *reader) readText(text []byte) {
	if i := firstInvalid(text); i >= 0 {
		line := strings.Count(string(text[:i]), "\n") + 1
		column := i - strings.LastIndexByte(string(text[:i]), '\n')
		r.bad[""] = true // no rule can say anything about a file that was not read
		r.errs = append(r.errs, &Error{File: r.file, Line: line, Column: column,
			Problem: "the file is not UTF-8 text; save it as UTF-8"})
		return
	}
	// duplicate keys are let through here, and refused with their path below
	file, err := parser.Parse(tokenize(string(text)), 0, parser.AllowDuplicateMapKey())
	if err != nil {
		r.syntax(err, text)
		return
	}
	var body ast.Node
	for _, doc := range file.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.CommentType || doc.Body.Type() == ast.NullType {
			continue
		}
		if body != nil {
			r.failAt(doc.Body, "", `a second document begins here; a configuration is one, remove the "---"`)
			return
		}
		body = doc.Body
	}
	if body != nil {
		r.decode(body, "", reflect.ValueOf(r.config).Elem())
	}
}

// syntax reports that the text is not YAML.
func (r *reader) syntax(err error, text []byte) {
	e := &Error{File: r.file, Problem: "not YAML: " + err.Error()}
	var se *yaml.SyntaxError
	if errors.As(err, &se) {
		e.Problem = "not YAML: " + se.Message
		if se.Token != nil && se.Token.Position != nil {
			e.Line, e.Column = se.Token.Position.Line, se.Token.Position.Column
		}
	}
	lines := strings.Split(string(text), "\n")
	if e.Line > 0 && e.Line <= len(lines) {
		switch l := lines[e.Line-1]; {
		case strings.Contains(l, placeholder):
			e.Problem += `; inside [ ] and { } write "${…}" in quotes`
		case strings.HasPrefix(strings.TrimLeft(l, " "), "\t"):
			e.Problem += "; indent with spaces"
		}
	}
	r.bad[""] = true
	r.errs = append(r.errs, e)
}

// firstInvalid is where text stops to be UTF-8, or -1.
func firstInvalid(text []byte) int {
	for i, c := range string(text) {
		if c == '\uFFFD' && !strings.HasPrefix(string(text[i:min(i+3, len(text))]), "\uFFFD") {
			return i
		}
	}
	return -1
}

// failAt reports an error at a node of the file.
func (r *reader) failAt(n ast.Node, key, format string, args ...any) {
	p := position(n)
	r.bad[key] = true
	r.errs = append(r.errs, &Error{File: r.file, Line: p.line, Column: p.column, Key: key,
		Problem: r.problem(format, args...)})
}

// problem is a message without the content of included files, which may be
// secret.
func (r *reader) problem(format string, args ...any) string {
	return strings.NewReplacer(r.hide...).Replace(fmt.Sprintf(format, args...))
}

// fail reports an error about a key wherever its value came from. A key that
// was not set is reported at the section where it is missing.
func (r *reader) fail(key, format string, args ...any) {
	for k := key; ; k = parent(k) {
		if r.bad[k] {
			return // one error for each key: the second one would only confuse
		}
		if p, ok := r.places[k]; ok || k == "" {
			e := &Error{File: r.file, Line: p.line, Column: p.column, Key: key, Problem: r.problem(format, args...)}
			if p.source != "" {
				e.File = p.source
			}
			r.errs = append(r.errs, e)
			r.bad[key] = true
			return
		}
	}
}

// parent is the key that key stands in: "a.b[0]" -> "a.b" -> "a" -> "".
func parent(key string) string { return key[:max(0, strings.LastIndexAny(key, ".["))] }

// position is where a node's own text begins. A mapping begins at its first
// key; the parser's token of it is the colon behind that.
func position(n ast.Node) place {
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		n = m.Values[0].Key
	}
	t := n.GetToken()
	if t == nil || t.Position == nil {
		return place{}
	}
	return place{line: t.Position.Line, column: t.Position.Column}
}

package checks

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// An Option is one setting of a check, the same on the command line and
// wherever checks are declared.
type Option struct {
	Name        string
	Placeholder string // "" for one that takes no value
	Default     string
	Help        string
	Many        bool // can be given more than once
	parse       func(string) (any, error)
}

// common are the options of all kinds.
var common = []Option{
	{Name: "timeout", Placeholder: "DURATION", Default: "5s", Help: "No answer by then is CRITICAL.", parse: parseTimeout},
	{Name: "expect", Placeholder: "CONDITION", Many: true, Help: "What must hold, as '[STATUS] == 200'; all of them, else CRITICAL.", parse: parse(ParseCondition)},
	{Name: "warning", Placeholder: "NAME=RANGE", Many: true, Help: "Limit of a metric, as time=0.5 or free=10: (Nagios' ranges); empty for none.", parse: parse(parseNamedRange)},
	{Name: "critical", Placeholder: "NAME=RANGE", Many: true, Help: "The same for CRITICAL.", parse: parse(parseNamedRange)},
}

var (
	tlsOptions = []Option{
		{Name: "ca-file", Placeholder: "FILE", Help: "Certificates (PEM) to trust instead of the system's.", parse: parse(readCertificates)},
		{Name: "servername", Placeholder: "NAME", Help: "Name to ask for and to expect in the certificate.", parse: parseText},
		{Name: "insecure", Help: "Do not verify the certificate."},
	}
	credentials = []Option{
		{Name: "username", Placeholder: "NAME", Help: "Whom to log in as.", parse: parseText},
		{Name: "password-file", Placeholder: "FILE", Help: "File with the password.", parse: parse(readSecret)},
	}
)

// AllOptions are the options of a kind, its own first.
func (k Kind) AllOptions() []Option { return slices.Concat(k.Options, common) }

// New makes a target from what people write. values are the options' texts by
// name; a mistake is a MistakeError.
func New(kind, address string, args []string, given map[string][]string) (Target, error) {
	k, ok := Kinds[kind]
	if !ok {
		return Target{}, mistake("KIND", "there is no %q; the kinds are %s", kind, strings.Join(Names(), ", "))
	}
	t := Target{Kind: kind, Args: args, values: map[string][]any{}}
	options := k.AllOptions()
	for name := range given {
		if !slices.ContainsFunc(options, func(o Option) bool { return o.Name == name }) {
			return t, mistake("--"+name, "%s has no such option", kind)
		}
	}
	for _, o := range options {
		texts := given[o.Name]
		if len(texts) == 0 && o.Default != "" {
			texts = []string{o.Default}
		}
		if len(texts) > 1 && !o.Many {
			return t, mistake("--"+o.Name, "given %d times, once is possible", len(texts))
		}
		for _, text := range texts {
			read := o.parse
			if read == nil {
				read = parse(strconv.ParseBool)
			}
			v, err := read(text)
			if err != nil {
				return t, mistake("--"+o.Name, "%v", err)
			}
			t.values[o.Name] = append(t.values[o.Name], v)
		}
	}
	t.Timeout = value[time.Duration](t, "timeout")
	if err := t.fits(k); err != nil {
		return t, err
	}
	var err error
	if t.Address, err = k.address(address); err != nil {
		return t, mistake("TARGET", "%v", err)
	}
	return t, nil
}

// fits says whether conditions and limits are about what the kind knows.
func (t Target) fits(k Kind) error {
	for _, c := range values[Condition](t, "expect") {
		for _, p := range c.placeholders() {
			if !slices.Contains(k.Facts, p) {
				return mistake("--expect", "%s knows no [%s], only [%s]", t.Kind, p, strings.Join(k.Facts, "] ["))
			}
		}
	}
	if k.Metrics == nil {
		return nil // what there is to limit is only known with the answer
	}
	for _, option := range []string{"warning", "critical"} {
		for _, l := range values[namedRange](t, option) {
			names := []string{"time"}
			for _, m := range k.Metrics {
				names = append(names, m.Name)
			}
			if !slices.Contains(names, l.name) {
				return mistake("--"+option, "%s measures no %q, only %s", t.Kind, l.name, strings.Join(names, ", "))
			}
		}
	}
	return nil
}

// value is an option's value, or the zero value if it was not given.
func value[T any](t Target, name string) T {
	v, _ := t.only(name).(T)
	return v
}

func (t Target) only(name string) any {
	if vs := t.values[name]; len(vs) > 0 {
		return vs[0]
	}
	return nil
}

// values are all values of an option that can be given more than once.
func values[T any](t Target, name string) []T {
	var out []T
	for _, v := range t.values[name] {
		out = append(out, v.(T))
	}
	return out
}

// parse makes a typed parser an untyped one.
func parse[T any](f func(string) (T, error)) func(string) (any, error) {
	return func(s string) (any, error) { return f(s) }
}

func parseText(s string) (any, error) { return s, nil }

func parseTimeout(s string) (any, error) {
	d, err := time.ParseDuration(s)
	if err != nil {
		return nil, fmt.Errorf("%q is no duration, as 5s or 500ms", s)
	}
	if d <= 0 || d > time.Hour {
		return nil, fmt.Errorf("%q is not between 0 and 1h", s)
	}
	return d, nil
}

func parseRegexp(s string) (any, error) {
	if s == "" {
		return nil, fmt.Errorf("an empty pattern matches everything")
	}
	return regexp.Compile(s)
}

func parseCount(s string) (any, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return nil, fmt.Errorf("%q is no number from 1 on", s)
	}
	return n, nil
}

// oneOf makes a reader of a word from a list.
func oneOf(words ...string) func(string) (any, error) {
	return func(s string) (any, error) {
		if !slices.Contains(words, s) {
			return nil, fmt.Errorf("%q is none of %s", s, strings.Join(words, ", "))
		}
		return s, nil
	}
}

// readSecret reads a password or token; the newline at its end is an editor's.
func readSecret(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	s := strings.TrimRight(string(b), "\r\n")
	if s == "" {
		return "", fmt.Errorf("%s is empty", path)
	}
	if len(s) > 64<<10 || strings.ContainsAny(s, "\r\n\x00") {
		return "", fmt.Errorf("%s does not hold one line", path)
	}
	return s, nil
}

// A namedRange is a limit for one metric.
type namedRange struct{ name, text string }

func parseNamedRange(s string) (namedRange, error) {
	i := strings.LastIndex(s, "=")
	if i < 1 {
		return namedRange{}, fmt.Errorf("%q is not NAME=RANGE", s)
	}
	r := namedRange{name: s[:i], text: s[i+1:]}
	_, err := ParseRange(r.text)
	return r, err
}

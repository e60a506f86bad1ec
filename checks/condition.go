package checks

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Condition is an assertion in the grammar of Gatus: VALUE OPERATOR VALUE,
// operators == != < <= > >=, values literals, placeholders as [STATUS] or
// [BODY].user.name, and the functions len has pat any.
type Condition struct {
	text        string
	left, right operand
	op          string
}

// An operand is one side of a condition.
type operand struct {
	function    string    // "", len, has, pat, any
	placeholder string    // BODY, without brackets; "" for a literal
	path        []string  // behind [BODY]
	literal     string    // also the pattern of pat
	choices     []operand // of any
	pattern     *regexp.Regexp
}

var (
	placeholderForm = regexp.MustCompile(`^\[([A-Z_]+)\](.*)$`)
	functionForm    = regexp.MustCompile(`^(len|has|pat|any)\((.*)\)$`)
	operators       = []string{" == ", " != ", " <= ", " >= ", " < ", " > "}
	allFacts        = []string{"STATUS", "RESPONSE_TIME", "IP", "BODY", "CONNECTED", "CERTIFICATE_EXPIRATION", "DNS_RCODE"}
)

// ParseCondition reads one condition.
func ParseCondition(s string) (Condition, error) {
	c := Condition{text: strings.TrimSpace(s)}
	at := -1
	for _, op := range operators {
		if i := strings.Index(c.text, op); i >= 0 && (at < 0 || i < at) {
			at, c.op = i, strings.TrimSpace(op)
		}
	}
	if at < 0 {
		return c, fmt.Errorf("%q has no operator: == != < <= > >= with a space on both sides", s)
	}
	var err error
	if c.left, err = parseOperand(c.text[:at]); err != nil {
		return c, err
	}
	if c.right, err = parseOperand(c.text[at+len(c.op)+2:]); err != nil {
		return c, err
	}
	special := func(o operand) bool { return o.function == "pat" || o.function == "any" }
	switch {
	case special(c.left):
		return c, fmt.Errorf("%s belongs on the right side", c.left.function)
	case special(c.right) && c.op != "==" && c.op != "!=":
		return c, fmt.Errorf("%s goes with == and != only", c.right.function)
	case len(c.placeholders()) == 0:
		return c, fmt.Errorf("%q asks for nothing; placeholders are [%s]", s, strings.Join(allFacts, "] ["))
	}
	return c, nil
}

func parseOperand(s string) (operand, error) {
	s = strings.TrimSpace(s)
	if m := functionForm.FindStringSubmatch(s); m != nil {
		o := operand{function: m[1], literal: m[2]}
		switch o.function {
		case "pat":
			quoted := strings.ReplaceAll(regexp.QuoteMeta(m[2]), `\*`, ".*")
			pattern, err := regexp.Compile(`(?s)^` + quoted + `$`)
			o.pattern = pattern
			return o, err
		case "any":
			for choice := range strings.SplitSeq(m[2], ",") {
				inner, err := parseOperand(choice)
				if err != nil || inner.function == "any" {
					return o, fmt.Errorf("any(%s): wrong choice %q", m[2], choice)
				}
				o.choices = append(o.choices, inner)
			}
			return o, nil
		}
		inner, err := parseOperand(m[2])
		if err != nil {
			return o, err
		}
		if inner.placeholder != "BODY" || inner.function != "" {
			return o, fmt.Errorf("%s needs [BODY] or a path in it", s)
		}
		o.placeholder, o.path = inner.placeholder, inner.path
		return o, nil
	}
	m := placeholderForm.FindStringSubmatch(s)
	if m == nil {
		return operand{literal: s}, nil
	}
	o := operand{placeholder: m[1]}
	if !slices.Contains(allFacts, o.placeholder) {
		return o, fmt.Errorf("[%s] is no placeholder; there are [%s]", o.placeholder, strings.Join(allFacts, "] ["))
	}
	if m[2] == "" {
		return o, nil
	}
	if o.placeholder != "BODY" {
		return o, fmt.Errorf("[%s] has no parts", o.placeholder)
	}
	var err error
	o.path, err = parsePath(m[2])
	return o, err
}

// parsePath splits ".data[0].id" into data, [0], id.
func parsePath(s string) ([]string, error) {
	var path []string
	for s != "" {
		var step string
		switch s[0] {
		case '.':
			end := strings.IndexAny(s[1:], ".[")
			if end < 0 {
				end = len(s) - 1
			}
			step, s = s[1:end+1], s[end+1:]
			if step == "" {
				return nil, fmt.Errorf("empty name in the path behind [BODY]")
			}
		case '[':
			end := strings.IndexByte(s, ']')
			if end < 0 {
				return nil, fmt.Errorf("missing ] in the path behind [BODY]")
			}
			if n, err := strconv.Atoi(s[1:end]); err != nil || n < 0 {
				return nil, fmt.Errorf("%s is no index", s[:end+1])
			}
			step, s = s[:end+1], s[end+1:]
		default:
			return nil, fmt.Errorf("a path behind [BODY] begins with . or [")
		}
		path = append(path, step)
	}
	return path, nil
}

// String is the condition as it was written.
func (c Condition) String() string { return c.text }

// Uses says whether the condition asks for a placeholder.
func (c Condition) Uses(placeholder string) bool {
	return slices.Contains(c.placeholders(), placeholder)
}

func (c Condition) placeholders() []string {
	var out []string
	for _, o := range append([]operand{c.left, c.right}, c.right.choices...) {
		if o.placeholder != "" {
			out = append(out, o.placeholder)
		}
	}
	return out
}

// holds evaluates a condition; seen says what the placeholders were.
func (c Condition) holds(f *facts) (ok bool, seen string) {
	left, why := c.left.resolve(f)
	if why != "" {
		return false, why
	}
	seen = "it is " + clip(left)
	equal := false
	switch c.right.function {
	case "pat":
		equal = c.right.pattern.MatchString(left)
	case "any":
		for _, choice := range c.right.choices {
			if choice.pattern != nil {
				equal = equal || choice.pattern.MatchString(left)
			} else if v, why := choice.resolve(f); why == "" {
				equal = equal || same(left, v)
			}
		}
	default:
		right, why := c.right.resolve(f)
		if why != "" {
			return false, why
		}
		equal = same(left, right)
		if c.op != "==" && c.op != "!=" {
			a, okA := quantity(left)
			b, okB := quantity(right)
			switch {
			case !okA:
				return false, clip(left) + " is no number"
			case !okB:
				return false, clip(right) + " is no number"
			}
			return map[string]bool{"<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[c.op], seen
		}
	}
	return equal == (c.op == "=="), seen
}

// same compares as texts, or as numbers if both are.
func same(a, b string) bool {
	if a == b {
		return true
	}
	x, okX := quantity(a)
	y, okY := quantity(b)
	return okX && okY && x == y
}

// quantity reads a number, or a duration as its milliseconds.
func quantity(s string) (float64, bool) {
	if f, err := finite(s); err == nil {
		return f, true
	}
	if d, err := time.ParseDuration(s); err == nil {
		return float64(d) / float64(time.Millisecond), true
	}
	return 0, false
}

func clip(s string) string {
	if len(s) > 100 {
		s = strings.ToValidUTF8(s[:100], "") + "…"
	}
	return strconv.Quote(s)
}

// resolve is an operand's text; why is not empty if there is none.
func (o operand) resolve(f *facts) (text, why string) {
	switch o.placeholder {
	case "":
		return o.literal, ""
	case "STATUS":
		return strconv.Itoa(f.status), ""
	case "RESPONSE_TIME":
		return strconv.FormatInt(f.responseTime.Milliseconds(), 10), ""
	case "IP":
		return f.ip, ""
	case "CONNECTED":
		return strconv.FormatBool(f.connected), ""
	case "CERTIFICATE_EXPIRATION":
		return strconv.FormatInt(f.certificate.Milliseconds(), 10), ""
	case "DNS_RCODE":
		return f.rcode, ""
	}
	if o.path == nil && o.function == "" {
		return strings.TrimSpace(string(f.body)), ""
	}
	found, err := f.json()
	if err != nil {
		if o.function == "has" {
			return "false", ""
		}
		if o.path == nil { // len([BODY]) of a text
			return strconv.Itoa(len(f.body)), ""
		}
		return "", err.Error()
	}
	place := "[BODY]"
	for _, step := range o.path {
		if found, err = walk(found, step); err != nil {
			if o.function == "has" {
				return "false", ""
			}
			return "", place + ": " + err.Error()
		}
		if step[0] != '[' {
			place += "."
		}
		place += step
	}
	switch o.function {
	case "has":
		return "true", ""
	case "len":
		switch v := found.(type) {
		case []any:
			return strconv.Itoa(len(v)), ""
		case map[string]any:
			return strconv.Itoa(len(v)), ""
		case string:
			return strconv.Itoa(len(v)), ""
		}
		return "", "it has no length"
	}
	switch v := found.(type) {
	case string:
		return v, ""
	case nil:
		return "null", ""
	}
	b, err := json.Marshal(found)
	if err != nil {
		return "", err.Error()
	}
	return string(b), ""
}

// json is the body, decoded once.
func (f *facts) json() (any, error) {
	if !f.decodedBefore {
		f.decodedBefore = true
		d := json.NewDecoder(bytes.NewReader(f.body))
		d.UseNumber()
		switch err := d.Decode(&f.decoded); {
		case f.bodyCut:
			f.decodedErr = fmt.Errorf("the body is larger than %d bytes", len(f.body))
		case err != nil:
			f.decodedErr = fmt.Errorf("the body is no JSON: %w", err)
		default:
			if _, err := d.Token(); err != io.EOF {
				f.decodedErr = fmt.Errorf("the body is no JSON: something stands behind the value")
			}
		}
	}
	return f.decoded, f.decodedErr
}

// walk takes one step into a decoded value.
func walk(v any, step string) (any, error) {
	if step[0] == '[' {
		list, ok := v.([]any)
		n, _ := strconv.Atoi(step[1 : len(step)-1]) // checked by parsePath
		switch {
		case !ok:
			return nil, fmt.Errorf("no list, so there is no %s", step)
		case n >= len(list):
			return nil, fmt.Errorf("%d items, so there is no %s", len(list), step)
		}
		return list[n], nil
	}
	object, _ := v.(map[string]any)
	found, ok := object[step]
	if !ok {
		return nil, fmt.Errorf("there is no %q", step)
	}
	return found, nil
}

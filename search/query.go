package search

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Query says which lines are asked for. The zero Query matches every line.
// It comes from Parse, or from Term, Wildcard, Exists and Between, joined by
// And, Or and Not: values given to those need no escaping.
type Query struct {
	text string // as parsed; "" = render
	root node   // nil = every line
}

// String is the text that was parsed, or the text that would give the same
// Query.
func (q Query) String() string {
	if q.text != "" || q.root == nil {
		return q.text
	}
	return render(q.root)
}

// And matches what all of queries match.
func And(queries ...Query) Query {
	var nodes and
	for _, q := range queries {
		if q.root != nil {
			nodes = append(nodes, q.root)
		}
	}
	switch len(nodes) {
	case 0:
		return Query{}
	case 1:
		return Query{root: nodes[0]}
	}
	return Query{root: nodes}
}

// Or matches what any of queries matches: nothing, if there are none.
func Or(queries ...Query) Query {
	var nodes or
	for _, q := range queries {
		if q.root == nil {
			return Query{}
		}
		nodes = append(nodes, q.root)
	}
	if len(nodes) == 1 {
		return Query{root: nodes[0]}
	}
	return Query{root: nodes}
}

// Not matches what q does not match.
func Not(q Query) Query {
	if q.root == nil {
		return Query{root: or{}}
	}
	return Query{root: not{q.root}}
}

// Term matches lines whose field is exactly value; in message, lines that hold
// value as a phrase. A value that the field cannot have matches nothing. The
// field "_id" finds one document; a Request for it is quick when Since and
// Until enclose its time.
func Term(field, value string) Query {
	n, err := match(field, literal{parts: []string{value}, quoted: true})
	if err != nil {
		n = or{}
	}
	return Query{root: n}
}

// Wildcard is Term with "*" for any number of characters; a pattern without one
// is a Term.
func Wildcard(field, pattern string) Query {
	n, err := match(field, literal{parts: compact(strings.Split(pattern, "*"))})
	if err != nil {
		n = or{}
	}
	if !strings.Contains(pattern, "*") {
		return Term(field, pattern)
	}
	return Query{root: n}
}

// Exists matches lines that have the field.
func Exists(field string) Query { return Query{root: exists{field}} }

// Between matches lines whose field, a number such as event.sequence or
// log.offset, or a time in Unix nanoseconds, is at least from and at most to.
func Between(field string, from, to int64) Query {
	if k := kindOf(field); k != kindNumber && k != kindTime {
		return Query{root: or{}}
	}
	return Query{root: between(field, from, to)}
}

// The nodes of a query. Values are checked against the kind of their field
// (fields.go) when a node is made, so compilers cannot fail.
type (
	node interface{}

	and []node
	or  []node // empty: matches nothing
	not struct{ node }
	all struct{}

	// words matches messages with any of the words of text.
	words struct{ text string }
	// phrase matches messages with the words of text in a row.
	phrase struct{ text string }
	// term matches a field that has the value (keyword, label, id, address).
	term struct{ field, value string }
	// network matches host.ip by a network in CIDR form.
	network struct{ field, prefix string }
	// wild matches a field, or a word of message, by literal parts with any
	// text between them: "a*b" is [a b], "a*" is [a ""].
	wild struct {
		field string
		parts []string
	}
	exists struct{ field string }
	// number compares a number, or a time in Unix ns. op: = < <= > >=
	number struct {
		field, op string
		value     int64
	}
	// order compares a keyword or an address. op: < <= > >=
	order struct{ field, op, value string }
)

func between(field string, from, to int64) node {
	switch {
	case from == to:
		return number{field, "=", from}
	case from == math.MinInt64:
		return number{field, "<=", to}
	case to == math.MaxInt64:
		return number{field, ">=", from}
	}
	return and{number{field, ">=", from}, number{field, "<=", to}}
}

// compact drops empty parts between two wildcards.
func compact(parts []string) []string {
	last := len(parts) - 1
	out := parts[:0:0]
	for i, p := range parts {
		if p != "" || i == 0 || i == last {
			out = append(out, p)
		}
	}
	return out
}

// render writes n in KQL.
func render(n node) string {
	switch n := n.(type) {
	case nil, all:
		return "*"
	case and:
		return join(n, " and ")
	case or:
		if len(n) == 0 {
			return "not *"
		}
		return join(n, " or ")
	case not:
		if o, ok := n.node.(or); ok && len(o) == 0 {
			return "not (not *)"
		}
		return "not " + group(n.node)
	case words:
		return "message: " + escape(n.text)
	case phrase:
		return "message: " + quote(n.text)
	case term:
		return fieldName(n.field) + ": " + quote(n.value)
	case network:
		return fieldName(n.field) + ": " + quote(n.prefix)
	case wild:
		parts := slices.Clone(n.parts)
		for i := range parts {
			parts[i] = escape(parts[i])
		}
		return fieldName(n.field) + ": " + strings.Join(parts, "*")
	case exists:
		return fieldName(n.field) + ": *"
	case number:
		value := strconv.FormatInt(n.value, 10)
		if kindOf(n.field) == kindTime {
			value = quote(time.Unix(0, n.value).UTC().Format("2006-01-02T15:04:05.000000000Z07:00"))
		}
		if n.op == "=" {
			return fieldName(n.field) + ": " + value
		}
		return fieldName(n.field) + " " + n.op + " " + value
	case order:
		return fieldName(n.field) + " " + n.op + " " + quote(n.value)
	}
	panic("BUG: search: unknown node")
}

func join(nodes []node, with string) string {
	texts := make([]string, len(nodes))
	for i, n := range nodes {
		texts[i] = group(n)
	}
	return strings.Join(texts, with)
}

// group puts n in parentheses where it would fall apart.
func group(n node) string {
	switch n.(type) {
	case and, or, not:
		return "(" + render(n) + ")"
	}
	return render(n)
}

func fieldName(name string) string {
	if e := escape(name); e == name && name != "" {
		return name
	}
	return quote(name)
}

// quote writes s as a quoted KQL string.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(s) + `"`
}

// escape writes s so that it stands for itself without quotes.
func escape(s string) string {
	var b strings.Builder
	begin := true // of a word
	for i, r := range s {
		if begin {
			if k := keyword(s[i:]); k != "" {
				b.WriteByte('\\')
			}
		}
		switch {
		case strings.ContainsRune(special, r):
			b.WriteByte('\\')
			b.WriteRune(r)
		case isSpace(r) && (r != ' ' || i == 0 || i == len(s)-1): // would be lost
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
		begin = isSpace(r)
	}
	return b.String()
}

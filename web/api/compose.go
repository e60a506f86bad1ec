package api

import (
	"fmt"
	"strings"
	"unicode"

	"mesoscope/search"
)

// A Filter is one condition beside the query text: a field has (or, with Not,
// has not) exactly this value.
type Filter struct {
	Field string // dotted ECS name
	Value string
	Not   bool
	// Pattern lets * in Value stand for any text.
	Pattern bool
}

// ParseFilter reads "field:value"; the value may hold further colons.
func ParseFilter(s string, not bool) (Filter, error) {
	field, value, ok := strings.Cut(s, ":")
	if !ok || field == "" {
		return Filter{}, fmt.Errorf("filter %q: want field:value, for example stream:stderr", s)
	}
	return Filter{Field: field, Value: value, Not: not}, nil
}

// Compose joins a query as it was typed with filters. The text is parsed by
// itself first: so an error's position counts in what was typed, and a stray
// parenthesis in it cannot reach around the filters.
func Compose(text string, filters []Filter) (search.Query, error) {
	q, err := search.Parse(text)
	if err != nil || len(filters) == 0 {
		return q, err
	}
	var terms []string
	if strings.TrimSpace(text) != "" {
		terms = append(terms, "("+text+")")
	}
	var fields []string // in the order of first use, so that equal input gives an equal query
	alternatives := map[string][]string{}
	for _, f := range filters {
		if strings.ContainsFunc(f.Field, unicode.IsControl) || f.Field == "" {
			return search.Query{}, fmt.Errorf("filter on field %q: not the name of a field", f.Field)
		}
		field, value := escape(f.Field, false), quote(f.Value)
		if f.Pattern {
			value = escape(f.Value, true)
		}
		if f.Not {
			terms = append(terms, "not "+field+": "+value)
			continue
		}
		if alternatives[field] == nil {
			fields = append(fields, field)
		}
		alternatives[field] = append(alternatives[field], value)
	}
	for _, field := range fields {
		values := alternatives[field]
		if len(values) == 1 {
			terms = append(terms, field+": "+values[0])
		} else {
			terms = append(terms, field+": ("+strings.Join(values, " or ")+")")
		}
	}
	q, err = search.Parse(strings.Join(terms, " and "))
	if err != nil {
		return q, fmt.Errorf("filters: %w", err)
	}
	return q, nil
}

// quote writes a value as a KQL phrase, in which only these two need an escape.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// escape writes a name or pattern without quotes: what has a meaning in KQL
// gets a backslash, * keeps its meaning in a pattern.
func escape(s string, pattern bool) string {
	var b strings.Builder
	for _, r := range s {
		if strings.ContainsRune(`\():<>"{}`, r) || r == '*' && !pattern {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

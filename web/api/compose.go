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

// Compose joins a query as it was typed with filters. A filter on stream or level
// keeps the gap documents. The text is parsed by
// itself: so an error's position counts in what was typed, and a stray
// parenthesis in it cannot reach around the filters.
func Compose(text string, filters []Filter) (search.Query, error) {
	q, err := search.Parse(text)
	if err != nil || len(filters) == 0 {
		return q, err
	}
	all := []search.Query{q}
	var fields []string // in the order of first use, so that equal input gives an equal query
	alternatives := map[string][]search.Query{}
	for _, f := range filters {
		if f.Field == "" || strings.ContainsFunc(f.Field, unicode.IsControl) {
			return search.Query{}, fmt.Errorf("filter on field %q: not the name of a field", f.Field)
		}
		term := search.Term(f.Field, f.Value)
		if f.Pattern {
			term = search.Wildcard(f.Field, f.Value)
		}
		if f.Not {
			all = append(all, search.Not(term))
			continue
		}
		if alternatives[f.Field] == nil {
			fields = append(fields, f.Field)
		}
		alternatives[f.Field] = append(alternatives[f.Field], term)
	}
	for _, field := range fields {
		if field == "stream" || field == "log.level" {
			alternatives[field] = append(alternatives[field], gaps())
		}
		all = append(all, search.Or(alternatives[field]...))
	}
	return search.And(all...), nil
}

// gaps are the documents that stand in the place of lost lines. Nobody knows of
// which stream and level those were, so who looks at one stream or level must
// see them. Lines have a stream always: that they are none is said first, since
// it is quickly found out.
func gaps() search.Query {
	return search.And(search.Not(search.Exists("stream")), search.Term("event.kind", "pipeline_error"))
}

package search

import (
	"strings"
	"time"
)

// A clause is a piece of Elasticsearch's query DSL.
type clause = map[string]any

// dsl compiles n to Elasticsearch's query DSL. Everything is a filter: nothing
// is scored.
func dsl(n node) clause {
	switch n := n.(type) {
	case nil, all:
		return clause{"match_all": clause{}}
	case and:
		return boolean("filter", dslAll(n))
	case or:
		if len(n) == 0 {
			return clause{"match_none": clause{}}
		}
		return clause{"bool": clause{"should": dslAll(n), "minimum_should_match": 1}}
	case not:
		return boolean("must_not", []clause{dsl(n.node)})
	case words:
		return clause{"match": clause{"message": clause{"query": n.text}}}
	case phrase:
		return clause{"match_phrase": clause{"message": clause{"query": n.text}}}
	case term:
		return dslTerm(n.field, n.value)
	case network:
		return clause{"term": clause{n.field: clause{"value": n.prefix}}}
	case wild:
		if n.field == "message" {
			return dslWords(n.parts)
		}
		return dslWild(n.field, n.parts)
	case exists:
		return clause{"exists": clause{"field": n.field}}
	case number:
		return dslNumber(n)
	case order:
		return clause{"range": clause{n.field: clause{rangeNames[n.op]: n.value}}}
	}
	panic("BUG: search: unknown node")
}

var rangeNames = map[string]string{"<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}

func boolean(name string, clauses []clause) clause {
	return clause{"bool": clause{name: clauses}}
}

func dslAll(nodes []node) []clause {
	clauses := make([]clause, len(nodes))
	for i, n := range nodes {
		clauses[i] = dsl(n)
	}
	return clauses
}

func dslTerm(field, value string) clause {
	if field == "_id" {
		return clause{"ids": clause{"values": []string{value}}}
	}
	return clause{"term": clause{field: clause{"value": value}}}
}

func dslWild(field string, parts []string) clause {
	if len(parts) == 2 && parts[1] == "" {
		return clause{"prefix": clause{field: clause{"value": parts[0]}}}
	}
	escaped := make([]string, len(parts))
	for i, p := range parts {
		escaped[i] = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`).Replace(p)
	}
	return clause{"wildcard": clause{field: clause{"value": strings.Join(escaped, "*")}}}
}

func dslWords(parts []string) clause {
	phrases, patterns := wordPatterns(parts)
	var clauses []clause
	for _, p := range phrases {
		clauses = append(clauses, dsl(phrase{p}))
	}
	for _, p := range patterns {
		clauses = append(clauses, dslWild("message", p))
	}
	switch len(clauses) {
	case 0:
		return dsl(exists{"message"})
	case 1:
		return clauses[0]
	}
	return boolean("filter", clauses)
}

func dslNumber(n number) clause {
	if kindOf(n.field) == kindTime {
		value := dslTime(n.value)
		if n.op == "=" {
			return clause{"range": clause{n.field: clause{"gte": value, "lte": value}}}
		}
		return clause{"range": clause{n.field: clause{rangeNames[n.op]: value}}}
	}
	if n.op == "=" {
		return clause{"term": clause{n.field: clause{"value": n.value}}}
	}
	return clause{"range": clause{n.field: clause{rangeNames[n.op]: n.value}}}
}

// dslTime writes all nine digits: a date with fewer of them is rounded up by
// lte and gt.
func dslTime(ns int64) string {
	return time.Unix(0, ns).UTC().Format("2006-01-02T15:04:05.000000000Z07:00")
}

package search

import (
	"encoding/hex"
	"net/netip"
	"strings"

	"mesoscope/embedded"
)

// A condition is a piece of SQL about one row of line, with its arguments. It
// is never NULL: NOT must turn a missing value into a match.
type condition struct {
	sql  string
	args []any
}

// A sqlCompiler makes conditions over the tables in embedded/schema.go.
type sqlCompiler struct {
	// members are the top-level members that lines have of their own; all
	// others are looked for in what their origin shares.
	members map[string]bool
}

var never = condition{sql: "0"}

func (c sqlCompiler) compile(n node) condition {
	switch n := n.(type) {
	case nil, all:
		return condition{sql: "1"}
	case and:
		return c.join(n, " AND ")
	case or:
		if len(n) == 0 {
			return never
		}
		return c.join(n, " OR ")
	case not:
		inner := c.compile(n.node)
		return condition{"NOT " + inner.sql, inner.args}
	case words:
		return anyOf(embedded.Words(n.text))
	case phrase:
		return matches(ftsPhrase(n.text))
	case term:
		return c.term(n)
	case network:
		return c.network(n)
	case wild:
		if n.field == "message" {
			return c.words(n.parts)
		}
		return c.value(n.field, "{} GLOB ?", glob(n.parts))
	case exists:
		return c.exists(n.field)
	case number:
		return c.number(n)
	case order:
		if kindOf(n.field) == kindAddress {
			sortable, _ := embedded.SortableIP(n.value) // checked by compare
			return c.value(n.field, "{} "+n.op+" ?", sortable)
		}
		return c.value(n.field, "{} "+n.op+" ?", n.value)
	}
	panic("BUG: search: unknown node")
}

func (c sqlCompiler) join(nodes []node, with string) condition {
	all := condition{}
	texts := make([]string, len(nodes))
	for i, n := range nodes {
		inner := c.compile(n)
		texts[i] = inner.sql
		all.args = append(all.args, inner.args...)
	}
	all.sql = "(" + strings.Join(texts, with) + ")"
	return all
}

// matches asks the word index. expression "" holds no word: no line matches,
// as in Elasticsearch.
func matches(expression string) condition {
	if expression == "" {
		return never
	}
	return condition{"line.seq IN (SELECT rowid FROM message WHERE message MATCH ?)", []any{expression}}
}

func anyOf(words []string) condition {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = ftsQuote(w)
	}
	return matches(strings.Join(quoted, " OR "))
}

func ftsPhrase(text string) string {
	words := embedded.Words(text)
	if len(words) == 0 {
		return ""
	}
	return ftsQuote(strings.Join(words, " "))
}

func ftsQuote(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

// words compiles a piece of text with wildcards.
func (c sqlCompiler) words(parts []string) condition {
	phrases, patterns := wordPatterns(parts)
	var terms []string
	for _, p := range phrases {
		terms = append(terms, ftsPhrase(p))
	}
	var all condition
	var texts []string
	for _, p := range patterns {
		if len(p) == 2 && p[1] == "" {
			terms = append(terms, ftsQuote(p[0])+" *")
			continue
		}
		// The index holds the words in order: what is before the first
		// wildcard narrows them.
		texts = append(texts, "line.seq IN (SELECT doc FROM word WHERE term >= ? AND term < ? AND term GLOB ?)")
		all.args = append(all.args, p[0], p[0]+"\U0010ffff", glob(p))
	}
	if len(terms) > 0 {
		m := matches(strings.Join(terms, " AND "))
		texts = append(texts, m.sql)
		all.args = append(all.args, m.args...)
	}
	if len(texts) == 0 {
		return c.exists("message")
	}
	all.sql = "(" + strings.Join(texts, " AND ") + ")"
	return all
}

// glob is the pattern of SQLite's GLOB, which knows case and no escapes but
// sets.
func glob(parts []string) string {
	escaped := make([]string, len(parts))
	for i, p := range parts {
		escaped[i] = strings.NewReplacer("*", "[*]", "?", "[?]", "[", "[[]").Replace(p)
	}
	return strings.Join(escaped, "*")
}

func (c sqlCompiler) term(n term) condition {
	switch kindOf(n.field) {
	case kindID:
		return condition{"line.id = ?", []any{n.value}}
	case kindAddress:
		sortable, _ := embedded.SortableIP(n.value) // checked by match
		return c.value(n.field, "{} = ?", sortable)
	}
	return c.value(n.field, "{} = ?", n.value)
}

func (c sqlCompiler) network(n network) condition {
	p := netip.MustParsePrefix(n.prefix) // checked by match
	first := p.Masked().Addr()
	last := first.As16()
	bits := p.Bits()
	if first.Is4() {
		bits += 96
	}
	for i := bits; i < 128; i++ {
		last[i/8] |= 1 << (7 - i%8)
	}
	sortable, _ := embedded.SortableIP(first.String())
	return c.value(n.field, "{} BETWEEN ? AND ?", sortable, hex.EncodeToString(last[:]))
}

// value asks whether any value of a field that holds strings passes test, in
// which {} is the value.
func (c sqlCompiler) value(field, test string, args ...any) condition {
	if field == "log.level" {
		return condition{"(line.level IS NOT NULL AND length(line.level) <= 1024 AND " + strings.ReplaceAll(test, "{}", "line.level") + ")", args}
	}
	if field == "event.dataset" { // of all lines of an origin the same, hence quicker than what each line says
		return condition{"line.origin IN (SELECT id FROM origin WHERE length(dataset) > 0 AND " + strings.ReplaceAll(test, "{}", "dataset") + ")", args}
	}
	shared := condition{
		"line.origin IN (SELECT origin FROM origin_field WHERE name = ? AND " + strings.ReplaceAll(test, "{}", "value") + ")",
		append([]any{field}, args...),
	}
	if !c.own(field) {
		return shared
	}
	path, ok := jsonPath(field)
	if !ok {
		return shared
	}
	return condition{
		"(" + shared.sql + " OR EXISTS (SELECT 1 FROM json_each('{' || line.own || '}', ?) j WHERE typeof(j.key) <> 'text'" +
			" AND j.type NOT IN ('object', 'array', 'null') AND length(j.atom) <= 1024 AND " + strings.ReplaceAll(test, "{}", jsonText) + "))",
		append(append(shared.args, path), args...),
	}
}

// jsonText is a JSON scalar as Elasticsearch's keyword takes it.
const jsonText = "CASE j.type WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' ELSE CAST(j.atom AS TEXT) END"

func (c sqlCompiler) number(n number) condition {
	column := ""
	op := n.op
	switch n.field {
	case "@timestamp":
		return condition{"line.ts " + op + " ?", []any{n.value}}
	case "event.created":
		column = "line.created"
	case "event.sequence":
		column = "line.sequence"
	case "log.offset":
		column = "line.offset"
	default:
		path, ok := jsonPath(n.field)
		if !ok || !c.own(n.field) {
			return never
		}
		test, value := "j.type = 'integer' AND j.atom", any(n.value)
		if kindOf(n.field) == kindTime {
			test, value = "j.type = 'text' AND "+nineDigits, dslTime(n.value)
		}
		return condition{"EXISTS (SELECT 1 FROM json_each('{' || line.own || '}', ?) j WHERE typeof(j.key) <> 'text' AND " + test + " " + op + " ?)", []any{path, value}}
	}
	return condition{"(" + column + " IS NOT NULL AND " + column + " " + op + " ?)", []any{n.value}}
}

// nineDigits is a time in UTC, as our documents have it, with all nine digits of
// its fraction, so that text compares as times do.
const nineDigits = "substr(j.atom, 1, 19) || '.' || substr(rtrim(substr(j.atom, 21), 'Z') || '000000000', 1, 9) || 'Z'"

func (c sqlCompiler) exists(field string) condition {
	switch field {
	case "event.dataset":
		return condition{sql: "line.origin IN (SELECT id FROM origin WHERE length(dataset) > 0)"}
	case "@timestamp", "_id":
		return condition{sql: "1"}
	case "log.level":
		return condition{sql: "(line.level IS NOT NULL AND length(line.level) <= 1024)"}
	case "event.created":
		return condition{sql: "line.created IS NOT NULL"}
	case "event.sequence":
		return condition{sql: "line.sequence IS NOT NULL"}
	case "log.offset":
		return condition{sql: "line.offset IS NOT NULL"}
	case "message":
		return condition{sql: "coalesce(json_type('{' || line.own || '}', '$.message') = 'text', 0)"}
	}
	shared := condition{"line.origin IN (SELECT origin FROM origin_field WHERE name = ?)", []any{field}}
	if kindOf(field) != kindLabels { // a label's name may begin like another's
		shared = condition{"line.origin IN (SELECT origin FROM origin_field WHERE name = ? OR name >= ? AND name < ?)", []any{field, field + ".", field + "/"}}
	}
	path, ok := jsonPath(field)
	if !ok || !c.own(field) {
		return shared
	}
	return condition{
		"(" + shared.sql + " OR EXISTS (SELECT 1 FROM json_tree('{' || line.own || '}', ?) j WHERE j.type NOT IN ('object', 'array', 'null') AND (j.type <> 'text' OR length(j.atom) <= 1024)))",
		append(shared.args, path),
	}
}

// own says whether lines may have the field besides what they share.
func (c sqlCompiler) own(field string) bool {
	head, _, _ := strings.Cut(field, ".")
	return c.members[head]
}

// jsonPath is the path to a dotted field. A name with a quotation mark cannot
// be written in one.
func jsonPath(field string) (string, bool) {
	return `$."` + strings.ReplaceAll(field, ".", `"."`) + `"`, !strings.Contains(field, `"`)
}

package search

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A ParseError says what is wrong in a query, and where.
type ParseError struct {
	Text    string // the query
	Offset  int    // in bytes of Text; len(Text) = at the end
	Problem string
}

// Error is one line: where and what.
func (e *ParseError) Error() string {
	if e.Offset >= len(e.Text) {
		return "query: at the end: " + e.Problem
	}
	return fmt.Sprintf("query: at character %d: %s", utf8.RuneCountInString(e.Text[:e.Offset])+1, e.Problem)
}

// Caret is the query with a mark below the place, two lines for a terminal.
func (e *ParseError) Caret() string {
	line := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, e.Text)
	return line + "\n" + strings.Repeat(" ", utf8.RuneCountInString(e.Text[:min(e.Offset, len(e.Text))])) + "^"
}

const (
	special   = `\():<>"*{}`
	maxQuery  = 16 << 10 // bytes
	maxNested = 100      // parentheses and nots within each other
)

// Parse reads a query in the part of KQL that people type:
//
//	timeout "no route"?          not this: two values need and or or between them
//	connection refused           any of the words, in message
//	"connection refused"         the words in a row
//	message: time*               a word that begins so; * also elsewhere
//	log.level: error             exactly, as all fields but message
//	service.name: (/prod/* or web)
//	host.ip: 10.0.0.0/8          log.offset >= 1000          container.id: *
//	@timestamp >= "2026-11-23T10:00" and not (a or b)
//
// not binds tighter than and, and that tighter than or, all in any case. A
// backslash takes its meaning from one of \():<>"*{} and from and, or, not. A
// field that no line has matches nothing. A time without zone is UTC, and
// "now-15m" is counted from the moment of parsing. Unlike in Kibana, words
// without a field look in message alone.
//
// Empty text matches every line. The error is a *ParseError.
func Parse(text string) (Query, error) {
	if len(text) > maxQuery {
		return Query{}, &ParseError{text, maxQuery, fmt.Sprintf("the query is longer than %d bytes", maxQuery)}
	}
	if !utf8.ValidString(text) {
		return Query{}, &ParseError{text, 0, "the query is not UTF-8"}
	}
	p := parser{text: text}
	if p.next(); p.token.what == tokenEnd {
		return Query{}, nil
	}
	root, err := p.query(0)
	if err == nil && p.token.what != tokenEnd {
		err = p.unexpected("and or or")
	}
	if err == nil {
		err = p.err
	}
	if err != nil {
		return Query{}, err
	}
	if _, ok := root.(all); ok {
		root = nil
	}
	return Query{text: text, root: root}, nil
}

type tokenKind int

const (
	tokenEnd tokenKind = iota
	tokenLiteral
	tokenAnd
	tokenOr
	tokenNot
	tokenSign // ( ) : < <= > >=
)

type token struct {
	what    tokenKind
	at      int
	sign    string
	literal literal
}

// parser reads tokens one ahead. The first error stays, in err.
type parser struct {
	text  string
	pos   int
	token token
	err   error
}

func (p *parser) fail(at int, format string, args ...any) error {
	if p.err == nil {
		p.err = &ParseError{p.text, at, fmt.Sprintf(format, args...)}
	}
	return p.err
}

// unexpected is the error for the present token, where something else should be.
func (p *parser) unexpected(expected string) error {
	if p.err != nil {
		return p.err
	}
	found := ""
	switch p.token.what {
	case tokenEnd:
		return p.fail(p.token.at, "expected %s", expected)
	case tokenLiteral:
		found = "another value"
	case tokenAnd:
		found = "and"
	case tokenOr:
		found = "or"
	case tokenNot:
		found = "not"
	case tokenSign:
		found = p.token.sign
	}
	return p.fail(p.token.at, "expected %s, found %s", expected, found)
}

func (p *parser) is(sign string) bool { return p.token.what == tokenSign && p.token.sign == sign }

// A value of a list or of the whole query: `a or b and not (c)`. element reads
// what stands between the operators.
func (p *parser) operators(depth int, element func(depth int) (node, error)) (node, error) {
	if depth > maxNested {
		return nil, p.fail(p.token.at, "more than %d parentheses and nots within each other", maxNested)
	}
	var alternatives or
	for {
		var parts and
		for {
			n, err := p.negation(depth, element)
			if err != nil {
				return nil, err
			}
			parts = append(parts, n)
			if p.token.what != tokenAnd {
				break
			}
			p.next()
		}
		if len(parts) == 1 {
			alternatives = append(alternatives, parts[0])
		} else {
			alternatives = append(alternatives, parts)
		}
		if p.token.what != tokenOr {
			break
		}
		p.next()
	}
	if len(alternatives) == 1 {
		return alternatives[0], nil
	}
	return alternatives, nil
}

func (p *parser) negation(depth int, element func(depth int) (node, error)) (node, error) {
	if depth > maxNested {
		return nil, p.fail(p.token.at, "more than %d parentheses and nots within each other", maxNested)
	}
	if p.token.what != tokenNot {
		return element(depth)
	}
	p.next()
	n, err := p.negation(depth+1, element)
	if err != nil {
		return nil, err
	}
	return not{n}, nil
}

func (p *parser) query(depth int) (node, error) { return p.operators(depth, p.expression) }

// parenthesized reads ( inner ) and the token behind it.
func (p *parser) parenthesized(depth int, element func(depth int) (node, error)) (node, error) {
	open := p.token.at
	p.next()
	n, err := p.operators(depth+1, element)
	if err != nil {
		return nil, err
	}
	if !p.is(")") {
		if p.token.what == tokenEnd {
			return nil, p.fail(open, "this parenthesis is never closed")
		}
		return nil, p.unexpected("and, or or )")
	}
	p.next()
	return n, p.err
}

// expression reads a parenthesis, `field: value`, `field >= value`, or words.
func (p *parser) expression(depth int) (node, error) {
	if p.is("(") {
		return p.parenthesized(depth, p.expression)
	}
	if p.token.what != tokenLiteral {
		return nil, p.unexpected("a word, a phrase or a field")
	}
	first := p.token
	p.next()
	if p.token.what != tokenSign || p.is("(") || p.is(")") {
		if p.err != nil {
			return nil, p.err
		}
		if first.literal.everything() {
			return all{}, nil
		}
		return match("message", first.literal)
	}
	sign := p.token.sign
	if first.literal.everything() && sign == ":" {
		p.next()
		if p.token.what == tokenLiteral && p.token.literal.everything() {
			p.next()
			return all{}, p.err
		}
		return nil, p.fail(first.at, "* cannot stand for a field's name")
	}
	field := first.literal.parts[0]
	switch {
	case first.literal.wild():
		return nil, p.fail(first.at, "* cannot stand in a field's name")
	case !first.literal.quoted && strings.ContainsFunc(field, isSpace):
		return nil, p.fail(first.at, "%q is no field's name: and or or is missing before the field", field)
	}
	p.next()
	if sign == ":" {
		return p.values(depth, field)
	}
	if p.token.what != tokenLiteral {
		return nil, p.unexpected("a value behind " + sign)
	}
	value := p.token
	p.next()
	n, err := compare(field, sign, value.literal)
	if err != nil {
		return nil, p.fail(value.at, "%v", err)
	}
	return n, p.err
}

// values reads what stands behind `field:`.
func (p *parser) values(depth int, field string) (node, error) {
	value := func(int) (node, error) { return nil, nil }
	value = func(depth int) (node, error) {
		if p.is("(") {
			return p.parenthesized(depth, value)
		}
		if p.token.what != tokenLiteral {
			return nil, p.unexpected("a value of " + field)
		}
		v := p.token
		p.next()
		n, err := match(field, v.literal)
		if err != nil {
			return nil, p.fail(v.at, "%v", err)
		}
		return n, p.err
	}
	return value(depth)
}

// next reads the next token.
func (p *parser) next() {
	for p.pos < len(p.text) {
		r, n := utf8.DecodeRuneInString(p.text[p.pos:])
		if !isSpace(r) {
			break
		}
		p.pos += n
	}
	p.token = token{at: p.pos}
	if p.pos == len(p.text) || p.err != nil {
		return
	}
	switch c := p.text[p.pos]; c {
	case '(', ')', ':':
		p.sign(1)
	case '<', '>':
		if strings.HasPrefix(p.text[p.pos+1:], "=") {
			p.sign(2)
		} else {
			p.sign(1)
		}
	case '{', '}':
		_ = p.fail(p.pos, "nested fields, { and }, are not supported; write \\%c for the character", c)
	case '"':
		p.quoted()
	default:
		if k := keyword(p.text[p.pos:]); k != "" {
			p.token.what = map[string]tokenKind{"and": tokenAnd, "or": tokenOr, "not": tokenNot}[k]
			p.pos += len(k)
			return
		}
		p.unquoted()
	}
}

func (p *parser) sign(n int) {
	p.token.what, p.token.sign = tokenSign, p.text[p.pos:p.pos+n]
	p.pos += n
}

// quoted reads a string in quotes. Only \" \\ \t \r \n and \uXXXX have a
// meaning there, so that Windows paths can be pasted.
func (p *parser) quoted() {
	var b strings.Builder
	for i := p.pos + 1; i < len(p.text); i++ {
		c := p.text[i]
		if c == '"' {
			p.pos = i + 1
			p.token.what, p.token.literal = tokenLiteral, literal{parts: []string{b.String()}, quoted: true}
			return
		}
		if c == '\\' {
			if s, n := escaped(p.text[i:], `\"`); n > 0 {
				b.WriteString(s)
				i += n - 1
				continue
			}
		}
		b.WriteByte(c)
	}
	_ = p.fail(p.pos, "this quotation mark is never closed")
}

// escaped reads an escape at the beginning of s: n bytes that stand for text.
// n is 0 if it is none.
func escaped(s, signs string) (text string, n int) {
	if len(s) < 2 {
		return "", 0
	}
	switch c := s[1]; {
	case strings.IndexByte(signs, c) >= 0:
		return string(c), 2
	case c == 't':
		return "\t", 2
	case c == 'r':
		return "\r", 2
	case c == 'n' && !strings.EqualFold(keyword(s[1:]), "not"):
		return "\n", 2
	case c == 'u' && len(s) >= 6:
		u, err := strconv.ParseUint(s[2:6], 16, 16)
		if err == nil && utf8.ValidRune(rune(u)) {
			return string(rune(u)), 6
		}
	}
	return "", 0
}

// unquoted reads words, with the white space between them, up to the next sign
// or operator.
func (p *parser) unquoted() {
	parts := []string{""}
	space := ""
	add := func(s string) {
		parts[len(parts)-1] += space + s
		space = ""
	}
	begin := true // of a word
	i := p.pos
scan:
	for i < len(p.text) {
		r, n := utf8.DecodeRuneInString(p.text[i:])
		switch {
		case isSpace(r):
			space += string(r)
			i += n
			begin = true
			continue
		case begin && keyword(p.text[i:]) != "":
			break scan
		case r == '\\':
			k := keyword(p.text[i+1:])
			if k == "" { // and before a wildcard it is a word anyway
				if before, _, found := strings.Cut(p.text[i+1:], "*"); found {
					k = keyword(before)
				}
			}
			if k != "" {
				add(p.text[i+1 : i+1+len(k)])
				i += 1 + len(k)
				begin = false
				continue
			}
			s, n := escaped(p.text[i:], special)
			if n == 0 {
				_ = p.fail(i, `a backslash must stand before one of %s, or before and, or, not; write \\ for the character`, special)
				return
			}
			add(s)
			i += n
		case r == '*':
			add("")
			parts = append(parts, "")
			i += n
		case strings.ContainsRune(special, r):
			break scan
		default:
			add(string(r))
			i += n
		}
		begin = false
	}
	p.pos = i
	p.token.what, p.token.literal = tokenLiteral, literal{parts: compact(parts)}
}

// keyword is the operator that s begins with, in lower case.
func keyword(s string) string {
	for _, k := range []string{"and", "or", "not"} {
		if len(s) < len(k) || !strings.EqualFold(s[:len(k)], k) {
			continue
		}
		if r, _ := utf8.DecodeRuneInString(s[len(k):]); len(s) == len(k) || isSpace(r) || strings.ContainsRune(special, r) && r != '\\' && r != '*' && r != ':' {
			return k
		}
	}
	return ""
}

func isSpace(r rune) bool { return unicode.IsSpace(r) || r == '\ufeff' }

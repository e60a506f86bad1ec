package storetest

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// match says whether doc answers the KQL text.
func match(text string, doc map[string]any) (bool, error) {
	p := &parser{tokens: cut(text), doc: doc}
	if len(p.tokens) == 0 {
		return true, nil
	}
	ok, err := p.or()
	if err == nil && len(p.tokens) > 0 {
		err = fmt.Errorf("unexpected %q", p.tokens[0].text)
	}
	return ok, err
}

type token struct {
	text   string
	quoted bool
}

func cut(s string) (out []token) {
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == ' ' || c == '\n':
			i++
		case strings.HasPrefix(s[i:], "<=") || strings.HasPrefix(s[i:], ">="):
			out = append(out, token{text: s[i : i+2]})
			i += 2
		case strings.IndexByte("():<>", c) >= 0:
			out = append(out, token{text: s[i : i+1]})
			i++
		default:
			quoted := c == '"'
			if quoted {
				i++
			}
			var b strings.Builder
			for i < len(s) && (quoted && s[i] != '"' || !quoted && strings.IndexByte(" \n():<>", s[i]) < 0) {
				if s[i] == '\\' && i+1 < len(s) {
					i++
				}
				b.WriteByte(s[i])
				i++
			}
			if quoted {
				i++
			}
			out = append(out, token{b.String(), quoted})
		}
	}
	return out
}

type parser struct {
	tokens []token
	doc    map[string]any
}

func (p *parser) accept(words ...string) string {
	if len(p.tokens) == 0 || p.tokens[0].quoted {
		return ""
	}
	for _, w := range words {
		if strings.EqualFold(p.tokens[0].text, w) {
			p.tokens = p.tokens[1:]
			return w
		}
	}
	return ""
}

func (p *parser) next() (token, error) {
	if len(p.tokens) == 0 {
		return token{}, fmt.Errorf("unexpected end")
	}
	t := p.tokens[0]
	p.tokens = p.tokens[1:]
	return t, nil
}

func (p *parser) or() (bool, error) {
	ok, err := p.and()
	for err == nil && p.accept("or") != "" {
		var b bool
		b, err = p.and()
		ok = ok || b
	}
	return ok, err
}

func (p *parser) and() (bool, error) {
	ok, err := p.not()
	for err == nil && p.accept("and") != "" {
		var b bool
		b, err = p.not()
		ok = ok && b
	}
	return ok, err
}

func (p *parser) not() (bool, error) {
	if p.accept("not") != "" {
		ok, err := p.not()
		return !ok, err
	}
	if p.accept("(") != "" {
		ok, err := p.or()
		if err == nil && p.accept(")") == "" {
			err = fmt.Errorf("missing )")
		}
		return ok, err
	}
	return p.term()
}

func (p *parser) term() (bool, error) {
	t, err := p.next()
	if err != nil {
		return false, err
	}
	if t.quoted || len(p.tokens) == 0 || !strings.Contains(":<=>=", p.tokens[0].text) || p.tokens[0].quoted {
		ok := p.is("message", t)
		for len(p.tokens) > 0 && !p.tokens[0].quoted && !strings.Contains(" and or not ) ", " "+p.tokens[0].text+" ") {
			ok = p.is("message", p.tokens[0]) || ok
			p.tokens = p.tokens[1:]
		}
		return ok, nil
	}
	op, _ := p.next()
	if op.text == ":" {
		if p.accept("(") == "" {
			v, err := p.next()
			return err == nil && p.is(t.text, v), err
		}
		ok := false
		for p.accept(")") == "" {
			v, err := p.next()
			if err != nil {
				return false, err
			}
			ok = p.is(t.text, v) || ok
			p.accept("or")
		}
		return ok, nil
	}
	v, err := p.next()
	if err != nil {
		return false, err
	}
	have, err1 := strconv.ParseFloat(value(p.doc, t.text), 64)
	want, err2 := strconv.ParseFloat(v.text, 64)
	if err1 != nil || err2 != nil {
		return false, nil
	}
	return map[string]bool{"<": have < want, "<=": have <= want, ">": have > want, ">=": have >= want}[op.text], nil
}

func (p *parser) is(field string, want token) bool {
	have := value(p.doc, field)
	if field == "message" {
		return strings.Contains(strings.ToLower(have), strings.ToLower(strings.Trim(want.text, "*")))
	}
	if prefix, rest, ok := strings.Cut(want.text, "*"); ok && !want.quoted {
		return have != "" && strings.HasPrefix(have, prefix) && strings.HasSuffix(have, rest)
	}
	return have != "" && have == want.text
}

// value is a field as text, "" when it is absent.
func value(doc map[string]any, field string) string {
	if v, ok := doc[field]; ok {
		return text(v)
	}
	for i, c := range field {
		if sub, ok := doc[field[:i]].(map[string]any); c == '.' && ok {
			if s := value(sub, field[i+1:]); s != "" {
				return s
			}
		}
	}
	return ""
}

func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	case map[string]any:
		return ""
	}
	return fmt.Sprint(v)
}

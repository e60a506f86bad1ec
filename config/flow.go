package config

import (
	"strings"

	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"
)

// tokenize cuts text into YAML tokens. Inside of { } and [ ] the library takes
// each colon for the end of a key; YAML 1.2 (7.3.3) wants a space behind it, so
// that [http://es1:9200] is a list of one address. Such pieces are put together
// again here.
func tokenize(text string) token.Tokens {
	var out token.Tokens
	depth := 0
	in := lexer.Tokenize(text)
	for i := 0; i < len(in); i++ {
		t := in[i]
		switch t.Type {
		case token.MappingStartType, token.SequenceStartType:
			depth++
		case token.MappingEndType, token.SequenceEndType:
			depth--
		}
		for depth > 0 && i+2 < len(in) && plain(t) && adjacent(t, in[i+1]) && in[i+1].Type == token.MappingValueType &&
			plain(in[i+2]) && adjacent(in[i+1], in[i+2]) {
			t = token.New(t.Value+":"+in[i+2].Value, t.Origin+":"+in[i+2].Origin, t.Position)
			i += 2
		}
		out.Add(t)
	}
	return out
}

// plain says whether t is a scalar without quotes.
func plain(t *token.Token) bool {
	switch t.Type {
	case token.StringType, token.IntegerType, token.FloatType, token.BoolType, token.NullType,
		token.HexIntegerType, token.OctetIntegerType, token.BinaryIntegerType:
		return true
	}
	return false
}

// adjacent says whether nothing stands between a and b.
func adjacent(a, b *token.Token) bool {
	return a.Position.Line == b.Position.Line && strings.TrimRight(a.Origin, " \t") == a.Origin && strings.TrimLeft(b.Origin, " \t") == b.Origin
}

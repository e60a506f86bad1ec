package search

import (
	"strings"
	"unicode"

	"mesoscope/embedded"
)

// star stands for a wildcard while a value is cut into words. It is a private
// use character: no letter, so nothing that is typed is mistaken for it.
const star = '\U0010fffd'

// wordPatterns takes a piece of text with wildcards (parts, no white space)
// apart. A wildcard stands for a part of one word, as in Kibana; but where the
// piece holds more than one word, such as /api/v1/us*, each is asked for by
// itself: phrases without wildcards, and patterns of words (parts again). All
// of them must be in the message.
func wordPatterns(parts []string) (phrases []string, patterns [][]string) {
	text := []rune(strings.Join(parts, string(star)))
	plain := ""
	flush := func() {
		if len(embedded.Words(plain)) > 0 {
			phrases = append(phrases, plain)
		}
		plain = ""
	}
	for i := 0; i < len(text); {
		if !joins(text[i]) {
			plain += string(text[i])
			i++
			continue
		}
		end := i
		for end < len(text) && joins(text[end]) {
			end++
		}
		run := string(text[i:end])
		i = end
		if !strings.ContainsRune(run, star) {
			plain += run
			continue
		}
		flush()
		// Punctuation at the edge of a word is no part of it.
		run = strings.TrimFunc(run, func(r rune) bool { return r != star && !inWord(r) })
		pattern := compact(strings.Split(embedded.FoldCase(run), string(star)))
		if strings.ContainsFunc(strings.Join(pattern, ""), inWord) {
			patterns = append(patterns, pattern)
		}
	}
	flush()
	return phrases, patterns
}

// joins says whether r can be inside a word of more than one character.
func joins(r rune) bool {
	return r == star || inWord(r) || unicode.In(r, unicode.M, unicode.Cf) || strings.ContainsRune(":.,;'’‘·․﹒．：，；'＇", r)
}

// inWord says whether r can begin a word of more than one character.
func inWord(r rune) bool {
	if unicode.In(r, unicode.Han, unicode.Hiragana) {
		return false // a word each
	}
	return unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.Is(unicode.Nl, r) || unicode.Is(unicode.Pc, r)
}

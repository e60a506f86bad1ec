package embedded

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/clipperhouse/uax29/v2/words"
)

// maxWord is where Elasticsearch's standard analyzer cuts a long word, in
// UTF-16 units (its max_token_length).
const maxWord = 255

// Words cuts text as Elasticsearch's standard analyzer does: at the word
// boundaries of UAX #29, without what is only spaces or punctuation, in lower
// case, and in pieces of at most 255 UTF-16 units. What is written and what is
// asked go through here, so that both stores agree on what a word is.
func Words(text string) []string {
	joined := appendWords(nil, text)
	if len(joined) == 0 {
		return nil
	}
	return strings.Split(string(joined), " ")
}

// FoldCase folds the case of s as the standard analyzer does, rune by rune.
func FoldCase(s string) string { return strings.Map(unicode.ToLower, s) }

// The classes of ASCII bytes in the rules of UAX #29.
const (
	other     = iota
	letter    // ALetter
	digit     // Numeric
	underline // ExtendNumLet
	midLetter // MidLetter
	midNumLet // MidNumLet and Single_Quote
	midNum    // MidNum
)

var asciiClass = func() (t [utf8.RuneSelf]byte) {
	for c := byte('a'); c <= 'z'; c++ {
		t[c], t[c-'a'+'A'] = letter, letter
	}
	for c := '0'; c <= '9'; c++ {
		t[c] = digit
	}
	t['_'] = underline
	t[':'] = midLetter
	t['.'], t['\''] = midNumLet, midNumLet
	t[','], t[';'] = midNum, midNum
	return t
}()

// appendWords appends the words of text with a space between them.
//
// Most lines are ASCII, where the rules are a small table; from the first word
// on that touches anything else, the general segmenter takes over.
func appendWords(dst []byte, text string) []byte {
	for i := 0; i < len(text); {
		c := text[i]
		if c >= utf8.RuneSelf {
			return appendUnicodeWords(dst, text[i:])
		}
		if k := asciiClass[c]; k != letter && k != digit && k != underline {
			// "#" and "*" may begin a keycap emoji.
			if i+1 < len(text) && text[i+1] >= utf8.RuneSelf {
				return appendUnicodeWords(dst, text[i:])
			}
			i++
			continue
		}
		end, isWord := asciiWord(text, i)
		if end < 0 || end-i > maxWord {
			return appendUnicodeWords(dst, text[i:])
		}
		if isWord {
			dst = appendWord(dst, text[i:end])
		}
		i = end
	}
	return dst
}

// asciiWord is where the word that begins at i ends, and whether it is one: a
// run of underlines alone is not. -1: the word touches a byte above ASCII.
func asciiWord(text string, i int) (end int, isWord bool) {
	last := byte(other)
	for ; i < len(text); i++ {
		c := text[i]
		if c >= utf8.RuneSelf {
			return -1, false
		}
		class := asciiClass[c]
		switch class {
		case letter, digit:
			isWord = true
		case underline:
		case other:
			return i, isWord
		default:
			if i+1 >= len(text) {
				return i, isWord
			}
			next := text[i+1]
			if next >= utf8.RuneSelf {
				return -1, false
			}
			joins := last == letter && asciiClass[next] == letter && class != midNum ||
				last == digit && asciiClass[next] == digit && class != midLetter
			if !joins {
				return i, isWord
			}
		}
		last = class
	}
	return i, isWord
}

// appendUnicodeWords is appendWords for any text.
func appendUnicodeWords(dst []byte, text string) []byte {
	// The segmenter takes all that is behind a bad byte for one piece.
	text = strings.ToValidUTF8(text, "\ufffd")
	it := words.FromString(text)
	complexEnd := -1 // where the last word ended, if it was of a complex script
	for offset := 0; it.Next(); {
		word := it.Value()
		if len(word) > maxWord && utf16Len(word) > maxWord {
			// The analyzer's window is full: the word is what the rules find in
			// the first 255 units, and it goes on behind that.
			cut := words.FromString(utf16Prefix(word, maxWord))
			cut.Next()
			word = cut.Value()
			offset += it.Start() + len(word)
			it = words.FromString(text[offset:])
			dst = appendIfWord(dst, word)
			complexEnd = -1
			continue
		}
		r, _ := utf8.DecodeRuneInString(word)
		if isComplex(r) {
			// Scripts without spaces: UAX #29 leaves each rune alone, the
			// analyzer keeps a run of them together.
			if complexEnd == offset+it.Start() {
				dst = append(dst, word...)
			} else {
				dst = appendWord(dst, word)
			}
			complexEnd = offset + it.End()
			continue
		}
		dst = appendIfWord(dst, word)
	}
	return dst
}

func appendIfWord(dst []byte, segment string) []byte {
	if keep(segment) {
		return appendWord(dst, segment)
	}
	return dst
}

func appendWord(dst []byte, word string) []byte {
	if len(dst) > 0 {
		dst = append(dst, ' ')
	}
	for i := 0; i < len(word); {
		c := word[i]
		if c < utf8.RuneSelf {
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			}
			dst = append(dst, c)
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(word[i:])
		dst = utf8.AppendRune(dst, unicode.ToLower(r))
		i += n
	}
	return dst
}

// keep says whether a segment of UAX #29 is a word: it holds a letter, a
// digit or an emoji.
func keep(segment string) bool {
	first := true
	for _, r := range segment {
		switch {
		case r < utf8.RuneSelf:
			if k := asciiClass[r]; k == letter || k == digit {
				return true
			}
		case unicode.IsLetter(r), unicode.Is(unicode.Nd, r), isWordLike(r):
			return true
		case first && isPictograph(r):
			return true
		case unicode.Is(unicode.Regional_Indicator, r):
			// Two of them are a flag, one is nothing.
			return regionalIndicators(segment) > 1
		case r == '\u20e3' && (segment[0] == '#' || segment[0] == '*'):
			return true // keycap
		}
		first = false
	}
	return false
}

func regionalIndicators(s string) (n int) {
	for _, r := range s {
		if unicode.Is(unicode.Regional_Indicator, r) {
			n++
		}
	}
	return n
}

// isWordLike asks the segmenter for the properties ALetter, Hebrew_Letter,
// Numeric and Katakana, which it keeps to itself: such a rune stays with a
// letter behind it. So do connectors such as U+203F, which make no word alone.
func isWordLike(r rune) bool {
	if unicode.Is(unicode.Pc, r) || r == '\u202f' {
		return false
	}
	return staysWith(r, "a") || staysWith(r, "ア") || unicode.Is(unicode.Han, r)
}

func staysWith(r rune, next string) bool {
	it := words.FromString(string(r) + next)
	it.Next()
	return it.End() > utf8.RuneLen(r)
}

// isPictograph asks the segmenter for the property Extended_Pictographic,
// which it keeps to itself: exactly such a rune stays with a zero width joiner
// before it (rule WB3c), besides those that only ever extend.
func isPictograph(r rune) bool {
	if r < 0xa9 || unicode.IsSpace(r) || unicode.In(r, unicode.M, unicode.Cf) {
		return false
	}
	if unicode.Is(oldPictographs, r) {
		return true
	}
	it := words.FromString("\u200d" + string(r))
	it.Next()
	return it.End() > len("\u200d")
}

// oldPictographs were Extended_Pictographic up to Unicode 15 and still are for
// Lucene 10, which follows Unicode 12.1: chess pieces, stars, arrows and such.
// Letters that came after 12.1 are the other way round: words here, nothing
// there.
var oldPictographs = &unicode.RangeTable{R16: []unicode.Range16{
	{0x2388, 0x2388, 1}, {0x2600, 0x2605, 1}, {0x2607, 0x2612, 1}, {0x2614, 0x2685, 1},
	{0x2690, 0x2705, 1}, {0x2708, 0x2712, 1}, {0x2763, 0x2767, 1},
}}

// isComplex says whether r belongs to a script that is written without spaces
// and needs a dictionary to cut (line break class Complex_Context).
func isComplex(r rune) bool {
	return r >= 0xe00 && (unicode.IsLetter(r) || unicode.IsMark(r) || r == 0xe2f) &&
		unicode.In(r, unicode.Thai, unicode.Lao, unicode.Myanmar, unicode.Khmer, unicode.Tai_Le, unicode.New_Tai_Lue, unicode.Tai_Tham, unicode.Tai_Viet, unicode.Ahom)
}

// utf16Len is the length of s in UTF-16 units.
func utf16Len(s string) int {
	n := 0
	for _, r := range s {
		n++
		if r > 0xffff {
			n++
		}
	}
	return n
}

// utf16Prefix is the longest beginning of s of at most n UTF-16 units.
func utf16Prefix(s string, n int) string {
	for i, r := range s {
		n--
		if r > 0xffff {
			n--
		}
		if n < 0 {
			return s[:i]
		}
	}
	return s
}

package jsonfile

import (
	"time"
	"unicode/utf8"
)

// ChunkSize is the most bytes of a line that dockerd puts into one entry.
const ChunkSize = 16 * 1024

const hexDigits = "0123456789abcdef"

// AppendEntry appends one entry of a json-file log with its final newline:
//
//	{"log":"text\n","stream":"stdout","attrs":{"k":"v"},"time":"2026-11-23T11:51:40.26815586Z"}
//
// log is the text with its "\n" when it ends a line. attrs is a JSON object or
// empty. Empty members are left out, as dockerd does; time is always there.
func AppendEntry(dst, log []byte, stream string, attrs []byte, t time.Time) []byte {
	dst = append(dst, '{')
	if len(log) > 0 {
		dst = append(dst, `"log":`...)
		dst = appendQuoted(dst, log)
		dst = append(dst, ',')
	}
	if stream != "" {
		dst = append(dst, `"stream":`...)
		dst = appendQuoted(dst, stream)
		dst = append(dst, ',')
	}
	if len(attrs) > 0 {
		dst = append(dst, `"attrs":`...)
		dst = append(dst, attrs...)
		dst = append(dst, ',')
	}
	dst = append(dst, `"time":"`...)
	dst = t.UTC().AppendFormat(dst, time.RFC3339Nano)
	return append(dst, "\"}\n"...)
}

// appendQuoted appends s as dockerd's encoder does. It differs from other JSON
// encoders: a tab is \u0009, <, > and & are escaped, and each byte that is not
// UTF-8 becomes \ufffd.
func appendQuoted[T []byte | string](dst []byte, s T) []byte {
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			i++
			if c >= 0x20 && c != '"' && c != '\\' && c != '<' && c != '>' && c != '&' {
				continue
			}
			dst = append(dst, s[from:i-1]...)
			from = i
			switch c {
			case '"', '\\':
				dst = append(dst, '\\', c)
			case '\n':
				dst = append(dst, '\\', 'n')
			case '\r':
				dst = append(dst, '\\', 'r')
			default:
				dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			}
			continue
		}
		r, n := utf8.DecodeRuneInString(string(s[i:min(i+utf8.UTFMax, len(s))]))
		switch {
		case r == utf8.RuneError && n == 1:
			dst = append(dst, s[from:i]...)
			dst = append(dst, `\ufffd`...)
			from = i + n
		case r == '\u2028' || r == '\u2029':
			dst = append(dst, s[from:i]...)
			dst = append(dst, `\u202`...)
			dst = append(dst, hexDigits[r&15])
			from = i + n
		}
		i += n
	}
	dst = append(dst, s[from:]...)
	return append(dst, '"')
}

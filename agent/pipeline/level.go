package pipeline

import "bytes"

// Level finds the log level of a line: trace, debug, info, warn, error, fatal,
// or "" if the line does not say. text is the inside of a JSON string. In this
// order: the member level, severity, lvl or log.level of a JSON line;
// level=x; the head of a glog line (I0102 15:04:05…); TRACE to FATAL in
// capitals as a word within the first 64 bytes. stderr alone is not an error.
func Level(text []byte) string {
	if len(text) == 0 {
		return ""
	}
	if text[0] == '{' {
		return jsonLevel(text)
	}
	if l := glogLevel(text); l != "" {
		return l
	}
	head := text
	if len(head) > levelWindow {
		head = head[:levelWindow]
	}
	if l := pairLevel(text); l != "" {
		return l
	}
	return wordLevel(head)
}

const (
	levelWindow = 64
	// pairWindow bounds the look for level=x: in logfmt it stands near the
	// beginning, and a long line must not cost a scan of all of it.
	pairWindow = 256
	jsonWindow = 4096
)

// levelName is the level that a word means, in any case: "WARNING" -> "warn".
func levelName(word []byte) string {
	if len(word) < 3 || len(word) > 13 {
		return ""
	}
	var low [13]byte
	for i, c := range word {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		low[i] = c
	}
	switch string(low[:len(word)]) {
	case "trace", "trc", "finest", "finer":
		return "trace"
	case "debug", "dbg", "fine", "verbose":
		return "debug"
	case "info", "inf", "information", "informational", "notice", "config":
		return "info"
	case "warn", "warning", "wrn":
		return "warn"
	case "error", "err", "severe":
		return "error"
	case "fatal", "critical", "crit", "panic", "dpanic", "emerg", "emergency", "alert", "ftl":
		return "fatal"
	}
	return ""
}

// wordLevel looks for a level in capitals that stands by itself.
func wordLevel(b []byte) string {
	for i := 0; i < len(b); {
		c := b[i]
		if c < 'A' || c > 'Z' {
			i++
			continue
		}
		j := i + 1
		for j < len(b) && b[j] >= 'A' && b[j] <= 'Z' {
			j++
		}
		if (i == 0 || !wordByte(b, i-1)) && (j == len(b) || !wordByte(b, j)) {
			switch string(b[i:j]) {
			case "TRACE":
				return "trace"
			case "DEBUG":
				return "debug"
			case "INFO":
				return "info"
			case "WARN", "WARNING":
				return "warn"
			case "ERROR":
				return "error"
			case "FATAL":
				return "fatal"
			}
		}
		i = j
	}
	return ""
}

// wordByte says whether b[i] would make a longer word of its neighbour. The
// letter of an escape such as \t or \u001b does not.
func wordByte(b []byte, i int) bool {
	c := b[i]
	letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
	if !letter {
		return false
	}
	if i >= 1 && b[i-1] == '\\' || i >= 5 && b[i-5] == '\\' && b[i-4] == 'u' {
		return false
	}
	return true
}

// glogLevel knows "I0102 15:04:05.678901 …" (also klog).
func glogLevel(b []byte) string {
	if len(b) < 8 || b[5] != ' ' {
		return ""
	}
	for _, c := range b[1:5] {
		if c < '0' || c > '9' {
			return ""
		}
	}
	if b[6] < '0' || b[6] > '9' && b[6] != ' ' {
		return ""
	}
	switch b[0] {
	case 'I':
		return "info"
	case 'W':
		return "warn"
	case 'E':
		return "error"
	case 'F':
		return "fatal"
	}
	return ""
}

// pairLevel finds level=x, as logfmt has it; x may stand in (escaped) quotes.
func pairLevel(b []byte) string {
	const key = "level="
	if len(b) > pairWindow {
		b = b[:pairWindow]
	}
	for {
		i := bytes.Index(b, []byte(key))
		if i < 0 {
			return ""
		}
		v := b[i+len(key):]
		if i > 0 && wordByte(b, i-1) {
			b = v
			continue
		}
		if len(v) > 2 && v[0] == '\\' && v[1] == '"' {
			v = v[2:]
		}
		return levelName(leadingWord(v))
	}
}

func leadingWord(b []byte) []byte {
	n := 0
	for n < len(b) && (b[n] >= 'a' && b[n] <= 'z' || b[n] >= 'A' && b[n] <= 'Z') {
		n++
	}
	return b[:n]
}

// jsonLevel walks over the members of the JSON object that the text is when
// unescaped (its quotes stand as \") and reads level, severity, lvl, log.level
// or log: {level}. It looks at the outermost members only, so that a level
// inside a message or a nested object is not taken for the line's own.
func jsonLevel(b []byte) string {
	if len(b) > jsonWindow {
		b = b[:jsonWindow]
	}
	// Most objects without a level are told by three quick scans.
	if !bytes.Contains(b, []byte("level")) && !bytes.Contains(b, []byte("severity")) && !bytes.Contains(b, []byte("lvl")) {
		return ""
	}
	depth, inLog := 0, false
	for i := 0; i < len(b); {
		switch b[i] {
		case '{', '[':
			depth++
			i++
			continue
		case '}', ']':
			depth--
			if depth == 1 {
				inLog = false
			}
			i++
			continue
		case '\\':
			if i+1 >= len(b) || b[i+1] != '"' {
				i += max(1, escapeLen(b[i:]))
				continue
			}
		default:
			i++
			continue
		}
		key, next := innerString(b, i)
		if next < 0 {
			return ""
		}
		i = skipSpace(b, next)
		if i >= len(b) || b[i] != ':' {
			continue // a value
		}
		i = skipSpace(b, i+1)
		if depth == 1 {
			inLog = string(key) == "log" && i < len(b) && b[i] == '{'
		}
		if depth == 1 && levelKey(key) || depth == 2 && inLog && string(key) == "level" {
			if i+1 < len(b) && b[i] == '\\' && b[i+1] == '"' {
				value, _ := innerString(b, i)
				return levelName(value)
			}
			return numberLevel(b[i:])
		}
		if i+1 < len(b) && b[i] == '\\' && b[i+1] == '"' {
			if _, i = innerString(b, i); i < 0 {
				return ""
			}
		}
	}
	return ""
}

func levelKey(k []byte) bool {
	switch string(k) {
	case "level", "severity", "lvl", "log.level":
		return true
	}
	return false
}

// numberLevel reads the numbers of bunyan and pino: 10 is trace, 60 is fatal.
func numberLevel(b []byte) string {
	if len(b) < 3 || b[1] != '0' || b[2] >= '0' && b[2] <= '9' {
		return ""
	}
	switch b[0] {
	case '1':
		return "trace"
	case '2':
		return "debug"
	case '3':
		return "info"
	case '4':
		return "warn"
	case '5':
		return "error"
	case '6':
		return "fatal"
	}
	return ""
}

// innerString reads the string whose opening quote is the \" at i, and returns
// its inside and where the text goes on, or -1 if it has no end. An escape of
// the inner JSON stands with a doubled backslash: \\\" is an inner quote.
func innerString(b []byte, i int) (inside []byte, next int) {
	from := i + 2
	for i = from; i+1 < len(b); {
		if b[i] != '\\' {
			i++
			continue
		}
		switch b[i+1] {
		case '"':
			return b[from:i], i + 2
		case '\\': // an inner backslash: it and the character that it escapes
			i += 2
			if i+1 < len(b) && b[i] == '\\' {
				i++
			}
			i++
		default:
			i += max(2, escapeLen(b[i:]))
		}
	}
	return nil, -1
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && b[i] == ' ' {
		i++
	}
	return i
}

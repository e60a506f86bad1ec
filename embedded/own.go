package embedded

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// own is what search needs of the members that one document does not share
// with its origin.
type own struct {
	ts       int64 // @timestamp, Unix ns
	message  string
	level    string
	created  int64 // event.created, Unix ns
	sequence int64
	offset   int64

	hasTime, hasMessage, hasLevel, hasCreated, hasSequence, hasOffset bool
	members                                                           []string // names of the top-level members
}

// parse reads members, a JSON object without braces; buf is scratch space that
// is returned. ok is false when it is no JSON or has no readable @timestamp:
// such a document could not be found again by what search does with it.
func (o *own) parse(members, buf []byte) (_ []byte, ok bool) {
	buf = append(append(append(buf[:0], '{'), members...), '}')
	*o = own{members: o.members[:0]}
	if !json.Valid(buf) {
		return buf, false
	}
	eachMember(buf, func(key, value []byte) {
		name := text(key)
		head, _, _ := strings.Cut(name, ".")
		o.members = append(o.members, head)
		switch name {
		case "@timestamp":
			o.ts, o.hasTime = nanoseconds(value)
		case "message":
			if value[0] == '"' {
				o.message, o.hasMessage = text(value), true
			}
		case "log":
			eachMember(value, func(key, value []byte) {
				switch string(key) {
				case `"level"`:
					if o.hasLevel = value[0] == '"'; o.hasLevel {
						o.level = text(value)
					}
				case `"offset"`:
					o.offset, o.hasOffset = integer(value)
				}
			})
		case "event":
			eachMember(value, func(key, value []byte) {
				switch string(key) {
				case `"sequence"`:
					o.sequence, o.hasSequence = integer(value)
				case `"created"`:
					o.created, o.hasCreated = nanoseconds(value)
				}
			})
		}
	})
	return buf, o.hasTime
}

// eachMember calls f with the name (a JSON string, quoted) and the value of
// each member of object, which must be valid JSON; anything but an object has
// no members.
func eachMember(object []byte, f func(key, value []byte)) {
	if len(object) == 0 || object[0] != '{' {
		return
	}
	for i := skipSpace(object, 1); object[i] == '"'; i = skipSpace(object, i) {
		end := skipValue(object, i)
		key := object[i:end]
		i = skipSpace(object, skipSpace(object, end)+1) // the colon
		end = skipValue(object, i)
		f(key, object[i:end])
		if i = skipSpace(object, end); object[i] == ',' {
			i++
		}
	}
}

func skipSpace(b []byte, i int) int {
	for b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r' {
		i++
	}
	return i
}

// skipValue is where the value that begins at b[i] ends. b is valid JSON.
func skipValue(b []byte, i int) int {
	depth := 0
	for {
		switch b[i] {
		case '"':
			for i++; b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
			i++
		case '{', '[':
			depth++
			i++
		case '}', ']':
			depth--
			i++
		default:
			if depth == 0 { // number, true, false, null
				return i + bytes.IndexAny(b[i:], ",}] \t\r\n")
			}
			i++
		}
		if depth == 0 {
			return i
		}
	}
}

// text is the string that a JSON string stands for.
func text(quoted []byte) string {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1 : len(quoted)-1])
	}
	var s string
	if err := json.Unmarshal(quoted, &s); err != nil {
		return string(quoted) // cannot be: the document was valid
	}
	return s
}

func integer(value []byte) (int64, bool) {
	n, err := strconv.ParseInt(string(value), 10, 64)
	return n, err == nil
}

// nanoseconds reads an RFC 3339 time in quotes, as Unix ns.
func nanoseconds(value []byte) (int64, bool) {
	if len(value) < 2 || value[0] != '"' {
		return 0, false
	}
	t, err := time.Parse(time.RFC3339Nano, string(value[1:len(value)-1]))
	if err != nil || t.Year() < 1678 || t.Year() > 2261 {
		return 0, false
	}
	return t.UnixNano(), true
}

// LogFile is log.file.path and log.file.generation of a line's own members, ""
// where there is none.
func LogFile(own []byte) (path, generation string) {
	buf := make([]byte, 0, len(own)+2)
	buf = append(append(append(buf, '{'), own...), '}')
	eachMember(buf, func(key, value []byte) {
		if string(key) != `"log"` {
			return
		}
		eachMember(value, func(key, value []byte) {
			if string(key) != `"file"` {
				return
			}
			eachMember(value, func(key, value []byte) {
				switch {
				case value[0] != '"':
				case string(key) == `"path"`:
					path = text(value)
				case string(key) == `"generation"`:
					generation = text(value)
				}
			})
		})
	})
	return path, generation
}

package shipper

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// An itemAnswer is what Elasticsearch says about one document. Its slices are
// pieces of the answer, or of memory of their own where JSON escapes had to be
// resolved.
type itemAnswer struct {
	Index        []byte // backing index that took it, e.g. .ds-logs-mesos.container-default-2026.11.23-000001
	ID           []byte
	Status       int
	Result       []byte // created, noop
	FailureStore []byte // used, failed, not_enabled, not_applicable_or_unknown
	ErrorType    string // e.g. document_parsing_exception
	ErrorReason  string
}

// scanAnswer walks over the answer to a _bulk request and calls item for each
// document in turn. It does not build a tree: a bulk has thousands of items
// and nearly all of them say the same. It returns the number of items; an
// error means that the answer is not a whole and valid one, and then nothing
// that item was told may be believed.
func scanAnswer(b []byte, item func(i int, a *itemAnswer) error) (int, error) {
	s := scanner{b: b}
	n := 0
	var a itemAnswer
	var last twin
	err := s.object(func(key []byte) error {
		if string(key) != "items" {
			return s.skip()
		}
		return s.array(func() error {
			if !last.next(&s, &a) {
				a = itemAnswer{}
				s.space()
				from := s.i
				if err := s.object(func([]byte) error { return s.item(&a) }); err != nil {
					return err
				}
				last.learn(b, from, s.i, a.ID)
			}
			n++
			return item(n-1, &a)
		})
	})
	if err != nil {
		return n, err
	}
	if s.space(); s.i != len(s.b) {
		return n, s.broken("the end")
	}
	return n, nil
}

// A twin recognises the answer of an item that has the same bytes as the one
// before but for its _id, which is how nearly all of them look.
type twin struct{ head, tail []byte } // around the _id

// learn takes b[from:to] for the pattern. id is nil if that has none.
func (t *twin) learn(b []byte, from, to int, id []byte) {
	*t = twin{}
	quoted := append(append([]byte{'"'}, id...), '"')
	at := bytes.Index(b[from:to], quoted)
	if id == nil || at < 0 || bytes.Count(b[from:to], quoted) != 1 {
		return // none, one with escapes, or one that also stands elsewhere
	}
	at += from + 1
	t.head, t.tail = b[from:at], b[at+len(id):to]
}

// next passes over a twin and leaves its _id in a, which holds the rest still.
func (t *twin) next(s *scanner, a *itemAnswer) bool {
	rest, ok := bytes.CutPrefix(s.b[s.i:], t.head)
	if !ok || len(t.head) == 0 {
		return false
	}
	n := bytes.IndexByte(rest, '"')
	if n < 0 || bytes.IndexByte(rest[:n], '\\') >= 0 || !bytes.HasPrefix(rest[n:], t.tail) {
		return false
	}
	a.ID = rest[:n]
	s.i += len(t.head) + n + len(t.tail)
	return true
}

func (s *scanner) item(a *itemAnswer) error {
	return s.object(func(key []byte) (err error) {
		switch string(key) {
		case "_index":
			a.Index, err = s.str()
		case "_id":
			a.ID, err = s.str()
		case "result":
			a.Result, err = s.str()
		case "failure_store":
			a.FailureStore, err = s.str()
		case "status":
			a.Status, err = s.number()
		case "error":
			from := s.i
			if err = s.skip(); err == nil {
				a.ErrorType, a.ErrorReason = readError(s.b[from:s.i])
			}
		default:
			err = s.skip()
		}
		return err
	})
}

// readError takes type and reason out of an error object. A cause says more
// than what it caused ("failed to parse" <- "value too long"), so it is added.
func readError(raw []byte) (typ, reason string) {
	var e struct {
		Type     string `json:"type"`
		Reason   string `json:"reason"`
		CausedBy struct {
			Type   string `json:"type"`
			Reason string `json:"reason"`
		} `json:"caused_by"`
	}
	if json.Unmarshal(raw, &e) != nil {
		var text string // a missing handler answers {"error":"no handler found…"}
		if json.Unmarshal(raw, &text) == nil {
			return "", text
		}
		return "", string(raw[:min(len(raw), 300)])
	}
	if e.CausedBy.Reason != "" {
		e.Reason += ": " + e.CausedBy.Reason
	}
	// Some servers quote the document here; what applications print has no
	// place in our own log.
	e.Reason, _, _ = strings.Cut(e.Reason, "\n at [Source")
	return e.Type, e.Reason
}

// A scanner walks over JSON that a machine wrote. It checks as much as it needs
// to notice an answer that was cut or is of another kind.
type scanner struct {
	b []byte
	i int
}

var errCut = errors.New("answer ends too early")

func (s *scanner) broken(want string) error {
	if s.i >= len(s.b) {
		return errCut
	}
	return fmt.Errorf("answer is not the JSON of a bulk: byte %d is %q, want %s", s.i, s.b[s.i], want)
}

func (s *scanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\r', '\n':
			s.i++
		default:
			return
		}
	}
}

func (s *scanner) char(c byte) error {
	s.space()
	if s.i >= len(s.b) || s.b[s.i] != c {
		return s.broken(string(rune(c)))
	}
	s.i++
	return nil
}

// next is the next byte that is no space, 0 at the end.
func (s *scanner) next() byte {
	s.space()
	if s.i >= len(s.b) {
		return 0
	}
	return s.b[s.i]
}

func (s *scanner) object(member func(key []byte) error) error {
	if err := s.char('{'); err != nil {
		return err
	}
	if s.next() == '}' {
		s.i++
		return nil
	}
	for {
		key, err := s.str()
		if err != nil {
			return err
		}
		if err := s.char(':'); err != nil {
			return err
		}
		if err := member(key); err != nil {
			return err
		}
		if s.next() == ',' {
			s.i++
			continue
		}
		return s.char('}')
	}
}

func (s *scanner) array(element func() error) error {
	if err := s.char('['); err != nil {
		return err
	}
	if s.next() == ']' {
		s.i++
		return nil
	}
	for {
		if err := element(); err != nil {
			return err
		}
		if s.next() == ',' {
			s.i++
			continue
		}
		return s.char(']')
	}
}

// str reads a string. Without escapes, the usual case, it is a piece of b.
func (s *scanner) str() ([]byte, error) {
	if err := s.char('"'); err != nil {
		return nil, err
	}
	from, escaped := s.i, false
	for {
		n := bytes.IndexByte(s.b[s.i:], '"')
		if n < 0 {
			s.i = len(s.b)
			return nil, errCut
		}
		s.i += n + 1
		// A quote behind an odd number of backslashes belongs to the string.
		back := 0
		for k := s.i - 2; k >= from && s.b[k] == '\\'; k-- {
			back++
		}
		if back%2 == 0 {
			break
		}
	}
	raw := s.b[from : s.i-1]
	escaped = bytes.IndexByte(raw, '\\') >= 0
	if !escaped {
		return raw, nil
	}
	var v string
	if err := json.Unmarshal(s.b[from-1:s.i], &v); err != nil {
		return nil, fmt.Errorf("answer is not the JSON of a bulk: string at byte %d: %w", from, err)
	}
	return []byte(v), nil
}

func (s *scanner) number() (int, error) {
	s.space()
	from := s.i
	for s.i < len(s.b) && s.b[s.i] >= '0' && s.b[s.i] <= '9' {
		s.i++
	}
	if s.i == from || s.i-from > 9 {
		return 0, s.broken("a number")
	}
	n := 0
	for _, c := range s.b[from:s.i] {
		n = n*10 + int(c-'0')
	}
	return n, nil
}

// skip passes over any value.
func (s *scanner) skip() error {
	switch c := s.next(); c {
	case '{':
		return s.object(func([]byte) error { return s.skip() })
	case '[':
		return s.array(s.skip)
	case '"':
		_, err := s.str()
		return err
	default:
		from := s.i
		for s.i < len(s.b) {
			switch s.b[s.i] {
			case ',', '}', ']', ' ', '\n', '\r', '\t':
				return s.literal(from)
			}
			s.i++
		}
		return s.literal(from)
	}
}

func (s *scanner) literal(from int) error {
	switch lit := string(s.b[from:s.i]); lit {
	case "true", "false", "null":
		return nil
	default:
		if _, err := strconv.ParseFloat(lit, 64); err != nil {
			s.i = from
			return s.broken("a value")
		}
		return nil
	}
}

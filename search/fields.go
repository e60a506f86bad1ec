package search

import (
	"fmt"
	"math"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// What can be asked of a field follows from its type in the index template.
type kind int

const (
	kindKeyword kind = iota // every field that is not named below
	kindText                // message
	kindNumber
	kindTime
	kindAddress
	kindLabels // mapping type flattened: exact values and prefixes only
	kindID
)

// maxKeyword is ignore_above of the template, in UTF-16 units: a longer value
// is stored and cannot be found by its field.
const maxKeyword = 1024

func kindOf(field string) kind {
	switch field {
	case "message":
		return kindText
	case "log.offset", "log.lines", "event.sequence", "mesoscope.receipt.revision", "mesoscope.gap.from", "mesoscope.gap.bytes",
		"mesoscope.check.duration_ms", "mesoscope.evidence.status":
		return kindNumber
	case "@timestamp", "event.created", "mesoscope.receipt.first", "mesoscope.receipt.last",
		"mesoscope.check.since", "mesoscope.check.first_bad", "mesoscope.check.last_good":
		return kindTime
	case "host.ip":
		return kindAddress
	case "_id":
		return kindID
	}
	if strings.HasPrefix(field, "mesoscope.receipt.lines.") || strings.HasPrefix(field, "mesoscope.receipt.bytes.") {
		return kindNumber
	}
	if strings.HasSuffix(field, ".labels") || strings.Contains(field, ".labels.") {
		return kindLabels
	}
	return kindKeyword
}

// A literal is a value as it was written: parts with a wildcard between each
// two of them.
type literal struct {
	parts  []string
	quoted bool
}

func (l literal) wild() bool { return len(l.parts) > 1 }

// everything says that l is nothing but "*".
func (l literal) everything() bool {
	return len(l.parts) == 2 && l.parts[0] == "" && l.parts[1] == ""
}

// match makes the node for `field: l`.
func match(field string, l literal) (node, error) {
	if l.everything() {
		return exists{field}, nil
	}
	value := l.parts[0]
	switch k := kindOf(field); k {
	case kindText:
		if l.quoted {
			return phrase{value}, nil
		}
		return anyWord(l), nil
	case kindNumber, kindTime:
		if l.wild() {
			return nil, fmt.Errorf("%s is no text: * cannot stand for a part of it", field)
		}
		from, to, err := interval(field, k, value)
		if err != nil {
			return nil, err
		}
		return between(field, from, to), nil
	case kindAddress:
		if l.wild() {
			return nil, fmt.Errorf("%s is an address: write a network such as 10.0.0.0/8 instead of *", field)
		}
		if p, err := netip.ParsePrefix(value); err == nil {
			return network{field, p.Masked().String()}, nil
		}
		a, err := address(field, value)
		if err != nil {
			return nil, err
		}
		return term{field, a}, nil
	case kindLabels:
		if l.wild() && (len(l.parts) > 2 || l.parts[1] != "") {
			return nil, fmt.Errorf("%s holds labels: * can stand only at the end of a value", field)
		}
	case kindID:
		if l.wild() {
			return nil, fmt.Errorf("* cannot stand for a part of an _id")
		}
	}
	if l.wild() {
		return wild{field, l.parts}, nil
	}
	return term{field, value}, nil
}

// anyWord makes the node for words without quotes: any of them will do.
func anyWord(l literal) node {
	var nodes or
	var plain []string
	for _, piece := range splitSpace(l.parts) {
		if len(piece) == 1 {
			plain = append(plain, piece[0])
			continue
		}
		if (literal{parts: piece}).everything() {
			nodes = append(nodes, exists{"message"})
			continue
		}
		nodes = append(nodes, wild{"message", piece})
	}
	if len(plain) > 0 {
		nodes = append(or{words{strings.Join(plain, " ")}}, nodes...)
	}
	if len(nodes) == 1 {
		return nodes[0]
	}
	return nodes
}

// splitSpace splits the parts of a literal at white space.
func splitSpace(parts []string) [][]string {
	var pieces [][]string
	piece := []string{""}
	for i, part := range parts {
		if i > 0 {
			piece = append(piece, "")
		}
		for _, r := range part {
			if !isSpace(r) {
				piece[len(piece)-1] += string(r)
				continue
			}
			if len(piece) > 1 || piece[0] != "" {
				pieces = append(pieces, piece)
			}
			piece = []string{""}
		}
	}
	if len(piece) > 1 || piece[0] != "" {
		pieces = append(pieces, piece)
	}
	for i := range pieces {
		pieces[i] = compact(pieces[i])
	}
	return pieces
}

// compare makes the node for `field op l`, op being < <= > or >=.
func compare(field, op string, l literal) (node, error) {
	if l.wild() {
		return nil, fmt.Errorf("* cannot be compared with %s", op)
	}
	value := l.parts[0]
	switch k := kindOf(field); k {
	case kindText:
		return nil, fmt.Errorf("message is made of words and cannot be compared with %s", op)
	case kindLabels:
		return nil, fmt.Errorf("%s holds labels, which cannot be compared with %s", field, op)
	case kindID:
		return nil, fmt.Errorf("an _id cannot be compared with %s", op)
	case kindNumber, kindTime:
		from, to, err := interval(field, k, value)
		if err != nil {
			return nil, err
		}
		// A time such as 2026-11-23 is a whole day: > begins behind it.
		if op == ">" || op == "<=" {
			return number{field, op, to}, nil
		}
		return number{field, op, from}, nil
	case kindAddress:
		a, err := address(field, value)
		if err != nil {
			return nil, err
		}
		return order{field, op, a}, nil
	}
	return order{field, op, value}, nil
}

func address(field, value string) (string, error) {
	a, err := netip.ParseAddr(value)
	if err != nil || a.Zone() != "" {
		return "", fmt.Errorf("%s is an IP address, and %q is none", field, value)
	}
	return a.Unmap().String(), nil
}

func interval(field string, k kind, value string) (from, to int64, err error) {
	if k == kindTime {
		return period(field, value)
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return 0, 0, fmt.Errorf("%s is a whole number, and %q is none", field, value)
	}
	return n, n, nil
}

// layouts of a time, and how long each one lasts. Without a zone it is UTC.
var layouts = []struct {
	layout string
	last   func(time.Time) time.Time
}{
	{"2006", func(t time.Time) time.Time { return t.AddDate(1, 0, 0) }},
	{"2006-01", func(t time.Time) time.Time { return t.AddDate(0, 1, 0) }},
	{"2006-01-02", func(t time.Time) time.Time { return t.AddDate(0, 0, 1) }},
	{"2006-01-02T15:04", func(t time.Time) time.Time { return t.Add(time.Minute) }},
	{"2006-01-02T15:04Z07:00", func(t time.Time) time.Time { return t.Add(time.Minute) }},
	{"2006-01-02T15:04:05", lastOfSecond},
	{"2006-01-02T15:04:05Z07:00", lastOfSecond},
}

func lastOfSecond(t time.Time) time.Time { return t.Add(time.Second) }

var fromNow = regexp.MustCompile(`^now(?:([+-])(\d{1,6})([smhdw]))?$`)

// period is the time that value names, from its first to its last nanosecond.
// A second with a fraction is that one nanosecond.
func period(field, value string) (from, to int64, err error) {
	if m := fromNow.FindStringSubmatch(value); m != nil {
		t := time.Now()
		if m[1] != "" {
			n, _ := strconv.Atoi(m[2]) // at most six digits
			unit := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour, "w": 7 * 24 * time.Hour}[m[3]]
			if n > int(math.MaxInt64/unit/2) {
				return 0, 0, fmt.Errorf("%s: %q is too far away", field, value)
			}
			if m[1] == "-" {
				n = -n
			}
			t = t.Add(time.Duration(n) * unit)
		}
		return t.UnixNano(), t.UnixNano(), nil
	}
	for _, l := range layouts {
		t, err := time.Parse(l.layout, strings.Replace(value, " ", "T", 1))
		if err != nil {
			continue
		}
		if t.Year() < 1970 || t.Year() > 2261 {
			return 0, 0, fmt.Errorf("%s: the year of %q is not between 1970 and 2261", field, value)
		}
		if strings.Contains(value, ".") {
			return t.UnixNano(), t.UnixNano(), nil
		}
		return t.UnixNano(), l.last(t).UnixNano() - 1, nil
	}
	return 0, 0, fmt.Errorf("%s is a time, and %q is none: write \"2026-11-23\", \"2026-11-23T14:00:05.123Z\" (in quotes) or now-15m", field, value)
}

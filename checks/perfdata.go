package checks

import (
	"math"
	"strconv"
	"strings"
)

const maxMetrics = 200 // of one plugin

// FormatPerfdata writes metrics as Nagios reads them.
func FormatPerfdata(metrics []Metric) string {
	var b strings.Builder
	for i, m := range metrics {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(quoteLabel(m.Name))
		b.WriteByte('=')
		switch {
		case m.Unset:
			b.WriteByte('U')
		case m.Unit == "s" && m.Name == "time":
			b.WriteString(strconv.FormatFloat(m.Value, 'f', 6, 64) + "s")
		default:
			b.WriteString(m.number())
		}
		rest := []string{m.Warning, m.Critical, m.Min, m.Max}
		for len(rest) > 0 && rest[len(rest)-1] == "" {
			rest = rest[:len(rest)-1]
		}
		for _, v := range rest {
			b.WriteByte(';')
			b.WriteString(v)
		}
	}
	return b.String()
}

// quoteLabel quotes a label that has characters with a meaning.
func quoteLabel(name string) string {
	name = strings.Map(func(c rune) rune {
		if c < ' ' || c == '|' || c == 0x7f {
			return '_'
		}
		return c
	}, name)
	if name != "" && !strings.ContainsAny(name, "= '\";") {
		return name
	}
	return "'" + strings.ReplaceAll(name, "'", "''") + "'"
}

// ParsePerfdata reads 'label'=value[UOM];[warn];[crit];[min];[max] as plugins
// write it. Items that are none are left out and counted.
func ParsePerfdata(s string) (metrics []Metric, bad int) {
	for {
		s = strings.TrimLeft(s, " \t\r\n")
		if s == "" || len(metrics) == maxMetrics {
			return metrics, bad
		}
		label, rest, ok := cutLabel(s)
		if !ok {
			bad++
			_, s, _ = cutSpace(s)
			continue
		}
		var item string
		item, s, _ = cutSpace(rest)
		if m, ok := parseItem(label, item); ok {
			metrics = append(metrics, m)
		} else {
			bad++
		}
	}
}

// cutLabel splits at the equals sign behind a label.
func cutLabel(s string) (label, rest string, ok bool) {
	if s[0] != '\'' {
		label, rest, ok = strings.Cut(s, "=")
		return label, rest, ok && label != "" && !strings.ContainsAny(label, " \t\r\n'")
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		if s[i] != '\'' {
			b.WriteByte(s[i])
			continue
		}
		if i+1 < len(s) && s[i+1] == '\'' {
			b.WriteByte('\'')
			i++
			continue
		}
		if i+1 < len(s) && s[i+1] == '=' && b.Len() > 0 {
			return b.String(), s[i+2:], true
		}
		return "", "", false
	}
	return "", "", false
}

func cutSpace(s string) (before, after string, found bool) {
	i := strings.IndexAny(s, " \t\r\n")
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i:], true
}

// parseItem reads what is behind the equals sign.
func parseItem(label, item string) (Metric, bool) {
	fields := strings.Split(item, ";")
	m := Metric{Name: label, foreign: true, free: true}
	for i, to := range []*string{&m.Warning, &m.Critical} {
		if len(fields) > i+1 {
			if _, err := ParseRange(fields[i+1]); err == nil {
				*to = fields[i+1]
			}
		}
	}
	for i, to := range []*string{&m.Min, &m.Max} {
		if len(fields) > i+3 {
			if _, err := finite(fields[i+3]); err == nil {
				*to = fields[i+3]
			}
		}
	}
	value := fields[0]
	if value == "U" {
		m.Unset = true
		return m, true
	}
	end := strings.IndexFunc(value, func(c rune) bool { return !strings.ContainsRune("0123456789+-.,eE", c) })
	if end < 0 {
		end = len(value)
	}
	// "5E" is five exabytes, "5e3" is a number: the longest that parses counts
	for ; end > 0; end-- {
		v, err := strconv.ParseFloat(strings.Replace(value[:end], ",", ".", 1), 64)
		if err == nil && !math.IsInf(v, 0) {
			m.Value, m.Unit = v, value[end:]
			// A unit with a digit or a point would become part of the number when it is read again.
			return m, !strings.ContainsAny(m.Unit, "0123456789+-.,'=\"|") && len(m.Unit) <= 16
		}
	}
	return m, false
}

package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// An Error is one thing that is wrong with one key.
type Error struct {
	File    string `json:"file,omitempty"`   // the file; the variable or flag if the value came from one
	Line    int    `json:"line,omitempty"`   // from 1; 0: no line of File is to blame
	Column  int    `json:"column,omitempty"` // from 1, in characters
	Key     string `json:"key,omitempty"`    // "output.elasticsearch.hosts[0]"; "" if the file is not YAML
	Problem string `json:"problem"`          // what is wrong, and behind a ";" what to do
}

// Error gives "mesoscope.yml:12:5: http.listen: what is wrong; what to do".
func (e *Error) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File)
		if e.Line > 0 {
			fmt.Fprintf(&b, ":%d:%d", e.Line, e.Column)
		}
		b.WriteString(": ")
	}
	if e.Key != "" {
		b.WriteString(e.Key + ": ")
	}
	b.WriteString(e.Problem)
	return b.String()
}

// Errors is everything that is wrong with a configuration, in the order of the
// file. It is what Load and Parse return; use errors.As to get at the places.
type Errors []*Error

// Error gives one line for each error.
func (es Errors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// sorted puts the errors into the order of the file, the rest behind, and
// removes those that say the same.
func (es Errors) sorted() Errors {
	slices.SortStableFunc(es, func(a, b *Error) int {
		return cmp.Or(
			cmp.Compare(boolInt(a.Line == 0), boolInt(b.Line == 0)),
			cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return slices.CompactFunc(es, func(a, b *Error) bool { return *a == *b })
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// nearest is the name that key was probably meant to be, or "". At most a third
// of the letters may differ: more than that is a guess that misleads.
func nearest(key string, names []string) string {
	best, least := "", max(1, len(key)/3)+1
	for _, n := range names {
		if d := distance(strings.ToLower(key), n); d < least {
			best, least = n, d
		}
	}
	return best
}

// distance is how many letters must be added, removed or changed to make b of
// a (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

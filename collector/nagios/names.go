package nagios

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// illegal are the characters that Nagios refuses in names as it is shipped
// (illegal_object_name_chars), and two that end a value in its files.
const illegal = "`~!$%^&*|'\"<>?,()=" + `;\`

// clean makes a text a name for Nagios.
func clean(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f || strings.ContainsRune(illegal, c) {
			return '_'
		}
		return c
	}, strings.ToValidUTF8(s, "_"))
}

// Names gives each raw name one that Nagios takes. Of those that would become
// the same, all that had to be changed get a piece of the raw name's hash, so
// that each keeps its name whatever the order; one that is legal as it stands
// keeps it as it is.
func Names(raw []string) map[string]string {
	many := map[string]int{}
	names := make(map[string]string, len(raw))
	for _, r := range raw {
		if _, twice := names[r]; !twice {
			names[r] = clean(r)
			many[clean(r)]++
		}
	}
	for r, name := range names {
		if many[name] > 1 && name != r {
			sum := sha256.Sum256([]byte(r))
			names[r] = name + "-" + hex.EncodeToString(sum[:2])
		}
	}
	return names
}

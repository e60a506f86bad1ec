package discover

import (
	"fmt"
	"regexp"
	"strings"
)

// A rule is one entry of docker.exclude.
type rule struct {
	text    string // as configured
	kind    string // name, image or label
	label   string // the key, for kind label
	pattern *regexp.Regexp
}

// parseRules reads docker.exclude; the error names the entry.
func parseRules(entries []string) ([]rule, error) {
	rules := make([]rule, 0, len(entries))
	for i, text := range entries {
		r := rule{text: text, kind: "name"}
		pattern := text
		if kind, rest, ok := strings.Cut(text, ":"); ok {
			switch kind {
			case "name", "image", "label":
				r.kind, pattern = kind, rest
			default:
				return nil, fmt.Errorf("docker.exclude[%d]: %q: want name:PATTERN, image:PATTERN, label:KEY or label:KEY=PATTERN", i, text)
			}
		}
		if r.kind == "label" {
			value := ""
			var ok bool
			if r.label, value, ok = strings.Cut(pattern, "="); !ok {
				value = "*"
			}
			pattern = value
			if r.label == "" {
				return nil, fmt.Errorf("docker.exclude[%d]: %q: no label key", i, text)
			}
		} else if pattern == "" {
			return nil, fmt.Errorf("docker.exclude[%d]: %q: empty pattern", i, text)
		}
		r.pattern = glob(pattern)
		rules = append(rules, r)
	}
	return rules, nil
}

// glob compiles a pattern in which * is any run of characters, also of
// slashes, and ? is one character.
func glob(pattern string) *regexp.Regexp {
	quoted := regexp.QuoteMeta(pattern)
	quoted = strings.ReplaceAll(quoted, `\*`, `.*`)
	quoted = strings.ReplaceAll(quoted, `\?`, `.`)
	return regexp.MustCompile(`(?s)^` + quoted + `$`)
}

// matches says whether the rule excludes c. An image matches with and without
// its tag.
func (r rule) matches(c *Container) bool {
	switch r.kind {
	case "image":
		if c.Image.Name == "" {
			return false
		}
		return r.pattern.MatchString(c.Image.Name) || r.pattern.MatchString(c.Image.Name+":"+c.Image.Tag)
	case "label":
		value, ok := c.Labels[r.label]
		return ok && r.pattern.MatchString(value)
	}
	return c.Name != "" && r.pattern.MatchString(c.Name)
}

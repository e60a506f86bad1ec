package discover

import (
	"maps"
	"slices"
	"strings"
)

// Each line carries the labels, so they are bounded, in bytes: a label's value,
// and the keys and values of a container altogether. Elasticsearch would refuse
// a document with a keyword of more than 32,766.
const (
	maxLabel  = 1 << 10
	maxLabels = 16 << 10
)

// A lineLabels is what the lines of a container carry of its labels.
type lineLabels struct {
	app, task, container map[string]string
	short                []string // the keys of those that were cut or left out
	left                 int      // bytes
}

// labelsOf begins with the labels that people set for their app, so that those
// of an image are left out before them.
func labelsOf(c *Container) lineLabels {
	l := lineLabels{left: maxLabels}
	if c.Marathon != nil {
		l.app = l.take(c.Marathon.Labels)
	}
	if c.Mesos != nil {
		l.task = l.take(c.Mesos.TaskLabels)
	}
	l.container = l.take(c.Labels)
	slices.Sort(l.short)
	l.short = slices.Compact(l.short)
	return l
}

// take makes labels storable: an empty key and a NUL in a key would have the
// whole document refused by a flattened field.
func (l *lineLabels) take(labels map[string]string) map[string]string {
	if len(labels) == 0 {
		return nil
	}
	out := make(map[string]string, len(labels))
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		if k == "" {
			continue
		}
		v := labels[k]
		if len(v) > maxLabel {
			v = strings.ToValidUTF8(v[:maxLabel], "") + "…"
			l.short = append(l.short, k)
		}
		if len(k)+len(v) > l.left {
			l.short = append(l.short, k)
			continue
		}
		l.left -= len(k) + len(v)
		out[strings.ReplaceAll(k, "\x00", "\uFFFD")] = v
	}
	return out
}

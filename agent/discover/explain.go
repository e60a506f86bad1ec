package discover

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"mesoscope/config"
)

// A Fact is one field of a container's lines.
type Fact struct {
	Field string // "mesos.task.id"
	Value string // a list or the labels as JSON
	From  string // "mesos agent", "sandbox bind", "env MARATHON_APP_ID"
}

// Explain lists each field that all lines of c share, in order of their names,
// with its value and where that is from. dataset and namespace are where lines
// go by the configuration.
func Explain(c Container, h Host, dataset, namespace string) []Fact {
	text, err := json.Marshal(fieldsOf(c, h, cmp.Or(c.Dataset, dataset), cmp.Or(c.Namespace, namespace), ""))
	if err != nil {
		panic("BUG: discover: strings and maps of strings cannot fail to encode: " + err.Error())
	}
	var doc map[string]any
	if err := json.Unmarshal(text, &doc); err != nil {
		panic("BUG: discover: what was encoded cannot be read: " + err.Error())
	}
	var facts []Fact
	var walk func(path string, v any)
	walk = func(path string, v any) {
		if m, ok := v.(map[string]any); ok && !strings.HasSuffix(path, ".labels") {
			for k, v := range m {
				walk(strings.TrimPrefix(path+"."+k, "."), v)
			}
			return
		}
		value, isText := v.(string)
		if !isText {
			b, _ := json.Marshal(v) // it was JSON a moment ago
			value = string(b)
		}
		facts = append(facts, Fact{path, value, c.source(path)})
	}
	walk("", doc)
	slices.SortFunc(facts, func(a, b Fact) int { return cmp.Compare(a.Field, b.Field) })
	return facts
}

// source is where the value of a field is from.
func (c *Container) source(field string) (from string) {
	switch field {
	case "service.name":
		_, from = serviceName(*c)
	case "service.version":
		_, from = serviceVersion(*c)
	case "service.node.name":
		_, from = serviceNode(*c)
	case "orchestrator.namespace":
		if from = c.From[keyRole]; from == "" {
			_, from = orchestrator(*c)
		}
	case "data_stream.dataset", "data_stream.namespace":
		from = cmp.Or(c.From[field], "configuration")
	case "data_stream.type", "ecs.version", "container.runtime":
		from = "always"
	default:
		from = c.From[field]
	}
	for prefix, origin := range map[string]string{
		"host.": "this machine, or node.name", "agent.": "this process",
		"container.image.": c.From["image"], "container.": c.From[strings.TrimPrefix(field, "container.")],
	} {
		if from == "" && strings.HasPrefix(field, prefix) {
			from = origin
		}
	}
	if from == "" && strings.HasPrefix(field, "orchestrator.") {
		_, from = orchestrator(*c)
	}
	return cmp.Or(from, "unknown")
}

// Notes says in whole sentences what else decides about the lines of c: what it
// waits for, and which of its wishes cannot be met.
func Notes(c Container) (notes []string) {
	if c.Waiting {
		notes = append(notes, "Its lines wait for a moment, because Mesos may know more of it.")
	} else if c.ofMesos() && !c.joined() {
		notes = append(notes, "The Mesos agent has not said what this container is; see mesos.agent in the configuration, and the messages of this process.")
	}
	for name, check := range map[string]func(string) error{switchDataset: config.Dataset, switchNamespace: config.DataStreamPart} {
		if value, from := c.setting(name); value != "" {
			if err := check(value); err != nil {
				notes = append(notes, fmt.Sprintf("%s has no effect: %v.", from, err))
			}
		}
	}
	if short := labelsOf(&c).short; len(short) > 0 {
		notes = append(notes, fmt.Sprintf("Lines carry labels of up to %d bytes, %d together; cut or left out: %s.", maxLabel, maxLabels, strings.Join(short, ", ")))
	}
	slices.Sort(notes)
	for _, text := range []string{c.Problem, c.Lossy} {
		if text != "" {
			notes = append(notes, text)
		}
	}
	return notes
}

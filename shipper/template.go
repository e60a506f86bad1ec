package shipper

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
)

// templateVersion is raised whenever what Setup puts changes, so that an agent
// of an older release does not undo what a newer one has put.
const templateVersion = 4

// Names of what Setup puts. The index templates have priority 200: before the
// stock logs-*-* (100).
const (
	packageTemplate = "logs-mesos@package" // component: our mappings and settings
	customTemplate  = "logs-mesos@custom"  // component: the user's own, never written by us
	policyName      = "logs-mesos"         // index lifecycle policy
	priority        = 200
)

var indexTemplates = []struct{ name, pattern string }{
	{"logs-mesos", "logs-mesos.*-*"},
	{"logs-mesoscope", "logs-mesoscope.*-*"},
}

// stockTemplates are the component templates that a full server brings, from
// the general to the particular. Ours comes after them, and may overrule.
var stockTemplates = []string{"logs@mappings", "logs@settings", "ecs@mappings"}

type object = map[string]any

// abilities is what a server was found to be able to.
type abilities struct {
	version    [2]int // major, minor
	types      map[string]bool
	ilm        bool
	streamLife bool // it takes a data stream lifecycle
	enforced   bool // and has something that enforces it
	logsdb     bool
	stock      []string
}

// textType is the type of long texts.
func (c abilities) textType() object {
	if c.types["match_only_text"] {
		return object{"type": "match_only_text"}
	}
	return object{"type": "text", "norms": false}
}

// mappings of our documents. A string that is not named here becomes a keyword;
// what applications and people name freely goes into flattened fields, so that
// it can neither break the mapping nor fill it.
func (c abilities) mappings() object {
	keyword := object{"type": "keyword", "ignore_above": 1024}
	long := object{"type": "long"}
	flattened := object{"type": "flattened", "ignore_above": 1024}
	nanos := object{"type": "date_nanos"}
	if !c.types["flattened"] {
		flattened = object{"type": "object", "enabled": false}
	}
	if !c.types["date_nanos"] {
		nanos = object{"type": "date"}
	}
	props := func(p object) object { return object{"properties": p} }
	// receipt.Lines and receipt.Bytes
	books := props(object{})
	for _, column := range []string{"total", "size", "delivered", "duplicate", "quarantined", "dead_lettered", "dropped_by_server", "doubled", "pending",
		"truncated", "other_stream", "garbage", "gap"} {
		books["properties"].(object)[column] = long
	}
	return object{
		"date_detection": false,
		"dynamic_templates": []any{
			object{"strings": object{"match_mapping_type": "string", "mapping": keyword}},
		},
		"properties": object{
			"@timestamp": nanos,
			"message":    c.textType(),
			"stream":     keyword,
			"app":        flattened,
			"labels":     flattened,
			"log": props(object{
				"offset": long, "lines": long, "level": keyword, "flags": keyword,
				"file": props(object{"path": keyword, "generation": keyword}),
			}),
			"event": props(object{
				"sequence": long, "created": nanos, "dataset": keyword, "kind": keyword, "id": keyword,
			}),
			"mesoscope": props(object{
				"receipt": props(object{
					"revision": long, "final": object{"type": "boolean"}, "first": nanos, "last": nanos,
					"lines": books, "bytes": books, "unproven": keyword,
					// Read whole and never asked for: not indexed.
					"ranges": object{"type": "object", "enabled": false}, "gaps": object{"type": "object", "enabled": false},
				}),
				"gap": props(object{"from": long, "bytes": long}),
				"check": props(object{
					"since": nanos, "first_bad": nanos, "last_good": nanos, "duration_ms": long,
					"flapping": object{"type": "boolean"}, "stale": object{"type": "boolean"},
				}),
				"evidence": props(object{
					"status": long,
					"phases": object{"type": "object", "enabled": false}, // read whole and never asked for
				}),
			}),
			"error":     props(object{"message": c.textType()}),
			"container": props(object{"id": keyword, "name": keyword, "labels": flattened}),
			"mesos":     props(object{"task": props(object{"id": keyword, "labels": flattened})}),
			"marathon":  props(object{"app": props(object{"id": keyword, "labels": flattened})}),
			"host":      props(object{"name": keyword, "hostname": keyword, "ip": object{"type": "ip"}}),
			"service":   props(object{"name": keyword, "version": keyword, "node": props(object{"name": keyword})}),
		},
	}
}

func (c abilities) settings(logsdb bool) object {
	s := object{}
	if c.ilm {
		s["index.lifecycle.name"] = policyName
	}
	if logsdb {
		s["index.mode"] = "logsdb"
		// The documents as they were sent: synthetic source sorts arrays and
		// turns the numbers in flattened fields into strings.
		s["index.mapping.source.mode"] = "stored"
	} else if len(c.stock) == 0 {
		s["index.codec"] = "best_compression"
	}
	return s
}

// policy rolls over each day or at 50 GB, and deletes after the retention.
func policy(retention time.Duration) object {
	phases := object{"hot": object{"actions": object{"rollover": object{"max_age": "1d", "max_primary_shard_size": "50gb"}}}}
	if retention > 0 {
		phases["delete"] = object{"min_age": timeUnit(retention), "actions": object{"delete": object{}}}
	}
	return object{"policy": object{"phases": phases, "_meta": meta(phases)}}
}

// packageBody is the component template.
func (c abilities) packageBody(logsdb bool) object {
	t := object{"mappings": c.mappings(), "settings": c.settings(logsdb)}
	return object{"version": templateVersion, "template": t, "_meta": meta(t)}
}

// indexBody is an index template for a pattern.
func (c abilities) indexBody(pattern string, retention time.Duration) object {
	composed := append(append([]string{}, c.stock...), packageTemplate, customTemplate)
	b := object{
		"index_patterns": []string{pattern},
		"priority":       priority,
		"data_stream":    object{},
		"composed_of":    composed,
		// The user may make it, or not.
		"ignore_missing_component_templates": []string{customTemplate},
	}
	if !c.ilm && c.streamLife && retention > 0 {
		b["template"] = object{"lifecycle": object{"data_retention": timeUnit(retention)}}
	}
	b["_meta"] = meta(b)
	b["version"] = templateVersion
	return b
}

// meta marks a thing as ours, with a digest of its content: the server stores
// settings and mappings in another shape than they are sent, so they cannot be
// compared directly.
func meta(content any) object {
	b, err := json.Marshal(content) // maps are sorted: the same content, the same digest
	if err != nil {
		panic("BUG: shipper: template cannot be encoded: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return object{"managed_by": "mesoscope", "version": templateVersion, "digest": hex.EncodeToString(sum[:8])}
}

// timeUnit writes a duration as Elasticsearch reads it.
func timeUnit(d time.Duration) string {
	switch {
	case d%(24*time.Hour) == 0:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	case d%time.Hour == 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return fmt.Sprintf("%ds", max(d/time.Second, 1))
}

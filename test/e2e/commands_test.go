//go:build e2e && linux

package e2e

import (
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// commands: what people type gives the same answers from both stores.
func (s *site) commands(t *testing.T) {
	t.Run("same documents", s.sameDocuments)
	t.Run("questions", s.questions)
	t.Run("setup", s.setup)
	t.Run("validate", s.validate)
	t.Run("status", s.statusOf)
}

// questions of people, and how many lines they must find at least.
var questions = []struct {
	args []string
	some bool // there must be lines
}{
	{[]string{"--app", "/prod/shop"}, true},
	{[]string{"--app", "checkout", "--stream", "stderr"}, true},
	{[]string{"--app", "/prod/*", "message: kase or message: käse"}, true},
	{[]string{"--level", "warn"}, true},
	{[]string{"log.level: error and not stream: stderr"}, true},
	{[]string{`message: "日本語"`}, true},
	{[]string{"service.name: checkout and container.labels.tier: *"}, true},
	{[]string{`marathon.app.id: "/prod/gone"`}, true},
	{[]string{"event.sequence >= 900 and stream: stdout"}, true},
	{[]string{"event.sequence > 10 and event.sequence < 20 and message: script"}, true},
	{[]string{"--host", node, "--stream", "stderr", "alert and not käse"}, true},
	{[]string{"--host", "another-node"}, false},
	{[]string{"nosuchfield: x"}, false},
}

// ours asks for the containers of these tests only: others run on the machine.
func ours(question []string) []string {
	own := fmt.Sprintf(`container.name: e2e-%d-*`, pid)
	out := append([]string(nil), question...)
	if last := len(out) - 1; last >= 0 && !strings.HasPrefix(out[last], "-") && (last == 0 || !strings.HasPrefix(out[last-1], "--")) {
		out[last] = "(" + out[last] + ") and " + own
		return out
	}
	return append(out, own)
}

// volatile is what differs between two agents that read the same line: who they
// are, when they read it, and what they call a file that one of them has seen
// before and the other after it was compressed.
func volatile(d map[string]any) map[string]any {
	delete(d, "agent")
	if log, ok := d["log"].(map[string]any); ok {
		if file, ok := log["file"].(map[string]any); ok {
			delete(file, "generation")
		}
	}
	if event, ok := d["event"].(map[string]any); ok {
		delete(event, "created")
	}
	return d
}

// withoutGaps leaves out what an agent notes about its own down times, which is not the
// same for two agents.
func withoutGaps(docs []document) []document {
	return slices.DeleteFunc(docs, func(d document) bool { return d.Event.Sequence == 0 })
}

func (s *site) sameDocuments(t *testing.T) {
	same := 0
	for _, w := range s.writers {
		es, db := withoutGaps(logsOf(t, s.es.URL, "--container", w.id)), withoutGaps(logsOf(t, s.standalone.url, "--container", w.id))
		if len(es) != len(db) {
			t.Errorf("%s: %d lines from Elasticsearch, %d from the embedded store", w.name, len(es), len(db))
			continue
		}
		if w.driver != "json-file" {
			continue // each agent has its own copy, with its own generations
		}
		// Both streams can have an entry of one nanosecond, and then nothing says which
		// was first: each store has its order. Within a stream it is the order printed.
		for _, docs := range [][]document{es, db} {
			slices.SortStableFunc(docs, func(a, b document) int {
				return cmp.Or(a.Time.Compare(b.Time), strings.Compare(a.Stream, b.Stream))
			})
		}
		for i := range es {
			a, b := volatile(es[i].raw), volatile(db[i].raw)
			if !reflect.DeepEqual(a, b) {
				x, _ := json.Marshal(a)
				y, _ := json.Marshal(b)
				t.Errorf("%s, line %d differs:\n  elasticsearch %s\n  embedded      %s", w.name, i+1, x, y)
				break
			}
			same++
		}
	}
	t.Logf("%d documents are the same in both stores", same)
}

func (s *site) questions(t *testing.T) {
	for _, q := range questions {
		args := ours(q.args)
		es, db := logsOf(t, s.es.URL, args...), logsOf(t, s.standalone.url, args...)
		t.Logf("%6d lines: %s", len(es), strings.Join(q.args, " "))
		if len(es) != len(db) {
			t.Errorf("%s: %d lines from Elasticsearch, %d from the embedded store", strings.Join(args, " "), len(es), len(db))
		}
		if q.some != (len(es) > 0) {
			t.Errorf("%s: %d lines", strings.Join(args, " "), len(es))
		}
	}
	for name, store := range s.stores() {
		if code, out, errs := mesoscope(t, "logs", "--store", store, "message: (a or"); code != 2 || out != "" {
			t.Errorf("%s: a broken question: exit code %d, %s %s", name, code, out, errs)
		}
		code, out, _ := mesoscope(t, "logs", "--store", store, "--since", "1h", "--container", s.writers[0].id, "-n", "20")
		if code != 0 || strings.Count(out, "\n") < 20 || strings.ContainsAny(out, "\x00\x1b") {
			t.Errorf("%s: text: exit code %d, control characters or too few lines:\n%q", name, code, out)
		}
	}
	if code, _, errs := mesoscope(t, "logs", "--store", "http://"+freeAddress(t)); code != 3 {
		t.Errorf("a store that is not there: exit code %d, %s", code, errs)
	}
}

func (s *site) setup(t *testing.T) {
	for range 2 {
		code, out, errs := mesoscope(t, "setup", "--config", s.agent.config, "--output", "json")
		if code != 0 {
			t.Fatalf("exit code %d: %s%s", code, out, errs)
		}
		for line := range strings.Lines(out) {
			var step struct{ Action, Kind, Name, Detail string }
			if err := json.Unmarshal([]byte(line), &step); err != nil {
				t.Fatalf("%v: %s", err, line)
			}
			// The agent has done it at its start already.
			if step.Action != "unchanged" && step.Action != "left out" {
				t.Errorf("setup did something again: %s", line)
			}
		}
	}
}

func (s *site) validate(t *testing.T) {
	for kind, p := range map[string]*process{"agent": s.agent, "standalone": s.standalone} {
		code, out, errs := mesoscope(t, "validate", "--config", p.config, "--for", kind)
		if code != 0 || !strings.Contains(out, "ok for "+kind) || !strings.Contains(out, node) {
			t.Errorf("%s: exit code %d\n%s%s", kind, code, out, errs)
		}
	}
}

func (s *site) statusOf(t *testing.T) {
	for _, p := range []*process{s.agent, s.standalone} {
		code, out, errs := mesoscope(t, "status", "--url", p.url)
		if code != 0 || !strings.Contains(out, "all up to date") {
			t.Errorf("%s: exit code %d\n%s%s", p.args[0], code, out, errs)
		}
		_, metrics, err := p.get("/metrics")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"mesoscope_lines_read_total", "mesoscope_bytes_read_total", "mesoscope_lines_delivered_total",
			"mesoscope_source_lag_bytes", "mesoscope_source_lag_seconds", "mesoscope_sources{state=",
			"mesoscope_hold_bytes", "mesoscope_build_info{", "mesoscope_config_last_reload_successful 1"} {
			if !strings.Contains(metrics, "\n"+name) {
				t.Errorf("%s: /metrics has no %s", p.args[0], name)
			}
		}
	}
}

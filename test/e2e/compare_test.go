//go:build e2e && linux

package e2e

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A document is what a store has of one line.
type document struct {
	Time    time.Time `json:"@timestamp"`
	Message string    `json:"message"`
	Stream  string    `json:"stream"`
	Log     struct {
		Level  string   `json:"level"`
		Offset int64    `json:"offset"`
		Flags  []string `json:"flags"`
		File   struct {
			Path       string `json:"path"`
			Generation string `json:"generation"`
		} `json:"file"`
	} `json:"log"`
	Event struct {
		Sequence int64  `json:"sequence"`
		Dataset  string `json:"dataset"`
	} `json:"event"`
	Container struct {
		ID    string `json:"id"`
		Name  string `json:"name"`
		Image struct {
			Name string   `json:"name"`
			Tag  []string `json:"tag"`
		} `json:"image"`
		Labels map[string]string `json:"labels"`
	} `json:"container"`
	Host struct {
		Name string `json:"name"`
	} `json:"host"`
	Service struct {
		Name    string `json:"name"`
		Version string `json:"version"`
	} `json:"service"`
	Orchestrator struct {
		Type string `json:"type"`
	} `json:"orchestrator"`
	Mesos struct {
		Task struct {
			ID string `json:"id"`
		} `json:"task"`
	} `json:"mesos"`
	Marathon struct {
		App struct {
			ID      string `json:"id"`
			Version string `json:"version"`
		} `json:"app"`
	} `json:"marathon"`

	raw map[string]any // the whole document
}

// born is the time of a generation's first entry, which its name begins with.
func (d document) born() int64 {
	head, _, _ := strings.Cut(d.Log.File.Generation, "-")
	n, _ := strconv.ParseInt(head, 36, 64)
	return n
}

// logsOf asks the store with `mesoscope logs` for all lines that match, in the
// order in which it prints them.
func logsOf(t testing.TB, store string, args ...string) []document {
	t.Helper()
	args = append([]string{"logs", "--store", store, "--output", "json", "-n", "all", "--since", "1h"}, args...)
	code, out, errs := mesoscope(t, args...)
	if code != 0 {
		t.Fatalf("mesoscope %s: exit code %d: %s", strings.Join(args, " "), code, errs)
	}
	var docs []document
	for line := range strings.Lines(out) {
		var d document
		if err := json.Unmarshal([]byte(line), &d); err != nil {
			t.Fatalf("mesoscope logs printed no document: %v: %.300s", err, line)
		}
		if err := json.Unmarshal([]byte(line), &d.raw); err != nil {
			t.Fatal(err)
		}
		docs = append(docs, d)
	}
	return docs
}

// stored is how many lines a store has of the container; 0 while it does not
// answer, as a server that has just started.
func (w *writer) stored(store string) int {
	_, out, _ := mesoscope(w.t, "logs", "--store", store, "--output", "json", "-n", "all", "--since", "1h", "--container", w.id)
	return strings.Count(out, "\n")
}

// compare holds what a store has of a container against what was written: the
// same lines, each once, in order by generation and sequence as well as by
// time, without a gap in the sequence, each with the right metadata. It says
// the first difference of each stream.
func (w *writer) compare(store, name string, node string) (lines int) {
	w.t.Helper()
	docs := logsOf(w.t, store, "--container", w.id)
	for _, stream := range []string{"stdout", "stderr"} {
		var of []document
		for _, d := range docs {
			if d.Stream == stream {
				of = append(of, d)
			}
		}
		want := w.expected(stream)
		lines += len(want)
		if difference := orderDifference(of); difference != "" {
			w.t.Errorf("%s, %s, %s: %s", name, w.name, stream, difference)
		}
		bySequence(of)
		got := make([]string, len(of))
		for i, d := range of {
			got[i] = d.Message
			if wrong := w.metadata(d, node); wrong != "" {
				w.t.Errorf("%s, %s, %s, line %d of %d: %s", name, w.name, stream, i+1, len(want), wrong)
				break
			}
		}
		if difference := firstDifference(want, got); difference != "" {
			w.t.Errorf("%s, %s, %s: %s", name, w.name, stream, difference)
		}
	}
	return lines
}

// bySequence puts the documents of one stream into the order of the source: that
// of their times. A file may begin with the rest of a long line, whose time is
// older than what the other stream wrote before it, so files alone do not tell.
func bySequence(docs []document) {
	slices.SortStableFunc(docs, func(a, b document) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.born(), b.born()), cmp.Compare(a.Log.File.Generation, b.Log.File.Generation), cmp.Compare(a.Event.Sequence, b.Event.Sequence))
	})
}

// orderDifference says where documents of one stream, as printed, are not in
// the order of the source, and where a generation's sequence is not 1, 2, 3 ….
func orderDifference(docs []document) string {
	next := map[string]int64{}
	for i, d := range docs {
		if i > 0 && d.Time.Before(docs[i-1].Time) {
			return fmt.Sprintf("printed line %d (%.60q, %s) comes behind a later one (%.60q, %s)", i+1, d.Message, d.Time, docs[i-1].Message, docs[i-1].Time)
		}
		next[d.Log.File.Generation]++
		if want := next[d.Log.File.Generation]; d.Event.Sequence != want {
			return fmt.Sprintf("printed line %d (%.60q) has event.sequence %d in generation %s, want %d", i+1, d.Message, d.Event.Sequence, d.Log.File.Generation, want)
		}
	}
	return ""
}

// firstDifference compares two lists and names what is missing or too much.
func firstDifference(want, got []string) string {
	if slices.Equal(want, got) {
		return ""
	}
	i := 0
	for i < len(want) && i < len(got) && want[i] == got[i] {
		i++
	}
	at := func(list []string, i int) string {
		if i >= len(list) {
			return "the end"
		}
		return fmt.Sprintf("%.100q (%d bytes)", list[i], len(list[i]))
	}
	count := map[string]int{}
	for _, s := range want {
		count[s]++
	}
	for _, s := range got {
		count[s]--
	}
	missing, extra := 0, 0
	for _, n := range count {
		missing += max(0, n)
		extra += max(0, -n)
	}
	return fmt.Sprintf("%d lines written, %d stored, %d missing, %d not written or doubled; the first difference is line %d:\n  written %s\n  stored  %s",
		len(want), len(got), missing, extra, i+1, at(want, i), at(got, i))
}

// metadata says what of a line's origin is wrong.
func (w *writer) metadata(d document, node string) string {
	var wrong []string
	check := func(what string, got, want any) {
		if got != want {
			wrong = append(wrong, fmt.Sprintf("%s is %q, want %q", what, got, want))
		}
	}
	check("container.id", d.Container.ID, w.id)
	check("container.name", d.Container.Name, w.name)
	check("container.image.name", d.Container.Image.Name, image)
	check("host.name", d.Host.Name, node)
	key, value, _ := strings.Cut(label, "=")
	labels := map[string]string{key: value}
	maps.Copy(labels, w.labels)
	if !maps.Equal(d.Container.Labels, labels) {
		wrong = append(wrong, fmt.Sprintf("container.labels are %v, want %v", d.Container.Labels, labels))
	}
	service := cmp.Or(w.labels["mesoscope.service"], w.env["MARATHON_APP_ID"], w.name)
	check("service.name", d.Service.Name, service)
	check("marathon.app.id", d.Marathon.App.ID, w.env["MARATHON_APP_ID"])
	check("marathon.app.version", d.Marathon.App.Version, w.env["MARATHON_APP_VERSION"])
	check("service.version", d.Service.Version, w.env["MARATHON_APP_VERSION"])
	check("mesos.task.id", d.Mesos.Task.ID, w.env["MESOS_TASK_ID"])
	if w.env["MARATHON_APP_ID"] != "" {
		check("orchestrator.type", d.Orchestrator.Type, "mesos")
	}
	check("event.dataset", d.Event.Dataset, "mesos.container")
	return strings.Join(wrong, "; ")
}

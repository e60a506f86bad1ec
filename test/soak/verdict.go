package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mesoscope/record"
	"mesoscope/test/fakees"
)

// A document is a line as it was stored, or a gap.
type document struct {
	Time    time.Time `json:"@timestamp"`
	Message string    `json:"message"`
	Stream  string    `json:"stream"`
	Log     struct {
		Offset int64    `json:"offset"`
		Flags  []string `json:"flags"`
		File   struct {
			Path       string `json:"path"`
			Generation string `json:"generation"`
		} `json:"file"`
	} `json:"log"`
	Event struct {
		Kind     string `json:"kind"`
		Sequence int64  `json:"sequence"`
		Dataset  string `json:"dataset"`
	} `json:"event"`
	Container struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	} `json:"container"`
	Service struct {
		Name string `json:"name"`
	} `json:"service"`
	Host struct {
		Name string `json:"name"`
	} `json:"host"`
	Error struct {
		Message string `json:"message"`
	} `json:"error"`
}

// A verdict compares what is stored with what was written.
type verdict struct {
	h        *harness
	partial  bool
	by       map[string]*history                // by container id
	declared map[*history]map[int][]declaration // by file
	seen     map[*history]map[int]bool          // files that something is stored of
	names    map[string]int                     // container/generation -> file
	numbers  map[string][]*truth                // container/generation/stream -> lines with damage in their file, as they come
	sequence map[*truth]int64
	failures []failure
	counts   map[string]int // failures by kind
	Lines    int
	Damaged  int
	Missing  int // of the damaged ones
	Gaps     int // gap documents
	Files    int
	Reused   int // of these, with the inode of an earlier one of the same log
	Dead     int
	Receipts int
	Remnants int
	remnants map[string]bool // container/generation
}

// mostShown is how many failures of a kind are told in full.
const mostShown = 3

func (v *verdict) fail(kind string, t *history, l *truth, what string) {
	v.counts[kind]++
	if v.counts[kind] > mostShown {
		return
	}
	where := ""
	if t != nil && l != nil {
		where = t.where(l) + ": "
	} else if t != nil {
		where = t.c.spec.Name + ": "
	}
	f := failure{kind, where + what}
	if t != nil {
		if states, err := readCheckpoint(v.h.checkpointPath()); err == nil {
			f.text += "\n      the checkpoint says: " + states[t.c.spec.source()].String()
		}
	}
	v.failures = append(v.failures, f)
}

// judge is the verdict of a run. partial says that it did not get to its end: what
// is not there may still have been on its way.
func (h *harness) judge(partial bool) (*verdict, error) {
	v := &verdict{h: h, partial: partial, by: map[string]*history{}, declared: map[*history]map[int][]declaration{}, seen: map[*history]map[int]bool{}, names: map[string]int{}, numbers: map[string][]*truth{}, sequence: map[*truth]int64{}, remnants: map[string]bool{}, counts: map[string]int{}}
	for _, c := range h.containers {
		t, err := h.readHistory(c)
		if err != nil {
			return nil, err
		}
		v.by[c.spec.ID] = t
		v.Files += len(t.files)
		v.Reused += t.reused()
	}
	docs, err := h.sink.Docs(h.opt.linesIndex())
	if err != nil {
		return nil, err
	}
	for _, remnants := range []bool{true, false} {
		for _, d := range docs {
			if err := v.document(d, remnants); err != nil {
				return nil, err
			}
		}
	}
	refused, err := v.deadLetters()
	if err != nil {
		return nil, err
	}
	for _, t := range v.by {
		v.complete(t)
	}
	v.checkOrder()
	v.checkAhead(h.snapshots)
	if partial {
		return v, nil
	}
	return v, v.checkReceipts(refused)
}

// document looks at one stored document; remnants: for nothing but these, which
// change the numbers of the lines behind them.
func (v *verdict) document(stored fakees.Doc, remnants bool) error {
	var d document
	if err := json.Unmarshal(stored.Source, &d); err != nil {
		return fmt.Errorf("a stored document is no JSON: %w: %.300s", err, stored.Source)
	}
	t := v.by[d.Container.ID]
	if remnants {
		if t != nil && !v.boxRemnant(t, &d) {
			if l := t.lineOf(&d); l != nil && d.Event.Kind == "" {
				v.remnant(t, l, &d)
			}
		}
		return nil
	}
	switch {
	case t == nil:
		v.fail(unknown, nil, nil, fmt.Sprintf("no container has the id of %.300s", stored.Source))
		return nil
	case d.Event.Kind == "pipeline_error":
		return v.gapDocument(t, stored.Source)
	}
	if v.boxRemnant(t, &d) {
		v.Remnants++
		return nil
	}
	l := t.lineOf(&d)
	if l == nil && v.partial {
		return nil // not noted yet
	}
	if l == nil || streams[l.Stream] != d.Stream {
		v.fail(unknown, t, nil, fmt.Sprintf("nobody wrote this: %.1500s", stored.Source))
		return nil
	}
	if l.stored == 0 {
		l.arrival = stored.Arrival
	}
	v.see(t, d.Log.File.Generation)
	if v.remnant(t, l, &d) {
		v.Remnants++
		return nil
	}
	l.stored++
	v.checkText(t, l, &d)
	if d.Container.Name != t.c.spec.Name || d.Service.Name != t.c.service || d.Host.Name == "" || d.Event.Dataset != "mesos.container" || !strings.HasPrefix(d.Log.File.Path, filepath.Dir(t.c.path())) {
		v.fail(metadata, t, l, fmt.Sprintf("it says container.name %q, service.name %q (want %q), host.name %q, event.dataset %q, log.file.path %q", d.Container.Name, d.Service.Name, t.c.service, d.Host.Name, d.Event.Dataset, d.Log.File.Path))
	}
	v.checkPlace(t, l, &d)
	return nil
}

// see notes that something is stored of a generation. Of several files that
// cannot be told apart nobody knows which one it is.
func (v *verdict) see(t *history, generation string) {
	ino, head, ok := parseGeneration(generation)
	if !ok || v.names[t.c.spec.ID+"/"+generation] != 0 {
		return
	}
	if v.seen[t] == nil {
		v.seen[t] = map[int]bool{}
	}
	f, one := t.find(ino, head)
	if t.c.spec.Log.Compress && !t.alone(f) {
		return // the copy of one may have the inode that another one of the same huge line had
	}
	if one && f.Ino == ino {
		v.seen[t][f.N] = true
	}
}

// stands says whether a generation may be a file.
func (v *verdict) stands(t *history, generation string, file int) bool {
	_, head, ok := parseGeneration(generation)
	return ok && (t.files[file].Head == head || t.mayBeCopy())
}

// remnant says whether d is the rest of a line whose beginning was destroyed, or
// had gone when the agent lost its checkpoint: nothing tells it from a line.
func (v *verdict) remnant(t *history, l *truth, d *document) bool {
	if v.h.forgotten == 0 && !l.damaged || len(l.Parts) < 2 || d.Log.Offset == l.Parts[0].From && v.stands(t, d.Log.File.Generation, l.Parts[0].File) {
		return false
	}
	v.remnants[t.c.spec.ID+"/"+d.Log.File.Generation] = true
	return true
}

// shifted says whether lines of a file may have other numbers than the oracle's,
// because the rest of a line counts as one. Its document is there, unless it has
// the id of the line itself.
func (v *verdict) shifted(t *history, file int, generation string) bool {
	return v.remnants[t.c.spec.ID+"/"+generation] || v.h.forgotten > 0 && t.rests[file]
}

// checkText: the message is the text, or its beginning where it is flagged.
func (v *verdict) checkText(t *history, l *truth, d *document) {
	message := []byte(d.Message)
	if len(message) == l.Len && sumOf(message) == l.Sum || l.damaged && len(l.Parts) > 0 && (len(l.Parts) > 1 || l.Parts[0].To-l.Parts[0].From > 16_000) {
		return // of a line of several pieces any may be left
	}
	key := lineKey{t.c.spec.Seed, t.c.spec.Name, l.Stream, l.N}
	want := t.c.spec.logged(lineText(key, l.Kind, l.Size)[:l.Bytes], !l.Open)
	cut := slices.Contains(d.Log.Flags, "truncated")
	// What was no UTF-8 stands in the log as \ufffd; now and then a line has a
	// true U+FFFD, too.
	n := escaped(message) + 3*bytes.Count(message, []byte("\ufffd"))
	if t.c.box != nil { // whose text the agent escapes itself
		n = len(record.AppendEscaped(nil, message)) + 3*bytes.Count(message, []byte("\ufffd"))
	}
	switch {
	case cut && d.Error.Message != "" && bytes.HasPrefix(want, message) && len(message) > 31_000:
	case cut && bytes.HasPrefix(want, message) && n > mostMessage-100 && n < mostMessage+100:
	default:
		at := differ(message, want)
		found := bytes.Index(want, message[at:min(at+64, len(message))])
		v.fail(text, t, l, fmt.Sprintf("the message is %s (%d bytes, flags %q), not %s (%d bytes); the first difference is at byte %d, what follows stands at byte %d; it takes %d bytes in the log", quote(message), len(message), d.Log.Flags, quote(want), len(want), at, found, n))
	}
}

func differ(a, b []byte) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// checkPlace: the line has the number that it has in its file, and its
// generation is that file.
func (v *verdict) checkPlace(t *history, l *truth, d *document) {
	id := t.c.spec.ID + "/" + d.Log.File.Generation
	file := l.Parts[0].File
	if other, there := v.names[id]; there && other != file && v.h.forgotten == 0 && t.whole(file) && t.whole(other) {
		v.fail(order, t, l, fmt.Sprintf("its generation %s stands for file %d as well", d.Log.File.Generation, other))
	}
	v.names[id] = file
	if !t.whole(file) {
		v.sequence[l] = d.Event.Sequence
		id += "/" + d.Stream
		v.numbers[id] = append(v.numbers[id], l)
		return
	}
	if d.Event.Sequence != l.ordinal && !v.shifted(t, file, d.Log.File.Generation) {
		v.fail(order, t, l, fmt.Sprintf("its event.sequence is %d, not %d (generation %s)", d.Event.Sequence, l.ordinal, d.Log.File.Generation))
	}
	if d.Log.Offset != l.Parts[0].From {
		v.fail(order, t, l, fmt.Sprintf("its log.offset is %d", d.Log.Offset))
	}
}

// checkOrder: in files of which something was destroyed, numbers still grow with
// the lines. After a lost checkpoint nothing is known of numbers given before.
func (v *verdict) checkOrder() {
	if v.h.forgotten > 0 {
		return
	}
	for _, lines := range v.numbers {
		slices.SortFunc(lines, func(a, b *truth) int { return cmp.Compare(a.N, b.N) })
		for i := 1; i < len(lines); i++ {
			a, b := lines[i-1], lines[i]
			if a != b && !a.damaged && !b.damaged && v.sequence[a] >= v.sequence[b] {
				v.fail(order, v.historyOf(b), b, fmt.Sprintf("its event.sequence is %d, and that of line %d before it is %d", v.sequence[b], a.N, v.sequence[a]))
			}
		}
	}
}

func (v *verdict) historyOf(l *truth) *history {
	for _, t := range v.by {
		if t.times[l.Time] == l {
			return t
		}
	}
	return nil
}

// complete: each line is there once.
func (v *verdict) complete(t *history) {
	for _, lines := range t.lines {
		for _, l := range lines {
			if len(l.Parts) == 0 {
				continue // begun, and stopped before its first piece
			}
			v.Lines++
			if l.damaged {
				v.Damaged++
			}
			switch {
			case l.stored > 1 && !(l.damaged && l.stored <= len(l.Parts)+1):
				v.fail(doubled, t, l, fmt.Sprintf("it is there %d times", l.stored))
			case l.stored > 0 || l.dead:
			case v.partial:
			case !l.damaged:
				v.fail(lost, t, l, "it is not there")
			default:
				v.Missing++
				// With the checkpoint goes what was known of files before.
				declared := v.covered(t, l) || v.unnoticed(t, l) || v.h.forgotten > 0 && len(v.declared[t]) > 0
				if !declared {
					v.fail(undeclared, t, l, "it is not there, and no gap is declared in its place; "+v.around(t, l.Parts[0].File))
				}
			}
		}
	}
}

// kinds are the kinds of what was found wrong.
func (v *verdict) kinds() []string { return slices.Sorted(maps.Keys(v.counts)) }

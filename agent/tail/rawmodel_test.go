package tail

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"mesoscope/internal/sandbox"
	"mesoscope/record"
)

// A rawLog is one stream of a sandbox whose lines are remembered.
type rawLog struct {
	w       *world
	id      string
	dir     string
	writer  *sandbox.Writer
	opt     sandbox.Options
	target  Target
	written map[string][]string // by stream
	rest    []byte              // of the line that is being written
	budget  int                 // rotations that may happen while no agent runs
}

// rawLog makes the log number i.
func (w *world) rawLog(i int, format Format, opt sandbox.Options) *rawLog {
	l := &rawLog{w: w, id: fmt.Sprintf("%064x", 1000+i), opt: opt, written: map[string][]string{}}
	l.dir = filepath.Join(w.root, "sandboxes", l.id)
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		w.t.Fatal(err)
	}
	name := "stderr"
	if format == RawStdout {
		name = "stdout"
	}
	streams := streamsOf(l.id)
	if format == RawExecutor {
		streams[0] = &record.Stream{Name: streams[0].Name, Index: "logs", Dataset: "mesos.container",
			Fields: fmt.Appendf(nil, `"stream":%q,"container":{"id":%q}`, ExecutorStream, l.id)}
	}
	l.target = Target{ID: l.id, Path: filepath.Join(l.dir, name), Format: format, HoldDir: filepath.Join(w.root, "sandboxes-held"), Streams: streams, Running: true}
	if w.moody {
		l.target.Notes = testNotes(l.id)
	}
	var err error
	if l.writer, err = sandbox.Open(l.target.Path, opt); err != nil {
		w.t.Fatal(err)
	}
	if w.raws == nil {
		w.raws = map[string]Target{}
	}
	w.raws[l.id], w.targets[l.id] = l.target, l.target
	return l
}

var payloads = []string{"plain text", "é€😀", "\"\\<\x01\x00", "\xff\xfe torn \xe2\x82 bytes", "\x1b[31mred\x1b[0m", "tab\there"}

// next makes up a line, newline and all.
func (l *rawLog) next(most int) []byte {
	stream, head := filepath.Base(l.target.Path), ""
	if l.target.Format == RawExecutor && l.w.r.IntN(3) == 0 {
		stream, head = ExecutorStream, "I1123 05:53:24.385162  9892 exec.cpp:1349] "
	}
	size := l.w.r.IntN(120)
	switch l.w.r.IntN(40) {
	case 0:
		size = most
	case 1:
		size = sandbox.Chunk
	}
	payload := payloads[l.w.r.IntN(len(payloads))]
	line := fmt.Sprintf("%s%s %d %s|", head, stream, len(l.written[stream]), strings.Repeat(payload, 1+size/len(payload)))
	l.written[stream] = append(l.written[stream], stored([]byte(line)))
	return append([]byte(line), '\n')
}

// stored is what a line says in the store.
func stored(line []byte) (text string) {
	if err := json.Unmarshal(append(record.AppendEscaped([]byte{'"'}, line), '"'), &text); err != nil {
		panic(err)
	}
	return text
}

// write writes n lines. up says that an agent runs: then no file goes before the
// agent holds it. Otherwise it stops, within a line perhaps, when as many files
// were rotated as its budget has.
func (l *rawLog) write(n int, up bool) {
	for range n {
		if len(l.rest) == 0 {
			l.rest = l.next(50_000)
		}
		for len(l.rest) > 0 {
			n := min(len(l.rest), 1+l.w.r.IntN(sandbox.Chunk), 1+l.w.r.IntN(6000))
			if l.writer.Rotates(n) {
				if up {
					l.waitSeen()
				} else if l.budget--; l.budget < 0 {
					return
				}
			}
			if _, err := l.writer.Write(l.rest[:n]); err != nil {
				l.w.t.Fatal(err)
			}
			l.rest = l.rest[n:]
		}
	}
}

// waitSeen waits until the live file cannot vanish any more.
func (l *rawLog) waitSeen() {
	if ino, size := live(l.target.Path); size > 0 {
		l.w.waitHeld(l.id, ino)
	}
}

var rawLine = regexp.MustCompile(`(?:^|\] )([a-z.]+) (\d+) `)

// checkRaw compares what is stored with what was written.
func (w *world) checkRaw(logs []*rawLog) {
	w.t.Helper()
	total := 0
	for _, l := range logs {
		for _, lines := range l.written {
			total += len(lines)
		}
	}
	w.until(fmt.Sprintf("%d lines stored", total), func() bool { return w.store.len() >= total || w.agent.idle() })
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	if len(w.store.docs) != total {
		w.t.Errorf("seed %d: %d documents for %d lines", w.seed, len(w.store.docs), total)
	}
	for _, l := range logs {
		for stream, lines := range l.written {
			got := map[int]doc{}
			sequences := map[string][]int64{}
			for _, id := range w.store.order[l.id+"/"+stream] {
				d := w.store.docs[id]
				m := rawLine.FindStringSubmatch(d.Message)
				if m == nil || m[1] != stream {
					w.t.Errorf("seed %d: %s %s has %.100q at %d of %s, number %d", w.seed, l.id[60:], stream, d.Message, d.Log.Offset, d.Log.File.Generation, d.Event.Sequence)
					continue
				}
				n, _ := strconv.Atoi(m[2])
				if _, twice := got[n]; twice {
					w.t.Errorf("seed %d: %s %s: line %d twice", w.seed, l.id[60:], stream, n)
				}
				got[n] = d
				sequences[d.Log.File.Generation] = append(sequences[d.Log.File.Generation], d.Event.Sequence)
			}
			for n, want := range lines {
				d, ok := got[n]
				if !ok {
					w.t.Errorf("seed %d: %s %s: line %d is missing: %.60q", w.seed, l.id[60:], stream, n, want)
				} else if d.Message != want && !(w.harsh && slices.Contains(d.Log.Flags, "truncated") && len(d.Message) > harshLine/6 && strings.HasPrefix(want, d.Message)) {
					w.t.Errorf("seed %d: %s %s line %d: differs at %d:\n got %.120q\nwant %.120q", w.seed, l.id[60:], stream, n, differ(d.Message, want), d.Message, want)
				}
			}
			for generation, list := range sequences {
				slices.Sort(list)
				for i, n := range list {
					if n != int64(i+1) {
						w.t.Errorf("seed %d: %s %s: generation %s has no line number %d", w.seed, l.id[60:], stream, generation, i+1)
						break
					}
				}
			}
		}
	}
}

// TestRawModel is TestModel for sandboxes: lines are cut by rotations wherever a
// chunk of the logger ends.
func TestRawModel(t *testing.T) {
	seeds := 3
	if testing.Short() {
		seeds = 1
	}
	for seed := range seeds {
		for _, kind := range []string{"plain", "cursors", "moody", "harsh"} {
			t.Run(fmt.Sprintf("seed %d %s", seed, kind), func(t *testing.T) {
				t.Parallel()
				runRawModel(t, uint64(seed), kind)
			})
		}
	}
}

func runRawModel(t *testing.T, seed uint64, kind string) {
	w := newWorld(t, seed)
	w.cursors, w.harsh = kind == "cursors", kind == "harsh"
	w.moody = kind == "moody" || w.harsh
	var logs []*rawLog
	for i, format := range []Format{RawStdout, RawStderr, RawExecutor, RawExecutor, RawStdout} {
		opt := sandbox.Options{MaxSize: int64(2*sandbox.Chunk + w.r.IntN(30000)), Rotate: []int{0, 1, 3, 2, 0}[i], Compress: i == 3}
		if i == 4 {
			opt = sandbox.Options{} // the default logger
		}
		logs = append(logs, w.rawLog(i, format, opt))
	}
	for _, l := range logs { // some lines are there before the agent is
		l.budget = l.opt.Rotate
		l.write(20, false)
	}
	w.start()
	for round := range 12 {
		for range 5 {
			logs[w.r.IntN(len(logs))].write(1+w.r.IntN(60), true)
		}
		if round%2 == 0 {
			w.kill()
			for _, l := range logs {
				l.budget = l.opt.Rotate
				l.write(30, false)
			}
			w.start()
			for _, l := range logs {
				l.waitSeen()
			}
		}
	}
	for i, l := range logs {
		l.write(5, true)
		if i%2 == 0 { // its last line has no newline
			l.rest = nil
			last := l.next(10)
			l.rest = last[:len(last)-1]
			l.write(1, true)
		}
		l.waitSeen()
		if err := l.writer.Close(); err != nil {
			t.Fatal(err)
		}
		os.RemoveAll(l.dir)
		delete(w.targets, l.id)
	}
	w.set()
	w.checkRaw(logs)
	w.until("everything forgotten", func() bool { return len(w.agent.f.Sources()) == 0 })
	if left, _ := os.ReadDir(filepath.Join(w.root, "sandboxes-held")); len(left) > 0 {
		t.Errorf("seed %d: the hold folder still has %v", seed, left)
	}
	w.kill()
	if w.moody {
		w.checkReceipts()
	}
}

package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"mesoscope/internal/jsonfile"
	"mesoscope/internal/sandbox"
)

// Besides Docker's containers there are tasks without Docker, whose log is a file in
// their sandbox. A writer writes one of its two; both, and rotations that cut lines
// anywhere, are as Mesos has them (internal/sandbox). Nothing in such a log says when
// a line was, so the oracle finds it by its text.

// boxOptions say what kind of sandbox it is.
type boxOptions struct {
	stream int  // that is written to
	pod    bool // it is that of a task in a pod
}

// A box is where a task without Docker runs.
type box struct {
	boxOptions
	executor sandbox.Executor
	ended    atomic.Bool
	gone     atomic.Bool
}

func (b *box) again() *boxOptions {
	if b == nil {
		return nil
	}
	return &b.boxOptions
}

func (b *box) remove() error {
	b.gone.Store(true)
	return b.executor.Collect()
}

// boxCommands are those of the commands that a sandbox can have.
var boxCommands = []string{"ask", "pause", "resume", "burst", "long", "end", "quit"}

// A logWriter is dockerd, or a container logger of Mesos.
type logWriter interface {
	WritePartial(stream string, piece []byte, at time.Time, last bool) error
	Close() error
}

// boxLog is a container logger of Mesos.
type boxLog struct{ *sandbox.Writer }

// WritePartial writes a piece of a line, with its newline if it is the last one.
func (l *boxLog) WritePartial(_ string, piece []byte, _ time.Time, last bool) error {
	if last {
		piece = append(slices.Clone(piece), '\n')
	}
	_, err := l.Write(piece)
	return err
}

func (w *writer) boxed() bool { return w.spec.Sandbox != "" }

func (w *writer) openLog() (logWriter, error) {
	if !w.boxed() {
		return jsonfile.Open(w.path(), w.spec.Log)
	}
	// When it rotates is decided by the writer, who has to know it before.
	o := sandbox.Options{Rotate: max(1, w.spec.Log.MaxFile) - 1, Compress: w.spec.Log.Compress}
	log, err := sandbox.Open(w.path(), o)
	return &boxLog{log}, err
}

// chunk is how long the next piece may be.
func (w *writer) chunk() int {
	if !w.boxed() {
		return jsonfile.ChunkSize
	}
	// The head of a line is never cut: an end that was never written must not take
	// away what it is known by.
	return 100 + w.r.IntN(sandbox.Chunk-100)
}

// full says whether the next piece rotates before it is written.
func (w *writer) full() bool {
	limit := w.spec.Log.MaxSize
	if w.boxed() {
		return limit > 0 && w.size+sandbox.Chunk > limit
	}
	return limit > 0 && w.size >= limit
}

func (s *writerSpec) path() string {
	if s.Sandbox != "" {
		return filepath.Join(s.Sandbox, streams[s.Stream])
	}
	return jsonfile.LogPath(s.Root, s.ID)
}

// source is the id of the log in the agent's checkpoint and hold folder.
func (s *writerSpec) source() string {
	if s.Sandbox != "" {
		return s.ID + "_" + streams[s.Stream]
	}
	return s.ID
}

// hold is where an agent holds the log.
func (s *writerSpec) hold() string {
	root := s.Root
	if s.Sandbox != "" {
		root, _, _ = strings.Cut(s.Sandbox, "/slaves/")
	}
	return filepath.Join(root, "mesoscope-hold", s.source())
}

// logged is what of a line can be found in the log.
func (s *writerSpec) logged(text []byte, ended bool) []byte {
	if s.Sandbox == "" {
		return logged(text, ended)
	}
	out := []byte(string([]rune(string(text)))) // each byte that is no UTF-8 becomes U+FFFD
	if n := len(out); ended && n > 0 && out[n-1] == '\r' {
		out = out[:n-1]
	}
	return out
}

// lineHead is how a line begins, see lineText.
var lineHead = regexp.MustCompile(`^(?:\{"id":")?c\d+ (stdout|stderr) (\d+) `)

// lineOf is the line that a document has.
func (t *history) lineOf(d *document) *truth {
	if t.c.box == nil {
		return t.times[d.Time.UnixNano()]
	}
	m := lineHead.FindStringSubmatch(d.Message)
	if m == nil {
		return nil
	}
	k := slices.Index(streams[:], m[1])
	n, err := strconv.Atoi(m[2])
	if err != nil || n < 1 || n > len(t.lines[k]) {
		return nil
	}
	return t.lines[k][n-1]
}

// boxRemnant says whether d is the rest of a line of a sandbox, whose beginning had
// gone when the agent lost its checkpoint.
func (v *verdict) boxRemnant(t *history, d *document) bool {
	if t.c.box == nil || v.h.forgotten == 0 || d.Event.Kind != "" || d.Log.Offset != 0 || t.lineOf(d) != nil {
		return false
	}
	v.remnants[t.c.spec.ID+"/"+d.Log.File.Generation] = true
	return true
}

// mayBeCopy says whether a generation may be called as the compressed copy of its
// file, because no agent had seen that one before.
func (t *history) mayBeCopy() bool { return t.c.box != nil && t.c.spec.Log.Compress }

// describeBox makes a task without Docker of c.
func (h *harness) describeBox(c *container, o boxOptions) {
	task := sandbox.Task{ID: c.spec.Name, Name: c.spec.Name, Labels: map[string]string{"mesoscope.service": "box-" + c.spec.Name}}
	id := fmt.Sprintf("%08x-0000-4000-8000-%012x", uint32(h.opt.seed), h.made)
	e := sandbox.Executor{Run: sandbox.Run{Work: h.mesos.work, Agent: "S0", Framework: "F", Executor: c.spec.Name, Container: id}, FrameworkName: "soak"}
	c.spec.ID, c.spec.Sandbox = id, e.Dir()
	if o.pod {
		e.Pod, e.Executor = true, "pod-"+c.spec.Name
		task.Container = fmt.Sprintf("nested-%d", h.made)
		c.spec.ID, c.spec.Sandbox = id+"."+task.Container, filepath.Join(e.Dir(), "containers", task.Container)
	}
	e.Tasks = []sandbox.Task{task}
	c.box, c.service, c.spec.Stream = &box{boxOptions: o, executor: e}, task.Labels["mesoscope.service"], o.stream
}

// makeFolder makes the folder of a container, as dockerd or Mesos does.
func (h *harness) makeFolder(c *container) error {
	if c.box == nil {
		return jsonfile.WriteConfig(c.spec.Root, c.config)
	}
	e := &c.box.executor
	if err := e.Make(); err != nil {
		return err
	}
	if e.Pod {
		if _, err := e.Nested(e.Tasks[0].ID, e.Tasks[0].Container); err != nil {
			return err
		}
	}
	for _, name := range streams { // the one that is not written to is there, too
		if err := os.WriteFile(filepath.Join(c.spec.Sandbox, name), nil, 0o644); err != nil {
			return err
		}
	}
	h.mesos.add(c.box)
	return nil
}

// A mesosAgent says at /state which tasks there are.
type mesosAgent struct {
	*httptest.Server
	work string

	mu    sync.Mutex
	boxes []*box
}

func newMesosAgent(work string) *mesosAgent {
	m := &mesosAgent{work: work}
	m.Server = httptest.NewServer(m)
	return m
}

func (m *mesosAgent) add(b *box) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.boxes = append(m.boxes, b)
}

// ServeHTTP answers as a Mesos agent.
func (m *mesosAgent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/state" {
		http.NotFound(w, r)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []sandbox.Executor
	for _, b := range m.boxes {
		if e := b.executor; !b.gone.Load() {
			e.Completed = b.ended.Load()
			list = append(list, e)
		}
	}
	_, _ = w.Write(sandbox.State("S0", list)) // who has hung up asks again
}

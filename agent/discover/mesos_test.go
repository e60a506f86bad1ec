package discover

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mesoscope/config"
	"mesoscope/mesos"
)

// fakeMesos is an agent that answers what it is told to: a status and a body
// for /state.
type fakeMesos struct {
	*httptest.Server
	state atomic.Pointer[string] // "503" and the like, or a body
	asked atomic.Int64
}

func newFakeMesos(t *testing.T, state string) *fakeMesos {
	f := &fakeMesos{}
	f.state.Store(&state)
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.asked.Add(1)
		state, code := *f.state.Load(), 0
		if fmt.Sscan(state, &code); code != 0 || r.URL.Path != "/state" {
			w.WriteHeader(max(code, 404))
			return
		}
		fmt.Fprint(w, state)
	}))
	t.Cleanup(f.Close)
	return f
}

// looks waits until the agent has been asked, and its answer has been taken.
func (f *fakeMesos) looks(t *testing.T, s *seen) {
	t.Helper()
	for range 2 { // the second look begins when the first has been taken
		before := f.asked.Load()
		s.d.mesos.ask()
		until(t, "a look", 10*time.Second, func() bool { return f.asked.Load() > before })
	}
}

const (
	mesosUUID = "c7c311a4-b669-11e6-a48f-0ea4f4b1778c"
	mesosName = "mesos-" + mesosUUID
)

// oneTask is a state with one task in the container mesosUUID.
func oneTask(labels string) string {
	return `{"id":"S0","frameworks":[{"id":"F","name":"marathon","executors":[{"id":"web.` + mesosUUID + `","container":"` + mesosUUID + `",
		"tasks":[{"id":"web.` + mesosUUID + `","name":"web","labels":[` + labels + `]}]}]}]}`
}

const noTasks = `{"id":"S0","frameworks":[]}`

func (r fakeRoot) mesosTask(id, name string) {
	r.mkdir(id)
	r.write(id, "config.v2.json", strings.Replace(runningConfig, "/web\"", "/"+name+"\"", 1))
	r.write(id, "hostconfig.json", jsonFileHost)
}

// TestTaskIsJoined: a container is announced with its task, keeps it whatever
// the agent says later, and is followed without it if the agent never answers.
func TestTaskIsJoined(t *testing.T) {
	r, f := newFakeRoot(t), newFakeMesos(t, noTasks)
	s := discoverFor(t, Options{Docker: config.Docker{Root: r.root}, Mesos: config.Mesos{Agent: f.URL}})
	id := fullID("a1")
	r.mesosTask(id, mesosName)
	s.container(id, func(c Container) bool { return c.Waiting })
	// As long as the task is queued, its labels are not known.
	f.state.Store(ptr(strings.Replace(oneTask(""), `"tasks"`, `"queued_tasks"`, 1)))
	s.container(id, func(c Container) bool { return c.Waiting && c.Mesos != nil && c.Mesos.TaskName == "web" })
	state := oneTask(`{"key":"team","value":"a"}`)
	f.state.Store(&state)
	c := s.container(id, func(c Container) bool { return !c.Waiting })
	if m := c.Mesos; !c.joined() || m.TaskName != "web" || m.FrameworkName != "marathon" || m.AgentID != "S0" || m.TaskLabels["team"] != "a" || c.Marathon.ID != "/web" {
		t.Fatalf("%+v", m)
	}
	// What ended, or cannot be told, is not forgotten; what changed is taken over.
	for _, answer := range []string{"503", noTasks, "404", "[]", oneTask(`{"key":"team","value":"b"}`)} {
		f.state.Store(&answer)
		f.looks(t, s)
		want := "a"
		if strings.Contains(answer, `"b"`) {
			want = "b"
		}
		s.container(id, func(c Container) bool { return c.joined() && c.Mesos.TaskLabels["team"] == want })
	}
	// An unknown one waits for its grace, and no longer.
	f.state.Store(ptr("503"))
	late := fullID("b2")
	r.mesosTask(late, strings.Replace(mesosName, "c7", "d8", 1))
	began := time.Now()
	s.container(late, func(c Container) bool { return c.Waiting })
	s.container(late, func(c Container) bool { return !c.Waiting && !c.joined() })
	if d := time.Since(began); d < mesosGrace/2 || d > 3*mesosGrace {
		t.Errorf("it waited for %s", d)
	}
}

func ptr[T any](v T) *T { return &v }

// TestNoMesos: where nobody runs an agent, nothing is said.
func TestNoMesos(t *testing.T) {
	f := newFakeMesos(t, noTasks)
	f.Close()
	var log lockedBuffer
	reg := prometheus.NewRegistry()
	m, err := newMetrics(reg)
	if err != nil {
		t.Fatal(err)
	}
	w, err := newMesosWatch(config.Mesos{Agent: f.URL}, mesosAccessOf(t, config.Mesos{}), textLog(&log), m)
	if err != nil {
		t.Fatal(err)
	}
	w.quiet = true
	_, err = w.look(t.Context(), true)
	if err == nil || w.say(err, "") != "" || log.String() != "" {
		t.Errorf("%v: %s", err, log.String())
	}
	w.quiet = false
	if w.say(err, "") != "away" || w.say(err, "away") != "away" || log.count("cannot be asked") != 1 {
		t.Errorf("%s", log.String())
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "mesoscope_discovery_errors_total" && f.GetMetric()[0].GetCounter().GetValue() != 2 {
			t.Errorf("counted: %v", f)
		}
	}
	if w.say(nil, "away") != "" || log.count("answers again") != 1 {
		t.Errorf("%s", log.String())
	}
	if w, err := newMesosWatch(config.Mesos{}, mesosAccessOf(t, config.Mesos{}), nil, nil); w != nil || err != nil {
		t.Errorf("%v, %v", w, err)
	}
}

// TestSomebodyElse: what answers in the place of an agent is mentioned, also if
// nobody configured it.
func TestSomebodyElse(t *testing.T) {
	f := newFakeMesos(t, "500")
	var log lockedBuffer
	w, err := newMesosWatch(config.Mesos{Agent: f.URL}, mesosAccessOf(t, config.Mesos{}), textLog(&log), mustMetrics(t))
	if err != nil {
		t.Fatal(err)
	}
	w.quiet = true
	absent, err := mesos.NewAgent("http://127.0.0.1:1", mesos.Access{})
	if err != nil {
		t.Fatal(err)
	}
	w.agents = append(w.agents, absent)
	if _, err = w.look(t.Context(), true); w.say(err, "") != "away" || log.count("500 Internal") != 1 {
		t.Errorf("%v: %s", err, log.String())
	}
}

func TestPause(t *testing.T) {
	f := func(took time.Duration, err error, want time.Duration) {
		t.Helper()
		if got := pause(took, err); got != want {
			t.Errorf("%s, %v: %s, want %s", took, err, got, want)
		}
	}
	f(time.Millisecond, nil, mesosHurry)
	f(time.Second, nil, 10*time.Second)
	f(stateTime, nil, mesosPoll)
	f(time.Millisecond, os.ErrClosed, mesosHurry)
	f(stateTime, os.ErrClosed, mesosRetry)
}

// TestRecovering: while an agent recovers, it only tells which containers there
// are; that does not replace what it told before. Names of frameworks that
// nobody has any more are not kept.
func TestRecovering(t *testing.T) {
	d, err := New(Options{Mesos: config.Mesos{Agent: "http://127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	take := func(text string) {
		t.Helper()
		s, err := mesos.ReadState(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		d.takeState(s)
	}
	list := &mesos.State{Executors: []mesos.Executor{{ID: "e", ContainerID: mesosUUID}}, Recovering: true}
	d.takeState(list)
	c := Container{ID: fullID("a1"), Name: mesosName}
	d.enrich(&c)
	if c.joined() || c.Mesos.ExecutorID != "e" {
		t.Errorf("%+v", c.Mesos)
	}
	take(oneTask(""))
	d.takeState(list)
	for _, id := range []string{"b2", "a1"} {
		c := Container{ID: fullID(id), Name: mesosName}
		d.listed[c.ID] = c // as the API has it
		if d.enrich(&c); !c.joined() || c.Mesos.TaskName != "web" {
			t.Errorf("%s: %+v", id, c.Mesos)
		}
	}
	take(strings.Replace(noTasks, "[]", `[{"id":"G","name":"g","executors":[{"id":"x"}]}]`, 1))
	d.forget(fullID("a1"))
	if take(noTasks); fmt.Sprint(d.frameworks) != "map[F:marathon]" {
		t.Errorf("%v, and b2 is still there", d.frameworks)
	}
	d.forget(fullID("b2"))
	if take(noTasks); len(d.frameworks) != 0 {
		t.Errorf("%v", d.frameworks)
	}
}

// TestRecallOnce: a container that is not of Mesos is looked up once, and what
// was switched by a Marathon that is not asked any more counts no more.
func TestRecallOnce(t *testing.T) {
	calls := 0
	d, err := New(Options{Recall: func(string) (Container, bool) {
		calls++
		return Container{Marathon: &App{ID: "/a", Switches: map[string]string{switchEnabled: "false"}}}, calls > 3
	}})
	if err != nil {
		t.Fatal(err)
	}
	c := Container{ID: fullID("a1"), Name: "web"}
	for range 3 {
		d.enrich(&c)
	}
	if calls != 1 {
		t.Errorf("it was looked up %d times", calls)
	}
	d.forget(c.ID)
	if d.enrich(&c); calls != 2 {
		t.Errorf("it was looked up %d times, with one that was forgotten", calls)
	}
	calls = 3
	c = Container{ID: fullID("b2")}
	if d.enrich(&c); c.Marathon == nil || c.disabled() {
		t.Errorf("%+v", c.Marathon)
	}
}

// TestSwitchedOff: a container that a label of its task switches off is never
// read, and comes back when the label goes.
func TestSwitchedOff(t *testing.T) {
	r, f := newFakeRoot(t), newFakeMesos(t, oneTask(`{"key":"mesoscope.logs.enabled","value":"false"}`))
	opt := Options{Docker: config.Docker{Root: r.root}, Mesos: config.Mesos{Agent: f.URL}, OffDir: t.TempDir()}
	s := discoverFor(t, opt)
	id, pause := fullID("a1"), fullID("c3")
	r.mesosTask(id, mesosName)
	r.mesosTask(pause, "k8s_POD_web-1_default_u_0")
	until(t, "both excluded", 10*time.Second, func() bool { return len(s.d.Excluded()) == 2 })
	if got := fmt.Sprint(s.d.Excluded()); !strings.Contains(got, disabledRule) || !strings.Contains(got, pauseRule) || !s.d.Excludes(id) {
		t.Error(got)
	}
	if s.everSeen(id) || s.everSeen(pause) {
		t.Error("it was to be read")
	}
	// The agent forgets the task: it stays off, also over a restart.
	f.state.Store(ptr(noTasks))
	f.looks(t, s)
	s.stop()
	f.state.Store(ptr("503"))
	s = discoverFor(t, opt)
	until(t, "both excluded", 10*time.Second, func() bool { return len(s.d.Excluded()) == 2 })
	if s.everSeen(id) {
		t.Error("it was to be read after a restart")
	}
	f.state.Store(ptr(oneTask(`{"key":"mesoscope.logs.dataset","value":"mesos.web"}`)))
	s.d.mesos.ask()
	c := s.container(id, func(c Container) bool { return !c.Waiting })
	if c.Dataset != "mesos.web" || c.From["data_stream.dataset"] == "" {
		t.Errorf("%+v", c)
	}
	if off, err := os.ReadDir(opt.OffDir); err != nil || len(off) != 0 {
		t.Errorf("still off: %v, %v", off, err)
	}
}

// TestExecutorInDocker: where the Mesos agent runs in Docker, the container that
// only repeats what the task's own container prints is not read.
func TestExecutorInDocker(t *testing.T) {
	r := newFakeRoot(t)
	s := discoverFor(t, Options{Docker: config.Docker{Root: r.root}})
	task, executor := fullID("a1"), fullID("b2")
	r.mesosTask(executor, mesosName+".executor")
	r.mesosTask(task, mesosName)
	s.container(task, func(Container) bool { return true })
	until(t, "its exclusion", 10*time.Second, func() bool { return s.d.Excludes(executor) })
	if got := s.d.Excluded(); len(got) != 1 || got[0].Rule != executorRule || s.everSeen(executor) {
		t.Errorf("%v", got)
	}
}

// TestMesosAfterUs: an agent that starts later than this process is asked as
// soon as a container of Mesos comes, and its switches count from the first line.
func TestMesosAfterUs(t *testing.T) {
	r, f := newFakeRoot(t), newFakeMesos(t, "404")
	d, err := New(Options{Docker: config.Docker{Root: r.root}, Mesos: config.Mesos{Agent: f.URL}, OffDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	d.mesos.quiet = true // as if nobody had configured it
	s := follow(t, d)
	until(t, "a look in vain", 10*time.Second, func() bool { return f.asked.Load() == 2 })
	f.state.Store(ptr(oneTask(`{"key":"mesoscope.logs.enabled","value":"false"}`)))
	id := fullID("a1")
	r.mesosTask(id, mesosName)
	until(t, "its exclusion", 10*time.Second, func() bool { return s.d.Excludes(id) })
	if s.everSeen(id) {
		t.Error("it was to be read")
	}
}

// TestRecalled: what Mesos said before a restart of the agent counts while
// Mesos cannot be asked.
func TestRecalled(t *testing.T) {
	r, f := newFakeRoot(t), newFakeMesos(t, "503")
	id := fullID("a1")
	r.mesosTask(id, mesosName)
	written := Container{ID: id, Mesos: &Mesos{TaskID: "t", FrameworkName: "n"}, From: map[string]string{keyTask: fromState, keyFrameName: fromState, "name": "x"}}
	s := discoverFor(t, Options{Docker: config.Docker{Root: r.root}, Mesos: config.Mesos{Agent: f.URL},
		Recall: func(string) (Container, bool) { return written, true }})
	c := s.container(id, func(c Container) bool { return true })
	if c.Waiting || c.Mesos.TaskID != "t" || c.Mesos.FrameworkName != "n" || c.Name != mesosName || c.From["name"] != fromConfig {
		t.Errorf("%+v %+v", c, c.Mesos)
	}
}

// TestTokenExpires: a token that is written anew is used from then on, and an
// expired one is not called missing.
func TestTokenExpires(t *testing.T) {
	want := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+want {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, noTasks)
	}))
	defer server.Close()
	cfg := config.Mesos{Agent: server.URL, TokenFile: filepath.Join(t.TempDir(), "token")}
	write := func(token string) {
		if err := os.WriteFile(cfg.TokenFile, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("one")
	var log lockedBuffer
	w, err := newMesosWatch(cfg, mesosAccessOf(t, cfg), textLog(&log), mustMetrics(t))
	if err != nil {
		t.Fatal(err)
	}
	want = "two"
	_, err = w.look(t.Context(), true)
	if w.say(err, "") != "denied" || log.count("refuses the credentials") != 1 {
		t.Errorf("%v: %s", err, log.String())
	}
	write("two")
	if _, err = w.look(t.Context(), true); err != nil {
		t.Error(err)
	}
}

func mesosAccessOf(t *testing.T, cfg config.Mesos) mesos.Access {
	t.Helper()
	a, err := Access(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func mustMetrics(t *testing.T) *metrics {
	t.Helper()
	m, err := newMetrics(nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

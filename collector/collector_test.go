package collector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mesoscope/checks"
	"mesoscope/collector/check"
	"mesoscope/collector/declare"
	"mesoscope/collector/state"
	"mesoscope/collector/status"
	"mesoscope/collector/target"
)

// A source answers with what a test gives it.
type source struct {
	mu  sync.Mutex
	set target.Set
	err error
}

func (s *source) Name() string         { return "test" }
func (s *source) Every() time.Duration { return 10 * time.Second }
func (s *source) Find(context.Context) (target.Set, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return target.Set{}, s.err
	}
	return s.set, nil
}

func (s *source) is(set target.Set, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set, s.err = set, err
}

// A world is a Collector whose checks say what a test wants.
type world struct {
	t        *testing.T
	dir      string
	c        *Collector
	source   *source
	registry *prometheus.Registry
	ctx      context.Context
	setup    Setup
	stop     func()

	mu      sync.Mutex
	results map[string]checks.State // by target; OK if it is not there
	hang    map[string]chan struct{}
	runs    map[string]int
	changes []string
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, dir: t.TempDir(), source: &source{err: errors.New("not yet")}, results: map[string]checks.State{}, hang: map[string]chan struct{}{}, runs: map[string]int{}}
	w.setup = Setup{Sources: []target.Source{w.source}, Key: "1", Declare: declare.Options{Cluster: "prod"}, Outputs: []Output{w}}
	w.begin()
	return w
}

// begin starts the process.
func (w *world) begin() {
	w.registry = prometheus.NewRegistry()
	c, err := New(Options{StateDir: w.dir, Vantage: "c1", Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Registry: w.registry, Run: w.run})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	w.c, w.ctx = c, ctx
	c.Configure(ctx, w.setup)
	ended := make(chan error)
	go func() { ended <- c.Run(ctx) }()
	w.stop = func() {
		stop()
		if err := <-ended; err != nil {
			w.t.Error(err)
		}
	}
}

func (w *world) run(_ context.Context, t checks.Target) checks.Result {
	w.mu.Lock()
	state, hang := w.results[t.Address], w.hang[t.Address]
	w.runs[t.Address]++
	w.mu.Unlock()
	if hang != nil {
		<-hang
	}
	return checks.Result{State: state, Text: "said " + state.String(), Duration: time.Millisecond, Evidence: checks.Evidence{Status: 200}}
}

// Changed is for the Collector.
func (w *world) Changed(e check.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.changes = append(w.changes, fmt.Sprintf("%s %s->%s", e.Name, e.State.Previous, e.State.Status))
}

func (w *world) says(address string, s checks.State) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.results[address] = s
}

func (w *world) changed(want ...string) {
	w.t.Helper()
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Equal(w.changes, want) {
		w.t.Errorf("changes %q, want %q", w.changes, want)
	}
	w.changes = nil
}

// get asks the HTTP interface.
func (w *world) get(method, path, body, token string) (int, string) {
	w.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	a := httptest.NewRecorder()
	w.c.Handler(Endpoints{Registry: w.registry, Reload: func() error { return nil }, AdminToken: "sesame"}).ServeHTTP(a, r)
	return a.Code, a.Body.String()
}

func (w *world) metric(want string) {
	w.t.Helper()
	if code, text := w.get("GET", "/metrics", "", ""); code != 200 || !strings.Contains(text, want+"\n") {
		w.t.Errorf("%d: no %s in\n%s", code, want, text)
	}
}

func (w *world) checks() string {
	var out []string
	for _, v := range w.c.Checks("") {
		out = append(out, v.App+" "+v.Name+" "+v.Target+" "+v.Status.String())
	}
	return strings.Join(out, "\n")
}

// instance n of /web on a host; each has port 31000+n.
func instance(n int, host string, labels map[string]string) target.Instance {
	return target.Instance{ID: fmt.Sprint("web.", n), App: "/web", Task: fmt.Sprint("web.", n), Host: host, Framework: "marathon", Address: host,
		Ports: []target.Port{{Number: 31000 + n}}, Labels: labels}
}

var health = map[string]string{"mesoscope.check.health": "tcp", "mesoscope.team": "shop"}

func oneApp(labels map[string]string, hosts ...string) target.Set {
	set := target.Set{Apps: []target.App{{ID: "/web", Framework: "marathon", Labels: labels, Expected: len(hosts), Minimum: 1}}}
	for n, h := range hosts {
		set.Instances = append(set.Instances, instance(n, h, labels))
	}
	return set
}

// TestLife: found, good, bad, told, shown, good again.
func TestLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer func() { w.stop() }()
		synctest.Wait()
		if code, _ := w.get("GET", "/sd", "", ""); code != 503 {
			t.Errorf("%d before anything was found", code)
		}
		w.source.is(oneApp(health, "n1", "n2"), nil)
		time.Sleep(25 * time.Second)
		w.changed("health PENDING->OK", "health PENDING->OK")
		const n1 = `{check="health",kind="tcp",app="/web",host="n1",slot="0",framework="marathon",cluster="prod",team="shop",vantage="c1"}`
		w.metric("probe_success" + n1 + " 1")
		w.says("n1:31000", checks.Critical)
		time.Sleep(40 * time.Second)
		w.changed("health OK->CRITICAL")
		w.metric("probe_success" + n1 + " 0")
		w.metric("mesoscope_check_state" + n1 + " 2")
		w.metric(`mesoscope_app_instances{app="/web",framework="marathon",cluster="prod",team="shop",vantage="c1",state="reachable"} 1`)
		if got := w.checks(); got != "/web health n1:31000 CRITICAL\n/web health n2:31001 OK" {
			t.Error(got)
		}
		if a := w.c.Apps(); len(a) != 1 || a[0].Reachable != 1 || a[0].Running != 2 || a[0].Expected != 2 || a[0].Owner.Team != "shop" {
			t.Errorf("%+v", a)
		}
		if st := w.c.Status(); st.By["CRITICAL"] != 1 || len(st.Apps) != 1 || len(st.Problems) != 0 {
			t.Errorf("%+v", st)
		}
		w.says("n1:31000", checks.OK)
		time.Sleep(30 * time.Second)
		w.changed("health CRITICAL->OK")
		w.metric("mesoscope_check_state" + n1 + " 0")
		if st := w.c.Status(); len(st.Apps) != 0 {
			t.Errorf("%+v", st)
		}
	})
}

// TestRestart: states outlive the process, the reason of their trouble too.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer func() { w.stop() }()
		w.source.is(oneApp(health, "n1"), nil)
		time.Sleep(30 * time.Second)
		w.says("n1:31000", checks.Critical)
		time.Sleep(45 * time.Second)
		before := w.c.Checks("")[0]
		w.changed("health PENDING->OK", "health OK->CRITICAL")
		w.stop()
		time.Sleep(time.Minute)
		w.begin()
		time.Sleep(12 * time.Second)
		after := w.c.Checks("")[0]
		if after.Status != state.Critical || !after.Since.Equal(before.Since) || !after.FirstBad.Equal(before.FirstBad) {
			t.Errorf("%+v\n%+v", before, after)
		}
		w.changed() // nothing new
	})
}

// TestDiscoveryFails: what was found stays, and it is said.
func TestDiscoveryFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer func() { w.stop() }()
		w.source.is(oneApp(health, "n1"), nil)
		time.Sleep(30 * time.Second)
		w.source.is(target.Set{}, errors.New("no leader"))
		w.says("n1:31000", checks.Critical)
		time.Sleep(time.Minute)
		w.changed("health PENDING->OK", "health OK->CRITICAL")
		if st := w.c.Status(); len(st.Problems) != 1 || !strings.Contains(st.Problems[0], "no leader") {
			t.Errorf("%q", st.Problems)
		}
		w.metric(`mesoscope_collector_source_stale{source="test"} 1`)
		if code, text := w.get("GET", "/sd", "", ""); code != 200 || !strings.Contains(text, "n1:31000") {
			t.Errorf("%d %s", code, text)
		}
		w.source.is(target.Set{Instances: []target.Instance{}}, nil)
		time.Sleep(20 * time.Second)
		if code, text := w.get("GET", "/sd", "", ""); code != 200 || strings.TrimSpace(text) != "[]" {
			t.Errorf("%d %s", code, text)
		}
		if got := w.checks(); got != "" {
			t.Error(got)
		}
		if _, text := w.get("GET", "/metrics", "", ""); strings.Contains(text, "probe_success{") {
			t.Error("a series of what is gone")
		}
	})
}

// TestLabelChanges: a changed label counts, and keeps the state.
func TestLabelChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer func() { w.stop() }()
		w.source.is(oneApp(health, "n1"), nil)
		time.Sleep(30 * time.Second)
		w.changed("health PENDING->OK")
		w.source.is(oneApp(map[string]string{"mesoscope.check.health": "http:/h", "mesoscope.check.health.interval": "30s", "mesoscope.check.more": "tcp", "mesoscope.check.bad": "x"}, "n1"), nil)
		time.Sleep(60 * time.Second)
		w.changed("more PENDING->OK")
		if got := w.checks(); got != "/web health http://n1:31000/h OK\n/web more n1:31000 OK" {
			t.Error(got)
		}
		st := w.c.Status()
		if len(st.Findings) != 1 || st.Findings[0].Check != "bad" || st.Findings[0].Instances != 1 {
			t.Errorf("%+v", st.Findings)
		}
		e := w.c.Explain("/web")
		if len(e) != 3 || e[0].Check != "bad" || e[0].Status != "refused" || e[1].Status != "OK" || e[1].Values[0].From != "label mesoscope.check.health" {
			t.Errorf("%+v", e)
		}
	})
}

// TestHung: a check that does not come back is UNKNOWN, and what it says later
// does not count.
func TestHung(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer func() { w.stop() }()
		w.source.is(oneApp(health, "n1"), nil)
		time.Sleep(30 * time.Second)
		hang := make(chan struct{})
		w.mu.Lock()
		w.hang["n1:31000"] = hang
		runs := w.runs["n1:31000"]
		w.mu.Unlock()
		time.Sleep(25 * time.Second)
		v := w.c.Checks("")[0]
		if v.Result != "UNKNOWN" || !strings.Contains(v.Text, "hangs") {
			t.Errorf("%+v", v)
		}
		time.Sleep(time.Minute) // it is not started again, so nothing new is known
		w.changed("health PENDING->OK", "health OK->UNKNOWN")
		if v = w.c.Checks("")[0]; !v.Stale {
			t.Errorf("%+v", v)
		}
		w.mu.Lock()
		if n := w.runs["n1:31000"]; n != runs+1 {
			t.Errorf("started %d times", n-runs)
		}
		delete(w.hang, "n1:31000")
		w.mu.Unlock()
		close(hang)
		synctest.Wait()
		w.metric(`mesoscope_collector_results_dropped_total{reason="late"} 1`)
		time.Sleep(30 * time.Second)
		if v = w.c.Checks("")[0]; v.Stale || v.Status != state.OK {
			t.Errorf("%+v", v)
		}
	})
}

// TestCommand: what Marathon says of a command is the result, as long as
// Marathon says something.
func TestCommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer func() { w.stop() }()
		say := func(h target.Health) {
			set := oneApp(nil, "n1")
			h.Kind = "command"
			set.Instances[0].Health = []target.Health{h}
			w.source.is(set, nil)
			time.Sleep(50 * time.Second)
		}
		is := func(want state.Status, text string) {
			t.Helper()
			v := w.c.Checks("")
			if len(v) != 1 || v[0].Status != want || !strings.Contains(v[0].Text, text) || v[0].Kind != "command" {
				t.Errorf("%+v", v)
			}
		}
		say(target.Health{Known: true, Alive: true})
		is(state.OK, "good")
		say(target.Health{Known: true, Cause: "exit code 7"})
		is(state.Critical, "exit code 7")
		say(target.Health{Known: true, Alive: true})
		is(state.OK, "good")
		w.source.is(target.Set{}, errors.New("no leader"))
		time.Sleep(3 * time.Minute)
		is(state.Unknown, "no result since")
		if len(w.runs) != 0 {
			t.Errorf("something was run: %v", w.runs)
		}
	})
}

// TestStaleIsNoSuccess: a result of long ago is none.
func TestStaleIsNoSuccess(t *testing.T) {
	e := check.Event{Result: checks.Result{State: checks.OK, Duration: time.Second}}
	if v, ok := perCheck[0].value(&e); v != 1 || !ok {
		t.Error(v, ok)
	}
	e.State.Stale = true
	if v, ok := perCheck[0].value(&e); v != 0 || !ok {
		t.Error(v, ok)
	}
}

// TestChecksFile: read again while it runs; a bad one changes nothing.
func TestChecksFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer func() { w.stop() }()
		path := filepath.Join(t.TempDir(), "checks.yml")
		write := func(text string) {
			t.Helper()
			if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(path+".new", path); err != nil {
				t.Fatal(err)
			}
			time.Sleep(15 * time.Second)
		}
		w.source.is(oneApp(health, "n1"), nil)
		w.setup.ChecksFile = path
		write(`apps: {/web: {checks: {extra: {kind: tcp, port: 1}}}}`)
		w.c.Configure(w.ctx, w.setup)
		time.Sleep(30 * time.Second)
		if got := w.checks(); got != "/web extra n1:1 OK\n/web health n1:31000 OK" && got != "/web health n1:31000 OK\n/web extra n1:1 OK" {
			t.Error(got)
		}
		write("apps: {/web: {cheks: {}}}   # a mistake")
		if st := w.c.Status(); len(st.Problems) != 1 || !strings.Contains(st.Problems[0], "cheks") || st.Checks != 2 {
			t.Errorf("%+v", st)
		}
		w.metric("mesoscope_collector_checks_file_good 0")
		write(`{apps: {/web: {checks: {health: off}}}, hosts: {"n*": {checks: {ssh: {kind: tcp, port: 22}}}}, static: [{name: s, kind: tcp, target: "n1:5"}]}`)
		if got := w.checks(); got != " s n1:5 OK\n ssh n1:22 OK" && got != " ssh n1:22 OK\n s n1:5 OK" {
			t.Error(got)
		}
		w.metric("mesoscope_collector_checks_file_good 1")
	})
}

// TestOverride: the overlay's API, with its own token, for a time, kept.
func TestOverride(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer func() { w.stop() }()
		w.source.is(oneApp(health, "n1"), nil)
		time.Sleep(30 * time.Second)
		const path = status.OverlayPath + "%2Fweb"
		for _, c := range []struct {
			method, path, body, token string
			want                      int
		}{
			{"PUT", path, `{"checks":{"health":"off"}}`, "", 403}, {"PUT", path, `{"checks":{"health":"off"}}`, "wrong", 403}, {"GET", path, "", "", 403},
			{"GET", path, "", "sesame", 404}, {"DELETE", path, "", "sesame", 404}, {"PUT", path, `{"cheks":{}}`, "sesame", 400}, {"PUT", path, `x`, "sesame", 400},
			{"PUT", path, `{"expires":"-2h"}`, "sesame", 400}, {"PUT", path, `{"expires":"soon"}`, "sesame", 400}, {"PUT", status.OverlayPath + "web", `{}`, "sesame", 400},
			{"PUT", path, `{"checks":{"health":"off"},"expires":"2h"}`, "sesame", 200}, {"GET", path, "", "sesame", 200},
		} {
			if code, text := w.get(c.method, c.path, c.body, c.token); code != c.want {
				t.Errorf("%s %s %s: %d %s, want %d", c.method, c.path, c.body, code, text, c.want)
			}
		}
		time.Sleep(2 * time.Second)
		if got := w.checks(); got != "" {
			t.Error(got)
		}
		w.stop()
		w.begin()
		time.Sleep(20 * time.Second)
		if got := w.checks(); got != "" {
			t.Error("forgotten by a restart: ", got)
		}
		time.Sleep(2 * time.Hour)
		if got := w.checks(); got != "/web health n1:31000 OK" {
			t.Error("not ended: ", got)
		}
		w.get("PUT", path, `{"team":"night"}`, "sesame")
		time.Sleep(2 * time.Second)
		if v := w.c.Checks(""); v[0].Team != "night" {
			t.Errorf("%+v", v)
		}
		if code, _ := w.get("DELETE", path, "", "sesame"); code != 200 {
			t.Error(code)
		}
		time.Sleep(2 * time.Second)
		if v := w.c.Checks(""); v[0].Team != "shop" {
			t.Errorf("%+v", v)
		}
	})
}

// TestNewSources: until other sources have answered, what the old ones have
// found is checked.
func TestNewSources(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer func() { w.stop() }()
		w.source.is(oneApp(health, "n1"), nil)
		time.Sleep(30 * time.Second)
		other := &source{err: errors.New("not yet")}
		w.setup.Sources, w.setup.Key = []target.Source{other}, "2"
		w.c.Configure(w.ctx, w.setup)
		time.Sleep(15 * time.Second)
		if got := w.checks(); got != "/web health n1:31000 OK" {
			t.Error(got)
		}
		other.is(oneApp(health, "n2"), nil)
		time.Sleep(30 * time.Second)
		if got := w.checks(); got != "/web health n2:31000 OK" {
			t.Error(got)
		}
	})
}

// TestSlots: two instances on one host have series of their own, and the one
// that stays keeps its number.
func TestSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer func() { w.stop() }()
		w.source.is(oneApp(health, "n1", "n1"), nil)
		time.Sleep(30 * time.Second)
		_, text := w.get("GET", "/metrics", "", "")
		seen := map[string]bool{}
		n := 0
		for line := range strings.Lines(text) {
			name := line[:strings.LastIndexByte(line, ' ')]
			if seen[name] && line[0] != '#' {
				t.Errorf("twice: %s", line)
			}
			seen[name] = true
			if strings.HasPrefix(line, "probe_success{") {
				n++
			}
		}
		if n != 2 {
			t.Errorf("%d series\n%s", n, text)
		}
		set := oneApp(health, "n1", "n1")
		set.Instances = set.Instances[1:]
		w.source.is(set, nil)
		time.Sleep(30 * time.Second)
		if v := w.c.Checks(""); len(v) != 1 || v[0].Slot != 1 {
			t.Errorf("%+v", v)
		}
	})
}

// TestAPI: the list can be narrowed, and gzip is understood.
func TestAPI(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer func() { w.stop() }()
		w.source.is(oneApp(health, "n1", "n2"), nil)
		w.says("n2:31001", checks.Warning)
		time.Sleep(2 * time.Minute)
		var list []status.Check
		_, text := w.get("GET", status.ChecksPath+"?app=/w*&status=warning", "", "")
		if err := json.Unmarshal([]byte(text), &list); err != nil || len(list) != 1 || list[0].Host != "n2" || list[0].Text != "said WARNING" {
			t.Errorf("%v %s", err, text)
		}
		if code, _ := w.get("GET", status.ExplainPath, "", ""); code != 400 {
			t.Error(code)
		}
		r := httptest.NewRequest("GET", "/metrics", nil)
		r.Header.Set("Accept-Encoding", "gzip")
		a := httptest.NewRecorder()
		w.c.Handler(Endpoints{Registry: w.registry}).ServeHTTP(a, r)
		if a.Code != http.StatusOK || a.Header().Get("Content-Encoding") != "gzip" {
			t.Errorf("%d %v", a.Code, a.Header())
		}
	})
}

// TestStartWithoutDiscovery: a collector that starts while Marathon is away
// checks what the last run knew, and what has gone meanwhile goes with the
// first answer.
func TestStartWithoutDiscovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer func() { w.stop() }()
		w.source.is(oneApp(health, "n1", "n2"), nil)
		time.Sleep(30 * time.Second)
		w.changed("health PENDING->OK", "health PENDING->OK")
		w.stop()
		w.source.is(target.Set{}, errors.New("no leader"))
		w.begin()
		w.says("n1:31000", checks.Critical)
		time.Sleep(20 * time.Minute)
		w.changed("health OK->CRITICAL")
		if code, _ := w.get("GET", "/sd", "", ""); code != 503 {
			t.Errorf("%d before discovery has answered", code)
		}
		if st := w.c.Status(); len(st.Problems) != 1 || !strings.Contains(st.Problems[0], "no leader") || st.Checks != 2 {
			t.Errorf("%+v", st)
		}
		w.source.is(oneApp(health, "n1"), nil)
		time.Sleep(30 * time.Second)
		if got := w.checks(); got != "/web health n1:31000 CRITICAL" {
			t.Error(got)
		}
		w.stop()
		if err := os.WriteFile(filepath.Join(w.dir, "targets.json"), []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		w.begin() // a damaged file is no reason not to start
		time.Sleep(30 * time.Second)
		if got := w.checks(); got != "/web health n1:31000 CRITICAL" {
			t.Error(got)
		}
	})
}

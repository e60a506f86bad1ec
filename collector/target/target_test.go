package target

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mesoscope/mesos"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// show is one line for each instance.
func show(s Set) string {
	var b strings.Builder
	for _, i := range s.Instances {
		fmt.Fprintf(&b, "%s %s @%s:", i.ID, i.Address, i.Host)
		for _, p := range i.Ports {
			fmt.Fprintf(&b, " %d/%d/%s", p.Number, p.Container, p.Name)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func TestMarathonNetworks(t *testing.T) {
	task := func(id, more string) string {
		return `{"id":"` + id + `","host":"n1","state":"TASK_RUNNING","startedAt":"2026-11-25T04:00:00.000Z"` + more + `}`
	}
	f := func(name, app, want string) {
		t.Helper()
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/v2/apps":
				fmt.Fprint(w, `{"apps":[`+app+`]}`)
			case "/v2/tasks":
				fmt.Fprint(w, `{"tasks":[{"appId":"/a","id":"old","host":"n2","ports":[31005],"startedAt":"2026-11-25T04:00:00.000Z"},{"appId":"/a","id":"not-yet","host":"n2","ports":[31006],"startedAt":null}]}`)
			}
		}))
		defer server.Close()
		client, err := mesos.NewMarathon([]string{server.URL}, mesos.Access{})
		if err != nil {
			t.Fatal(err)
		}
		set, err := (&Marathon{Client: client, Framework: "marathon"}).Find(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := show(set); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	f("host", `{"id":"/a","portDefinitions":[{"name":"http"},{"name":"admin"}],"tasks":[`+task("t", `,"ports":[31000,31001]`)+`]}`,
		"t n1 @n1: 31000/0/http 31001/0/admin\n")
	f("bridge before 1.5", `{"id":"/a","container":{"docker":{"network":"BRIDGE","portMappings":[{"containerPort":80,"hostPort":0,"name":"http"}]}},"tasks":[`+task("t", `,"ports":[31000]`)+`]}`,
		"t n1 @n1: 31000/80/http\n")
	f("bridge", `{"id":"/a","networks":[{"mode":"container/bridge"}],"container":{"portMappings":[{"containerPort":80,"hostPort":0},{"containerPort":81}]},"tasks":[`+task("t", `,"ports":[31000,31001],"ipAddresses":[{"ipAddress":"172.17.0.2"}]`)+`]}`,
		"t n1 @n1: 31000/80/ 31001/81/\n")
	f("a network of its own", `{"id":"/a","networks":[{"mode":"container","name":"dcos"}],"container":{"portMappings":[{"containerPort":80,"name":"http"}]},"tasks":[`+task("t", `,"ports":[],"ipAddresses":[{"ipAddress":"9.0.1.2"}]`)+`]}`,
		"t 9.0.1.2 @n1: 80/0/http\n")
	f("an address of its own before 1.5", `{"id":"/a","ipAddress":{"discovery":{"ports":[{"number":8080,"name":"rest"}]}},"tasks":[`+task("t", `,"ipAddresses":[{"ipAddress":"10.1.2.3"}]`)+`]}`,
		"t 10.1.2.3 @n1: 8080/0/rest\n")
	f("one that cannot be reached is expected, others are not", `{"id":"/a","tasks":[{"id":"lost","host":"n1","state":"TASK_UNREACHABLE"},{"id":"s","host":"n1","state":"TASK_STAGING"},{"id":"k","host":"n1","state":"TASK_KILLING"}]}`,
		"lost n1 @n1:\n")
	f("a Marathon that does not embed tasks", `{"id":"/a","tasksRunning":1}`, "old n2 @n2: 31005/0/\n")
}

// TestMarathonCommand: of a command only Marathon knows the result, and only if
// it is clear which one is whose.
func TestMarathonCommand(t *testing.T) {
	checks := []mesos.HealthCheck{{Protocol: "MESOS_HTTP", Path: "/h"}, {Protocol: "COMMAND"}}
	got := imported(checks, []mesos.HealthResult{{Alive: true}, {Cause: "exit code 7"}})
	if len(got) != 2 || got[0].Kind != "http" || got[0].Known || got[1].Kind != "command" || !got[1].Known || got[1].Alive || got[1].Cause != "exit code 7" {
		t.Errorf("%+v", got)
	}
	if got = imported(checks, []mesos.HealthResult{{Alive: true}}); got[1].Known {
		t.Errorf("one result of two checks: %+v", got)
	}
}

func TestMarathonRecording(t *testing.T) {
	// an answer that is no list of apps must not remove everything
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"message":"hello"}`) }))
	defer server.Close()
	client, err := mesos.NewMarathon([]string{server.URL}, mesos.Access{})
	if err != nil {
		t.Fatal(err)
	}
	if set, err := (&Marathon{Client: client}).Find(t.Context()); err == nil {
		t.Errorf("taken for an answer: %+v", set)
	}
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		next := filepath.Join(dir, name+".next")
		if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	files := &Files{Patterns: []string{filepath.Join(dir, "*.yml"), filepath.Join(dir, "*.json")}}
	find := func(want string, bad string) {
		t.Helper()
		set, err := files.Find(t.Context())
		if got := show(set); got != want || (err != nil) != (bad != "") || err != nil && !strings.Contains(err.Error(), bad) {
			t.Errorf("%s%v, want %s%s", got, err, want, bad)
		}
	}
	write("a.yml", "- targets: ['shop:443', 'https://shop.example.net/health']\n  labels: {host: n1, __meta: x}\n- targets: [db]\n  labels: {app: /db}\n")
	write("b.json", `[{"targets":["[::1]:80"],"labels":{}}]`)
	const all = "shop:443 shop @n1: 443/0/\nhttps://shop.example.net/health shop.example.net @n1: 443/0/\n/db db db @db:\n"
	find(all+"[::1]:80 ::1 @::1: 80/0/\n", "")
	write("b.json", `[{"targets":["x:1"`)
	find(all+"[::1]:80 ::1 @::1: 80/0/\n", "b.json: not in the form")
	write("b.json", `[{"targets":["y:2"]}]`)
	find(all+"y:2 y @y: 2/0/\n", "")
	write("b.json", `[{"targets":["y:99999"]}]`)
	find(all+"y:2 y @y: 2/0/\n", "no valid port")
	if err := os.Remove(filepath.Join(dir, "b.json")); err != nil {
		t.Fatal(err)
	}
	find(all, "")
}

// scripted answers with one set after another.
type scripted struct {
	answers []func() (Set, error)
}

func (s *scripted) Name() string         { return "scripted" }
func (s *scripted) Every() time.Duration { return time.Second }
func (s *scripted) Find(context.Context) (Set, error) {
	next := s.answers[0]
	if len(s.answers) > 1 {
		s.answers = s.answers[1:]
	}
	return next()
}

func TestFailureKeepsTheOldSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good := func(ids ...string) func() (Set, error) {
			return func() (s Set, _ error) {
				for _, id := range ids {
					s.Instances = append(s.Instances, Instance{ID: id})
				}
				return s, nil
			}
		}
		bad := func() (Set, error) { return Set{}, errors.New("no leader") }
		var told atomic.Int64
		f := NewFinder([]Source{&scripted{[]func() (Set, error){bad, good("a", "b"), good("b", "a"), bad, bad, good()}}}, func() { told.Add(1) }, quiet)
		go f.Run(t.Context())
		at := func(seconds int, want string, wantReady bool, wantChanges int) {
			t.Helper()
			synctest.Wait()
			all, status, ready := f.All()
			changes := int(told.Load())
			got := fmt.Sprint(len(all.Instances), " stale=", status[0].Stale, " ", status[0].Error)
			if got != want || ready != wantReady || changes != wantChanges {
				t.Errorf("second %d: %s ready=%v changes=%d, want %s %v %d", seconds, got, ready, changes, want, wantReady, wantChanges)
			}
			time.Sleep(time.Second)
		}
		at(0, "0 stale=false no leader", false, 0)
		at(1, "2 stale=false ", true, 1)
		at(2, "2 stale=false ", true, 1) // the same in another order
		at(3, "2 stale=true no leader", true, 1)
		at(4, "2 stale=true no leader", true, 1)
		at(5, "0 stale=false ", true, 2)
	})
}

// A hinted source counts how often it is asked, and passes hints on.
type hinted struct {
	asked, lives atomic.Int64 // lives: of the stream
	hints        chan bool    // false: the stream is cut
}

func (h *hinted) Name() string         { return "hinted" }
func (h *hinted) Every() time.Duration { return time.Minute }
func (h *hinted) Find(context.Context) (Set, error) {
	h.asked.Add(1)
	return Set{Instances: []Instance{{ID: "a"}}}, nil
}
func (h *hinted) Hints(ctx context.Context, hint func()) error {
	h.lives.Add(1)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case goesOn := <-h.hints:
			if !goesOn {
				return errors.New("cut")
			}
			hint()
		}
	}
}

// TestHints: a hint is heard at once, a swarm of them is one, and a stream that
// is cut is opened again.
func TestHints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hinted{hints: make(chan bool)}
		ctx, stop := context.WithCancel(t.Context())
		f := NewFinder([]Source{h}, func() {}, slog.New(slog.DiscardHandler))
		go f.Run(ctx)
		time.Sleep(5 * time.Second)
		for range 100 {
			h.hints <- true
		}
		time.Sleep(5 * time.Second)
		if n := h.asked.Load(); n < 2 || n > 3 {
			t.Errorf("asked %d times", n)
		}
		before := h.asked.Load()
		h.hints <- false
		time.Sleep(15 * time.Second)
		h.hints <- true
		time.Sleep(2 * time.Second)
		if h.lives.Load() != 2 || h.asked.Load() != before+1 {
			t.Errorf("%d streams, asked %d times", h.lives.Load(), h.asked.Load()-before)
		}
		time.Sleep(time.Minute)
		if h.asked.Load() != before+2 {
			t.Errorf("without hints asked %d times", h.asked.Load()-before)
		}
		stop()
		synctest.Wait()
	})
}

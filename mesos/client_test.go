package mesos

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

// fakeAgent answers by path; what is not in it is 404, as with Mesos.
type fakeAgent struct {
	*httptest.Server
	answers atomic.Pointer[map[string]answer]
	asked   atomic.Int64
}

type answer struct {
	code int
	text string
}

func newFakeAgent(t *testing.T, start func(http.Handler) *httptest.Server, check func(*http.Request) bool) *fakeAgent {
	t.Helper()
	f := &fakeAgent{}
	f.set(nil)
	f.Server = start(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.asked.Add(1)
		if check != nil && !check(r) {
			w.Header().Set("WWW-Authenticate", `Basic realm="mesos-agent-readonly"`)
			http.Error(w, "401 Unauthorized.", http.StatusUnauthorized)
			return
		}
		a, ok := (*f.answers.Load())[r.URL.Path]
		if !ok {
			a = answer{404, "404 Not Found."}
		}
		w.WriteHeader(a.code)
		w.Write([]byte(a.text))
	}))
	t.Cleanup(f.Close)
	return f
}

func (f *fakeAgent) set(answers map[string]answer) { f.answers.Store(&answers) }

func recording(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile("testdata/" + path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (f *fakeAgent) client(t *testing.T, access Access) *Agent {
	t.Helper()
	a, err := NewAgent(f.URL+"/", access)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestStateSkips(t *testing.T) {
	f := newFakeAgent(t, httptest.NewServer, nil)
	a, ctx := f.client(t, Access{}), context.Background()
	f.set(map[string]answer{"/state": {200, recording(t, "state/1.11-running.json")}})
	for i, fresh := range []bool{false, false, true, true, false} {
		s, err := a.State(ctx, fresh)
		if err != nil || (s != nil) != (i == 0) {
			t.Errorf("look %d, fresh %v: %v, %v", i, fresh, s != nil, err)
		}
	}
	f.set(map[string]answer{"/state": {200, recording(t, "state/1.11-after-restart.json")}})
	if s, err := a.State(ctx, false); err != nil || s == nil || len(s.Executors) == 0 {
		t.Errorf("a change was not seen: %v, %v", s, err)
	}
	// An error between does not make an old state a new one, nor the reverse.
	f.set(map[string]answer{"/state": {503, "Agent has not finished recovery"}})
	if s, err := a.State(ctx, false); s != nil || err == nil {
		t.Errorf("%v, %v", s, err)
	}
	f.set(map[string]answer{"/state": {200, recording(t, "state/1.11-running.json")}})
	if s, err := a.State(ctx, true); err != nil || s == nil {
		t.Errorf("%v, %v", s, err)
	}
	// A state that cannot be read is asked for again, whatever its hash.
	f.set(map[string]answer{"/state": {200, "[]"}})
	for range 2 {
		if s, err := a.State(ctx, false); err == nil {
			t.Errorf("%v", s)
		}
	}
}

// TestOldAgent: 0.22 knows /state.json alone, 1.8 /state alone.
func TestOldAgent(t *testing.T) {
	f := newFakeAgent(t, httptest.NewServer, nil)
	a, ctx := f.client(t, Access{}), context.Background()
	old := map[string]answer{"/state.json": {200, recording(t, "state/0.22.json")}}
	f.set(old)
	if s, err := a.State(ctx, false); err != nil || s.AgentID != "20150410-134224-16777343-5050-1778-S0" {
		t.Fatalf("%+v, %v", s, err)
	}
	before := f.asked.Load()
	if s, err := a.State(ctx, false); err != nil || s != nil || f.asked.Load() != before+1 {
		t.Errorf("the old name is not remembered: %v, %v, %d requests", s, err, f.asked.Load()-before)
	}
	f.set(map[string]answer{"/state": {200, recording(t, "state/1.11-running.json")}})
	if s, err := a.State(ctx, false); err != nil || s == nil || !strings.HasPrefix(s.AgentID, "f424a2df") {
		t.Errorf("after an upgrade: %v, %v", s, err)
	}
}

// TestRestart is the recorded timeline of an agent that restarts.
func TestRestart(t *testing.T) {
	f := newFakeAgent(t, httptest.NewServer, nil)
	a, ctx := f.client(t, Access{}), context.Background()
	containers := recording(t, "containers/1.11-docker-and-mesos.json")
	for _, step := range []struct {
		answers    map[string]answer
		code       int
		containers bool
	}{
		{nil, 404, false},
		{map[string]answer{"/state": {503, "Agent has not finished recovery"}, "/containers": {200, containers}, "/monitor/statistics": {200, "[]"}}, 503, true},
		{map[string]answer{"/state": {200, recording(t, "state/1.11-after-restart.json")}, "/containers": {200, containers}}, 0, true},
	} {
		f.set(step.answers)
		s, err := a.State(ctx, false)
		var status *StatusError
		if step.code == 0 && (err != nil || s == nil) || step.code != 0 && (!errors.As(err, &status) || status.Code != step.code || s != nil) {
			t.Errorf("want %d: %v, %v", step.code, s != nil, err)
		}
		list, err := a.Containers(ctx)
		if (err == nil) != step.containers || step.containers && (len(list) < 2 || list[0].ID == "" || list[0].Framework.ID == "" || list[0].ContainerID == "") {
			t.Errorf("containers: %+v, %v", list, err)
		}
	}
	f.Close()
	if _, err := a.State(ctx, false); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("%v", err)
	}
}

func TestAccess(t *testing.T) {
	state := map[string]answer{"/state": {200, recording(t, "state/1.11-cgroups.json")}}
	basic := newFakeAgent(t, httptest.NewServer, func(r *http.Request) bool {
		user, password, _ := r.BasicAuth()
		return user == "u" && password == "p:w"
	})
	token := newFakeAgent(t, httptest.NewTLSServer, func(r *http.Request) bool { return r.Header.Get("Authorization") == "Bearer tok" })
	cas := x509.NewCertPool()
	cas.AddCert(token.Certificate())
	for name, c := range map[string]struct {
		f      *fakeAgent
		access Access
		ok     bool
	}{
		"basic": {basic, Access{User: "u", Password: "p:w"}, true}, "no user": {basic, Access{}, false}, "wrong": {basic, Access{User: "u", Password: "x"}, false},
		"token and authority": {token, Access{Token: "tok", CAs: cas}, true}, "no token": {token, Access{CAs: cas}, false},
	} {
		c.f.set(state)
		s, err := c.f.client(t, c.access).State(context.Background(), false)
		if (err == nil) != c.ok || Denied(err) == c.ok || c.ok && s.AgentID == "" {
			t.Errorf("%s: %v, %v", name, s, err)
		}
		if err != nil && !strings.Contains(err.Error(), "401 Unauthorized") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := token.client(t, Access{Token: "tok"}).State(context.Background(), false); err == nil || Denied(err) {
		t.Errorf("an unknown authority: %v", err)
	}
}

// TestBounded: an answer that does not end is an error that says so.
func TestBounded(t *testing.T) {
	text := recording(t, "state/1.11-running.json")
	read := func(left int) error {
		_, err := ReadState(&bounded{io.NopCloser(strings.NewReader(text)), int64(left)})
		return err
	}
	if err := read(len(text) + 1); err != nil {
		t.Error(err)
	}
	if err := read(len(text) / 2); !errors.Is(err, errTooLong) {
		t.Error(err)
	}
}

// TestNear: no proxy of the environment is asked for the agent of this node.
func TestNear(t *testing.T) {
	a, err := NewAgent("http://mesos.example:5051", Access{})
	if err != nil {
		t.Fatal(err)
	}
	m, err := NewMarathon([]string{"http://m.example:8080"}, Access{})
	if err != nil {
		t.Fatal(err)
	}
	if a.http.Transport.(*http.Transport).Proxy != nil || m.http.Transport.(*http.Transport).Proxy == nil {
		t.Error("the wrong one goes through a proxy")
	}
}

func TestNewAgent(t *testing.T) {
	for _, bad := range []string{"", "127.0.0.1:5051", "ftp://x", "http://", "://"} {
		if _, err := NewAgent(bad, Access{}); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
	if a, err := NewAgent("http://127.0.0.1:6060/slave(1)/", Access{}); err != nil || a.URL() != "http://127.0.0.1:6060/slave(1)" {
		t.Errorf("%v, %v", a, err)
	}
}

// BenchmarkPoll is a poll of an agent over loopback, with its imitation in the
// same process: unchanged is found out by the hash, fresh decodes.
func BenchmarkPoll(b *testing.B) {
	for _, n := range []int{500, 5000} {
		text := bigState(b, n)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(text) }))
		a, err := NewAgent(server.URL, Access{})
		if err != nil {
			b.Fatal(err)
		}
		if s, err := a.State(b.Context(), true); s == nil || err != nil {
			b.Fatal(err)
		}
		for name, fresh := range map[string]bool{"unchanged": false, "fresh": true} {
			b.Run(fmt.Sprintf("%s/tasks=%d", name, n), func(b *testing.B) {
				b.SetBytes(int64(len(text)))
				b.ReportAllocs()
				before := cpuTime(b)
				for b.Loop() {
					if _, err := a.State(b.Context(), fresh); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric((cpuTime(b)-before).Seconds()*1000/float64(b.N), "cpu-ms/op") // the imitation's are among them
			})
		}
		server.Close()
	}
}

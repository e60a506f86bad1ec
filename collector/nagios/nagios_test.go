package nagios

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"mesoscope/checks"
	"mesoscope/collector/check"
	"mesoscope/collector/state"
)

func event(app, name, host string, s state.Status) check.Event {
	e := check.Event{
		Definition: check.Definition{ID: app + name + host, Name: name, Kind: "http", App: app, Host: host, Target: "http://" + host, Interval: 10 * time.Second, Owner: check.Owner{Team: "shop", Runbook: "http://wiki/x"}},
		State:      state.Check{Status: s}, Result: checks.Result{Text: "said | so\nand so", Duration: 12 * time.Millisecond},
	}
	return e
}

func TestNames(t *testing.T) {
	got := Names([]string{"/prod/web health", "/prod/a$b x", "/prod/a=b x", "/prod/a_b x", "größe", "a\nb", "a;b\\", "/prod/web health"})
	want := map[string]string{
		"/prod/web health": "/prod/web health", "/prod/a_b x": "/prod/a_b x", "größe": "größe", "a\nb": "a_b", "a;b\\": "a_b_",
		"/prod/a$b x": "/prod/a_b x-" + got["/prod/a$b x"][len(got["/prod/a$b x"])-4:], "/prod/a=b x": "/prod/a_b x-" + got["/prod/a=b x"][len(got["/prod/a=b x"])-4:],
	}
	if !maps.Equal(got, want) || got["/prod/a$b x"] == got["/prod/a=b x"] {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	again := Names([]string{"/prod/a=b x", "/prod/a_b x", "/prod/a$b x"})
	if again["/prod/a=b x"] != got["/prod/a=b x"] || again["/prod/a$b x"] != got["/prod/a$b x"] {
		t.Errorf("names depend on the order: %q", again)
	}
}

func TestJudge(t *testing.T) {
	letters := map[rune]state.Status{'o': state.OK, 'w': state.Warning, 'c': state.Critical, 'u': state.Unknown, 'p': state.Pending}
	for _, c := range []struct {
		instances string
		expected  int
		minimum   float64
		want      state.Status
		text      string
	}{
		{"ooo", 3, 1, state.OK, "3 of 3 can be reached"},
		{"ooc", 3, 0.5, state.Warning, "2 of 3 can be reached: n2 CRITICAL: said ¦ so and so"},
		{"ooc", 3, 1, state.Critical, "2 of 3 can be reached: n2"},
		{"occ", 3, 0.5, state.Critical, "1 of 3"},
		{"ccc", 3, 0, state.Critical, "0 of 3"},
		{"oow", 3, 1, state.Warning, "3 of 3 can be reached: n2 WARNING"},
		{"oou", 3, 1, state.Warning, "2 of 3"},
		{"uuu", 3, 1, state.Unknown, "0 of 3"},
		{"cuu", 3, 0, state.Critical, "0 of 3"},
		{"ppo", 3, 1, state.OK, "3 of 3 can be reached, 2 without a verdict yet"},
		{"oo", 4, 0.5, state.OK, "2 of 4"},
		{"oo", 4, 0.75, state.Critical, "2 of 4"},
		{"oooo", 3, 1, state.OK, "4 of 3"}, // in the middle of a deployment
		{"o", 0, 0, state.OK, "1 of 1"},    // of no app
		{"c", 0, 0, state.Critical, "0 of 1"},
		{"cccccccc", 8, 0, state.Critical, "0 of 8"},
	} {
		var events []check.Event
		for i, l := range c.instances {
			events = append(events, event("/prod/web", "health", fmt.Sprint("n", i), letters[l]))
		}
		s := judge(events, check.App{Expected: c.expected, Minimum: c.minimum})
		if s.Status != c.want || !strings.Contains(s.Text, c.text) {
			t.Errorf("%s of %d, at least %v: %s %q, want %s %q", c.instances, c.expected, c.minimum, s.Status, s.Text, c.want, c.text)
		}
		if len(s.Long) > 6 || s.Interval != 10*time.Second || s.Team != "shop" {
			t.Errorf("%+v", s)
		}
	}
	s := judge([]check.Event{event("/prod/web", "health", "n1", state.Critical)}, check.App{})
	if want := "CRITICAL: 0 of 1 can be reached: n1 CRITICAL: said ¦ so and so | time=0.012000s reachable=0;;;0 expected=1;;;0 bad=1;;;0\nn1 CRITICAL: said ¦ so and so"; s.Output() != want {
		t.Errorf("output\n%s\nwant\n%s", s.Output(), want)
	}
}

// A world is what a collector knows.
type world struct {
	mu     sync.Mutex
	events []check.Event
	apps   []check.App
}

func (w *world) options() Options {
	return Options{
		Cluster: "c 1", Log: slog.New(slog.DiscardHandler),
		Events: func(yield func(check.Event) bool) {
			w.mu.Lock()
			list := slices.Clone(w.events)
			w.mu.Unlock()
			slices.Values(list)(yield)
		},
		Apps: func(yield func(check.App) bool) { slices.Values(w.apps)(yield) },
	}
}

func (w *world) set(list ...check.Event) {
	w.mu.Lock()
	w.events = list
	w.mu.Unlock()
}

func TestServices(t *testing.T) {
	w := &world{apps: []check.App{{ID: "/prod/web", Framework: "a", Expected: 1, Minimum: 1}, {ID: "/prod/web", Framework: "b", Expected: 2, Minimum: 1}}}
	other := event("/prod/web", "health", "n9", state.OK)
	other.Framework = "b"
	w.set(event("/prod/web", "health", "n1", state.OK), other, event("/prod/web", "disk", "n1", state.Warning), event("", "disk", "n1", state.Critical), event("", "door", "", state.OK))
	var got []string
	for _, s := range services(w.options()) {
		got = append(got, fmt.Sprintf("%s/%s %s", s.Host, s.Name, s.Status))
	}
	want := []string{"mesoscope-c 1//prod/web disk CRITICAL", "mesoscope-c 1//prod/web health CRITICAL", "mesoscope-c 1/door OK", "mesoscope-c 1/n1 disk CRITICAL"}
	if !slices.Equal(got, want) { // two of three are missing
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// A taken is a taker that remembers.
type taken struct {
	mu   sync.Mutex
	away bool
	got  []string
}

func (k *taken) take(_ context.Context, list []Service) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.away {
		return 0, errors.New("away")
	}
	for _, s := range list {
		k.got = append(k.got, fmt.Sprintf("%s %s", s.Name, s.Status))
	}
	return len(list), nil
}

func (k *taken) drain() (got []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	got, k.got = k.got, nil
	return got
}

func TestRounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		slow := event("/prod/b", "health", "n1", state.OK)
		slow.Interval = time.Minute
		w.set(event("/prod/a", "health", "n1", state.OK), slow)
		n, err := New(w.options())
		if err != nil {
			t.Fatal(err)
		}
		k := &taken{}
		n.add("test", k)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { n.Run(ctx); close(done) }()
		synctest.Wait()
		if got := k.drain(); !slices.Equal(got, []string{"/prod/a health OK", "/prod/b health OK"}) {
			t.Errorf("at once: %q", got)
		}
		time.Sleep(61 * time.Second)
		synctest.Wait()
		a, b := 0, 0
		for _, s := range k.drain() {
			a += strings.Count(s, "/prod/a")
			b += strings.Count(s, "/prod/b")
		}
		if a < 5 || a > 6 || b != 1 {
			t.Errorf("within a minute: %d times the check of 10 s, %d times that of 60 s", a, b)
		}
		slow.State.Status = state.Critical
		w.set(event("/prod/a", "health", "n1", state.OK), slow)
		n.Changed(slow)
		time.Sleep(2 * time.Second)
		if got := k.drain(); !slices.Contains(got, "/prod/b health CRITICAL") {
			t.Errorf("a change: %q", got)
		}
		// What was missed is not told later: only how it is now.
		k.mu.Lock()
		k.away = true
		k.mu.Unlock()
		slow.State.Status = state.Warning
		w.set(slow)
		n.Changed(slow)
		time.Sleep(time.Minute)
		slow.State.Status = state.OK
		w.set(slow)
		n.Changed(slow)
		time.Sleep(time.Minute)
		k.mu.Lock()
		k.away = false
		k.mu.Unlock()
		time.Sleep(15 * time.Second)
		if got := k.drain(); !slices.Equal(got, []string{"/prod/b health OK"}) {
			t.Errorf("after an outage: %q", got)
		}
		if got := testutil.ToFloat64(n.metrics.failed.WithLabelValues("test")); got < 8 {
			t.Errorf("%v failures counted", got)
		}
		stop()
		<-done
	})
}

type transport func(*http.Request) *http.Response

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r), nil }

func TestNRDP(t *testing.T) {
	answer, status, requests := `{"result":{"status":0,"message":"OK","meta":{"output":"1 checks processed."}}}`, 200, 0
	var last struct {
		Results []checkResult `json:"checkresults"`
	}
	o := Options{NRDP: "https://me:secret@nagios/nrdp/", Token: "T&1", Transport: transport(func(r *http.Request) *http.Response {
		requests++
		body, _ := io.ReadAll(r.Body)
		form, err := url.ParseQuery(string(body))
		if err != nil || r.Method != "POST" || form.Get("token") != "T&1" || form.Get("cmd") != "submitcheck" {
			t.Errorf("%s %q", r.Method, body)
		}
		if err := json.Unmarshal([]byte(form.Get("JSONDATA")), &last); err != nil {
			t.Error(err)
		}
		return &http.Response{StatusCode: status, Status: fmt.Sprint(status), Body: io.NopCloser(strings.NewReader(answer))}
	})}
	n, err := newNRDP(o)
	if err != nil {
		t.Fatal(err)
	}
	s := judge([]check.Event{event("/prod/web", "health", "n1", state.Critical)}, check.App{})
	s.Host, s.Name = "mesoscope-c1", "/prod/web health"
	if taken, err := n.take(t.Context(), slices.Repeat([]Service{s}, 450)); taken != 450 || err != nil || requests != 3 {
		t.Errorf("%d taken in %d requests, %v", taken, requests, err)
	}
	r := last.Results[0]
	if len(last.Results) != 50 || r.Host != "mesoscope-c1" || r.Service != "/prod/web health" || r.State != "2" || r.Result.Type != "service" || r.Result.CheckType != "1" ||
		!strings.Contains(r.Output, `bad=1;;;0\nn1 CRITICAL`) {
		t.Errorf("sent %d, %+v", len(last.Results), r)
	}
	for _, c := range []struct {
		status int
		answer string
		err    string // "": none
	}{
		{200, `<?xml version="1.0"?><result><status>0</status><message>OK</message></result>`, ""},
		{200, `{"result":{"status":"0","message":"OK"}}`, ""},
		{200, `{"result":{"status":-1,"message":"BAD TOKEN"}}`, "refuses: BAD TOKEN"},
		{200, `<result><status>-1</status><message>NO TOKEN</message></result>`, "refuses: NO TOKEN"},
		{200, "<html>welcome</html>", "does not answer as NRDP does"}, {200, "", "does not answer as NRDP does"}, {200, "{}", "does not answer"},
		{503, "", "answers 503"},
	} {
		status, answer = c.status, c.answer
		taken, err := n.take(t.Context(), []Service{s})
		if c.err == "" && (err != nil || taken != 1) || c.err != "" && (err == nil || taken != 0 || !strings.Contains(err.Error(), c.err) || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%q: %d taken, %v, want %q", c.answer, taken, err, c.err)
		}
	}
	if _, err := New(Options{NRDP: "nagios/nrdp"}); err == nil {
		t.Error("a URL without a scheme is taken")
	}
}

func TestHTTP(t *testing.T) {
	w := &world{}
	w.set(event("/prod/a$b", "health", "n1", state.OK), event("/prod/web", "health", "n1", state.Critical))
	n, err := New(w.options())
	if err != nil {
		t.Fatal(err)
	}
	get := func(path string) string {
		r := httptest.NewRecorder()
		n.ServeHTTP(r, httptest.NewRequest("GET", path, nil))
		if r.Code != 200 {
			t.Errorf("%s: %d", path, r.Code)
		}
		return r.Body.String()
	}
	for name, want := range map[string]int{"": 2, "/prod/web health": 1, "/prod/a_b health": 1, "/prod/a$b health": 1, "/prod/none health": 0} {
		var list []Service
		if err := json.Unmarshal([]byte(get(ServicesPath+"?service="+url.QueryEscape(name))), &list); err != nil || len(list) != want || list == nil {
			t.Errorf("%q: %v, %v", name, list, err)
		}
	}
	text := get(ObjectsPath + "?use=generic-service&contact_groups=admins,ops%0Adefine")
	for _, want := range []string{"service_description      /prod/a_b health\n", "use                      generic-service\n", "contact_groups           admins,ops_define\n", "freshness_threshold      35\n", "host_name                mesoscope-c 1\n", "notes_url                http://wiki/x\n", "_TEAM                    shop\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

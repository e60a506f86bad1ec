package alert

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"mesoscope/checks"
	"mesoscope/collector/check"
	"mesoscope/collector/state"
)

// A world is what a collector knows, and Alertmanagers as a transport.
type world struct {
	t      *testing.T
	mu     sync.Mutex
	events map[string]check.Event
	apps   map[string]check.App
	hosts  map[string]*fake
	said   strings.Builder
	alerts *Alerts
	reg    *prometheus.Registry
	stop   func()
}

// A fake is one Alertmanager. It keeps what it was told last of each alert.
type fake struct {
	away    bool
	status  int           // answered to all requests if not 0
	ahead   time.Duration // its clock
	refuses func(postable) bool

	held     map[string]postable
	requests []int // alerts in each
	times    []time.Time
}

func newWorld(t *testing.T, hosts ...string) *world {
	w := &world{t: t, events: map[string]check.Event{}, apps: map[string]check.App{}, hosts: map[string]*fake{}}
	for _, h := range hosts {
		w.hosts[h] = &fake{held: map[string]postable{}}
	}
	return w
}

func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.hosts[r.URL.Host]
	if f == nil || f.away {
		return nil, errors.New("connection refused")
	}
	if r.URL.Path != "/api/v2/alerts" || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
		w.t.Errorf("%s %s", r.Method, r.URL)
	}
	if name, password, _ := r.BasicAuth(); name != "me" || password != "secret" {
		w.t.Errorf("sent as %q with %q", name, password)
	}
	var list []postable
	if err := json.NewDecoder(r.Body).Decode(&list); err != nil {
		w.t.Error(err)
	}
	now := time.Now().Add(f.ahead)
	f.requests, f.times = append(f.requests, len(list)), append(f.times, now)
	answer := &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(""))}
	answer.Header.Set("Date", now.UTC().Format(http.TimeFormat))
	if f.status != 0 {
		answer.StatusCode = f.status
		return answer, nil
	}
	for _, p := range list { // as the real one: the good ones count also if there is a bad one
		if f.refuses != nil && f.refuses(p) || p.StartsAt.After(p.EndsAt) {
			answer.StatusCode = 400
			continue
		}
		f.held[fmt.Sprint(p.Labels)] = p
	}
	return answer, nil
}

// firing are the names of alerts that an Alertmanager takes for firing now, each
// with its severity and check, but Watchdog.
func (w *world) firing(host string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.hosts[host]
	out := []string{}
	for _, p := range f.held {
		if p.EndsAt.After(time.Now().Add(f.ahead)) && p.Labels["alertname"] != Watchdog {
			out = append(out, strings.TrimSpace(p.Labels["alertname"]+" "+p.Labels["severity"]+" "+p.Labels["check"]))
		}
	}
	slices.Sort(out)
	return out
}

func (w *world) held(host, name string) postable {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.hosts[host].held {
		if p.Labels["alertname"] == name {
			return p
		}
	}
	return postable{}
}

// requests are how many alerts each request to a host had.
func (w *world) requests(host string) []int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.hosts[host].requests)
}

func (w *world) begin() {
	w.t.Helper()
	var urls []string
	for _, h := range slices.Sorted(maps.Keys(w.hosts)) {
		urls = append(urls, "http://"+h)
	}
	w.reg = prometheus.NewRegistry()
	var err error
	w.alerts, err = New(Options{
		Username: "me", Password: "secret",
		Cluster: "c1", Collector: "col-1", Alertmanagers: urls, Transport: w, Registry: w.reg, Log: slog.New(slog.NewTextHandler(&w.said, nil)),
		Events: func(yield func(check.Event) bool) {
			for _, e := range w.list() {
				if !yield(e) {
					return
				}
			}
		},
		Apps: func(yield func(check.App) bool) {
			w.mu.Lock()
			apps := slices.Collect(maps.Values(w.apps))
			w.mu.Unlock()
			for _, a := range apps {
				if !yield(a) {
					return
				}
			}
		},
		Link: func(e check.Event) string { return "http://page/" + e.ID },
	})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(w.t.Context())
	done := make(chan struct{})
	go func() { w.alerts.Run(ctx); close(done) }()
	w.stop = func() { stop(); <-done }
	synctest.Wait()
}

func (w *world) list() []check.Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Collect(maps.Values(w.events))
}

// put is what the collector does when a check has changed.
func (w *world) put(e check.Event) {
	w.mu.Lock()
	w.events[e.ID] = e
	w.mu.Unlock()
	w.alerts.Changed(e)
}

func event(id string, s state.Check) check.Event {
	return check.Event{
		Definition: check.Definition{ID: id, Name: "health", Kind: "http", Cluster: "c1", App: "/prod/web", Framework: "marathon", Host: "n1", Task: "web.1", Target: "http://n1:8080/", Owner: check.Owner{Team: "shop", Runbook: "http://wiki/web", Tip: "look"}},
		State:      s, Result: checks.Result{State: checks.Critical, Text: "connection\nrefused", Findings: []checks.Finding{{Signal: "refused", State: checks.Critical, Text: "connection refused"}}}, At: time.Now(),
	}
}

func bad(s state.Status, ago time.Duration) state.Check {
	t := time.Now().Add(-ago)
	return state.Check{Status: s, Previous: state.OK, Since: time.Now(), FirstBad: t, LastGood: t.Add(-time.Second), Last: time.Now()}
}

func good() state.Check {
	return state.Check{Status: state.OK, Previous: state.Critical, Since: time.Now(), LastGood: time.Now(), Last: time.Now()}
}

// wait lets time pass and everybody get to rest.
func wait(d time.Duration) { time.Sleep(d); synctest.Wait() }

func same(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: fires %q, want %q", what, got, want)
	}
}

func TestAlertFromBeginToEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a:9093", "b:9093")
		w.begin()
		if w.held("a:9093", Watchdog).Labels["collector"] != "col-1" {
			t.Error("no Watchdog at once")
		}
		wait(75 * time.Second) // it is no new process any more, which looks each second
		first := time.Now().Add(-20 * time.Second)
		w.put(event("1", bad(state.Critical, 20*time.Second)))
		synctest.Wait()
		for _, h := range []string{"a:9093", "b:9093"} {
			same(t, h, w.firing(h), "CheckFailed critical health")
		}
		p := w.held("a:9093", CheckFailed)
		want := map[string]string{"alertname": "CheckFailed", "cluster": "c1", "app": "/prod/web", "check": "health", "kind": "http", "host": "n1", "slot": "0", "framework": "marathon", "team": "shop", "severity": "critical", "page": "true"}
		if !maps.Equal(p.Labels, want) {
			t.Errorf("labels %v, want %v", p.Labels, want)
		}
		if !p.StartsAt.Equal(first) || !p.EndsAt.Equal(time.Now().Add(4*time.Minute)) {
			t.Errorf("from %s to %s, now %s", p.StartsAt, p.EndsAt, time.Now())
		}
		for name, part := range map[string]string{"summary": "health of /prod/web on n1 is CRITICAL: connection refused", "verdict": "refused", "runbook": "http://wiki/web", "tip": "look", "task_id": "web.1", "evidence_url": "http://page/1", "description": "last good result: "} {
			if !strings.Contains(p.Annotations[name], part) {
				t.Errorf("annotation %s is %q, want %q in it", name, p.Annotations[name], part)
			}
		}
		wait(30 * time.Minute)
		same(t, "half an hour later", w.firing("a:9093"), "CheckFailed critical health")
		if again := w.held("a:9093", CheckFailed); !again.StartsAt.Equal(first) {
			t.Errorf("startsAt went from %s to %s", first, again.StartsAt)
		}
		if since := w.held("a:9093", Watchdog).StartsAt; time.Since(since) < 30*time.Minute {
			t.Errorf("Watchdog began anew %s ago", time.Since(since))
		}
		w.put(event("1", good()))
		wait(2 * time.Second)
		same(t, "mended", w.firing("a:9093"))
		end := w.held("a:9093", CheckFailed).EndsAt
		if d := time.Since(end); d > 2*time.Second {
			t.Errorf("ended %s ago", d)
		}
		// An Alertmanager that forgot everything learns of the end for 5 minutes.
		forget := func() { w.mu.Lock(); w.hosts["b:9093"].held = map[string]postable{}; w.mu.Unlock() }
		forget()
		wait(4 * time.Minute)
		if !w.held("b:9093", CheckFailed).EndsAt.Equal(end) {
			t.Error("the end is not told again")
		}
		wait(2 * time.Minute)
		forget()
		wait(2 * time.Minute)
		if w.held("b:9093", CheckFailed).Labels != nil {
			t.Error("the end is told for ever")
		}
		w.stop()
	})
}

func TestRestartKeepsStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a:9093")
		w.begin()
		w.put(event("1", bad(state.Critical, time.Minute)))
		wait(time.Second)
		before := w.held("a:9093", CheckFailed)
		w.stop()
		wait(2 * time.Minute)
		w.begin()
		after := w.held("a:9093", CheckFailed)
		if !after.StartsAt.Equal(before.StartsAt) || !maps.Equal(before.Labels, after.Labels) || !after.EndsAt.After(before.EndsAt) {
			t.Errorf("before %+v, after %+v", before, after)
		}
		w.stop()
	})
}

// TestMendedWhileAway: the end of an alarm is told also by a process that never
// saw it, if it was lately.
func TestMendedWhileAway(t *testing.T) {
	for ago, want := range map[time.Duration]int{time.Minute: 2, 6 * time.Minute: 0} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, "a:9093")
			s := good()
			s.Since = s.Since.Add(-ago)
			w.events["1"] = event("1", s)
			w.begin()
			n := 0
			for _, p := range w.hosts["a:9093"].held {
				if p.Labels["alertname"] == CheckFailed {
					n++
					if !p.EndsAt.Equal(s.Since) {
						t.Errorf("ended %s, want %s", p.EndsAt, s.Since)
					}
				}
			}
			if n != want {
				t.Errorf("%s ago: the end of %d alerts is told, want %d", ago, n, want)
			}
			w.stop()
		})
	}
}

// TestFoundAgain: checks that are found a moment after the start need no change
// to be seen.
func TestFoundAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a:9093")
		w.begin()
		wait(3500 * time.Millisecond)
		w.mu.Lock()
		w.events["1"] = event("1", bad(state.Critical, time.Hour))
		w.mu.Unlock()
		wait(time.Second)
		same(t, "found again", w.firing("a:9093"), "CheckFailed critical health")
		w.stop()
	})
}

func TestWhoAlarms(t *testing.T) {
	f := func(name string, change func(*check.Event), want ...string) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "a:9093")
				w.begin()
				wait(2 * time.Second)
				e := event("1", bad(state.Critical, time.Second))
				change(&e)
				w.put(e)
				wait(2 * time.Second)
				same(t, name, w.firing("a:9093"), want...)
				w.stop()
			})
		})
	}
	f("warning", func(e *check.Event) { e.State.Status = state.Warning }, "CheckFailed warning health")
	f("unknown", func(e *check.Event) { e.State.Status = state.Unknown }, "CheckFailed warning health")
	f("pending", func(e *check.Event) { e.State.Status = state.Pending })
	f("worse than before", func(e *check.Event) { e.State.Previous = state.Warning }, "CheckFailed critical health", "CheckFailed warning health")
	f("unknown mends nothing", func(e *check.Event) { e.State.Status, e.State.Previous = state.Unknown, state.Critical }, "CheckFailed critical health")
	f("stale after critical", func(e *check.Event) {
		e.State.Status, e.State.Previous, e.State.Before, e.State.Stale = state.Unknown, state.Critical, state.Critical, true
	}, "CheckFailed critical health")
	f("stale after ok", func(e *check.Event) {
		e.State.Status, e.State.Stale, e.State.FirstBad = state.Unknown, true, time.Time{}
	}, "CheckFailed warning health")
	f("guessed, never ok", func(e *check.Event) { e.Guessed, e.State.LastGood = true, time.Time{} })
	f("guessed, was ok", func(e *check.Event) { e.Guessed = true }, "CheckFailed critical health")
	f("later", func(e *check.Event) { e.Owner.AlertAfter = time.Minute })
	f("later, but that is over", func(e *check.Event) { e.Owner.AlertAfter, e.State.FirstBad = time.Minute, time.Now().Add(-time.Minute) }, "CheckFailed critical health")
}

func TestAlertAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a:9093")
		w.begin()
		e := event("1", bad(state.Critical, 20*time.Second))
		e.Owner.AlertAfter = 3 * time.Minute
		w.put(e)
		wait(2*time.Minute + 39*time.Second)
		same(t, "too early", w.firing("a:9093"))
		wait(2 * time.Second)
		same(t, "after 3 minutes", w.firing("a:9093"), "CheckFailed critical health")
		w.stop()
	})
}

// TestLabelsStay: what changes while a check is bad changes no label but
// severity, which is another alert.
func TestLabelsStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a:9093")
		w.begin()
		s := bad(state.Warning, time.Minute)
		w.put(event("1", s))
		wait(5 * time.Second)
		s.Status, s.Previous, s.Since = state.Critical, state.Warning, time.Now()
		w.put(event("1", s))
		wait(5 * time.Second)
		same(t, "worse", w.firing("a:9093"), "CheckFailed critical health", "CheckFailed warning health")
		s.Status, s.Previous, s.Since = state.Unknown, state.Critical, time.Now()
		e := event("1", s)
		e.Task, e.Target, e.Result.Text = "web.2", "http://n1:9090/", "something else"
		w.put(e)
		wait(time.Minute)
		same(t, "no answer", w.firing("a:9093"), "CheckFailed critical health")
		s.Previous, s.Stale = state.Unknown, true // from unknown to stale
		w.put(event("1", s))
		wait(5 * time.Second)
		same(t, "no result", w.firing("a:9093"), "CheckFailed critical health")
		if n := len(w.hosts["a:9093"].held); n != 3 {
			t.Errorf("%d alerts were ever told, want warning, critical and Watchdog", n)
		}
		w.mu.Lock()
		delete(w.events, "1") // the check is gone
		w.mu.Unlock()
		wait(time.Minute)
		same(t, "the check is gone", w.firing("a:9093"))
		w.stop()
	})
}

func TestApps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a:9093")
		web := check.App{ID: "/prod/web", Framework: "marathon", Owner: check.Owner{Team: "shop", RealertEvery: 20 * time.Minute}, Expected: 4, Running: 4, Reachable: 4, Minimum: 0.5}
		set := func(running, reachable int) {
			web.Running, web.Reachable = running, reachable
			w.mu.Lock()
			w.apps[web.ID] = web
			w.mu.Unlock()
			w.alerts.Changed(check.Event{})
		}
		w.begin()
		set(4, 2)
		wait(2 * time.Minute)
		same(t, "as many as there have to be", w.firing("a:9093"))
		set(4, 1)
		wait(2 * time.Second)
		same(t, "too few", w.firing("a:9093"), "AppDegraded critical")
		want := map[string]string{"alertname": "AppDegraded", "cluster": "c1", "app": "/prod/web", "framework": "marathon", "team": "shop", "severity": "critical", "page": "true", "realert_every": "30m"}
		if got := w.held("a:9093", AppDegraded).Labels; !maps.Equal(got, want) {
			t.Errorf("labels %v, want %v", got, want)
		}
		set(4, 0)
		wait(2 * time.Second)
		same(t, "none", w.firing("a:9093"), "AppDegraded critical", "AppDown critical")
		set(4, 4)
		wait(2 * time.Second)
		same(t, "mended", w.firing("a:9093"))
		set(0, 0) // the scheduler starts them again
		wait(55 * time.Second)
		same(t, "none runs for a moment", w.firing("a:9093"))
		wait(10 * time.Second)
		same(t, "none runs", w.firing("a:9093"), "AppDown critical")
		web.Expected = 0
		set(0, 0)
		wait(2 * time.Second)
		same(t, "none is wanted", w.firing("a:9093"))
		w.stop()
	})
}

// TestAppSince: an app is in trouble since its first check was, also for a
// collector that was started since.
func TestAppSince(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a:9093")
		first := time.Now().Add(-time.Hour)
		w.events["1"] = event("1", bad(state.Critical, time.Hour))
		w.apps["/prod/web"] = check.App{ID: "/prod/web", Expected: 1, Running: 1}
		w.begin()
		if got := w.held("a:9093", AppDown).StartsAt; !got.Equal(first) {
			t.Errorf("AppDown since %s, want %s", got, first)
		}
		w.stop()
	})
}

func TestDeadAlertmanagerHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a:9093", "b:9093")
		w.hosts["a:9093"].away = true
		w.hosts["b:9093"].status = 500
		w.begin()
		w.put(event("1", bad(state.Critical, time.Second)))
		wait(10 * time.Minute)
		if n := len(w.requests("b:9093")); n < 15 || n > 60 {
			t.Errorf("%d requests in 10 minutes to one that answers 500", n)
		}
		w.mu.Lock()
		w.hosts["b:9093"].status = 0
		w.mu.Unlock()
		wait(31 * time.Second)
		same(t, "back", w.firing("b:9093"), "CheckFailed critical health")
		if got := testutil.ToFloat64(w.alerts.senders[0].metrics.failed.WithLabelValues("http://a:9093")); got < 15 {
			t.Errorf("%v failures counted", got)
		}
		if n := strings.Count(w.said.String(), "alerts do not get through"); n != 2 || strings.Count(w.said.String(), "get through again") != 1 {
			t.Errorf("said:\n%s", w.said.String())
		}
		w.stop()
	})
}

// TestRefused: one bad alert among a thousand keeps none back.
func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a:9093")
		w.hosts["a:9093"].refuses = func(p postable) bool { return p.Labels["host"] == "n777" }
		for n := range 900 {
			e := event("x"+string(rune('0'+n%10))+time.Duration(n).String(), bad(state.Critical, time.Second))
			e.Host = "n" + time.Duration(n).String()
			if n == 777 {
				e.Host = "n777"
			}
			w.events[e.ID] = e
		}
		w.begin()
		if n := len(w.firing("a:9093")); n != 899 {
			t.Errorf("%d alerts arrived, want 899", n)
		}
		if got := testutil.ToFloat64(w.alerts.senders[0].metrics.refused.WithLabelValues("http://a:9093")); got != 1 {
			t.Errorf("%v refused", got)
		}
		if most := slices.Max(w.requests("a:9093")); most != 500 {
			t.Errorf("%d alerts in one request", most)
		}
		before := len(w.requests("a:9093"))
		wait(5 * time.Minute)
		if n := len(w.requests("a:9093")) - before; n > 3*11 {
			t.Errorf("%d requests in 5 minutes: the bad one is tried again and again", n)
		}
		wait(10 * time.Minute)
		if got := testutil.ToFloat64(w.alerts.senders[0].metrics.refused.WithLabelValues("http://a:9093")); got != 2 {
			t.Errorf("%v refused after 15 minutes, want 2", got)
		}
		w.stop()
	})
}

func TestClocksDiffer(t *testing.T) {
	for _, ahead := range []time.Duration{time.Hour, -time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, "a:9093")
			w.hosts["a:9093"].ahead = ahead
			w.begin()
			first := time.Now().Add(-time.Minute)
			w.put(event("1", bad(state.Critical, time.Minute)))
			wait(2 * time.Second)
			same(t, ahead.String(), w.firing("a:9093"), "CheckFailed critical health")
			if got := w.held("a:9093", CheckFailed).StartsAt.Sub(first.Add(ahead)); got.Abs() > time.Second {
				t.Errorf("startsAt is %s off", got)
			}
			if !strings.Contains(w.said.String(), "clocks differ") {
				t.Error("not said")
			}
			w.put(event("1", good()))
			wait(3 * time.Second)
			same(t, "mended", w.firing("a:9093"))
			w.stop()
		})
	}
}

func TestNewsGoAtOnceAndAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a:9093")
		for n := range 50 {
			e := event("x"+time.Duration(n).String(), bad(state.Critical, time.Second))
			e.Host = e.ID
			w.events[e.ID] = e
		}
		w.begin()
		wait(75 * time.Second)
		before := len(w.requests("a:9093"))
		w.put(event("new", bad(state.Critical, time.Second)))
		synctest.Wait()
		if r := w.requests("a:9093")[before:]; !slices.Equal(r, []int{1}) {
			t.Errorf("requests of %v alerts, want the new one alone", r)
		}
		w.stop()
	})
}

func TestGauge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.begin()
		e := event("1", bad(state.Warning, time.Second))
		e.Owner.Page, e.Owner.RealertEvery = "db-oncall", 48*time.Hour
		w.put(e)
		wait(2 * time.Second)
		want := `# HELP mesoscope_alert 1 for each alert that fires; the labels are those of the alert.
# TYPE mesoscope_alert gauge
mesoscope_alert{alertname="CheckFailed",app="/prod/web",check="health",cluster="c1",collector="",framework="marathon",host="n1",kind="http",page="db-oncall",realert_every="24h",severity="warning",slot="0",team="shop"} 1
mesoscope_alert{alertname="Watchdog",app="",check="",cluster="",collector="col-1",framework="",host="",kind="",page="",realert_every="",severity="",slot="",team=""} 1
`
		if err := testutil.CollectAndCompare(w.alerts, strings.NewReader(want)); err != nil {
			t.Error(err)
		}
		w.stop()
	})
}

func TestRealertEvery(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "", time.Second: "15m", 15 * time.Minute: "15m", 16 * time.Minute: "30m", 90 * time.Minute: "4h", 5 * time.Hour: "12h", 13 * time.Hour: "24h", 100 * time.Hour: "24h"} {
		if got := RealertEvery(d); got != want {
			t.Errorf("%s becomes %q, want %q", d, got, want)
		}
	}
}

func TestBadURL(t *testing.T) {
	for _, u := range []string{"alertmanager:9093", "ftp://x", "http://u:secret@[::1"} {
		_, err := New(Options{Alertmanagers: []string{u}})
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", u, err)
		}
	}
}

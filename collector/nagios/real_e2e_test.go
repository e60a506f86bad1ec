//go:build e2e && linux

package nagios

import (
	"context"
	"strings"
	"testing"

	"mesoscope/collector/check"
	"mesoscope/collector/state"
	real "mesoscope/test/nagios"
)

// TestRealNagios: Nagios takes the objects that we make, shows what we send,
// and finds out by itself when nothing comes any more.
func TestRealNagios(t *testing.T) {
	w := &world{apps: []check.App{{ID: "/prod/web", Expected: 2, Minimum: 1}}}
	odd := event("/prod/a$b (old)", "health", "n1", state.OK)
	same := event("/prod/a&b (old)", "health", "n1", state.Warning)
	web := func(s state.Status) []check.Event {
		one, two := event("/prod/web", "health", "n1", s), event("/prod/web", "health", "n2", state.OK)
		one.Result.Text = `cannot open C:\new | really`
		return []check.Event{one, two, odd, same}
	}
	w.set(web(state.OK)...)
	o := w.options()
	gone := judge(nil, check.App{})
	gone.Name = "/prod/gone health"
	objects := Objects(o.Cluster, append(services(o), gone), "", "admins")
	at := strings.Index(objects, gone.Name)
	c := real.Start(t, objects[:at]+strings.Replace(objects[at:], " 35\n", " 5\n", 1)) // it shall not take long
	o.CommandFile = c.CommandFile
	n, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { n.Run(ctx); close(done) }()
	t.Cleanup(func() { stop(); <-done })

	is := func(s state.Status) func(map[string]string) bool { return real.Is(int(s)) }
	c.Until("all is well", "/prod/web health", is(state.OK))
	names := Names([]string{"/prod/a$b (old) health", "/prod/a&b (old) health"})
	c.Until("names of which two would be the same", names["/prod/a$b (old) health"], is(state.OK))
	c.Until("the other one", names["/prod/a&b (old) health"], is(state.Warning))

	w.set(web(state.Critical)...)
	n.Changed(check.Event{})
	s := c.Until("an instance is down", "/prod/web health", is(state.Critical))
	if s["plugin_output"] != `CRITICAL: 1 of 2 can be reached: n1 CRITICAL: cannot open C:\new ¦ really` || s["long_plugin_output"] != `n1 CRITICAL: cannot open C:\\new ¦ really` ||
		!strings.HasPrefix(s["performance_data"], "time=0.012000s reachable=1;;;0") || s["host_name"] != "mesoscope-c 1" {
		t.Errorf("it is %q", s)
	}
	w.set(web(state.OK)...)
	n.Changed(check.Event{})
	c.Until("mended", "/prod/web health", is(state.OK))

	s = c.Until("nobody sends results", gone.Name, is(state.Unknown))
	if s["plugin_output"] != "UNKNOWN: no result from the collector for too long" {
		t.Errorf("it is %q", s)
	}
}

package command

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"mesoscope/agent/status"
)

// usageServer answers as an agent.
func usageServer(t *testing.T, u status.Usage) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != status.UsagePath {
			http.NotFound(w, r)
			return
		}
		_ = json.NewEncoder(w).Encode(u)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func twoNodes(t *testing.T) (one, two string) {
	one = usageServer(t, status.Usage{Node: "n1", Seconds: 10, Machine: status.Machine{CPUs: 4, BusyCores: 1.5, StealCores: 0.25, MemoryTotal: 8 << 30, MemoryAvailable: 6 << 30,
		Pressure: &status.Pressure{CPU: status.Stalled{Some: 0.12}}},
		Containers: []status.ContainerUsage{
			{ID: "a1", Name: "mesos-1", App: "/shop/web", Task: "web.1", Measured: true, Strain: 0.95, StrainOf: "throttled", Throttled: 0.95, CPUCores: 0.5, CPULimit: 0.5, WorkingSet: 100 << 20, MemoryLimit: 200 << 20, Pids: 12, Lines: 2.5, LogBytes: 2048},
			{ID: "a2", Name: "db\x1b[31m", App: "db", Measured: true, Strain: 0.1, StrainOf: "memory", Lines: 1234, LogBytes: 3 << 20},
			{ID: "a3", Name: "idle", App: "idle"},
		}})
	two = usageServer(t, status.Usage{Node: "n2", Machine: status.Machine{CPUs: 1}, Problem: "no cgroups are mounted here",
		Containers: []status.ContainerUsage{{ID: "b1", Name: "x", App: "/shop/job", Task: "job.1", Measured: true, Strain: 0.75, StrainOf: "cpu", CPUCores: 0.75}}})
	return one, two
}

func TestTop(t *testing.T) {
	one, two := twoNodes(t)
	code, out, errOut := run(t, "top", "--url", one, "--url", two)
	want := `n1  4 CPUs, 1.50 busy, 0.00 waiting for disks, 0.25 stolen; load 0.00 0.00 0.00; memory 2 GiB of 8 GiB; waited for cpu 12 %, memory 0 %, disks 0 % of the time
n2  1 CPU; load 0.00 0.00 0.00; memory 0 B of 0 B
  this agent has just started: rates are known after its second look, in ten seconds
  no cgroups are mounted here

NODE  APP        TASK        STRAIN  OF          CPU  LIMIT  THROTTLED   MEMORY    LIMIT  READ/s  WRITTEN/s  PIDS  LINES/s  LOG/s
n1    /shop/web  web.1         95 %  throttled  0.50   0.50       95 %  100 MiB  200 MiB     0 B        0 B    12      2.5  2 KiB
n2    /shop/job  job.1         75 %  cpu        0.75      -          -      0 B        -     0 B        0 B     0        0    0 B
n1    db         db\x1b[31m    10 %  memory     0.00      -          -      0 B        -     0 B        0 B     0    1,234  3 MiB
n1    idle       idle             -  -             -      -          -        -        -       -          -     -        0    0 B
`
	if code != Done || out != want || errOut != "" {
		t.Errorf("%d %s\n%s", code, errOut, out)
	}
	for sort, first := range map[string]string{"cpu": "job.1", "lines": "db\\x1b[31m", "bytes": "db\\x1b[31m", "memory": "web.1", "throttled": "web.1"} {
		_, out, _ := run(t, "top", "--url", one+","+two, "--sort", sort)
		_, table, _ := strings.Cut(out, "LOG/s\n")
		if !strings.Contains(strings.SplitN(table, "\n", 2)[0], first) {
			t.Errorf("--sort %s:\n%s", sort, table)
		}
	}
	if _, out, _ := run(t, "top", "--url", one, "--url", two, "--app", "/shop/*"); strings.Contains(out, "idle") || !strings.Contains(out, "web.1") || !strings.Contains(out, "job.1") {
		t.Errorf("--app:\n%s", out)
	}
}

func TestTopColors(t *testing.T) {
	one, two := twoNodes(t)
	t.Setenv("NO_COLOR", "")
	var out bytes.Buffer
	if code := Main([]string{"top", "--url", one, "--url", two}, IO{Out: &out, Err: &out, Terminal: true, Context: t.Context()}); code != Done {
		t.Fatal(code, out.String())
	}
	contains(t, out.String(), "\x1b[31m95 %\x1b[0m  throttled", "\x1b[33m75 %\x1b[0m  cpu", "db\\x1b[31m")
	t.Setenv("NO_COLOR", "1")
	out.Reset()
	Main([]string{"top", "--url", one}, IO{Out: &out, Err: &out, Terminal: true, Context: t.Context()})
	if strings.Contains(out.String(), "\x1b") {
		t.Errorf("colours in spite of NO_COLOR: %q", out.String())
	}
}

func TestTopJSON(t *testing.T) {
	one, two := twoNodes(t)
	code, out, _ := run(t, "top", "--url", one, "--url", two, "--output", "json")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if code != Done || len(lines) != 6 {
		t.Fatalf("%d\n%s", code, out)
	}
	var first struct {
		Machine struct {
			Node string
			CPUs int
		}
	}
	var third struct {
		Container struct {
			Node, App, Task string
			Strain          float64
		}
	}
	for i, v := range map[int]any{0: &first, 2: &third} {
		if err := json.Unmarshal([]byte(lines[i]), v); err != nil {
			t.Fatal(err)
		}
	}
	if first.Machine.Node != "n1" || first.Machine.CPUs != 4 || third.Container.Node != "n1" || third.Container.Task != "web.1" || third.Container.Strain != 0.95 {
		t.Errorf("%+v %+v", first, third)
	}
}

func TestTopUnreachable(t *testing.T) {
	one, _ := twoNodes(t)
	gone := httptest.NewServer(nil)
	gone.Close()
	code, out, errOut := run(t, "top", "--url", gone.URL)
	if code != Unknown || out != "" {
		t.Errorf("%d %q", code, out)
	}
	contains(t, errOut, "nobody could be asked", "connection refused", "--url http://HOST:9911")
	code, out, errOut = run(t, "top", "--url", gone.URL, "--url", one)
	if code != Unknown {
		t.Errorf("one of two is not there: %d", code)
	}
	contains(t, out, "web.1")
	contains(t, errOut, gone.URL+": connection refused")
	if code, _, errOut := run(t, "top", "--every", "1ms"); code != Usage || !strings.Contains(errOut, "--every") {
		t.Errorf("%d %s", code, errOut)
	}
}

func TestWildcard(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		is         bool
	}{
		{"a", "a", true}, {"a", "ab", false}, {"a*", "ab", true}, {"*b", "ab", true}, {"*", "", true}, {"a*b*c", "axxbyc", true},
		{"a*b*c", "axc", false}, {"ab*ba", "aba", false}, {"/shop/*", "/shop", false},
	} {
		if got := wildcard(c.pattern, c.s); got != c.is {
			t.Errorf("wildcard(%q, %q) = %v", c.pattern, c.s, got)
		}
	}
}

func TestBothEnds(t *testing.T) {
	for in, want := range map[string]string{"abcdef": "abcdef", "abcdefg": "abc…fg", "äöüabcdefg": "äöü…fg"} {
		if got := bothEnds(in, 6); got != want {
			t.Errorf("bothEnds(%q) = %q, want %q", in, got, want)
		}
	}
}

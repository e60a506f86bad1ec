package discover

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestLossy(t *testing.T) {
	opts := func(pairs ...string) map[string]string {
		m := map[string]string{}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = pairs[i+1]
		}
		return m
	}
	for _, c := range []struct {
		driver string
		opts   map[string]string
		engine string
		want   string
	}{
		{"json-file", nil, "24.0.7", ""},
		{"json-file", nil, "18.09.1", ""}, // never rotates
		{"json-file", opts("mode", "non-blocking"), "24.0.7", LossyNonBlocking},
		{"local", opts("mode", "non-blocking", "max-buffer-size", "4m"), "", LossyNonBlocking},
		{"json-file", opts("mode", "blocking"), "24.0.7", ""},
		{"json-file", opts("max-size", "10m"), "19.03.15", LossyTruncates},
		{"json-file", opts("max-size", "10m", "max-file", "1"), "19.03.15+dfsg", LossyTruncates},
		{"json-file", opts("max-size", "10m", "max-file", "1"), "18.09.9-ce", LossyTruncates},
		{"json-file", opts("max-size", "10m", "max-file", "1"), "1.13.1", LossyTruncates},
		{"json-file", opts("max-size", "10m", "max-file", "1"), "17.05-ce", LossyTruncates},
		{"json-file", opts("max-size", "10m", "max-file", "2"), "19.03.15", ""},
		{"json-file", opts("max-size", "10m", "max-file", "1"), "20.10.24+dfsg1", ""},
		{"json-file", opts("max-size", "10m", "max-file", "1"), "", ""},
		{"json-file", opts("max-size", "10m", "max-file", "1"), "dev", ""},
		{"json-file", opts("max-size", "-1", "max-file", "1"), "19.03.15", ""},
		{"local", opts("max-size", "10m", "max-file", "1"), "19.03.15", ""},
	} {
		if got := lossy(&Container{Driver: c.driver, DriverOpts: c.opts}, c.engine); got != c.want {
			t.Errorf("%s %v, Docker %q: %q, want %q", c.driver, c.opts, c.engine, got, c.want)
		}
	}
}

// TestLossySources: the reason comes with the container, the engine's version
// from the API, also a new one after a restart of the engine, and both are
// counted.
func TestLossySources(t *testing.T) {
	e := newFakeEngine(t)
	e.version = "19.03.15"
	r := newFakeRoot(t)
	ring, old := fullID("1"), fullID("2")
	for id, opts := range map[string]string{ring: `{"mode":"non-blocking"}`, old: `{"max-size":"10m"}`} {
		r.mkdir(id)
		r.write(id, "config.v2.json", runningConfig)
		r.write(id, "hostconfig.json", `{"LogConfig":{"Type":"json-file","Config":`+opts+`},"NetworkMode":"default"}`)
		e.change(id, "create", func(c *fakeContainer) { c.name, c.running = "c"+id[:1], true })
	}
	opt := e.options(t)
	opt.Docker.Root, opt.Registry = r.root, prometheus.NewRegistry()
	s := discoverFor(t, opt)
	s.container(ring, func(c Container) bool { return c.Lossy == LossyNonBlocking })
	s.container(old, func(c Container) bool { return c.Lossy == LossyTruncates })
	want := func(reason string, n float64) {
		t.Helper()
		families, err := opt.Registry.(*prometheus.Registry).Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				if f.GetName() == "mesoscope_containers_source_lossy" && m.GetLabel()[0].GetValue() == reason {
					if got := m.GetGauge().GetValue(); got != n {
						t.Errorf("%s: %v containers, want %v", reason, got, n)
					}
					return
				}
			}
		}
		t.Errorf("%s is not counted", reason)
	}
	want("non-blocking", 1)
	want("truncates", 1)
	e.mu.Lock()
	e.version = "24.0.7"
	e.mu.Unlock()
	e.server.CloseClientConnections()
	s.container(old, func(c Container) bool { return c.Lossy == "" && c.Name != "" })
	want("truncates", 0)
}

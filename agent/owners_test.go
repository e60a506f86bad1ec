package agent

import (
	"log/slog"
	"testing"
	"time"

	"mesoscope/agent/discover"
	"mesoscope/config"
	"mesoscope/record"
)

// TestOwnersOfGone: a container that ended for want of memory and was removed at
// once is told of for some looks more.
func TestOwnersOfGone(t *testing.T) {
	cfg := config.Default(config.Agent)
	cfg.Docker.Root, cfg.Docker.Socket, cfg.Mesos.Agent = t.TempDir(), "", ""
	a, err := New(Options{Config: cfg, StateDir: t.TempDir(), Dataset: "mesos.container", Namespace: "default", Out: make(chan *record.Batch), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	ended := time.Now()
	c := discover.Container{ID: "a", Name: "web", Running: true}
	a.update(c)
	a.update(discover.Container{ID: "calm", Name: "calm"})
	c.Running, c.OOMKilled = false, ended
	a.update(c)
	named := func(want ...string) {
		t.Helper()
		got := a.Owners()
		if len(got) != len(want) {
			t.Fatalf("%+v, want %v", got, want)
		}
		for _, o := range got {
			if o.ID == "a" && !o.OOMKilled.Equal(ended) {
				t.Errorf("%+v", o)
			}
		}
	}
	named("a", "calm")
	delete(a.containers, "a")
	delete(a.containers, "calm")
	named("a")
	c.OOMKilled = ended.Add(-2 * remember)
	a.oomKilled["a"] = c
	named()
	if len(a.oomKilled) != 0 {
		t.Error("it is remembered for ever")
	}
}

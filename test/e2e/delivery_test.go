//go:build e2e && linux

package e2e

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestDelivery holds the product's promise on real containers: what they print
// is in Elasticsearch and in the embedded store, every line once, in order,
// with its origin, whatever happens in between.
func TestDelivery(t *testing.T) {
	s := newSite(t)
	t.Run("kinds", s.kinds)
	t.Run("lives", s.lives)
	t.Run("rotations", s.rotations)
	t.Run("restarts", s.restarts)
	t.Run("read back", s.readBack)
	t.Run("removed while nobody looks", s.removed)
	t.Run("elasticsearch away", s.away)
	t.Run("commands", s.commands)
	t.Run("nothing came late", func(t *testing.T) {
		for _, w := range s.writers {
			w.t = t
			for name, store := range s.stores() {
				w.compare(store, name, node)
			}
		}
	})
}

// kinds: every kind of line, through every driver.
func (s *site) kinds(t *testing.T) {
	marathon := map[string]string{"MARATHON_APP_ID": "/prod/shop", "MARATHON_APP_VERSION": "2026-11-23T10:00:00.000Z", "MESOS_TASK_ID": "prod_shop.1"}
	writers := []*writer{
		newWriter(t, "mixed", func(w *writer) { w.flags = []string{"-n", "160"} }),
		newWriter(t, "unended", func(w *writer) { w.flags = []string{"-n", "8", "-unended"} }),
		newWriter(t, "unended-running", func(w *writer) { w.flags = []string{"-n", "16"} }),
		newWriter(t, "tty", func(w *writer) { w.tty, w.streams, w.flags = true, []string{"stdout"}, []string{"-n", "80"} }),
		newWriter(t, "marathon", func(w *writer) { w.env, w.flags = marathon, []string{"-n", "24"} }),
		newWriter(t, "labels", func(w *writer) {
			w.labels = map[string]string{"mesoscope.service": "checkout", "app": "x", "app.kubernetes.io/name": "y", "tier": "web ünd mehr"}
			w.env = marathon
			w.options = []string{"--log-opt", "labels=tier", "--log-opt", "env=MARATHON_APP_ID"}
			w.flags = []string{"-n", "24"}
		}),
		newWriter(t, "local", func(w *writer) {
			// Docker gives the bytes back as they were, so these alone are the
			// same in all drivers.
			w.driver, w.kinds, w.flags = "local", []string{"plain", "json", "multibyte", "markup", "exact", "long"}, []string{"-n", "120"}
		}),
	}
	none := newWriter(t, "none", func(w *writer) { w.driver, w.flags = "none", []string{"-n", "8", "-stay"} })
	none.start()
	for _, w := range writers {
		w.start()
	}
	s.compare(t, writers...)
	for _, p := range []*process{s.agent, s.standalone} {
		list := p.sources(none.id)
		if len(list) != 1 || list[0].State != "not readable" || list[0].LastError != "not readable: driver none" {
			t.Errorf("%s: driver none: %+v", p.args[0], list)
		}
		local := writers[len(writers)-1]
		if list := p.sources(local.id); len(list) == 0 || list[0].Guarantee != "at-least-once (docker api)" {
			t.Errorf("%s: driver local: %+v", p.args[0], list)
		}
		if list := p.sources(writers[0].id); len(list) != 2 || list[0].Guarantee != "exactly-once" || list[0].LagBytes != 0 {
			t.Errorf("%s: driver json-file: %+v", p.args[0], list)
		}
	}
	docker(t, "rm", "-f", none.id) // or it would stay a problem in `mesoscope status`
}

// lives: containers that are short, restarted and removed.
func (s *site) lives(t *testing.T) {
	var writers []*writer
	add := func(name string, set func(*writer)) *writer {
		w := newWriter(t, name, set)
		writers = append(writers, w)
		w.start()
		return w
	}
	for i := range 5 {
		add(fmt.Sprintf("brief-%d", i), func(w *writer) { w.flags = []string{"-n", "10", "-pace", "5ms"} })
	}
	for i := range 5 {
		add(fmt.Sprintf("brief-rm-%d", i), func(w *writer) { w.remove, w.flags = true, []string{"-n", "10", "-pace", "5ms"} })
	}
	for i := range 5 {
		w := add(fmt.Sprintf("gone-%d", i), func(w *writer) { w.flags = []string{"-n", "400", "-stay"} })
		w.finish()
		docker(t, "rm", "-f", w.id) // right behind its last line
	}
	restarted := add("restarted", func(w *writer) { w.flags = []string{"-n", "500", "-pace", "2ms"} })
	time.Sleep(300 * time.Millisecond)
	restarted.restart()
	time.Sleep(300 * time.Millisecond)
	restarted.restart()
	restarted.finish()
	restarted.again()
	s.compare(t, writers...)
}

// rotations of all sorts, each generation living for about a quarter of a
// second or more, while the agents run.
func (s *site) rotations(t *testing.T) {
	var writers []*writer
	for name, options := range rotation("64k") {
		options := options
		small := newWriter(t, "rotate-"+name, func(w *writer) {
			w.options, w.kinds, w.flags = options, []string{"plain", "json", "multibyte", "binary"}, []string{"-n", "2500", "-pace", "2ms"}
		})
		long := newWriter(t, "rotate-long-"+name, func(w *writer) {
			w.options, w.flags = options, []string{"-n", "64", "-pace", "200ms"}
		})
		writers = append(writers, small, long)
	}
	for _, w := range writers {
		w.start()
	}
	s.compare(t, writers...)
	for _, w := range writers {
		generations := map[string]bool{}
		for _, d := range logsOf(t, s.es.URL, "--container", w.id) {
			generations[d.Log.File.Generation] = true
		}
		t.Logf("%s: %d generations", w.name, len(generations))
		if len(generations) < 8 {
			t.Errorf("%s: only %d generations: this has not tested rotations", w.name, len(generations))
		}
	}
}

// rotation are Docker's ways to rotate.
func rotation(size string) map[string][]string {
	return map[string][]string{
		"unlink":   {"--log-opt", "max-size=" + size, "--log-opt", "max-file=1"},
		"rename":   {"--log-opt", "max-size=" + size, "--log-opt", "max-file=3"},
		"compress": {"--log-opt", "max-size=" + size, "--log-opt", "max-file=3", "--log-opt", "compress=true"},
	}
}

// restarts of the agents, in order and by kill -9, under load. A generation
// lives longer than an agent is away: what comes and goes in between is what
// nobody can hold.
func (s *site) restarts(t *testing.T) {
	var writers []*writer
	for name, options := range rotation("512k") {
		writers = append(writers, newWriter(t, "restart-"+name, func(w *writer) {
			w.options, w.kinds, w.flags = options, []string{"plain", "json", "multibyte", "empty"}, []string{"-n", "5000", "-pace", "4ms"}
		}))
	}
	writers = append(writers,
		newWriter(t, "restart-long", func(w *writer) { w.flags = []string{"-n", "400", "-pace", "50ms"} }),
		newWriter(t, "restart-local", func(w *writer) {
			// Not rotated: dockerd's own follower loses lines at rotations.
			w.driver, w.options = "local", []string{"--log-opt", "max-size=500m"}
			w.kinds, w.flags = []string{"plain", "json", "multibyte", "long"}, []string{"-n", "2000", "-pace", "10ms"}
		}),
		newWriter(t, "restart-restarted", func(w *writer) { w.flags = []string{"-n", "1000", "-pace", "10ms"} }))
	for _, w := range writers {
		w.start()
	}
	restarted := writers[len(writers)-1]
	began, rounds := time.Now(), 0
	for ; time.Since(began) < 20*time.Second; rounds++ {
		time.Sleep(700 * time.Millisecond)
		for _, p := range []*process{s.agent, s.standalone} {
			if rounds%3 == 0 {
				p.stop()
			} else {
				p.kill()
			}
			if rounds == 5 && p == s.agent {
				restarted.restart() // while an agent is away
			}
			p.start()
		}
	}
	t.Logf("each agent was restarted %d times", rounds)
	s.compare(t, writers...)
	for _, w := range writers {
		for _, p := range []*process{s.agent, s.standalone} {
			for _, source := range p.sources(w.id) {
				want := "exactly-once"
				if w.driver == "local" {
					want = "at-least-once (docker api)"
				}
				if source.Guarantee != want {
					t.Errorf("%s, %s: guarantee %q, want %q", p.args[0], w.name, source.Guarantee, want)
				}
			}
		}
	}
}

// removed: a container goes on printing while its agents are dead, and is
// removed before they are back. Its file is held, and so is what it was.
func (s *site) removed(t *testing.T) {
	w := newWriter(t, "removed", func(w *writer) {
		w.labels = map[string]string{"tier": "gone"}
		w.env = map[string]string{"MARATHON_APP_ID": "/prod/gone"}
		w.flags = []string{"-n", "1000", "-pace", "2ms", "-stay"}
	})
	w.start()
	for _, p := range []*process{s.agent, s.standalone} {
		within(t, 10*time.Second, p.args[0]+" follows the container", func() error {
			if list := p.sources(w.id); len(list) == 0 || list[0].Offset == 0 {
				return fmt.Errorf("sources: %+v", list)
			}
			return nil
		})
	}
	s.agent.kill()
	s.standalone.kill()
	w.finish()
	docker(t, "rm", "-f", w.id)
	s.agent.start()
	s.standalone.start()
	s.compare(t, w)
}

// away: Elasticsearch is stopped under load and comes back, the agent is killed
// in between, and Docker removes what nobody has stored yet.
func (s *site) away(t *testing.T) {
	s.es.Stop()
	stopped := time.Now()
	var writers []*writer
	for name, options := range rotation("64k") {
		w := newWriter(t, "away-"+name, func(w *writer) {
			w.options, w.kinds, w.flags = options, []string{"plain", "json", "multibyte"}, []string{"-n", "1500", "-pace", "2ms"}
		})
		writers = append(writers, w)
		w.start()
	}
	gone := newWriter(t, "away-gone", func(w *writer) { w.flags = []string{"-n", "100", "-stay"} })
	gone.start()
	gone.finish()
	docker(t, "rm", "-f", gone.id)
	for _, w := range writers {
		w.finish()
	}
	writers = append(writers, gone)
	within(t, 30*time.Second, "the agent says that nothing gets through", func() error {
		if st := s.agent.status(); st.Output.State != "paused" {
			return fmt.Errorf("output %+v", st.Output)
		}
		return nil
	})
	s.healthy(t)
	if code, body, err := s.agent.get("/readyz"); err != nil || code != 503 {
		t.Errorf("/readyz while Elasticsearch is away: %d %s %v, want 503", code, body, err)
	}
	code, out, _ := mesoscope(t, "status", "--url", s.agent.url)
	if code != 1 || !strings.Contains(out, "No line gets through to elasticsearch") {
		t.Errorf("mesoscope status while Elasticsearch is away: exit code %d\n%s", code, out)
	}
	if st := s.agent.status(); st.Hold.Bytes == 0 {
		t.Errorf("nothing is held although Docker has unlinked files: %+v", st.Hold)
	}
	s.agent.kill()
	s.agent.start() // it must start without Elasticsearch, too
	s.healthy(t)
	s.es.Again()
	t.Logf("Elasticsearch was away for %.1f s", time.Since(stopped).Seconds())
	s.compare(t, writers...)
	within(t, 30*time.Second, "the agent is well again", func() error {
		st := s.agent.status()
		if st.Output.State != "ok" || st.Hold.Bytes != 0 || len(st.Problems) > 0 {
			held, _ := exec.Command("find", st.Hold.Dir, "-type", "f", "-links", "1", "-printf", "\n  %P %s bytes").Output()
			return fmt.Errorf("%+v; files that exist only in the hold folder:%s", st, held)
		}
		return nil
	})
}

func (s *site) healthy(t *testing.T) {
	t.Helper()
	if code, body, err := s.agent.get("/healthz"); err != nil || code != 200 {
		t.Errorf("/healthz while Elasticsearch is away: %d %s %v", code, body, err)
	}
}

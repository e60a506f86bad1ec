//go:build e2e && linux

package e2e

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"mesoscope/test/elasticsearch"
)

// TestStorm is `make soak` with real containers: in a random order the agent is
// killed, the way to Elasticsearch is cut in the middle of requests and answers, a
// new backing index begins, and containers are restarted, paused, removed and
// started. MESOSCOPE_STORM_SEED repeats a run, as far as Docker does.
func TestStorm(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("MESOSCOPE_STORM_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	s := newStorm(t, rand.New(rand.NewPCG(seed, 0)))
	for name, options := range rotation("512k") {
		s.add("storm-"+name, func(w *writer) {
			w.options, w.kinds, w.flags = options, []string{"plain", "json", "multibyte", "empty"}, []string{"-n", "6000", "-pace", "6ms"}
		})
	}
	s.add("storm-long", func(w *writer) { w.flags = []string{"-n", "600", "-pace", "60ms"} })
	restarted := s.add("storm-restarted", func(w *writer) { w.flags = []string{"-n", "3000", "-pace", "10ms"} })

	faults := map[string]func(){
		"kill":      func() { s.agent.kill(); s.agent.start() },
		"term":      func() { s.agent.stop(); s.agent.start() },
		"cut":       s.wire.cut,
		"cut-after": func() { s.wire.cutAfter(1 + s.r.IntN(100_000)) },
		"away": func() {
			s.wire.away(true)
			time.Sleep(time.Duration(s.r.IntN(1500)) * time.Millisecond)
			s.wire.away(false)
		},
		"rollover": s.rollover,
		"restart":  restarted.restart,
		"pause": func() {
			w := s.writers[s.r.IntN(5)]
			docker(t, "pause", w.id)
			time.Sleep(time.Duration(s.r.IntN(500)) * time.Millisecond)
			docker(t, "unpause", w.id)
		},
		"brief":   func() { s.brief(true) },
		"removed": func() { s.brief(false) },
	}
	names, count := slices.Sorted(maps.Keys(faults)), map[string]int{}
	for began := time.Now(); time.Since(began) < 30*time.Second; {
		name := names[s.r.IntN(len(names))]
		count[name]++
		faults[name]()
		time.Sleep(time.Duration(s.r.IntN(400)) * time.Millisecond)
	}
	s.judge()
	t.Logf("seed %d: %v, %d containers", seed, count, len(s.writers))
}

// A storm is an agent, the wire to its store, and the containers that it follows.
type storm struct {
	t       *testing.T
	r       *rand.Rand
	es      *elasticsearch.Server
	wire    *wire
	agent   *process
	writers []*writer
	gone    []*writer // of these, those that have been removed
}

func newStorm(t *testing.T, r *rand.Rand) *storm {
	root := dockerRoot(t)
	s := &storm{t: t, r: r, es: elasticsearch.Start(t, elasticsearch.Options{})}
	s.wire = newWire(t, strings.TrimPrefix(s.es.URL, "http://"))
	s.agent = newAgent(t, "storm", root, "", s.wire.url())
	s.agent.start()
	return s
}

// add starts a container that lives as long as the storm.
func (s *storm) add(name string, set func(*writer)) *writer {
	s.t.Helper()
	w := newWriter(s.t, name, set)
	s.writers = append(s.writers, w)
	w.start()
	return w
}

// brief is a container that ends at once; its log goes with it, or when somebody
// removes it. The agent must have seen its folder before that, since nobody can
// hold what comes and goes while it is down.
func (s *storm) brief(itself bool) {
	w := s.add(fmt.Sprintf("storm-brief-%d", len(s.writers)), func(w *writer) {
		w.remove, w.flags = itself, []string{"-n", "60", "-pace", "5ms"}
		if !itself {
			w.flags = append(w.flags, "-stay")
		}
	})
	w.finish()
	if !itself {
		docker(s.t, "rm", "-f", w.id)
	}
	s.gone = append(s.gone, w)
}

// rollover makes a new backing index, if there is a data stream yet.
func (s *storm) rollover() {
	code, body := s.es.Do(http.DefaultClient, http.MethodPost, "/logs-mesos.container-default/_rollover", "", nil)
	if code != http.StatusOK && code != http.StatusNotFound && code != http.StatusBadRequest {
		s.t.Errorf("rollover: %d %s", code, body)
	}
}

// judge compares what is stored with what the containers say that they printed,
// and asks `mesoscope verify` for the same.
func (s *storm) judge() {
	lines := 0
	for _, w := range s.writers {
		w.finish()
		want := len(w.expected("stdout")) + len(w.expected("stderr"))
		for end := time.Now().Add(time.Minute); w.stored(s.es.URL) < want && time.Now().Before(end); {
			time.Sleep(200 * time.Millisecond)
		}
		lines += w.compare(s.es.URL, "elasticsearch", node)
	}
	s.t.Logf("%d lines compared", lines)
	for _, w := range s.gone {
		within(s.t, time.Minute, w.name+" is proven complete", func() error {
			if code, out, errs := mesoscope(s.t, "verify", "--store", s.es.URL, "--container", w.id, "--since", "1h"); code != 0 {
				return fmt.Errorf("exit code %d: %s%s", code, out, errs)
			}
			return nil
		})
	}
}

//go:build e2e && linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"mesoscope/test/elasticsearch"
)

const node = "e2e-node"

// pid stands in the names of all containers of this run of the tests.
var pid = os.Getpid()

// A site is one host as its users have it: an agent that puts lines into
// Elasticsearch and a standalone, both following the same containers.
type site struct {
	t          *testing.T
	es         *elasticsearch.Server
	agent      *process
	standalone *process
	writers    []*writer // all that were ever compared, for the last look
}

// newSite starts all of it. The two have hold folders of their own, so that
// they disturb neither each other nor an agent that runs on this machine.
func newSite(t *testing.T) *site {
	root := dockerRoot(t)
	s := &site{t: t, es: elasticsearch.Start(t, elasticsearch.Options{})}
	hold := func(kind string) string {
		dir := filepath.Join(root, fmt.Sprintf("mesoscope-e2e-%d-%s", os.Getpid(), kind))
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		return dir
	}
	address := freeAddress(t)
	s.agent = newProcess(t, "agent", address, fmt.Sprintf(`data_dir: %s
http: {listen: %s}
node: {name: %s}
docker: {root: %s}
hold: {dir: %s}
output:
  elasticsearch: {hosts: ["%s"]}
`, t.TempDir(), address, node, root, hold("agent"), s.es.URL))
	address = freeAddress(t)
	s.standalone = newProcess(t, "standalone", address, fmt.Sprintf(`data_dir: %s
http: {listen: %s}
node: {name: %s}
docker: {root: %s}
hold: {dir: %s}
`, t.TempDir(), address, node, root, hold("standalone")))
	s.agent.start()
	s.standalone.start()
	return s
}

// stores are where `mesoscope logs` finds the lines.
func (s *site) stores() map[string]string {
	return map[string]string{"elasticsearch": s.es.URL, "embedded": s.standalone.url}
}

// compare waits until both stores have as many lines of the writers as were
// written, and compares them.
func (s *site) compare(t *testing.T, writers ...*writer) {
	t.Helper()
	lines, began := 0, time.Now()
	for _, w := range writers {
		w.finish()
		want := len(w.expected("stdout")) + len(w.expected("stderr"))
		for name, store := range s.stores() {
			for end := time.Now().Add(30 * time.Second); w.stored(store) < want && time.Now().Before(end); {
				time.Sleep(200 * time.Millisecond)
			}
			lines += w.compare(store, name, node)
		}
	}
	s.writers = append(s.writers, writers...)
	t.Logf("%d containers, %d lines compared in both stores together, %.1f s", len(writers), lines, time.Since(began).Seconds())
}

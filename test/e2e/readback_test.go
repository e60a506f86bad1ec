//go:build e2e && linux

package e2e

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// apiDrivers are those whose lines only Docker's API can give.
var apiDrivers = []string{"journald", "local"}

// kindsOf are the kinds of lines that a driver can give back. Docker up to
// 20.10 leaves out empty lines when it reads the journal.
func kindsOf(driver string, kinds ...string) []string {
	return slices.DeleteFunc(slices.Clone(kinds), func(kind string) bool { return kind == "empty" && driver == "journald" })
}

// needJournald looks whether a container can print into the journal.
func needJournald(t *testing.T) {
	t.Helper()
	if out, err := exec.Command("systemd-cat", "-t", "mesoscope-test", "true").CombinedOutput(); err != nil {
		lacking(t, fmt.Sprintf("no journald answers: run test/docker/journald.sh: %v: %s", err, out))
	}
}

// readBack: what only Docker's API can give, through restarts of the agents
// and of the containers, in bursts, and over rotations of the journal.
func (s *site) readBack(t *testing.T) {
	needJournald(t)
	var all []*writer
	add := func(name, driver string, set func(*writer)) *writer {
		w := newWriter(t, driver+"-"+name, func(w *writer) {
			w.driver, w.kinds = driver, kindsOf(driver, w.kinds...)
			if driver == "local" { // not rotated: dockerd's own follower loses lines at rotations
				w.options = []string{"--log-opt", "max-size=500m"}
			}
			set(w)
		})
		all = append(all, w)
		w.start()
		return w
	}
	var ended, removed []*writer
	for _, d := range apiDrivers {
		add("kinds", d, func(w *writer) { w.flags = []string{"-n", "140"} })
		add("tty", d, func(w *writer) { w.tty, w.streams, w.flags = true, []string{"stdout"}, []string{"-n", "80"} })
		add("labels", d, func(w *writer) {
			w.labels, w.env = map[string]string{"tier": "web ünd mehr"}, map[string]string{"MARATHON_APP_ID": "/prod/shop"}
			w.options = append(w.options, "--log-opt", "labels=tier", "--log-opt", "env=MARATHON_APP_ID")
			if d == "local" {
				w.options = w.options[:2] // it has no such options
			}
			w.flags = []string{"-n", "40"}
		})
		ended = append(ended, add("unended", d, func(w *writer) { w.flags = []string{"-n", "7", "-unended"} }))
		removed = append(removed, add("removed", d, func(w *writer) { w.flags = []string{"-n", "300", "-stay"} }))
	}
	for _, w := range ended { // the end without a newline meets the next run
		w.again()
	}
	s.compare(t, all...)
	for _, w := range removed {
		docker(t, "rm", "-f", w.id) // all of it is copied
	}

	// These print until they are stopped, so that each restart is one under load.
	short := []string{"plain", "json", "multibyte", "binary", "markup"}
	var endless, again []*writer
	for _, d := range apiDrivers {
		endless = append(endless,
			add("restart", d, func(w *writer) { w.kinds, w.flags = short, []string{"-n", "1000000", "-pace", "10ms"} }),
			add("restart-long", d, func(w *writer) { w.flags = []string{"-n", "1000000", "-pace", "200ms"} }),
			add("restart-tty", d, func(w *writer) {
				w.tty, w.streams, w.flags = true, []string{"stdout"}, []string{"-n", "1000000", "-pace", "200ms"}
			}))
		again = append(again, add("again", d, func(w *writer) { w.kinds, w.flags = short, []string{"-n", "1000000", "-pace", "10ms"} }))
	}
	for i := range 20 {
		if i%6 == 0 {
			add(fmt.Sprintf("burst-%d", i), "journald", func(w *writer) {
				// It stays, because dockerd drops what a log driver has not taken
				// 10 s after a container's end.
				w.kinds, w.flags = []string{"plain", "multibyte"}, []string{"-n", "10000", "-stay"}
			})
		}
		if i%5 == 2 {
			if out, err := exec.Command("journalctl", "--rotate").CombinedOutput(); err != nil {
				t.Errorf("journalctl --rotate: %v: %s", err, out)
			}
		}
		for _, p := range []*process{s.agent, s.standalone} {
			if i%3 == 0 {
				p.end()
			} else {
				p.kill()
			}
			if i%7 == 3 && p == s.agent {
				for _, w := range again {
					w.restart() // while an agent is away
				}
			}
			p.start()
		}
		time.Sleep(300 * time.Millisecond)
	}
	for _, w := range append(endless, again...) {
		docker(t, "stop", "-t", "20", w.id)
	}
	s.compare(t, all...)
	for _, w := range all {
		for _, p := range []*process{s.agent, s.standalone} {
			for _, source := range p.sources(w.id) {
				if source.Guarantee != "at-least-once (docker api)" || source.LagBytes != 0 {
					t.Errorf("%s, %s: %+v", p.args[0], w.name, source)
				}
			}
		}
	}
}

// end is SIGTERM in the middle of much work: not all of it may be done when the
// process ends, and it says so.
func (p *process) end() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	select {
	case err := <-p.done:
		if err != nil && !strings.Contains(tailOf(p.said.String(), 3), "is read again at the next start") {
			p.t.Errorf("%s after SIGTERM: %v", p.args[0], err)
		}
		p.cmd = nil
	case <-time.After(30 * time.Second):
		p.t.Errorf("%s does not end after SIGTERM", p.args[0])
		p.kill()
	}
}

// Package prometheus starts real Prometheus and Alertmanager servers for tests,
// those of Debian's packages prometheus and prometheus-alertmanager.
//
// The way of the data: a configuration -> a process on a free port -> its HTTP
// API, asked until something is so; the test's end stops it.
package prometheus

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// Tool is the path of a program of the two packages: promtool, amtool, prometheus,
// prometheus-alertmanager. A missing one skips the test, and fails it in CI.
func Tool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	what := name + " is missing: apt-get install prometheus prometheus-alertmanager"
	if os.Getenv("CI") != "" || os.Getenv("MESOSCOPE_TEST_CI") != "" {
		t.Fatal(what)
	}
	t.Skip(what)
	return ""
}

// An Alertmanager is a running one.
type Alertmanager struct {
	URL string
	t   testing.TB
}

// An Alert is one that an Alertmanager takes for firing.
type Alert struct {
	Labels      map[string]string
	Annotations map[string]string
	StartsAt    time.Time
	Status      struct {
		State       string // active, suppressed
		InhibitedBy []string
	}
	Receivers []struct{ Name string }
}

// StartAlertmanager starts one with a configuration file.
func StartAlertmanager(t testing.TB, config string) *Alertmanager {
	t.Helper()
	address := freeAddress(t)
	start(t, "http://"+address, "prometheus-alertmanager", "--config.file", config, "--storage.path", t.TempDir(), "--web.listen-address", address, "--cluster.listen-address=")
	return &Alertmanager{"http://" + address, t}
}

// StartPrometheus starts one that has the text as its configuration, and
// returns its URL.
func StartPrometheus(t testing.TB, config string) string {
	t.Helper()
	dir, address := t.TempDir(), freeAddress(t)
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, "http://"+address, "prometheus", "--config.file", file, "--storage.tsdb.path", filepath.Join(dir, "data"), "--web.listen-address", address)
	return "http://" + address
}

// start runs a server until the test ends. It is ready when start returns.
func start(t testing.TB, url, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(Tool(t, name), args...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { cmd.Wait(); close(done) }()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-done
		if t.Failed() {
			t.Log(said.String())
		}
	})
	until(t, name+" is ready", func() error {
		res, err := http.Get(url + "/-/ready")
		if err == nil {
			res.Body.Close()
			if res.StatusCode != http.StatusOK {
				err = fmt.Errorf("it answers %s", res.Status)
			}
		}
		return err
	})
}

func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// patience is how long a machine that is busy may take for something that is
// done within seconds.
const patience = 3 * time.Minute

func until(t testing.TB, what string, check func() error) {
	t.Helper()
	err := check()
	for end := time.Now().Add(patience); err != nil; err = check() {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %s: %v", what, patience, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// Alerts are all that fire, but Watchdog.
func (a *Alertmanager) Alerts() ([]Alert, error) {
	res, err := http.Get(a.URL + "/api/v2/alerts")
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	var list []Alert
	err = json.NewDecoder(res.Body).Decode(&list)
	return slices.DeleteFunc(list, func(x Alert) bool { return x.Labels["alertname"] == "Watchdog" }), err
}

// States are "name severity check host: state" of all Alerts, sorted, without
// the labels that there are not.
func (a *Alertmanager) States() ([]string, error) {
	list, err := a.Alerts()
	out := []string{}
	for _, x := range list {
		l := x.Labels
		words := strings.Fields(strings.Join([]string{l["alertname"], l["severity"], l["check"], l["host"]}, " "))
		out = append(out, strings.Join(words, " ")+": "+x.Status.State)
	}
	slices.Sort(out)
	return out, err
}

// Want waits until exactly these States are there.
func (a *Alertmanager) Want(what string, states ...string) {
	a.t.Helper()
	states = slices.Sorted(slices.Values(states))
	until(a.t, what, func() error {
		got, err := a.States()
		if err == nil && !slices.Equal(got, states) {
			err = fmt.Errorf("alerts are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(states, "\n"))
		}
		return err
	})
}

// Post sends alerts of which nothing is known but their labels. They fire for an
// hour.
func (a *Alertmanager) Post(list ...map[string]string) {
	a.t.Helper()
	var body []any
	for _, l := range list {
		body = append(body, map[string]any{"labels": l, "startsAt": time.Now(), "endsAt": time.Now().Add(time.Hour)})
	}
	text, err := json.Marshal(body)
	if err != nil {
		a.t.Fatal(err)
	}
	res, err := http.Post(a.URL+"/api/v2/alerts", "application/json", bytes.NewReader(text))
	if err != nil {
		a.t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		a.t.Fatalf("alerts are answered %s", res.Status)
	}
}

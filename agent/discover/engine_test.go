package discover

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func TestMetricsAddress(t *testing.T) {
	path := filepath.Join(t.TempDir(), "daemon.json")
	if got := metricsAddress(path); got != "" {
		t.Errorf("without a file: %q", got)
	}
	for text, want := range map[string]string{
		`{}`: "", `{"metrics-addr": 5}`: "", `not JSON`: "",
		`{"metrics-addr": "127.0.0.1:9323"}`: "127.0.0.1:9323",
		`{"metrics-addr": "0.0.0.0:9323"}`:   "127.0.0.1:9323",
		`{"metrics-addr": ":9323"}`:          "127.0.0.1:9323",
		`{"metrics-addr": "10.1.2.3:9323"}`:  "10.1.2.3:9323",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := metricsAddress(path); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

// TestEngineLoss: what dockerd has dropped is said once when it grows, counted,
// and a problem for an hour.
func TestEngineLoss(t *testing.T) {
	var failed atomic.Int64
	var down atomic.Bool
	engine := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if down.Load() {
			http.Error(w, "starting", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintf(w, "# HELP %[1]s The number of log write operations that failed\n# TYPE %[1]s counter\n%[1]s %[2]d\nlogger_other_total 99\n", failedWrites, failed.Load())
	}))
	defer engine.Close()
	config := filepath.Join(t.TempDir(), "daemon.json")
	if err := os.WriteFile(config, fmt.Appendf(nil, `{"metrics-addr": %q}`, strings.TrimPrefix(engine.URL, "http://")), 0o600); err != nil {
		t.Fatal(err)
	}
	var said lockedBuffer
	l := newEngineLoss(config, textLog(&said))
	reg := prometheus.NewRegistry()
	reg.MustRegister(l)
	want := func(step string, metric string, warnings int, problem string) {
		t.Helper()
		l.look(t.Context())
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, f := range families {
			got = fmt.Sprint(f.GetName(), f.GetMetric()[0].GetCounter().GetValue())
		}
		if metric != "" {
			metric = "mesoscope_docker_log_writes_failed_total" + metric
		}
		if got != metric || said.count("has dropped their lines") != warnings || !strings.Contains(l.problem(), problem) || problem == "" && l.problem() != "" {
			t.Errorf("%s: metric %q, problem %q, said\n%s", step, got, l.problem(), said.String())
		}
	}
	want("all is well", "0", 0, "")
	failed.Store(12)
	want("twelve lost", "12", 1, "could not write 12 log entries")
	want("no more", "12", 1, "could not write 12 log entries")
	down.Store(true)
	want("away", "", 1, "could not write 12 log entries")
	down.Store(false)
	failed.Store(2)
	want("started again", "2", 1, "could not write 2 log entries")
	failed.Store(3)
	want("and again", "3", 2, "could not write 3 log entries")
	if !strings.Contains(said.String(), "entries=12") || !strings.HasSuffix(said.String(), "entries=1\n") {
		t.Error(said.String())
	}
}

func TestEngineLossIsNewsForAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &engineLoss{n: 5, grew: time.Now()}
		time.Sleep(lossIsNews)
		if l.problem() == "" {
			t.Error("forgotten too soon")
		}
		time.Sleep(time.Nanosecond)
		if p := l.problem(); p != "" {
			t.Errorf("still %q", p)
		}
	})
}

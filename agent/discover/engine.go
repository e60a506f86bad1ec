package discover

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// When dockerd cannot write an entry, because the disk is full, it drops the
// line and goes on. Nobody can see that in its files; but it counts it, and
// tells who asks, if its own configuration has a metrics-addr.

const (
	// daemonConfig is where dockerd's configuration lies.
	daemonConfig = "/etc/docker/daemon.json"
	// failedWrites is dockerd's name of the counter.
	failedWrites = "logger_log_write_operations_failed_total"
	engineLook   = time.Minute
	// lossIsNews is for how long a loss counts as a problem. It cannot be
	// mended, so that it should not be one for ever.
	lossIsNews = time.Hour
	// maxEngineMetrics bounds what is read: dockerd tells some hundred KB.
	maxEngineMetrics = 16 << 20
)

// An engineLoss knows how many lines dockerd has dropped.
type engineLoss struct {
	config string // dockerd's
	client http.Client
	log    *slog.Logger

	mu    sync.Mutex
	known bool
	n     float64
	grew  time.Time // when n was last seen to be larger than before
}

func newEngineLoss(config string, log *slog.Logger) *engineLoss {
	return &engineLoss{config: config, log: log, client: http.Client{Timeout: 10 * time.Second}}
}

func (l *engineLoss) run(ctx context.Context) {
	for ctx.Err() == nil {
		l.look(ctx)
		sleep(ctx, engineLook)
	}
}

// look asks once. An engine that cannot be asked is no problem of its own: its
// API says whether it is there.
func (l *engineLoss) look(ctx context.Context) {
	n, ok := l.ask(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.n
	if l.known = ok; !ok {
		return
	}
	if l.n = n; n > before {
		l.grew = time.Now()
		l.log.Error("docker could not write log entries and has dropped their lines; see whether its disk is full", "entries", n-before)
	}
}

func (l *engineLoss) ask(ctx context.Context) (n float64, ok bool) {
	address := metricsAddress(l.config)
	if address == "" {
		return 0, false
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/metrics", nil)
	if err != nil {
		return 0, false
	}
	resp, err := l.client.Do(req)
	if err != nil {
		return 0, false
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, false
	}
	lines := bufio.NewScanner(io.LimitReader(resp.Body, maxEngineMetrics))
	for lines.Scan() {
		if text, found := strings.CutPrefix(lines.Text(), failedWrites+" "); found {
			n, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			return n, err == nil
		}
	}
	return 0, false
}

// metricsAddress is where dockerd tells its metrics; "": it does not.
func metricsAddress(config string) string {
	text, err := os.ReadFile(config)
	if err != nil {
		return ""
	}
	var v struct {
		Address string `json:"metrics-addr"`
	}
	if json.Unmarshal(text, &v) != nil {
		return ""
	}
	if strings.HasPrefix(v.Address, ":") || strings.HasPrefix(v.Address, "0.0.0.0:") {
		_, port, _ := strings.Cut(v.Address, ":")
		return "127.0.0.1:" + port
	}
	return v.Address
}

// problem is a sentence about a loss of the last hour, or "".
func (l *engineLoss) problem() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.grew.IsZero() || time.Since(l.grew) > lossIsNews {
		return ""
	}
	return fmt.Sprintf("Docker could not write %.0f log entries since it was started, the last ones within the last hour: their lines are lost before anybody can read them; see whether its disk is full", l.n)
}

// SourceLoss says what Docker itself has lost in the last hour, as far as it
// tells, or "".
func (d *Discoverer) SourceLoss() string {
	if d.loss == nil {
		return ""
	}
	return d.loss.problem()
}

var lossDesc = prometheus.NewDesc("mesoscope_docker_log_writes_failed_total",
	"Log entries that dockerd could not write and has dropped, as it says itself; absent if it has no metrics-addr.", nil, nil)

// Describe sends what Collect can send.
func (l *engineLoss) Describe(ch chan<- *prometheus.Desc) { ch <- lossDesc }

// Collect sends what is known.
func (l *engineLoss) Collect(ch chan<- prometheus.Metric) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.known {
		ch <- prometheus.MustNewConstMetric(lossDesc, prometheus.CounterValue, l.n)
	}
}

package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"mesoscope/collector/probe"
)

// An engineCase is one row of the checks' table.
type engineCase struct {
	name, kind string
	jobs       int
	every      time.Duration
	seconds    int
}

// The first two are a short burst, because each connection is remembered by the
// kernel for a minute and all of them make the next ones dearer; the last one is
// a large cluster.
var engineCases = []engineCase{
	{"http, 2,000 every 250 ms", "http", 2000, 250 * time.Millisecond, 4},
	{"tcp, 2,000 every 250 ms", "tcp", 2000, 250 * time.Millisecond, 4},
	{"http, 50,000 every 10 s", "http", 50_000, 10 * time.Second, 20},
}

// measureChecks runs the engine alone on one core against a target on another.
func (b *bench) measureChecks(ctx context.Context) (*table, error) {
	target, port, err := b.startTarget(ctx, beside)
	if err != nil {
		return nil, err
	}
	defer target.kill()
	seen := make([][]engineResult, len(b.engines))
	for i := range b.runs {
		for j, c := range b.engines {
			if c.every > time.Second && i > 0 {
				continue // it is long, and about lateness
			}
			warm := min(c.every, 2*time.Second) // as the engine does
			if err := b.room(ctx, int(float64(c.jobs)*(warm.Seconds()+float64(c.seconds))/c.every.Seconds())); err != nil {
				return nil, err
			}
			r, err := b.runEngine(ctx, c, port)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
			b.progress("checks %d/%d: %s: %s checks/CPU s", i+1, b.runs, c.name, thousands(r.perCPU()))
			seen[j] = append(seen[j], r)
		}
	}
	t := &table{title: fmt.Sprintf("Checks: schedule, check with a fresh connection, state, on one core, median of %d", b.runs)}
	t.add("", "checks/CPU s", "range", "CPU µs/check", "checks/s", "late p50 ms", "p99 ms", "latest ms", "peak MiB", "missed", "bad")
	for j, c := range b.engines {
		var per, rate []float64
		var bad int64
		for _, r := range seen[j] {
			per, rate, bad = append(per, r.perCPU()), append(rate, float64(r.Checks)/r.Wall.Seconds()), bad+r.Bad
		}
		m, last := median(per), seen[j][len(seen[j])-1]
		late := []string{"", "", ""}
		for i := range late {
			late[i] = fmt.Sprintf("%.1f", last.Late[i])
		}
		t.add(c.name, thousands(m), thousands(per[0])+"-"+thousands(per[len(per)-1]), fmt.Sprintf("%.1f", 1e6/m), thousands(median(rate)),
			late[0], late[1], late[2], mib(last.Peak), thousands(float64(last.Missed)), strconv.FormatInt(bad, 10))
	}
	t.notes = []string{"Connections are fresh and closed by FIN; the target is another process, on the other core, and its work is not counted.",
		"http is GET of a page of three bytes, tcp a connection and its end. State with its journal on disk, results kept."}
	return t, nil
}

func (r engineResult) perCPU() float64 { return float64(r.Checks) / r.CPU.Seconds() }

func (b *bench) runEngine(ctx context.Context, c engineCase, port string) (r engineResult, err error) {
	dir, err := os.MkdirTemp(b.dir, "engine-")
	if err != nil {
		return r, err
	}
	defer os.RemoveAll(dir)
	argv := []string{b.self, "engine", "-kind", c.kind, "-port", port, "-jobs", strconv.Itoa(c.jobs), "-every", c.every.String(), "-for", fmt.Sprintf("%ds", c.seconds), "-dir", dir}
	if b.profile != "" {
		argv = append(argv, "-profile", b.profile+"."+c.kind)
	}
	p := command(measured, argv...)
	var out bytes.Buffer
	p.cmd.Stdout = &out
	if err := p.start(); err != nil {
		return r, err
	}
	var peak int64
	for tick := time.NewTicker(100 * time.Millisecond); ; {
		select {
		case <-tick.C:
			if now, err := p.memory("VmHWM"); err == nil {
				peak = now
			}
			continue
		case <-ctx.Done():
			p.kill()
		case <-p.ended:
		}
		tick.Stop()
		break
	}
	if p.err != nil {
		return r, fmt.Errorf("%w: %s", p.err, p.said())
	}
	err = json.Unmarshal(out.Bytes(), &r)
	r.Peak = peak
	return r, err
}

// measureProbe asks blackbox_exporter and our /probe for the same probes, in turns.
func (b *bench) measureProbe(ctx context.Context) (*table, error) {
	target, port, err := b.startTarget(ctx, beside)
	if err != nil {
		return nil, err
	}
	defer target.kill()
	modules := filepath.Join(b.dir, "blackbox.yml")
	if err := os.WriteFile(modules, []byte("modules: {http: {prober: http}, tcp: {prober: tcp}}\n"), 0o644); err != nil {
		return nil, err
	}
	subjects := []struct {
		name string
		argv func(listen string) []string
	}{
		{"mesoscope", func(l string) []string { return []string{b.self, "prober", "-listen", l, "-modules", modules} }},
		{"blackbox_exporter", func(l string) []string {
			return []string{"prometheus-blackbox-exporter", "--config.file=" + modules, "--web.listen-address=" + l, "--log.level=error"}
		}},
	}
	kinds := []string{"http", "tcp"}
	const probes = 20_000
	per := map[[2]int][]float64{}
	for i := range b.runs {
		for j, s := range subjects {
			listen, err := freeAddr()
			if err != nil {
				return nil, err
			}
			argv := s.argv(listen)
			if _, err := exec.LookPath(argv[0]); err != nil {
				return nil, fmt.Errorf("%w: apt-get install prometheus-blackbox-exporter", err)
			}
			p, err := start(measured, argv...)
			if err != nil {
				return nil, err
			}
			for k, kind := range kinds {
				if err = errors.Join(p.listens(ctx, listen), b.room(ctx, probes+500)); err != nil {
					break
				}
				var cpu time.Duration
				if cpu, err = p.probes(ctx, listen, kind, port, probes); err != nil {
					break
				}
				per[[2]int{j, k}] = append(per[[2]int{j, k}], probes/cpu.Seconds())
				b.progress("probe %d/%d: %s, %s: %s probes/CPU s", i+1, b.runs, s.name, kind, thousands(probes/cpu.Seconds()))
			}
			p.kill()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", s.name, err)
			}
		}
	}
	t := &table{title: fmt.Sprintf("Probes: %s /probe requests on kept connections, 16 at once, on one core, median of %d", thousands(probes), b.runs)}
	t.add("", "probes/CPU s", "range", "CPU µs/probe", "of blackbox_exporter")
	for k, kind := range kinds {
		theirs := median(per[[2]int{1, k}])
		for j, s := range subjects {
			list := per[[2]int{j, k}]
			m := median(list)
			t.add(s.name+", "+kind, thousands(m), thousands(list[0])+"-"+thousands(list[len(list)-1]), fmt.Sprintf("%.0f", 1e6/m), fmt.Sprintf("%.2f", m/theirs))
		}
	}
	t.notes = []string{"The same modules and targets (those of the checks' table); Prometheus' headers, but no compression of the answer."}
	return t, nil
}

// probes asks for so many probes and says what CPU they took.
func (p *process) probes(ctx context.Context, listen, kind, port string, n int) (time.Duration, error) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16, DisableCompression: true}}
	defer client.CloseIdleConnections()
	one := func(i int) error {
		to := targetHost(i) + ":" + port
		if kind == "http" {
			to = "http://" + to + "/health"
		}
		q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+listen+"/probe?module="+kind+"&target="+url.QueryEscape(to), nil)
		if err != nil {
			return err
		}
		q.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", "10")
		answer, err := client.Do(q)
		if err != nil {
			return err
		}
		text, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err == nil && !strings.Contains(string(text), "\nprobe_success 1\n") {
			err = fmt.Errorf("%s: the probe failed: %.200s", answer.Status, text)
		}
		return err
	}
	for i := range 500 { // warm-up
		if err := one(i); err != nil {
			return 0, err
		}
	}
	before, err := p.cpuNow()
	if err != nil {
		return 0, err
	}
	var group sync.WaitGroup
	errs := make([]error, 16)
	for w := range errs {
		group.Go(func() {
			for i := w; i < n && errs[w] == nil; i += len(errs) {
				errs[w] = one(i)
			}
		})
	}
	group.Wait()
	after, err := p.cpuNow()
	return after - before, cmp.Or(append(errs, err)...)
}

// serveProber is our /probe and nothing else.
func serveProber(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("prober", flag.ContinueOnError)
	listen := fs.String("listen", "", "address")
	modules := fs.String("modules", "", "a blackbox.yml")
	if err := fs.Parse(args); err != nil {
		return err
	}
	h, err := probe.New(probe.Options{ModulesFile: *modules, Guarded: true})
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/probe", h)
	server := &http.Server{Addr: *listen, Handler: mux}
	defer context.AfterFunc(ctx, func() { server.Close() })()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

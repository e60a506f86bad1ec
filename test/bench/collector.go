package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	collectorEvery  = 10 * time.Second
	collectorWarmUp = 2 * collectorEvery // every target has been asked, and the heap has its size
	collectorWindow = 2 * collectorEvery
)

// measureCollector runs a collector with many targets at 10 s each, all of which
// are one process on the other core. A fresh connection each, closed by FIN.
func (b *bench) measureCollector(ctx context.Context) (*table, error) {
	t := &table{title: fmt.Sprintf("Collector: %d targets every %v, collector with GOMAXPROCS=1, targets in another process", b.targets, collectorEvery)}
	t.add("", "checks/s", "per CPU second", "p99 late ms", "RSS MiB")
	for _, kind := range []string{"http", "tcp"} {
		if err := b.collectorOf(ctx, t, kind); err != nil {
			return t, fmt.Errorf("%s: %w", kind, err)
		}
	}
	return t, b.bareDials(t)
}

// startAnswering starts the process that answers, and says at which port.
func (b *bench) startAnswering() (*process, string, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, "", err
	}
	_, port, _ := net.SplitHostPort(addr)
	p, err := start(beside, b.self, "answering", port)
	if err != nil {
		return nil, "", err
	}
	for range 100 {
		if c, err := net.Dial("tcp", addr); err == nil {
			return p, port, c.Close()
		}
		time.Sleep(50 * time.Millisecond)
	}
	p.kill()
	return nil, "", errors.New("the targets do not answer")
}

// loopback is one of the many addresses of this machine.
func loopback(i int) string { return fmt.Sprintf("127.%d.%d.%d", 1+i>>16, i>>8&255, i&255) }

func (b *bench) collectorOf(ctx context.Context, t *table, kind string) error {
	targets, port, err := b.startAnswering()
	if err != nil {
		return err
	}
	defer targets.kill()
	dir, err := os.MkdirTemp(b.dir, "checks-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	type group struct {
		Targets []string          `json:"targets"`
		Labels  map[string]string `json:"labels"`
	}
	list := make([]group, b.targets)
	for i := range list {
		address := net.JoinHostPort(loopback(i), port)
		if kind == "http" {
			address = "http://" + address + "/health"
		}
		list[i] = group{[]string{address}, map[string]string{"app": fmt.Sprint("/bench/", i%1000)}}
	}
	text, err := json.Marshal(list)
	if err != nil {
		return err
	}
	listen, err := freeAddr()
	if err != nil {
		return err
	}
	config := fmt.Sprintf("data_dir: %s\nmemory_limit: 300MiB\nhttp: {listen: \"%s\"}\ncollector: {cluster: bench, targets_files: [%s/targets.json]}\n", dir, listen, dir)
	for name, text := range map[string][]byte{"targets.json": text, "collector.yml": []byte(config)} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			return err
		}
	}
	p, err := start(measured, b.bin, "collector", "--config", filepath.Join(dir, "collector.yml"))
	if err != nil {
		return err
	}
	defer p.kill()
	b.progress("collector: %d of %s", b.targets, kind)
	if err := sleep(ctx, collectorWarmUp); err != nil {
		return err
	}
	m := &scraper{url: "http://" + listen + "/metrics"}
	before, err := m.take(p)
	if err != nil {
		return errors.Join(err, p.died())
	}
	began := time.Now()
	if err := sleep(ctx, collectorWindow); err != nil {
		return err
	}
	rss, err := p.memory("VmRSS")
	if err != nil {
		return err
	}
	cpu, err := p.cpuNow()
	if err != nil {
		return err
	}
	took := time.Since(began)
	after, err := m.take(p)
	if err != nil {
		return err
	}
	runs := after.runs - before.runs
	t.add(kind, fmt.Sprintf("%.0f", runs/took.Seconds()), fmt.Sprintf("%.0f", runs/(cpu-before.cpu).Seconds()), late(before.late, after.late), mib(rss))
	if bad := after.bad; bad > float64(b.targets)/100 {
		return fmt.Errorf("%.0f of %d checks are not OK", bad, b.targets)
	}
	return p.stop()
}

// A scrape is what the collector says at one moment.
type scrape struct {
	runs, bad float64
	late      map[float64]float64 // by upper bound
	cpu       time.Duration       // behind the scrape, which costs some itself
}

type scraper struct{ url string }

func (s *scraper) take(p *process) (out scrape, err error) {
	resp, err := http.Get(s.url)
	if err != nil {
		return out, err
	}
	defer resp.Body.Close()
	out.late = map[float64]float64{}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		v, _ := strconv.ParseFloat(value, 64)
		switch {
		case strings.HasPrefix(name, `mesoscope_collector_runs_total{`):
			out.runs += v
		case strings.HasPrefix(name, `mesoscope_collector_checks{`) && !strings.Contains(name, `"OK"`):
			out.bad += v
		case strings.HasPrefix(name, `mesoscope_collector_lateness_seconds_bucket{class="network"`):
			bound, _ := strconv.ParseFloat(strings.TrimSuffix(name[strings.LastIndex(name, `le="`)+4:], `"}`), 64)
			out.late[bound] = v
		}
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return out, err
	}
	out.cpu, err = p.cpuNow()
	return out, err
}

// late is the bound below which 99 of 100 starts were.
func late(before, after map[float64]float64) string {
	all := after[math.Inf(1)] - before[math.Inf(1)]
	best := math.Inf(1)
	for bound := range after {
		if after[bound]-before[bound] >= 0.99*all {
			best = min(best, bound)
		}
	}
	return fmt.Sprintf("< %g", best*1000)
}

// bareDials is what the numbers are to be held against: net.Dialer alone, in
// this process.
func (b *bench) bareDials(t *table) error {
	targets, port, err := b.startAnswering()
	if err != nil {
		return err
	}
	defer targets.kill()
	p, err := start(measured, b.self, "dials", port)
	if err != nil {
		return err
	}
	<-p.ended
	if p.err != nil {
		return fmt.Errorf("%w: %s", p.err, p.said())
	}
	t.add("net.Dialer alone", "", fmt.Sprintf("%.0f", bareDials/p.cpu().Seconds()), "", "")
	return nil
}

const bareDials = 50_000

// dialBare connects and closes, nothing else.
func dialBare(ctx context.Context, port string) error {
	var group sync.WaitGroup
	next := make(chan int)
	var failed error
	var once sync.Once
	for range 64 {
		group.Go(func() {
			for i := range next {
				dialing, cancel := context.WithTimeout(ctx, 5*time.Second)
				var d net.Dialer
				c, err := d.DialContext(dialing, "tcp", net.JoinHostPort(loopback(i), port))
				cancel()
				if err != nil {
					once.Do(func() { failed = err })
					continue
				}
				c.Close()
			}
		})
	}
	for i := range bareDials {
		next <- i
	}
	close(next)
	group.Wait()
	return failed
}

// answerAll answers 200 to whatever is asked, on all addresses of this
// machine.
func answerAll(ctx context.Context, port string) error {
	l, err := net.Listen("tcp4", ":"+port)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { l.Close() })
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
	for {
		c, err := l.Accept()
		if err != nil {
			return ctx.Err()
		}
		go func() {
			defer c.Close()
			buffer := make([]byte, 2048)
			if n, err := c.Read(buffer); err == nil && n > 0 {
				c.Write(answer)
			}
		}()
	}
}

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"mesoscope/test/bench/sink"
)

// TestMain makes the test binary stand for the bench itself and for a crude
// agent and standalone, so that the driver is tested with real processes.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		var err error
		switch os.Args[1] {
		case "sink", "reference", "target", "engine", "prober":
			err = run(ctx, os.Args[1:], os.Stdout, os.Stderr)
		case "agent", "standalone":
			err = fakeAgent(ctx, os.Args[1], os.Args[3], os.Getenv("FAKE_AGENT"))
		default:
			os.Exit(m.Run())
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// fakeAgent follows all logs by reading them again and again.
func fakeAgent(ctx context.Context, command, config, fault string) error {
	c, err := readSetup(config)
	if err != nil {
		return err
	}
	var text bytes.Buffer // what standalone has "stored"
	if command == "standalone" {
		l, err := net.Listen("tcp", c.HTTP.Listen)
		if err != nil {
			return err
		}
		find := make(chan string)
		found := make(chan bool)
		go serve(ctx, l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			find <- r.URL.Query().Get("q")
			if <-found {
				io.WriteString(w, `{"lines":[{}]}`)
			} else {
				io.WriteString(w, `{"lines":[]}`)
			}
		}))
		for offsets := map[string]int{}; ; {
			select {
			case <-ctx.Done():
				return nil
			case q := <-find:
				if err := readNew(c.Docker.Root, offsets, func(e []byte) error { text.Write(e); return nil }); err != nil {
					return err
				}
				found <- strings.Contains(text.String(), q)
			}
		}
	}
	p := poster{ctx: context.WithoutCancel(ctx), url: bulkURL(c.Output.Elasticsearch.Hosts[0])}
	l := loop{fields: metadata("x", 740), post: p.post}
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	seen := 0
	for offsets := map[string]int{}; ; {
		err := readNew(c.Docker.Root, offsets, func(e []byte) error {
			seen++
			if fault == "lose" && seen == 7 {
				return nil
			}
			if fault == "double" && seen == 7 {
				if err := l.entry(e); err != nil {
					return err
				}
			}
			return l.entry(e)
		})
		if err = errors.Join(err, l.flush()); err != nil {
			return err
		}
		if fault == "lose" {
			return nil // at once, so that nobody waits for the line
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func readNew(root string, offsets map[string]int, entry func([]byte) error) error {
	logs, err := filepath.Glob(filepath.Join(root, "containers", "*", "*-json.log"))
	if err != nil {
		return err
	}
	for _, log := range logs {
		data, err := os.ReadFile(log)
		if err != nil {
			return err
		}
		for line := range bytes.Lines(data[offsets[log]:]) {
			if line[len(line)-1] != '\n' {
				break
			}
			offsets[log] += len(line)
			if err := entry(line[:len(line)-1]); err != nil {
				return err
			}
		}
	}
	return nil
}

func newBench(t *testing.T) *bench {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return &bench{
		self: exe, bin: exe, dir: t.TempDir(), lines: 3001, runs: 2, silent: []int{3}, growth: []int{1, 3},
		idle: 100 * time.Millisecond, settle: 10 * time.Millisecond, latency: 4, out: io.Discard, err: io.Discard,
	}
}

func TestThroughput(t *testing.T) {
	table, err := newBench(t).measureThroughput(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(table.rows) != 9 {
		t.Fatalf("%d rows: %v", len(table.rows), table.rows)
	}
	for _, row := range table.rows[1:] {
		if row[11] != "0" || row[12] != "0" {
			t.Errorf("lost or doubled: %v", row)
		}
		// gzip on is smaller on the wire; the fake agent has no gzip.
		if zipped := strings.Contains(row[0], "gzip on") && strings.HasPrefix(row[0], "reference"); zipped == (row[8] == row[9]) {
			t.Errorf("wire and body bytes: %v", row)
		}
	}
	var b bytes.Buffer
	if err := table.print(&b); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(b.String(), "\n")
	if len(lines[1]) != len(lines[2]) && !strings.Contains(lines[1], "µ") {
		t.Errorf("not aligned:\n%s", b.String())
	}
	t.Log("\n" + b.String())
}

func TestThroughputSeesFaults(t *testing.T) {
	t.Setenv("FAKE_AGENT", "double")
	b := newBench(t)
	b.runs = 1
	b.minRatio = 1000
	table, err := b.measureThroughput(t.Context())
	if err == nil || !strings.Contains(err.Error(), "want 1000.00") {
		t.Errorf("too slow: %v", err)
	}
	if row := table.rows[1]; row[12] != "1" {
		t.Errorf("doubled: %v", row)
	}
	t.Setenv("FAKE_AGENT", "lose")
	if _, err := newBench(t).measureThroughput(t.Context()); err == nil || !strings.Contains(err.Error(), "3,000 of 3,001 lines arrived") {
		t.Errorf("lost: %v", err)
	}
}

func TestIdleAndLatency(t *testing.T) {
	b := newBench(t)
	idle, err := b.measureIdle(t.Context())
	if runtime.GOOS != "linux" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if row := idle.rows[1]; row[1] == "0.000" || row[3] != "0" {
		t.Errorf("the fake agent is busy and has nothing to send: %v", row)
	}
	for _, measure := range []func(context.Context) (*table, error){b.measureLatency, b.measureSearchable} {
		table, err := measure(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range table.rows[1:] {
			if row[1] == "0.0" {
				t.Errorf("no time at all: %v", row)
			}
		}
	}
	left, err := filepath.Glob(filepath.Join(b.dir, "run-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestGrowthStartAndCores(t *testing.T) {
	b := newBench(t)
	b.runs = 1
	for name, measure := range map[string]func(context.Context) (*table, error){"growth": b.measureGrowth, "start": b.measureStart, "cores": b.measureCores} {
		table, err := measure(t.Context())
		if runtime.GOOS != "linux" {
			t.Skip(err)
		}
		if name == "cores" && len(cores()) < 2 {
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if want := map[string]int{"growth": 3, "start": 2, "cores": 5}[name]; len(table.rows) != want {
			t.Errorf("%s: %d rows, want %d: %v", name, len(table.rows), want, table.rows)
		}
	}
}

func TestGuard(t *testing.T) {
	g, err := readGuard(recorded)
	if err != nil || len(g) != len(throughputCases) {
		t.Fatalf("%v %v", g, err)
	}
	g["x"] = 0.8
	if err := g.check("x", 0.61); err != nil {
		t.Error(err)
	}
	if err := g.check("x", 0.59); err == nil {
		t.Error("a quarter worse was taken")
	}
	if err := g.check("nobody has measured it", 0.1); err != nil {
		t.Error(err)
	}
	for _, c := range throughputCases {
		if _, ok := g[c.String()]; !ok {
			t.Errorf("no ratio of %q is recorded", c)
		}
	}
}

// TestPeers holds that each configuration can be made; whether its agent takes
// it is seen where the agent is.
func TestPeers(t *testing.T) {
	dir := t.TempDir()
	for _, p := range peers {
		argv, err := p.setUp("/bin/"+p.program, "/docker", "127.0.0.1:9", dir)
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join(dir, p.file))
		if err != nil || !bytes.Contains(data, []byte("/docker/containers/*/*-json.log")) && p.program != "syslog-ng" {
			t.Errorf("%s: %v\n%s", p.program, err, data)
		}
		if argv[0] != "/bin/"+p.program || len(argv) < 3 {
			t.Errorf("%q", argv)
		}
	}
}

func TestReference(t *testing.T) {
	var posted []byte
	l := loop{fields: metadata("id", 740), post: func(b []byte) error { posted = append(posted, b...); return nil }}
	if len(l.fields) != 740 {
		t.Errorf("%d bytes of metadata", len(l.fields))
	}
	if err := l.entry([]byte(`{"log":"say \"stream\":\"x\"\n","stream":"stderr","time":"2026-11-01T00:00:00.1Z"}`)); err != nil {
		t.Fatal(err)
	}
	if err := l.flush(); err != nil {
		t.Fatal(err)
	}
	want := "{\"create\":{\"_id\":\"reference1000000000000001\"}}\n" +
		`{"@timestamp":"2026-11-01T00:00:00.1Z","message":"say \"stream\":\"x\"","stream":"stderr",` + string(metadata("id", 740)) + "}\n"
	if string(posted) != want {
		t.Errorf("%s\nwant\n%s", posted, want)
	}
	entry := len(`{"log":"say \"stream\":\"x\"\n","stream":"stderr","time":"2026-11-01T00:00:00.1Z"}` + "\n")
	if n := referenceFields(float64(len(posted)), float64(entry)); n != 740 {
		t.Errorf("a body of %d bytes needs %d bytes of metadata, want 740", len(posted), n)
	}
	if err := l.entry([]byte(`{"stream":"stdout"}`)); err == nil {
		t.Error("an entry without a log was taken")
	}
}

func TestNumbers(t *testing.T) {
	f := func(got, want any) {
		t.Helper()
		if got != want {
			t.Errorf("%v, want %v", got, want)
		}
	}
	f(thousands(0), "0")
	f(thousands(999.6), "1,000")
	f(thousands(1234567), "1,234,567")
	f(median([]float64{3, 1, 2}), 2.0)
	f(median([]float64{4, 1, 2, 3}), 2.5)
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(100 - i)
	}
	f(percentile(hundred, 50), 50.0)
	f(percentile(hundred, 99), 99.0)
	f(percentile(hundred, 100), 100.0)
	f(percentile([]float64{7}, 50), 7.0)
}

func TestWrongUsage(t *testing.T) {
	for _, args := range [][]string{{"-only", "speed"}, {"-lines", "0"}, {"-runs", "x"}, {"-silent", "a"}, {"agent"}, {"-growth", "0"}} {
		if err := run(t.Context(), args, io.Discard, io.Discard); err == nil {
			t.Errorf("%v was accepted", args)
		}
	}
}

// TestStats holds that the driver reads what the sink process counts.
func TestStats(t *testing.T) {
	b := newBench(t)
	s, err := b.startSink(t.Context(), beside)
	if err != nil {
		t.Fatal(err)
	}
	defer s.kill()
	resp, err := http.Post("http://"+s.addr+"/x/_bulk", "application/x-ndjson", strings.NewReader("{\"create\":{}}\n{\"m\":\"mk:1#1;\"}\n"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	got, err := s.stats()
	if err != nil {
		t.Fatal(err)
	}
	if want := (sink.Stats{Bulks: 1, Lines: 1, Distinct: 1, WireBytes: 30, BodyBytes: 30}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if err := s.reset(); err != nil {
		t.Fatal(err)
	}
	if got, err = s.stats(); err != nil || got != (sink.Stats{}) {
		t.Errorf("after reset %+v %v", got, err)
	}
	if err := s.stop(); err != nil {
		t.Error(err)
	}
}

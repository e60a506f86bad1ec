//go:build linux && !race

package command

import (
	"bytes"
	"fmt"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mesoscope/internal/jsonfile"
	"mesoscope/test/fakees"
)

// The race detector makes an agent several times slower and larger: what is
// measured here would say nothing.

// backlog makes a container with so many lines of 200 bytes.
func backlog(t *testing.T, dir string, i, lines int) {
	t.Helper()
	var total atomic.Int64
	l := newContainerLogger(t, dir, i, jsonfile.Options{}, &total)
	line := []byte(strings.Repeat("0123456789", 20))
	at := time.Now().Add(-time.Hour)
	for n := range lines {
		if err := l.writer.WriteLine("stdout", line, at.Add(time.Duration(n))); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.writer.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestQuietBesideNoisy: a container has far more to say than the sink takes.
// Another one, which says a little, is hardly delayed by that.
func TestQuietBesideNoisy(t *testing.T) {
	const lines, most = 400_000, 2 * time.Second
	dir := t.TempDir()
	var mu sync.Mutex
	arrived := map[string]time.Time{}
	mark := regexp.MustCompile(`quiet \d+ `)
	sink := &fakees.Server{Discard: true, OnBulk: func(b *fakees.Bulk) fakees.Fault {
		mu.Lock()
		defer mu.Unlock()
		if bytes.Contains(b.Body, []byte("quiet ")) {
			for _, m := range mark.FindAll(b.Body, -1) {
				if _, seen := arrived[string(m)]; !seen {
					arrived[string(m)] = time.Now()
				}
			}
		}
		return fakees.Fault{Delay: 100 * time.Millisecond}
	}}
	server := httptest.NewServer(sink)
	defer server.Close()
	backlog(t, dir, 0, lines)
	var total atomic.Int64
	quiet := newContainerLogger(t, dir, 1, jsonfile.Options{}, &total)
	c := start(t, nil, "agent", "--config", agentConfig(t, dir, server.URL, ""))
	c.wait(followingNow)
	until(t, "the noisy one to be read", 20*time.Second, func() bool { return sink.Lines() > 5000 })
	written := map[string]time.Time{}
	for n := 0; sink.Lines() < lines*9/10; n++ {
		text := fmt.Sprintf("quiet %d ", n)
		written[text] = time.Now()
		if err := quiet.writer.WriteLine("stdout", []byte(text), time.Now()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond) // its pace
	}
	until(t, "all of the quiet one's lines", 20*time.Second, func() bool { mu.Lock(); defer mu.Unlock(); return len(arrived) == len(written) })
	worst := time.Duration(0)
	for text, at := range written {
		worst = max(worst, arrived[text].Sub(at))
	}
	t.Logf("%d lines beside %d of the noisy one: the slowest took %s", len(written), lines, worst.Round(time.Millisecond))
	if len(written) < 20 || worst > most {
		t.Errorf("%d quiet lines, the slowest took %s, may take %s", len(written), worst, most)
	}
}

// TestMemoryLimit: nobody takes the lines of containers that have said, and go on
// saying, much more than the memory has room for, one of them in a single line.
// When somebody does again, all of them arrive.
func TestMemoryLimit(t *testing.T) {
	const (
		limit      = 96 << 20
		containers = 8
		lines      = 60_000   // of each: 100 MB altogether
		pieces     = 16 << 10 // of one line: 256 MiB
	)
	dir := t.TempDir()
	for i := range containers {
		backlog(t, dir, i, lines)
	}
	var total atomic.Int64
	huge := newContainerLogger(t, dir, containers, jsonfile.Options{}, &total)
	piece, at := []byte(strings.Repeat("x", jsonfile.ChunkSize)), time.Now()
	for n := range pieces {
		if err := huge.writer.WritePartial("stdout", piece, at, n == pieces-1); err != nil {
			t.Fatal(err)
		}
	}
	away, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := away.Addr().String()
	away.Close()
	config := agentConfig(t, dir, "http://"+address, "")
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, append(text, fmt.Sprintf("memory_limit: %d\n", limit)...), 0o600); err != nil {
		t.Fatal(err)
	}
	c := start(t, nil, "agent", "--config", config)
	url := c.wait(followingNow)
	before := int64(-1)
	until(t, "everything to wait for the sink", 30*time.Second, func() bool {
		now := metricOf(t, url, "mesoscope_bytes_read_total")
		same := now == before && now > 0
		before = now
		time.Sleep(300 * time.Millisecond)
		return same
	})
	sink := comeBack(t, address)
	const want = containers*lines + 1
	until(t, "all lines to arrive", 60*time.Second, func() bool { return sink.Lines() >= want })
	peak := peakMemory(t, c.cmd.Process.Pid)
	t.Logf("%d MiB read ahead while nobody took a line; at most %d MiB resident", before>>20, peak>>20)
	if peak > limit {
		t.Errorf("%d MiB resident, memory_limit is %d MiB", peak>>20, limit>>20)
	}
}

// metricOf is the value of a metric without labels.
func metricOf(t *testing.T, url, name string) int64 {
	t.Helper()
	m := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindStringSubmatch(ask(t, url+"/metrics"))
	if m == nil {
		return 0
	}
	v, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return int64(v)
}

// peakMemory is the largest resident size that a process has had, in bytes.
func peakMemory(t *testing.T, pid int) int64 {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(text)
	if m == nil {
		t.Fatalf("no VmHWM in %s", text)
	}
	n, err := strconv.ParseInt(string(m[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n << 10
}

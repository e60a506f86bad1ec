//go:build e2e && linux

package command

import (
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mesoscope/internal/jsonfile"
)

// What takes too long for every day: a line of a gigabyte, 5,000 containers.

// limited writes the configuration of an agent with a memory_limit.
func limited(t *testing.T, dir, url string, limit int64) string {
	t.Helper()
	config := agentConfig(t, dir, url, "")
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, append(text, fmt.Sprintf("memory_limit: %d\n", limit)...), 0o600); err != nil {
		t.Fatal(err)
	}
	return config
}

func TestGigabyteLine(t *testing.T) {
	t.Run("plain", func(t *testing.T) { hugeLine(t, 64<<10, 10_400_000, 0) })
	t.Run("killed", func(t *testing.T) { hugeLine(t, 64<<10, 10_400_000, 10) })
}

// TestManyContainersAway: 5,000 containers have said more than the memory has
// room for, and go on, while nobody takes a line. The agent stays within
// memory_limit, then and when all of it goes out.
func TestManyContainersAway(t *testing.T) {
	const (
		all   = 5000
		lines = 200 // of each, 240 bytes with what is around them: 240 MB altogether
		limit = 256 << 20
	)
	dir := t.TempDir()
	for i := range all {
		backlog(t, dir, i, lines)
	}
	away, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := away.Addr().String()
	away.Close()
	c := start(t, nil, "agent", "--config", limited(t, dir, "http://"+address, limit))
	began := time.Now()
	url := c.wait(followingNow)
	up := time.Since(began)
	before := int64(-1)
	until(t, "everything to wait for the sink", 60*time.Second, func() bool {
		now := metricOf(t, url, "mesoscope_bytes_read_total")
		same := now == before && now > 0
		before = now
		time.Sleep(time.Second)
		return same
	})
	waiting := peakMemory(t, c.cmd.Process.Pid)
	var total atomic.Int64
	for i := range 500 { // more comes meanwhile
		l := newContainerLogger(t, dir, all+i, jsonfile.Options{}, &total)
		if err := l.writer.WriteLine("stdout", []byte(strings.Repeat("y", 200)), time.Now()); err != nil {
			t.Fatal(err)
		}
		if err := l.writer.Close(); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "the new ones to be followed", 60*time.Second, func() bool {
		return strings.Count(ask(t, url+"/api/v1/sources"), `"service":`) >= all+500
	})
	sink := comeBack(t, address)
	const want = all*lines + 500
	until(t, "all lines to arrive", 120*time.Second, func() bool { return sink.Lines() >= want })
	peak := peakMemory(t, c.cmd.Process.Pid)
	t.Logf("%d containers, working after %s, %d MiB read ahead while nobody took a line: at most %d MiB resident until then, %d MiB in the end", all+500, up.Round(time.Millisecond), before>>20, waiting>>20, peak>>20)
	if peak > limit {
		t.Errorf("%d MiB resident, memory_limit is %d MiB", peak>>20, limit>>20)
	}
}

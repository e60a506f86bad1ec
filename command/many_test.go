//go:build linux

package command

import (
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"mesoscope/internal/jsonfile"
	"mesoscope/test/fakees"
)

// TestManyContainers follows 3,000 containers, 100 of which write and rotate,
// with no more descriptors than a process usually gets: every line arrives, and
// the silent ones keep no file open for which there is no room.
func TestManyContainers(t *testing.T) {
	const (
		all, busy   = 3000, 100
		descriptors = 4096
	)
	dir := t.TempDir()
	sink := &fakees.Server{}
	server := httptest.NewServer(sink)
	defer server.Close()
	config := agentConfig(t, dir, server.URL, "")
	var total atomic.Int64
	var loggers []*logger
	for i := range all {
		opt := jsonfile.Options{}
		if i < busy {
			opt = []jsonfile.Options{{}, {MaxSize: 20_000, MaxFile: 1}, {MaxSize: 20_000, MaxFile: 3}, {MaxSize: 20_000, MaxFile: 2, Compress: true}}[i%4]
		}
		l := newContainerLogger(t, dir, i, opt, &total)
		l.pause = 5 * time.Millisecond
		if i >= busy { // silent from here on
			line := fmt.Sprintf("stdout 0 of container %d", i)
			if err := l.writer.WriteLine("stdout", []byte(line), time.Now()); err != nil {
				t.Fatal(err)
			}
			l.written[0] = append(l.written[0], line)
			total.Add(1)
			if err := l.writer.Close(); err != nil {
				t.Fatal(err)
			}
		}
		loggers = append(loggers, l)
	}

	began := time.Now()
	c := start(t, []string{"sh", "-c", fmt.Sprintf(`ulimit -n %d && exec "$@"`, descriptors), "sh"}, "agent", "--config", config)
	url := c.wait(followingNow)
	up := time.Since(began)
	stop := make(chan struct{})
	var end sync.Once
	t.Cleanup(func() { end.Do(func() { close(stop) }) })
	var writing sync.WaitGroup
	for i, l := range loggers[:busy] {
		r := rand.New(rand.NewPCG(uint64(i), 2))
		writing.Go(func() { l.run(r, stop) })
	}
	until(t, "the first line of each container", 60*time.Second, func() bool { return sink.Lines() >= all })
	first := time.Since(began)
	most := 0
	for range 20 {
		most = max(most, openFiles(t, c.cmd.Process.Pid))
		time.Sleep(100 * time.Millisecond)
	}
	end.Do(func() { close(stop) })
	writing.Wait()
	want := int(total.Load())
	until(t, "all lines to arrive", 60*time.Second, func() bool { return len(sink.Docs("logs-mesos.container-default")) >= want })
	until(t, "everything to be settled", 10*time.Second, func() bool {
		return strings.Contains(ask(t, url+"/metrics"), "\nmesoscope_source_lag_bytes 0\n")
	})
	memory, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	size := func(key string) string {
		return regexp.MustCompile(key + `:\s+(.*)`).FindStringSubmatch(string(memory))[1]
	}
	t.Logf("%d containers, %d writing: working after %v, each container's first line stored after %v, %d lines; %d descriptors at most; VmRSS %s, VmHWM %s",
		all, busy, up.Round(time.Millisecond), first.Round(time.Millisecond), want, most, size("VmRSS"), size("VmHWM"))
	if most > descriptors/2 {
		t.Errorf("%d descriptors are open", most)
	}
	by := stored(t, sink)
	lost, doubled := 0, 0
	for _, l := range loggers {
		a, b := l.compare(by)
		lost, doubled = lost+a, doubled+b
	}
	if lost+doubled > 0 {
		t.Errorf("%d lost, %d doubled", lost, doubled)
	}
	c.signal(syscall.SIGTERM)
	if code := c.code(); code != Done {
		t.Errorf("exit code %d after SIGTERM", code)
	}
}

func openFiles(t *testing.T, pid int) int {
	t.Helper()
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

package collector

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mesoscope/checks/schedule"
)

func TestRoom(t *testing.T) {
	root := t.TempDir()
	if r := readRoom(root); r != (room{}) {
		t.Errorf("%+v of nothing", r)
	}
	for name, text := range map[string]string{"netfilter/nf_conntrack_max": "65536\n", "ipv4/ip_local_port_range": "32768\t60999\n"} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := readRoom(root)
	if r.tracked != 65536 || r.ports != 28232 {
		t.Fatalf("%+v", r)
	}
	plan := func(n int, every time.Duration, class schedule.Class, same bool) string {
		var jobs []schedule.Job
		targets := map[string]string{}
		for i := range n {
			id := fmt.Sprint(i)
			jobs = append(jobs, schedule.Job{ID: id, Every: every, Class: class})
			if targets[id] = id; same {
				targets[id] = "lb:80"
			}
		}
		return r.tooTight(jobs, targets)
	}
	if got := plan(2700, 10*time.Second, schedule.Network, false); got != "" {
		t.Error(got)
	}
	if got := plan(2800, 10*time.Second, schedule.Network, false); !strings.Contains(got, "280 checks a second keep 33600 connections") {
		t.Error(got)
	}
	if got := plan(28000, 10*time.Second, schedule.Exec, false); got != "" {
		t.Error(got)
	}
	r.tracked = 0
	if got := plan(2800, 10*time.Second, schedule.Network, true); !strings.Contains(got, "280 checks a second of lb:80") {
		t.Error(got)
	}
}

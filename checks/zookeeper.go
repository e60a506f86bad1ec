package checks

import (
	"context"
	"io"
	"slices"
	"strings"
	"time"
)

const maxFourLetter = 256 << 10

var zookeeperKind = Kind{
	Summary: "ZooKeeper: it serves, its role, its followers, its queue (four letter words)",
	Target:  "HOST[:2181]",
	Example: `check zookeeper zk1.example.net --followers 2 --warning outstanding=10`,
	Options: []Option{
		{Name: "followers", Placeholder: "N", Help: "How many synced followers a leader must have.", parse: parseCount},
	},
	Metrics: []Limits{
		{Name: "latency", Help: "average, in ms", Warning: "100", Critical: "1000"},
		{Name: "outstanding", Help: "requests that wait", Warning: "100", Critical: "1000"},
		{Name: "connections", Help: "connections of clients"},
		{Name: "descriptors", Help: "percent of the file descriptors", Warning: "80", Critical: "95"},
		{Name: "znodes", Help: "nodes in the tree"},
		{Name: "followers", Help: "of a leader: synced followers"},
	},
	Signals: slices.Concat(networkSignals, []Signal{
		{"serving", Critical, "it is up but serves nobody: no quorum"},
		{"ruok", Critical, "ruok is not answered by imok"},
		{"synced", Critical, "a leader has fewer synced followers than --followers"},
	}),
	Facts:   []string{"RESPONSE_TIME", "IP", "BODY", "CONNECTED"},
	address: hostPort(2181),
	check:   checkZooKeeper,
}

// checkZooKeeper asks mntr, or srvr where that is not allowed. Each word needs
// a connection of its own.
func checkZooKeeper(ctx context.Context, t Target) (r Result) {
	ok, err := fourLetters(ctx, &r, t, "ruok")
	if err != nil {
		r.failed(t, err, "waiting for imok")
		return r
	}
	if ok != "imok" && !notAllowed(ok) {
		if !strings.HasPrefix(ok, "This ZooKeeper instance") {
			r.find(Critical, "protocol", "ruok is answered by %s", clip(ok))
			return r
		}
		r.find(Critical, "ruok", "ruok is answered by %s", clip(ok))
	}
	for _, word := range []string{"mntr", "srvr"} {
		answer, err := fourLetters(ctx, &r, t, word)
		if err != nil {
			r.failed(t, err, "waiting for the answer to "+word)
			return r
		}
		r.answer([]byte(answer))
		switch {
		case notAllowed(answer):
			continue
		case strings.Contains(answer, "not currently serving requests"):
			r.find(Critical, "serving", "it serves no requests: there is no quorum")
			return r
		}
		facts := parseFourLetter(answer)
		if facts["zk_server_state"] == "" {
			r.find(Critical, "protocol", "%s is answered by %s", word, clip(answer))
			return r
		}
		r.judgeZooKeeper(t, facts)
		return r
	}
	r.say("alive; mntr and srvr are not in 4lw.commands.whitelist, signals not read")
	return r
}

func notAllowed(answer string) bool { return strings.Contains(answer, "is not executed because") }

// fourLetters sends a word and reads until the other side closes.
func fourLetters(ctx context.Context, r *Result, t Target, word string) (string, error) {
	s, err := connect(ctx, r, "tcp", t.Address, maxFourLetter)
	if err != nil {
		return "", err
	}
	defer s.Close()
	defer r.phase("wait", time.Now())
	if _, err := io.WriteString(s, word); err != nil {
		return "", err
	}
	b, err := io.ReadAll(s.in)
	if err == nil && len(b) == 0 {
		err = io.EOF
	}
	return strings.TrimSpace(string(b)), err
}

// parseFourLetter reads the lines of mntr ("zk_name\tvalue") and those of srvr
// ("Name: value"), whose names become those of mntr.
func parseFourLetter(s string) map[string]string {
	names := map[string]string{
		"Mode": "zk_server_state", "Outstanding": "zk_outstanding_requests", "Connections": "zk_num_alive_connections",
		"Node count": "zk_znode_count", "Zookeeper version": "zk_version",
	}
	out := map[string]string{}
	for line := range strings.Lines(s) {
		line = strings.TrimSpace(line)
		if name, text, ok := strings.Cut(line, "\t"); ok {
			out[name] = strings.TrimSpace(text)
			continue
		}
		name, text, _ := strings.Cut(line, ": ")
		if known := names[name]; known != "" {
			out[known] = strings.TrimSpace(text)
		}
		if strings.HasPrefix(name, "Latency min/avg/max") {
			if parts := strings.Split(text, "/"); len(parts) == 3 {
				out["zk_avg_latency"] = parts[1]
			}
		}
	}
	return out
}

func (r *Result) judgeZooKeeper(t Target, facts map[string]string) {
	measure := func(metric, fact, unit string) {
		if f, err := finite(facts[fact]); err == nil {
			r.measure(metric, f, unit)
		}
	}
	measure("latency", "zk_avg_latency", "ms")
	measure("outstanding", "zk_outstanding_requests", "")
	measure("connections", "zk_num_alive_connections", "")
	measure("znodes", "zk_znode_count", "")
	open, err1 := finite(facts["zk_open_file_descriptor_count"])
	most, err2 := finite(facts["zk_max_file_descriptor_count"])
	if err1 == nil && err2 == nil && most > 0 {
		r.measure("descriptors", percent(open, most), "%")
	}
	state := facts["zk_server_state"]
	version, _, _ := strings.Cut(facts["zk_version"], "-")
	r.say("%s, ZooKeeper %s", state, version)
	if state != "leader" {
		return
	}
	measure("followers", "zk_synced_followers", "")
	have, err := finite(facts["zk_synced_followers"])
	if want := value[int](t, "followers"); err == nil && have < float64(want) {
		r.find(Critical, "synced", "leader with %d synced followers, wanted %d", int(have), want)
	}
}

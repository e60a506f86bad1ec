package checks

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
)

// zookeeper answers each word and closes.
func zookeeper(answers map[string]string) func(net.Conn) {
	return func(c net.Conn) {
		word := make([]byte, 4)
		if _, err := io.ReadFull(c, word); err == nil {
			io.WriteString(c, answers[string(word)])
		}
	}
}

const leader = "zk_version\t3.8.0-5a02a05eddb59aee6ac762f7ea82e92a68eb9c0f, built on 2022-02-25\n" +
	"zk_server_state\tleader\nzk_avg_latency\t0.5\nzk_outstanding_requests\t1\nzk_num_alive_connections\t7\nzk_znode_count\t42\n" +
	"zk_open_file_descriptor_count\t60\nzk_max_file_descriptor_count\t100\nzk_synced_followers\t2\n"

func mntr(old, now string) func(net.Conn) {
	return zookeeper(map[string]string{"ruok": "imok", "mntr": strings.Replace(leader, old, now, 1)})
}

func TestZooKeeper(t *testing.T) {
	no := " is not executed because it is not in the whitelist.\n"
	srvr := "Zookeeper version: 3.4.6-1569965, built on 02/20/2014 09:09 GMT\nLatency min/avg/max: 0/3/9\nReceived: 1\nConnections: 5\nOutstanding: 0\nZxid: 0x1\nMode: follower\nNode count: 4\n"
	trials := append(withForm(t, "%s", broken(nil)), []trial{
		{name: "leader", serve: mntr("", ""), text: "leader, ZooKeeper 3.8.0", metrics: "latency=0.5ms;100;1000 connections=7 znodes=42 descriptors=60%;80;95 followers=2"},
		{name: "enough followers", serve: mntr("", ""), options: opt("followers", "2")},
		{name: "too few followers", serve: mntr("", ""), options: opt("followers", "4"), want: Critical, signal: "synced", text: "2 synced followers, wanted 4"},
		{name: "old srvr", serve: zookeeper(map[string]string{"ruok": "ruok" + no, "mntr": "mntr" + no, "srvr": srvr}), text: "follower, ZooKeeper 3.4.6", metrics: "latency=3ms;100;1000 connections=5"},
		{name: "nothing allowed", serve: zookeeper(map[string]string{"ruok": "ruok" + no, "mntr": "mntr" + no, "srvr": "srvr" + no}), text: "4lw.commands.whitelist"},
		{name: "no quorum", serve: zookeeper(map[string]string{"ruok": "imok", "mntr": "This ZooKeeper instance is not currently serving requests\n"}), want: Critical, signal: "serving"},
		{name: "not ok", serve: zookeeper(map[string]string{"ruok": "This ZooKeeper instance is broken", "mntr": leader}), want: Critical, signal: "ruok"},
		{name: "slow requests", serve: mntr("latency\t0.5", "latency\t200"), want: Warning, signal: "latency"},
		{name: "queue", serve: mntr("requests\t1", "requests\t1001"), want: Critical, signal: "outstanding"},
		{name: "descriptors", serve: mntr("count\t60", "count\t96"), want: Critical, signal: "descriptors"},
		{name: "no state", serve: mntr("zk_server_state", "x"), want: Critical, signal: "protocol"},
		{name: "huge", serve: zookeeper(map[string]string{"ruok": string(bytes.Repeat([]byte("x"), 1<<20))}), want: Critical, signal: "protocol", text: "larger than 256 KiB"},
		{name: "HTTP", serve: answer(400, ""), options: opt("timeout", "200ms"), want: Critical, signal: "timeout"},
		{name: "bad number", address: "x", options: opt("followers", "0"), want: Unknown, signal: "options", text: "--followers"},
	}...)
	for i := range trials {
		if trials[i].name == "garbage" { // it must close to be heard
			trials[i].serve = zookeeper(map[string]string{"ruok": "\x00\xff|garbage"})
		}
	}
	testKind(t, "zookeeper", "%s", trials)
}

func FuzzFourLetter(f *testing.F) {
	f.Add(leader)
	f.Add("Latency min/avg/max: 0/3/9\nMode: follower\n")
	f.Fuzz(func(t *testing.T, s string) {
		r := Result{}
		r.judgeZooKeeper(Target{}, parseFourLetter(s))
		for _, m := range r.Metrics {
			if m.Value != m.Value {
				t.Errorf("%s is no number", m.Name)
			}
		}
	})
}

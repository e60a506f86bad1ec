package main

import (
	"context"
	"embed"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"text/template"
)

// peerFiles are the configurations of other agents, each the quickest that we
// know: message, stream, time and path of each line, in large bulks, with state
// on disk where the agent has one.
//
//go:embed peers
var peerFiles embed.FS

// A peer is another agent in one mode.
type peer struct {
	program string // on the PATH
	file    string // its configuration, a template below peers/
	more    string // one that this includes
	gzip    int
	argv    func(config, dir string) []string // behind the program
}

var peers = []peer{
	{program: "fluent-bit", file: "fluent-bit.conf", more: "parsers.conf", argv: fluentBit},
	{program: "fluent-bit", file: "fluent-bit.conf", more: "parsers.conf", gzip: 1, argv: fluentBit},
	{program: "otelcol", file: "otelcol.yml", argv: otelcol},
	{program: "otelcol", file: "otelcol.yml", gzip: 1, argv: otelcol},
	{program: "syslog-ng", file: "syslog-ng.conf", argv: func(config, dir string) []string {
		return []string{"-F", "--no-caps", "-f", config, "-R", dir + "/persist", "-p", dir + "/pid", "-c", dir + "/control"}
	}},
	{program: "rsyslogd", file: "rsyslog.conf", argv: func(config, dir string) []string {
		return []string{"-n", "-f", config, "-i", dir + "/pid"}
	}},
	{program: "filebeat", file: "filebeat.yml", argv: filebeat},
	{program: "filebeat", file: "filebeat.yml", gzip: 1, argv: filebeat},
}

func fluentBit(config, _ string) []string { return []string{"-c", config} }
func otelcol(config, _ string) []string   { return []string{"--config", config} }
func filebeat(config, _ string) []string {
	return []string{"-c", config, "--strict.perms=false"}
}

// setUp writes the configuration and returns what to start.
func (p peer) setUp(path, root, sink, dir string) (argv []string, err error) {
	host, port, err := net.SplitHostPort(sink)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{p.more, p.file} {
		if name == "" {
			continue
		}
		t, err := template.ParseFS(peerFiles, "peers/"+name)
		if err != nil {
			return nil, err
		}
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
		if err != nil {
			return nil, err
		}
		err = t.Execute(f, struct {
			Root, Host, Port, Dir string
			Gzip                  int
		}{root, host, port, dir, p.gzip})
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return nil, err
		}
	}
	return append([]string{path}, p.argv(filepath.Join(dir, p.file), dir)...), nil
}

// measurePeers ships one corpus with the agent and with each other agent that
// is here, in turns.
func (b *bench) measurePeers(ctx context.Context) (*table, error) {
	const containers = 20
	root, size, err := b.corpus(containers, b.lines)
	if err != nil {
		return nil, err
	}
	s, err := b.startSink(ctx, beside)
	if err != nil {
		return nil, err
	}
	defer s.kill()
	type subject struct {
		name string
		ours bool
		run  func() (result, error)
		seen []result
	}
	agent := func(gzip int) func() (result, error) {
		return func() (result, error) {
			return b.runOnce(ctx, s, task{root: root, lines: b.lines, gzip: gzip, on: measured}, []string{b.bin, "agent"})
		}
	}
	subjects := []*subject{{name: "mesoscope, gzip off", ours: true, run: agent(0)}, {name: "mesoscope, gzip on", ours: true, run: agent(1)}}
	for _, p := range peers {
		path, err := exec.LookPath(p.program)
		if err != nil {
			b.progress("peers: no %s on the PATH", p.program)
			continue
		}
		subjects = append(subjects, &subject{name: p.program + ", gzip " + onOff(p.gzip), run: func() (result, error) {
			return b.runPeer(ctx, s, p, path, root)
		}})
	}
	var failed error
	for i := range b.runs {
		for _, x := range subjects {
			r, err := x.run()
			if err != nil {
				failed = fmt.Errorf("%s: %w", x.name, err)
				b.progress("peers: %v", failed)
				if ctx.Err() != nil {
					return nil, ctx.Err()
				}
				continue
			}
			b.progress("peers %d/%d: %s: %s lines/CPU s", i+1, b.runs, x.name, thousands(r.perCPU()))
			x.seen = append(x.seen, r)
		}
	}
	t := &table{title: fmt.Sprintf("Peers: %s lines (%s MB) of %d containers on one core, median of %d", thousands(float64(b.lines)), thousands(float64(size)/1e6), containers, b.runs)}
	t.add("", "lines/CPU s", "range", "CPU µs/line", "lines/s", "peak MiB", "wire B/line", "body B/line", "bulks", "lost", "doubled", "cut")
	for _, x := range subjects {
		if len(x.seen) == 0 {
			continue
		}
		per := summary(x.seen, (result).perCPU)
		last := x.seen[len(x.seen)-1]
		lost, doubled := losses(x.seen)
		lines, cut := float64(last.lines), int64(0)
		for _, r := range x.seen {
			if !x.ours { // of ours, receipts have no marker
				cut += r.stats.Unmarked
			}
		}
		t.add(x.name, thousands(per.median), thousands(per.low)+"-"+thousands(per.high), fmt.Sprintf("%.2f", 1e6/per.median),
			thousands(summary(x.seen, func(r result) float64 { return float64(r.lines) / r.wall.Seconds() }).median),
			mib(int64(summary(x.seen, func(r result) float64 { return float64(r.peak) }).high)),
			fmt.Sprintf("%.0f", float64(last.stats.WireBytes)/lines), fmt.Sprintf("%.0f", float64(last.stats.BodyBytes)/lines),
			thousands(float64(last.stats.Bulks)), strconv.FormatInt(lost-cut, 10), strconv.FormatInt(doubled, 10), strconv.FormatInt(cut, 10))
	}
	t.notes = []string{"Mesoscope sends all metadata with each line, the others message, stream, time and path; otelcol over OTLP/HTTP. Their configurations: test/bench/peers.",
		"cut: lines whose message ended at a NUL character, over all runs."}
	return t, failed
}

// runPeer ships a corpus with another agent that has not seen it before.
func (b *bench) runPeer(ctx context.Context, s *remote, p peer, path, root string) (result, error) {
	set, err := b.newSetup(root, "")
	if err != nil {
		return result{}, err
	}
	defer set.remove()
	argv, err := p.setUp(path, root, s.addr, set.dir)
	if err != nil {
		return result{}, err
	}
	return b.ship(ctx, s, task{root: root, lines: b.lines, gzip: p.gzip, on: measured, cut: true}, argv)
}

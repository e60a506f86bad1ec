package main

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

func TestChecks(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the target listens on 127.0.1.0/24, which other systems do not have")
	}
	b := newBench(t)
	b.runs = 1
	b.engines = []engineCase{{"http", "http", 20, 50 * time.Millisecond, 1}, {"tcp", "tcp", 20, 50 * time.Millisecond, 1}}
	table, err := b.measureChecks(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range table.rows[1:] {
		if row[1] == "0" || row[10] != "0" {
			t.Errorf("nothing done, or badly: %v", row)
		}
	}
	target, port, err := b.startTarget(t.Context(), beside)
	if err != nil {
		t.Fatal(err)
	}
	defer target.kill()
	listen, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	modules := filepath.Join(t.TempDir(), "blackbox.yml")
	if err := os.WriteFile(modules, []byte("modules: {http: {prober: http}, tcp: {prober: tcp}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := start(measured, b.self, "prober", "-listen", listen, "-modules", modules)
	if err != nil {
		t.Fatal(err)
	}
	defer p.kill()
	if err := p.listens(t.Context(), listen); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"http", "tcp"} {
		if cpu, err := p.probes(t.Context(), listen, kind, port, 50); err != nil || cpu <= 0 {
			t.Errorf("%s: %v CPU, %v", kind, cpu, err)
		}
	}
	if _, err := p.probes(t.Context(), listen, "tcp", "1", 1); err == nil {
		t.Error("a probe that fails is counted as work")
	}
}

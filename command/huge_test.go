package command

import (
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mesoscope/internal/jsonfile"
	"mesoscope/test/fakees"
)

// TestKilledInHugeLine: a line of a quarter of a gigabyte fills a hundred files,
// each of which Docker unlinks, while the agent is killed again and again. Its
// beginning is stored once, and so are the lines around it and those of the other
// stream in between.
func TestKilledInHugeLine(t *testing.T) { hugeLine(t, 16<<10, 2_600_000, 6) }

// hugeLine is a line of so many pieces, over files of maxSize, with kills of the
// agent within it.
func hugeLine(t *testing.T, pieces int, maxSize int64, kills int) {
	dir := t.TempDir()
	sink := &fakees.Server{}
	server := httptest.NewServer(sink)
	defer server.Close()
	config := agentConfig(t, dir, server.URL, "")
	var total atomic.Int64
	l := newContainerLogger(t, dir, 0, jsonfile.Options{MaxSize: maxSize, MaxFile: 1}, &total)
	write := func(stream, text string, at time.Time, ends bool) {
		for began := time.Now(); !l.mayRotate(); time.Sleep(time.Millisecond) {
			if time.Since(began) > 20*time.Second {
				t.Fatal("no agent has taken hold of the file")
			}
		}
		if err := l.writer.WritePartial(stream, []byte(text), at, ends); err != nil {
			t.Fatal(err)
		}
	}
	at := time.Now().Add(-time.Hour)
	piece := strings.Repeat("0123456789abcdef", jsonfile.ChunkSize/16)
	c := start(t, nil, "agent", "--config", config)
	c.wait(followingNow)
	write("stdout", "before", at, true)
	others := 0
	for n := range pieces {
		write("stdout", piece, at.Add(1), n == pieces-1)
		if n%512 == 100 {
			others++
			write("stderr", "meanwhile", at.Add(time.Duration(2+n)), true)
		}
		if kills > 0 && n%(pieces/kills) == pieces/kills-1 {
			c.kill()
			c = start(t, nil, "agent", "--config", config)
			c.wait(followingNow)
		}
	}
	write("stdout", "after", at.Add(time.Minute), true)
	want := 3 + others
	until(t, "all lines to arrive", 30*time.Second, func() bool { return len(lineDocs(sink)) >= want })
	by := stored(t, sink)
	out := by[l.id+"/stdout"]
	if len(out) != 3 || len(by[l.id+"/stderr"]) != others {
		t.Fatalf("%d and %d lines are stored, want 3 and %d", len(out), len(by[l.id+"/stderr"]), others)
	}
	if out[0].Message != "before" || out[2].Message != "after" || len(out[1].Message) != 1<<20 || !strings.HasPrefix(out[1].Message, piece[:100]) {
		t.Errorf("stored are lines of %d, %d and %d bytes", len(out[0].Message), len(out[1].Message), len(out[2].Message))
	}
	c.kill()
}

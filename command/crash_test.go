package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"mesoscope/internal/jsonfile"
	"mesoscope/test/fakees"
)

// A logger is a container that writes numbered lines until it is stopped.
type logger struct {
	t      *testing.T
	id     string
	dir    string // of everything
	opt    jsonfile.Options
	pause  time.Duration
	writer *jsonfile.Writer
	unseen int // rotations since the live file was last seen to be held

	written [2][]string
	total   *atomic.Int64
}

var streams = [2]string{"stdout", "stderr"}

func newContainerLogger(t *testing.T, dir string, i int, opt jsonfile.Options, total *atomic.Int64) *logger {
	l := &logger{t: t, id: fmt.Sprintf("%064x", i+1), dir: dir, opt: opt, total: total}
	root := filepath.Join(dir, "docker")
	if err := jsonfile.WriteConfig(root, jsonfile.Container{ID: l.id, Name: fmt.Sprintf("c%d", i), Image: "x:1", Running: true, Created: time.Now(), Log: opt}); err != nil {
		t.Fatal(err)
	}
	var err error
	if l.writer, err = jsonfile.Open(jsonfile.LogPath(root, l.id), opt); err != nil {
		t.Fatal(err)
	}
	return l
}

// mayRotate says whether the next rotation leaves what the agent needs: a file
// that no agent has ever seen must not vanish, since while no agent runs nobody
// can hold it. So a generation lives longer than the agent is down.
func (l *logger) mayRotate() bool {
	fi, err := os.Stat(l.writer.Path())
	if err != nil || fi.Size() < l.opt.MaxSize {
		return true
	}
	if l.held(fi) {
		l.unseen = 0
		return true
	}
	if l.unseen+1 >= max(1, l.opt.MaxFile) {
		return false
	}
	l.unseen++
	return true
}

// held says whether an agent has taken hold of a file of the log.
func (l *logger) held(fi os.FileInfo) bool {
	links, _ := os.ReadDir(l.holdFolder())
	return slices.ContainsFunc(links, func(e os.DirEntry) bool {
		return strings.Contains(e.Name(), fmt.Sprintf("_%d_", fi.Sys().(*syscall.Stat_t).Ino))
	})
}

func (l *logger) holdFolder() string { return filepath.Join(l.dir, "docker", "mesoscope-hold", l.id) }

// remove removes the container, as docker rm does.
func (l *logger) remove() {
	if err := l.writer.Close(); err != nil {
		l.t.Error(err)
	}
	if err := os.RemoveAll(jsonfile.Dir(filepath.Join(l.dir, "docker"), l.id)); err != nil {
		l.t.Error(err)
	}
}

// run writes until stop is closed.
func (l *logger) run(r *rand.Rand, stop <-chan struct{}) {
	last := time.Now()
	for {
		k := r.IntN(2)
		size := r.IntN(300)
		if r.IntN(60) == 0 {
			size = []int{16383, 16384, 16385, 50_000}[r.IntN(4)]
		}
		line := fmt.Sprintf("%s %d %s", streams[k], len(l.written[k]), strings.Repeat("x", size))
		now := time.Now()
		if !now.After(last) {
			now = last.Add(1)
		}
		last = now
		for rest := line; ; {
			for began := time.Now(); l.opt.MaxSize > 0 && !l.mayRotate(); time.Sleep(2 * time.Millisecond) {
				if time.Since(began) > 20*time.Second {
					l.t.Errorf("%s: no agent has taken hold of its file", l.id[60:])
					return
				}
			}
			n := min(len(rest), jsonfile.ChunkSize)
			ends := n == len(rest) && n < jsonfile.ChunkSize
			if err := l.writer.WritePartial(streams[k], []byte(rest[:n]), now, ends); err != nil {
				l.t.Error(err)
				return
			}
			if rest = rest[n:]; ends {
				break
			}
		}
		l.written[k] = append(l.written[k], line)
		l.total.Add(1)
		select {
		case <-stop:
			return
		case <-time.After(l.pause):
		}
	}
}

// A storedLine is a line as it was stored.
type storedLine struct {
	Time    time.Time `json:"@timestamp"`
	Message string    `json:"message"`
	Stream  string    `json:"stream"`
	Log     struct {
		Offset int64 `json:"offset"`
		File   struct {
			Generation string `json:"generation"`
		} `json:"file"`
	} `json:"log"`
	Event struct {
		Sequence int64 `json:"sequence"`
	} `json:"event"`
	Container struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	} `json:"container"`
}

// lineDocs are the documents of lines: what the agent notes about the log beside
// them (a file may have come and gone while no agent ran) has no number.
func lineDocs(sink *fakees.Server) []fakees.Doc {
	return slices.DeleteFunc(sink.Docs("logs-mesos.container-default"), func(d fakees.Doc) bool {
		return !strings.Contains(string(d.Source), `"event":{"sequence":`)
	})
}

// stored are the documents by container and stream, in the order of their own
// times and offsets: in what order they arrived is of no consequence when the
// process was killed in between.
func stored(t *testing.T, sink *fakees.Server) map[string][]storedLine {
	t.Helper()
	by := map[string][]storedLine{}
	for _, d := range lineDocs(sink) {
		var doc storedLine
		if err := json.Unmarshal(d.Source, &doc); err != nil {
			t.Fatalf("%v: %s", err, d.Source)
		}
		key := doc.Container.ID + "/" + doc.Stream
		by[key] = append(by[key], doc)
	}
	for _, docs := range by {
		slices.SortStableFunc(docs, func(a, b storedLine) int {
			if c := a.Time.Compare(b.Time); c != 0 {
				return c
			}
			return int(a.Log.Offset - b.Log.Offset)
		})
	}
	return by
}

// compare says what was lost, doubled or out of order, and returns the first
// two numbers.
func (l *logger) compare(by map[string][]storedLine) (lost, doubled int) {
	for k, name := range streams {
		docs := by[l.id+"/"+name]
		count := map[string]int{}
		next := map[string]int64{}
		for i, d := range docs {
			count[d.Message]++
			if d.Container.Name == "" {
				l.t.Errorf("%s %s: no container.name in line %d", l.id[60:], name, i)
			}
			if i < len(l.written[k]) && d.Message != l.written[k][i] && lost+doubled == 0 {
				l.t.Errorf("%s %s: line %d is %.60q, want %.60q", l.id[60:], name, i, d.Message, l.written[k][i])
			}
			if next[d.Log.File.Generation]++; d.Event.Sequence != next[d.Log.File.Generation] {
				l.t.Errorf("%s %s: line %d of its file has event.sequence %d, %.40q", l.id[60:], name, next[d.Log.File.Generation], d.Event.Sequence, d.Message)
			}
		}
		for _, line := range l.written[k] {
			switch n := count[line]; {
			case n == 0:
				lost++
			case n > 1:
				doubled += n - 1
			}
		}
		if extra := len(docs) - len(count); extra > 0 || len(count) > len(l.written[k]) {
			l.t.Errorf("%s %s: %d documents, %d different ones, %d lines", l.id[60:], name, len(docs), len(count), len(l.written[k]))
		}
	}
	return lost, doubled
}

// TestKilledTwentyTimes kills the agent in the middle of its work, again and
// again, while containers write and rotate, with a sink that is slow now and
// then and loses answers. In the end what is stored is what was written.
func TestKilledTwentyTimes(t *testing.T) {
	const kills = 20
	dir := t.TempDir()
	r := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	var chance sync.Mutex
	dice := func(n int) int { chance.Lock(); defer chance.Unlock(); return r.IntN(n) }
	sink := &fakees.Server{OnBulk: func(b *fakees.Bulk) fakees.Fault {
		f := fakees.Fault{Delay: time.Duration(dice(20)) * time.Millisecond}
		switch dice(20) {
		case 0:
			f.Cut, f.Apply = true, true // stored, and nobody knows
		case 1:
			f.Status, f.Type, f.Reason = 503, "unavailable", "for the test"
		}
		return f
	}}
	server := httptest.NewServer(sink)
	defer server.Close()
	config := agentConfig(t, dir, server.URL, "")

	var total atomic.Int64
	var loggers []*logger
	for i, opt := range []jsonfile.Options{
		{},
		{MaxSize: 30_000, MaxFile: 1}, // unlinked
		{MaxSize: 60_000, MaxFile: 1},
		{MaxSize: 30_000, MaxFile: 3}, // renamed
		{MaxSize: 40_000, MaxFile: 3, Compress: true},
		{MaxSize: 20_000, MaxFile: 2, Compress: true},
	} {
		l := newContainerLogger(t, dir, i, opt, &total)
		l.pause = time.Duration(1+i) * time.Millisecond
		loggers = append(loggers, l)
	}
	const removed = 3 // of the containers are removed while no agent runs
	stop, stopSome := make(chan struct{}), make(chan struct{})
	var writing, writingSome sync.WaitGroup
	for i, l := range loggers {
		lr := rand.New(rand.NewPCG(uint64(i), 1))
		if i < removed {
			writingSome.Go(func() { l.run(lr, stopSome) })
		} else {
			writing.Go(func() { l.run(lr, stop) })
		}
	}
	endSome := sync.OnceFunc(func() { close(stopSome) })
	end := sync.OnceFunc(func() { close(stop) })
	t.Cleanup(func() { end(); endSome() })

	for i := range kills {
		c := start(t, nil, "agent", "--config", config)
		c.wait(followingNow)
		if i%4 != 0 { // each fourth time before it could do much
			before := sink.Lines()
			until(t, "lines to arrive", 20*time.Second, func() bool { return sink.Lines() > before })
		}
		// Some live long enough for a checkpoint or two, which come each second.
		time.Sleep(time.Duration(dice([]int{50, 300, 300, 1500}[i%4])) * time.Millisecond)
		if i == kills-1 {
			endSome()
			writingSome.Wait()
			for _, l := range loggers[:removed] {
				fi, err := os.Stat(l.writer.Path())
				if err != nil {
					t.Fatal(err)
				}
				until(t, "the last lines to be held", 20*time.Second, func() bool {
					_, err := os.Stat(filepath.Join(l.holdFolder(), "container.json"))
					return err == nil && l.held(fi)
				})
			}
		}
		c.kill()
	}
	for _, l := range loggers[:removed] {
		l.remove()
	}
	c := start(t, nil, "agent", "--config", config)
	url := c.wait(followingNow)
	end()
	writing.Wait()
	want := int(total.Load())
	stable := 0
	until(t, "all lines to arrive", 30*time.Second, func() bool {
		n := len(lineDocs(sink))
		stable = n
		return n >= want
	})
	until(t, "everything to be settled", 10*time.Second, func() bool {
		return strings.Contains(ask(t, url+"/metrics"), "\nmesoscope_source_lag_bytes 0\n")
	})
	for _, l := range loggers[:removed] {
		until(t, "a removed container to be forgotten", 10*time.Second, func() bool {
			_, err := os.Stat(l.holdFolder())
			return errors.Is(err, os.ErrNotExist)
		})
	}
	c.signal(syscall.SIGTERM)
	if code := c.code(); code != Done {
		t.Errorf("exit code %d after SIGTERM", code)
	}
	lost, doubled, rotations := 0, 0, 0
	by := stored(t, sink)
	generations := map[string]bool{}
	for _, docs := range by {
		for _, d := range docs {
			generations[d.Container.ID+d.Log.File.Generation] = true
		}
	}
	rotations = len(generations) - len(loggers)
	for _, l := range loggers {
		a, b := l.compare(by)
		lost, doubled = lost+a, doubled+b
	}
	t.Logf("%d lines written, %d stored, %d kills, %d rotations, %d bulks: %d lost, %d doubled", want, stable, kills, rotations, sink.Bulks(), lost, doubled)
	if lost+doubled > 0 || stable != want {
		t.Error("not exactly once")
	}
	if rotations < kills {
		t.Errorf("only %d rotations: too quiet to prove anything", rotations)
	}
}

package discover

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A seen collects the sets that a Discoverer sends.
type seen struct {
	t      *testing.T
	d      *Discoverer
	cancel context.CancelFunc
	ended  chan struct{}

	mu     sync.Mutex
	set    map[string]Container
	ever   map[string]bool // every id that was in a set and might be read
	sets   int
	change chan struct{} // closed at each set
}

// discoverFor runs a Discoverer until the end of the test or stop.
func discoverFor(t *testing.T, opt Options) *seen {
	t.Helper()
	if opt.Log == nil {
		opt.Log = slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	d, err := New(opt)
	if err != nil {
		t.Fatal(err)
	}
	return follow(t, d)
}

func follow(t *testing.T, d *Discoverer) *seen {
	ctx, cancel := context.WithCancel(t.Context())
	s := &seen{t: t, d: d, cancel: cancel, ended: make(chan struct{}), change: make(chan struct{}), ever: make(map[string]bool)}
	out := make(chan []Container)
	go func() {
		defer close(s.ended)
		_ = d.Run(ctx, out)
	}()
	go func() {
		for {
			select {
			case <-s.ended:
				return
			case set := <-out:
				s.mu.Lock()
				s.set = make(map[string]Container, len(set))
				for _, c := range set {
					s.set[c.ID] = c
					s.ever[c.ID] = s.ever[c.ID] || !c.Waiting
				}
				s.sets++
				close(s.change)
				s.change = make(chan struct{})
				s.mu.Unlock()
			}
		}
	}()
	t.Cleanup(s.stop)
	return s
}

func (s *seen) stop() { s.cancel(); <-s.ended }

// wait waits until the set is as the function wants it.
func (s *seen) wait(what string, ok func(set map[string]Container) bool) {
	s.t.Helper()
	deadline := time.After(90 * time.Second) // a busy machine
	for {
		s.mu.Lock()
		change := s.change
		good := s.set != nil && ok(s.set)
		s.mu.Unlock()
		if good {
			return
		}
		select {
		case <-change:
		case <-deadline:
			s.mu.Lock()
			defer s.mu.Unlock()
			s.t.Fatalf("%s: not seen; the set: %+v", what, s.set)
		}
	}
}

// container waits for one container to be as wanted and returns it.
func (s *seen) container(id string, ok func(Container) bool) (found Container) {
	s.t.Helper()
	s.wait("container "+id[:12], func(set map[string]Container) bool {
		c, there := set[id]
		if there && ok(c) {
			found = c
			return true
		}
		return false
	})
	return found
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	defer func() { _ = recover() }() // a goroutine that logs when its test has ended
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// fullID makes a container id of a short one.
func fullID(short string) string {
	return short + strings.Repeat("0", 64-len(short))
}

// A fakeRoot is a docker root as dockerd leaves it on disk.
type fakeRoot struct {
	t    testing.TB
	root string
}

func newFakeRoot(t testing.TB) fakeRoot {
	t.Helper()
	r := fakeRoot{t, t.TempDir()}
	if err := os.Mkdir(filepath.Join(r.root, "containers"), 0o700); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r fakeRoot) dir(id string) string { return filepath.Join(r.root, "containers", id) }

// mkdir is what dockerd does first.
func (r fakeRoot) mkdir(id string) {
	r.t.Helper()
	if err := os.Mkdir(r.dir(id), 0o700); err != nil {
		r.t.Fatal(err)
	}
}

// write writes a file of the container as dockerd does it: aside, then rename.
func (r fakeRoot) write(id, name, content string) {
	r.t.Helper()
	path := filepath.Join(r.dir(id), name)
	if err := os.WriteFile(path+".tmp", []byte(content), 0o600); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		r.t.Fatal(err)
	}
}

// everSeen says whether the container was in any set, to be read.
func (s *seen) everSeen(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ever[id]
}

func textLog(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

// until polls for what has no notice.
func until(t *testing.T, what string, d time.Duration, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(d); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, d)
		}
	}
}

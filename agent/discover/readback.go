package discover

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"time"

	"github.com/docker/docker/client"
)

// readback reads the logs of containers whose files cannot be followed (the
// drivers local and journald, dual logging, no right to read) through the
// Docker API and writes them to local copies in json-file's format, which are
// then followed like any json-file. One follower a container; its position is
// the end of its copy, so nothing else has to be kept in step with it.
//
//	<CopyDir>/<id>/container.json       as known; the container may go first
//	<CopyDir>/<id>/<id>-json.log        the copy, and .1 .2 … as it is rotated
type readback struct {
	dir        string // Options.CopyDir
	containers string // <docker.root>/containers
	settled    func(id string, file os.FileInfo) bool
	client     *client.Client
	log        *slog.Logger
	m          *metrics

	// Set by start.
	ctx     context.Context
	wg      *sync.WaitGroup
	changed func(id string) // tells Run to look again

	mu        sync.Mutex
	followers map[string]*follower
}

func newReadback(opt Options, c *client.Client, containers string, m *metrics) *readback {
	settled := opt.Settled
	if settled == nil {
		settled = func(string, os.FileInfo) bool { return false }
	}
	return &readback{dir: opt.CopyDir, containers: containers, settled: settled, client: c, log: opt.Log, m: m,
		followers: make(map[string]*follower)}
}

// start goes on with the copies that an earlier run has left: their containers
// may have more lines, or may have gone while lines of the copy are unread.
func (r *readback) start(ctx context.Context, wg *sync.WaitGroup, changed func(id string)) {
	r.ctx, r.wg, r.changed = ctx, wg, changed
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			r.log.Error("local copies of an earlier run cannot be listed", "err", err)
		}
		return
	}
	for _, e := range entries {
		if !isID(e.Name()) {
			continue
		}
		c, err := ReadContainer(filepath.Join(r.dir, e.Name()))
		if err != nil {
			r.log.Warn("what is known of a container with a local copy cannot be read; the Docker API is asked again", "err", err)
			c = bare(e.Name())
		}
		r.ensure(c)
		changed(c.ID)
	}
}

// place makes c a container that is followed by its copy.
func (r *readback) place(c *Container) {
	f := r.ensure(*c)
	f.mu.Lock()
	defer f.mu.Unlock()
	c.Problem = f.problem
	if f.refused {
		return // LogPath stays empty: Docker cannot read this driver back
	}
	c.LogPath, c.ViaAPI = f.copy.path, true
	c.Running = c.Running || !f.complete
	c.note(fromCopy, "log_path")
}

// ensure returns the follower of a container and starts one if there is none.
func (r *readback) ensure(c Container) *follower {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.followers[c.ID]
	if f == nil {
		f = newFollower(r, c)
		r.followers[c.ID] = f
		ctx, cancel := context.WithCancel(r.ctx)
		f.cancel = cancel
		r.wg.Go(func() { defer close(f.ended); defer cancel(); f.run(ctx) })
	}
	f.know(c)
	return f
}

// has says whether the container is followed through the API already.
func (r *readback) has(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.followers[id] != nil
}

// ids are the containers that have a follower.
func (r *readback) ids() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	ids := make([]string, 0, len(r.followers))
	for id := range r.followers {
		ids = append(ids, id)
	}
	return ids
}

// poke tells a follower that something happened to its container.
func (r *readback) poke(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.followers[id]; f != nil {
		select {
		case f.wake <- struct{}{}:
		default:
		}
	}
}

// drop ends a follower and removes its copy: the container is excluded now.
func (r *readback) drop(id string) {
	r.mu.Lock()
	f := r.followers[id]
	delete(r.followers, id)
	r.mu.Unlock()
	if f == nil {
		return
	}
	f.cancel()
	<-f.ended // or it could make the folder again
	r.remove(id)
}

func (r *readback) remove(id string) {
	if err := os.RemoveAll(filepath.Join(r.dir, id)); err != nil {
		r.log.Error("local copy cannot be removed", "err", err)
	}
}

// leftover is a container that Docker no longer has, while its copy has lines
// that are not settled. Once all are, the copy is removed.
func (r *readback) leftover(id string) (Container, bool) {
	r.mu.Lock()
	f := r.followers[id]
	r.mu.Unlock()
	if f == nil {
		return Container{}, false
	}
	f.mu.Lock()
	c, gone, refused := f.c, f.gone, f.refused
	f.mu.Unlock()
	if !gone {
		// It may have more lines: the follower has not heard of its end yet.
		r.poke(id)
	} else if refused || f.copy.allSettled() {
		r.mu.Lock()
		delete(r.followers, id)
		r.mu.Unlock()
		r.remove(id)
		return Container{}, false
	}
	if refused {
		return Container{}, false
	}
	c.LogPath, c.ViaAPI, c.Problem = f.copy.path, true, ""
	c.Running = !gone
	return c, true
}

// A follower copies one container's log.
type follower struct {
	r    *readback
	id   string
	copy *copyFile
	wake chan struct{} // one place: something happened to the container

	copied int // entries, by run

	cancel context.CancelFunc // ends run
	ended  chan struct{}      // closed when run has ended

	mu       sync.Mutex
	c        Container // as last known; for container.json
	written  bool      // container.json holds c
	problem  string    // why it does not go on at the moment
	refused  bool      // Docker cannot read this driver back
	complete bool      // the container does not run and its log is in the copy
	gone     bool      // the container does not exist any more
}

func newFollower(r *readback, c Container) *follower {
	dir := filepath.Join(r.dir, c.ID)
	return &follower{r: r, id: c.ID, c: c, wake: make(chan struct{}, 1), ended: make(chan struct{}),
		copy: newCopy(filepath.Join(dir, c.ID+"-json.log"), func(fi os.FileInfo) bool { return r.settled(c.ID, fi) })}
}

// know keeps what the other sources say of the container.
func (f *follower) know(c Container) {
	c.LogPath, c.Problem, c.ViaAPI = "", "", true
	c.Waiting = false // once it has gone, nobody would end that
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(c.From) < 2 && len(f.c.From) > 1 { // a bare directory says less than container.json
		return
	}
	if f.written && reflect.DeepEqual(f.c, c) {
		return
	}
	f.c, f.written = c, false
}

// write puts container.json beside the copy.
func (f *follower) write() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.written {
		return nil
	}
	if err := WriteContainer(filepath.Dir(f.copy.path), f.c); err != nil {
		return err
	}
	f.written = true
	return nil
}

// state changes what place reports and lets Run look at it.
func (f *follower) state(change func()) {
	f.mu.Lock()
	change()
	f.mu.Unlock()
	f.r.changed(f.id)
}

// await waits for a poke, at most d.
func (f *follower) await(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-f.wake:
	case <-t.C:
	}
}

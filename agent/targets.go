package agent

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"

	"mesoscope/agent/discover"
	"mesoscope/agent/tail"
	"mesoscope/receipt"
	"mesoscope/record"
)

// A container is what the agent made of a discover.Container.
type container struct {
	discover.Container
	known   discover.Container // with what the attrs of its entries say
	attrs   map[string]string
	streams [2]*record.Stream
	notes   tail.Notes
	gone    bool

	executor *record.Stream // of a sandbox: for the lines of its executor
	stays    bool           // a sandbox that is there, of which nobody has told yet in this run

	unwritten bool // container.json does not say what is known
}

// apply follows a new set of containers.
func (a *Agent) apply(set []discover.Container) {
	followed := map[string]bool{}
	for _, s := range a.tail.Sources() {
		followed[containerOf(s.ID)] = true
	}
	a.mu.Lock()
	named := make(map[string]bool, len(set))
	for _, c := range set {
		named[c.ID] = true
		a.update(c)
	}
	for id := range a.containers {
		if !named[id] && !followed[id] {
			delete(a.containers, id) // gone, and its last line is stored
		}
	}
	if !a.recalled {
		a.recalled = true
		for _, id := range a.tail.Held() {
			if of := containerOf(id); !named[of] && a.containers[of] == nil {
				a.recall(id)
			}
		}
	}
	a.mu.Unlock()
	// Not under the lock: the readers call attrs while Set waits for them. When
	// they did, Set has just put older streams in the place of newer ones.
	for attrs := -1; attrs != a.attrsSeen(); {
		var targets []tail.Target
		targets, attrs = a.targets(named)
		a.tail.Set(targets)
	}
	select {
	case a.unsaved <- struct{}{}:
	default:
	}
}

// targets is what is to be followed, and attrsSeen at that moment.
func (a *Agent) targets(named map[string]bool) (targets []tail.Target, attrs int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, c := range a.containers {
		c.stays = c.stays && !named[id] && exists(c.Sandbox)
		c.gone = !named[id] && !c.stays
		switch {
		case c.Runtime == discover.RuntimeMesos:
			targets = append(targets, a.sandboxTargets(c)...)
		case c.LogPath != "":
			targets = append(targets, a.target(c))
		}
	}
	return targets, a.attrsCalls
}

func (a *Agent) attrsSeen() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.attrsCalls
}

func (a *Agent) target(c *container) tail.Target {
	_, told := c.From["running"]
	return tail.Target{
		ID: c.ID, Path: c.LogPath, Streams: c.streams, Notes: c.notes, Gone: c.gone, Steady: c.ViaAPI,
		// A container that has gone while it waited is read; one that turned out
		// to be excluded is not.
		Wait: c.Waiting && (!c.gone || a.discover.Excludes(c.ID)),
		// Of a container that has just appeared nobody knows yet whether it
		// runs; as one that does not, its last line would be taken for whole.
		Running: !c.gone && (c.Running || !told),
	}
}

// update takes over what is known of a container now.
func (a *Agent) update(now discover.Container) {
	c := a.containers[now.ID]
	if c == nil {
		c = &container{}
		a.containers[now.ID] = c
	}
	// What was known before its driver was is not followed any longer if that
	// one cannot be read, or the container would be said to be all right.
	if now.LogPath == "" && now.Problem == "" {
		now.LogPath = c.LogPath
	}
	written := now
	written.Waiting = c.Waiting // is not written down
	same := reflect.DeepEqual(c.Container, written)
	if c.Waiting = now.Waiting; same {
		return
	}
	if now.OOMKilled.After(c.OOMKilled) {
		a.oomKilled[now.ID] = now
	}
	c.Container = now
	a.encode(c)
	if work := now.WorkDir(); work != "" {
		a.holdBeside(work)
	}
	c.unwritten = now.LogPath != "" && !now.ViaAPI
}

// writeDown keeps what is known of containers for when they have gone. It has a
// goroutine of its own, because a file that is safe on the disk takes some
// milliseconds: with thousands of containers, files would be rotated away
// before anybody came to hold them.
func (a *Agent) writeDown(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.unsaved:
		}
		for _, c := range a.unwritten() {
			if ctx.Err() != nil {
				return
			}
			for _, id := range sourcesOf(c) {
				dir := a.tail.HoldFolder(id)
				if dir == "" {
					continue
				}
				if err := discover.WriteContainer(dir, c); err != nil {
					a.log.Warn("what is known of a container cannot be kept for when it is gone", "container", c.ID, "error", err)
				}
			}
		}
	}
}

// unwritten is what writeDown has to write.
func (a *Agent) unwritten() (list []discover.Container) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.containers {
		if c.unwritten {
			c.unwritten = false
			list = append(list, c.known)
		}
	}
	return list
}

// encode makes the streams of c from what is known.
func (a *Agent) encode(c *container) {
	c.known = c.Container
	if len(c.attrs) > 0 {
		c.known = discover.WithAttrs(c.Container, c.attrs)
	}
	for k, name := range []string{"stdout", "stderr"} {
		c.streams[k] = a.stream(c.known, name, cmp.Or(c.known.Dataset, a.opt.Dataset), name)
	}
	c.notes = &notes{agent: a, of: c.known}
	if c.Runtime == discover.RuntimeMesos {
		c.executor = a.stream(c.known, tail.ExecutorStream, cmp.Or(c.known.Dataset, a.opt.Dataset), tail.ExecutorStream)
	}
}

// stream is where documents of a container go. name tells its streams apart,
// output is "stdout" or "stderr", or "" if they are of neither.
func (a *Agent) stream(of discover.Container, name, dataset, output string) *record.Stream {
	namespace := cmp.Or(of.Namespace, a.opt.Namespace)
	return &record.Stream{
		Name: runtime(of) + "/" + of.ID + "/" + name, Index: "logs-" + dataset + "-" + namespace, Dataset: dataset,
		Fields: discover.Fields(of, a.host, dataset, namespace, output),
	}
}

// notes are the streams of documents about a container's log. They are rare, so
// their fields are not kept: with thousands of containers, that is megabytes.
type notes struct {
	agent *Agent
	of    discover.Container
}

// Receipts is where receipts go.
func (n *notes) Receipts(stream string) *record.Stream {
	return n.agent.stream(n.of, "receipts of "+stream, receipt.Dataset, stream)
}

// Gaps is where the loss of lines is noted.
func (n *notes) Gaps() *record.Stream {
	return n.agent.stream(n.of, "gaps", cmp.Or(n.of.Dataset, n.agent.opt.Dataset), "")
}

// recall is for a container that has gone while no agent ran, and whose lines
// are held.
func (a *Agent) recall(id string) {
	known, ok := a.written(id)
	if !ok {
		known = discover.Container{ID: containerOf(id)}
	}
	if isSandbox(id) {
		a.recallSandbox(id, known)
		return
	}
	if known.LogPath == "" {
		known.LogPath = filepath.Join(a.opt.Config.Docker.Root, "containers", id, id+"-json.log")
	}
	c := &container{Container: known, gone: true}
	a.encode(c)
	a.containers[id] = c
}

// written is what an earlier run, or this one, has written down of a container or
// the source of one.
func (a *Agent) written(id string) (c discover.Container, ok bool) {
	for _, id := range []string{id, id + stdoutSource, id + stderrSource} {
		dir := a.tail.HoldPath(id)
		if dir == "" {
			continue
		}
		c, err := discover.ReadContainer(dir)
		if err == nil {
			return c, true
		}
		if !errors.Is(err, os.ErrNotExist) {
			a.log.Warn("what was known of a container cannot be read", "container", id, "error", err)
		}
	}
	return c, false
}

// attrs is called by a reader that met other attrs than before. What Docker
// itself says of the container goes first.
func (a *Agent) attrs(id string, text []byte) (streams [2]*record.Stream) {
	var attrs map[string]string
	if err := json.Unmarshal(text, &attrs); err != nil {
		return streams // not ours: attrs are strings
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.containers[id]
	if c == nil {
		return streams
	}
	c.attrs = attrs
	a.encode(c)
	a.attrsCalls++
	return c.streams
}

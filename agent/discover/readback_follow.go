package discover

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
)

const (
	followRetryMin = 200 * time.Millisecond
	followRetryMax = 30 * time.Second
	// followIdle is how often the state of a container is asked for without
	// any event, and how long a silent stream may be before it is checked:
	// dockerd's own followers have hung at rotations.
	followIdle = 30 * time.Second
	// endIdle is how long a stream may be silent when its container has ended:
	// dockerd's own followers of journald have waited for ever then.
	endIdle = 2 * time.Second
	// flushSize is how much is collected before it is written while Docker
	// has more at hand.
	flushSize = 256 << 10
	// journaldLag is how long after a container's end its last lines may still be
	// on their way from dockerd through journald; dockerd itself waits as long.
	journaldLag = 5 * time.Second
	// lagLook is how often they are asked for.
	lagLook = time.Second
)

// errGone says that the container does not exist any more.
var errGone = errors.New("the container has gone")

// A runState tells whether anything happened to a container between two looks.
type runState struct {
	running           bool
	started, finished string
	driver            string
}

// lags says whether a log that was read to its end may get more lines, although
// its container has ended.
func (s *runState) lags() bool {
	finished, err := time.Parse(time.RFC3339Nano, s.finished)
	return s.driver == journald && err == nil && time.Since(finished).Abs() < journaldLag
}

// run copies until the container has gone. Every end of a connection has the
// same answer: read the position back from the copy and ask from there.
func (f *follower) run(ctx context.Context) {
	defer f.copy.close()
	wait, said := followRetryMin, ""
	var done *runState // the state in which the log was read to its end
	for ctx.Err() == nil {
		before := f.copied
		state, err := f.round(ctx, done)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, errGone):
			f.state(func() { f.gone, f.complete, f.problem = true, true, "" })
			return
		case err != nil:
			f.r.m.errors.WithLabelValues("logs").Inc()
			// The first failure may be the moment between a container's
			// directory and its entry in the engine; a conflict is a container
			// that is being removed.
			if wait > followRetryMin && said != err.Error() && !cerrdefs.IsConflict(err) {
				said = err.Error()
				f.r.log.Warn("docker api: log cannot be read; trying again", "container", f.id, "err", err)
			}
			refused := unreadable(err)
			f.state(func() { f.problem, f.refused = "docker api: "+err.Error(), refused })
			if refused {
				wait = followRetryMax
				f.state(func() { f.problem = "not readable: driver " + f.c.Driver + ": Docker cannot read it back" })
			}
			f.await(ctx, wait)
			wait = min(2*wait, followRetryMax)
			continue
		}
		if said != "" {
			said = ""
			f.r.log.Info("docker api: log is read again", "container", f.id)
		}
		wait = followRetryMin
		if state.running {
			done = nil
			f.await(ctx, 50*time.Millisecond) // the stream ended and it runs on: a restart
			continue
		}
		if state.lags() || state.driver == journald && f.copied > before {
			done = nil
			f.await(ctx, lagLook)
			continue
		}
		done = state
		f.state(func() { f.problem, f.refused, f.complete = "", false, true })
		f.await(ctx, followIdle)
	}
}

// round asks for the container's state and, if it is not the one in which the
// log was read to its end, reads from the position on: as long as it runs,
// else to the end. The state returned is the one before reading, so a change
// meanwhile shows in the next round.
func (f *follower) round(ctx context.Context, done *runState) (*runState, error) {
	asking, cancel := context.WithTimeout(ctx, apiTimeout)
	r, err := f.r.client.ContainerInspect(asking, f.id)
	cancel()
	if cerrdefs.IsNotFound(err) {
		// Its directory is there before the engine tells of it (hostconfig.json,
		// which names the driver, even before config.v2.json) and until it has
		// been forgotten.
		if _, dirErr := os.Stat(filepath.Join(f.r.containers, f.id)); dirErr == nil {
			return nil, fmt.Errorf("this engine does not know the container, but its directory is there: %w", err)
		}
		// The copy is opened for its side effect: a torn end is cut.
		if err := f.copy.open(); err != nil {
			return nil, err
		}
		return nil, errGone
	}
	if err != nil {
		return nil, err
	}
	if r.State == nil || r.Config == nil || r.HostConfig == nil {
		return nil, errors.New("inspect gives no state")
	}
	state := &runState{running: r.State.Running || r.State.Restarting, started: r.State.StartedAt, finished: r.State.FinishedAt,
		driver: r.HostConfig.LogConfig.Type}
	if done != nil && *done == *state {
		return state, nil
	}
	if err := f.copy.open(); err != nil {
		return nil, err
	}
	if err := f.write(); err != nil {
		return nil, err
	}
	// What an error left unwritten belongs to the position.
	if err := f.copy.flush(ctx); err != nil {
		return nil, err
	}
	w, err := f.copy.window()
	if err != nil {
		return nil, err
	}
	f.state(func() { f.problem, f.refused, f.complete = "", false, false })
	return state, f.read(ctx, w, logSort{r.Config.Tty, state.driver}, state.running)
}

// A logSort is what decides how a logs response is to be read.
type logSort struct {
	tty    bool // one stream, without frames
	driver string
}

// read copies one logs response.
func (f *follower) read(ctx context.Context, w *window, sort logSort, follow bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	since := ""
	if !w.since.IsZero() {
		since = fmt.Sprintf("%d.%09d", w.since.Unix(), w.since.Nanosecond())
	}
	body, err := f.r.client.ContainerLogs(ctx, f.id, container.LogsOptions{
		ShowStdout: true, ShowStderr: true, Timestamps: true, Details: sort.driver == journald, Follow: follow, Since: since})
	if err != nil {
		return err
	}
	defer body.Close()
	var progress atomic.Int64 // time of the latest entry, ns
	if !w.last.IsZero() {
		progress.Store(w.last.UnixNano())
	}
	var hung, ended atomic.Bool
	if follow {
		go f.watchdog(ctx, &progress, sort, func() { hung.Store(true); cancel() })
		go f.watchEnd(ctx, &progress, func() { ended.Store(true); cancel() })
	}
	err = f.copyAll(ctx, f.messages(body, sort), w, sort, &progress)
	switch {
	case err != nil && ended.Load():
		return nil // the rest is read without following
	case err != nil && hung.Load():
		return errors.New("the log stream stood still while the log went on; asking anew")
	}
	return err
}

// watchEnd ends a stream that gives nothing and does not end although its
// container has. It asks when something has happened to the container.
func (f *follower) watchEnd(ctx context.Context, progress *atomic.Int64, ended func()) {
	for {
		f.await(ctx, followIdle)
		for {
			before := progress.Load()
			asking, cancel := context.WithTimeout(ctx, apiTimeout)
			r, err := f.r.client.ContainerInspect(asking, f.id)
			cancel()
			if err != nil || r.State == nil || r.State.Running || r.State.Restarting {
				break
			}
			sleep(ctx, endIdle)
			if ctx.Err() != nil {
				return
			}
			if progress.Load() == before {
				ended()
				return
			}
		}
		if ctx.Err() != nil {
			return
		}
	}
}

func (f *follower) messages(body io.Reader, sort logSort) messages {
	r := bufio.NewReaderSize(body, 32<<10)
	if sort.tty {
		return &ttyMessages{r: r, details: sort.driver == journald, unstamped: f.r.m.unreadable.Inc, now: time.Now}
	}
	m := newFrames(r, f.r.m.unreadable.Inc)
	m.details = sort.driver == journald
	return m
}

// copyAll writes what is new; it flushes when Docker has nothing more at hand.
func (f *follower) copyAll(ctx context.Context, msgs messages, w *window, sort logSort, progress *atomic.Int64) error {
	var enc bytes.Buffer
	var copied, overlap int
	pieces, replays := newPieces(), newReplays()
	flush := func() error {
		f.copied += copied
		f.r.m.copied.Add(float64(copied))
		f.r.m.overlap.Add(float64(overlap))
		copied, overlap = 0, 0
		return f.copy.flush(ctx)
	}
	for {
		e, err := msgs.next()
		if err != nil {
			if ferr := flush(); ferr != nil {
				return ferr
			}
			if err == io.EOF {
				return nil
			}
			return err
		}
		progress.Store(max(progress.Load(), e.time.UnixNano()))
		if sort.driver == journald {
			pieces.place(&e)
		} else if sort.driver != jsonFile {
			endPiece(&e)
		}
		enc.Reset()
		if err := appendEntry(&enc, e); err != nil {
			return err
		}
		// Both are asked: what is known may come a second time, too.
		// journald stamps in microseconds, so equal lines may be two of them; it
		// has no files of dockerd's either.
		known := w.known(e, enc.Bytes())
		if sort.driver != journald && replays.again(w.seed, e, enc.Bytes()) || known {
			overlap++
		} else {
			f.copy.add(enc.Bytes())
			copied++
		}
		if !msgs.more() || f.copy.enc.Len() >= flushSize {
			if err := flush(); err != nil {
				return err
			}
		}
	}
}

// watchdog ends a stream that gives nothing while the log has newer entries.
func (f *follower) watchdog(ctx context.Context, progress *atomic.Int64, sort logSort, hung func()) {
	for {
		before := progress.Load()
		sleep(ctx, followIdle)
		if ctx.Err() != nil {
			return
		}
		if progress.Load() != before {
			continue
		}
		asking, cancel := context.WithTimeout(ctx, apiTimeout)
		newest, err := f.newest(asking, sort)
		cancel()
		if err == nil && progress.Load() == before && newest.UnixNano() > before {
			hung()
			return
		}
	}
}

// newest is the time of the log's last entry.
func (f *follower) newest(ctx context.Context, sort logSort) (t time.Time, err error) {
	body, err := f.r.client.ContainerLogs(ctx, f.id, container.LogsOptions{
		ShowStdout: true, ShowStderr: true, Timestamps: true, Details: sort.driver == journald, Tail: "1"})
	if err != nil {
		return t, err
	}
	defer body.Close()
	msgs := f.messages(body, sort)
	for {
		e, err := msgs.next()
		if err == io.EOF {
			return t, nil
		}
		if err != nil {
			return t, err
		}
		t = e.time
	}
}

// unreadable says whether dockerd told that the driver keeps nothing that it
// could give back (moby's ErrReadLogsNotSupported).
func unreadable(err error) bool {
	return strings.Contains(err.Error(), "does not support reading")
}

package demo

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"mesoscope/internal/jsonfile"

	"github.com/google/uuid"
)

// A container is one container of a service, with its files below a Docker root.
type container struct {
	root  string
	conf  jsonfile.Container
	tally *tally
	log   *jsonfile.Writer // of the present run; nil between runs
}

// create makes a container of s that was created at a time, not yet started.
func create(root string, s service, created time.Time) (*container, error) {
	id := make([]byte, 32)
	rand.Read(id)
	instance, err := uuid.NewUUID() // version 1, as Marathon's
	if err != nil {
		return nil, err
	}
	c := &container{root: root, conf: jsonfile.Container{
		ID:      hex.EncodeToString(id),
		Name:    s.name,
		Image:   s.image,
		Labels:  s.labels,
		Env:     append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, s.env...),
		Cmd:     s.cmd,
		TTY:     s.tty,
		Created: created,
		Log:     s.log,
		LogOpts: s.logOpts(),
	}}
	if s.name == "" {
		c.conf.Name = "mesos-" + uuid.NewString()
		c.conf.Env = append(c.conf.Env, "MESOS_SANDBOX=/mnt/mesos/sandbox", "MESOS_CONTAINER_NAME="+c.conf.Name)
	}
	var task string
	switch {
	case s.app != "":
		task = strings.ReplaceAll(strings.Trim(s.app, "/"), "/", "_") + "." + instance.String()
		c.conf.Env = append(c.conf.Env,
			"MARATHON_APP_ID="+s.app,
			"MARATHON_APP_VERSION="+created.UTC().Add(-time.Hour).Format("2006-01-02T15:04:05.000Z"),
			"MARATHON_APP_DOCKER_IMAGE="+s.image,
			"MESOS_TASK_ID="+task,
			"HOST=node-1.example.com", "PORT0=31017")
	case s.job != "":
		task = fmt.Sprintf("ct:%d:0:%s:", created.UnixMilli(), s.job)
		c.conf.Env = append(c.conf.Env, "CHRONOS_JOB_NAME="+s.job, "MESOS_TASK_ID="+task, "mesos_task_id="+task)
	}
	if s.attrs {
		c.conf.Log.Attrs = map[string]string{"MARATHON_APP_ID": s.app, "MESOS_TASK_ID": task}
	}
	if c.tally, err = newTally(root, c.conf.ID); err != nil {
		return nil, err
	}
	return c, nil
}

// start begins a run of the container: config first, then the log, as dockerd.
func (c *container) start(at time.Time) (err error) {
	if !c.conf.Started.IsZero() {
		c.conf.Restarts++
	}
	c.conf.Started, c.conf.Running = at, true
	if err := jsonfile.WriteConfig(c.root, c.conf); err != nil {
		return err
	}
	c.log, err = jsonfile.Open(jsonfile.LogPath(c.root, c.conf.ID), c.conf.Log)
	return err
}

// end ends a run.
func (c *container) end(exitCode int) error {
	c.tally.endRun()
	if err := c.log.Close(); err != nil {
		return err
	}
	c.conf.Running, c.conf.ExitCode, c.conf.Finished = false, exitCode, time.Now()
	return jsonfile.WriteConfig(c.root, c.conf)
}

// past prints what p would have printed from its time until now, with the
// times that it would have had.
func (c *container) past(p *process, until time.Time) error {
	p.print = func(stream int, text string) error {
		if err := c.tally.add(stream, text); err != nil {
			return err
		}
		for line := range strings.Lines(text) {
			line, _ = strings.CutSuffix(line, "\n")
			if err := c.log.WriteLine(streams[stream], []byte(line), p.now); err != nil {
				return err
			}
		}
		return nil
	}
	for p.now.Before(until) {
		p.now = p.now.Add(p.step())
		if p.err != nil {
			return p.err
		}
	}
	return nil
}

// live runs p until it exits or ctx is done. What it prints goes through pipes
// to the log's copier, one for each stream, as with a real container. It
// returns the exit code.
func (c *container) live(ctx context.Context, p *process) (code int, err error) {
	var (
		pipes   [2]*io.PipeWriter
		copyErr [2]error
		copying sync.WaitGroup
	)
	for i, stream := range streams {
		r, w := io.Pipe()
		pipes[i] = w
		copying.Go(func() {
			copyErr[i] = c.log.Copy(stream, r)
			r.CloseWithError(copyErr[i]) // a later print fails instead of waiting
		})
	}
	p.print = func(stream int, text string) error {
		if err := c.tally.add(stream, text); err != nil {
			return err
		}
		_, err := io.WriteString(pipes[stream], text)
		return err
	}
	p.live, p.started = true, time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for p.err == nil && !p.exited && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-timer.C:
			p.now = time.Now()
			timer.Reset(p.step())
		}
	}
	for _, w := range pipes {
		w.Close()
	}
	copying.Wait()
	return p.code, errors.Join(p.err, copyErr[0], copyErr[1])
}

// logOpts are the log options as an operator would have written them.
func (s service) logOpts() map[string]string {
	opts := map[string]string{}
	if s.log.MaxSize == 1_000_000 {
		opts["max-size"] = "1m" // Docker's m is decimal
	}
	if s.attrs {
		opts["env"] = "MARATHON_APP_ID,MESOS_TASK_ID"
	}
	return opts
}

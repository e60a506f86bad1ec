package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mesoscope/agent"
	"mesoscope/agent/status"
	"mesoscope/agent/tail"
	"mesoscope/config"
	"mesoscope/record"
	"mesoscope/shipper"
)

// elasticsearchOutput is a shipper.Elasticsearch with what a process has to do
// around it: the templates and the dead-letter file.
type elasticsearchOutput struct {
	*shipper.Elasticsearch
	dead      *shipper.DeadLetters
	templates *templates
}

var _ tail.Sink = (*elasticsearchOutput)(nil)

// deadLetterBytes bounds the dead-letter file. When it is full, what would go
// there is kept unsettled and said; nothing is deleted.
const deadLetterBytes = 1 << 30

func newElasticsearchOutput(p *process, cfg config.Elasticsearch) (output, error) {
	o, err := openElasticsearchOutput(p.stateDir(), p.cfg.MemoryLimit, cfg, p.registry, p.log)
	if err != nil {
		return nil, err // not o, which would be an output that is not nil
	}
	return o, nil
}

// openElasticsearchOutput opens what the output keeps in the folder state.
func openElasticsearchOutput(state string, memory config.Bytes, cfg config.Elasticsearch, reg prometheus.Registerer, log *slog.Logger) (*elasticsearchOutput, error) {
	client, err := shipper.NewClient(cfg)
	if err != nil {
		return nil, err
	}
	dead, err := shipper.OpenDeadLetters(filepath.Join(state, "deadletter"), deadLetterBytes)
	if err != nil {
		return nil, err
	}
	id, err := agent.ID(state)
	if err != nil {
		return nil, errors.Join(err, dead.Close())
	}
	sink, err := shipper.NewElasticsearch(cfg, shipper.WithName(id), shipper.WithLogger(log), shipper.WithRegisterer(reg),
		shipper.WithMemoryLimit(int64(memory)), shipper.WithDeadLetters(dead))
	if err != nil {
		return nil, errors.Join(err, dead.Close())
	}
	setup := func(ctx context.Context) (shipper.Report, error) { return shipper.Setup(ctx, client, cfg) }
	return &elasticsearchOutput{sink, dead, &templates{setup: setup, log: log}}, nil
}

// Run sends, and closes the dead-letter file at the end. The templates go
// first, or a new server would refuse the first lines; but lines do not wait
// long for a server that does not answer.
func (o *elasticsearchOutput) Run(ctx context.Context, in <-chan *record.Batch) error {
	const patience = 5 * time.Second
	first, stop := context.WithTimeout(ctx, patience)
	done := o.templates.put(first)
	stop()
	again, end := context.WithCancel(ctx)
	var group sync.WaitGroup
	if !done {
		group.Go(func() { o.templates.keepTrying(again) })
	}
	err := o.Elasticsearch.Run(ctx, in)
	end()
	group.Wait()
	return errors.Join(err, o.dead.Close())
}

// templates are put in place by whoever may, as soon as there is a server.
type templates struct {
	setup func(context.Context) (shipper.Report, error)
	log   *slog.Logger
	said  bool
}

// put says whether there is nothing left to do.
func (t *templates) put(ctx context.Context) (done bool) {
	report, err := t.setup(ctx)
	switch {
	case err == nil:
		if report.Changed() {
			t.log.Info("index templates are in place", "cluster", report.Cluster, "version", report.Version, "left_out", len(report.LeftOut()))
		}
		return true
	case errors.Is(err, shipper.ErrForbidden):
		t.log.Info("index templates are left to `mesoscope setup`: these credentials may not put them", "error", err)
		return true
	case !t.said && !errors.Is(ctx.Err(), context.Canceled):
		t.log.Warn("index templates cannot be put in place yet; trying again", "error", err)
		t.said = true
	}
	return false
}

func (t *templates) keepTrying(ctx context.Context) {
	const every = 10 * time.Second
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(every):
		}
		if t.put(ctx) {
			return
		}
	}
}

// Status is the output part of /api/v1/status.
func (o *elasticsearchOutput) Status() status.Output {
	s := o.Elasticsearch.Status()
	out := status.Output{Kind: "elasticsearch", State: status.OutputOK, Since: s.Since, InFlightBytes: int64(s.Bytes), LastErrors: []status.OutputError{}}
	if len(s.Paused) > 0 {
		out.State, out.Since = status.OutputPaused, s.Paused[0].Since
		out.PausedReason = fmt.Sprintf("%s: %s", s.Paused[0].Reason, s.Paused[0].Message)
	}
	if s.State == shipper.StateWaiting {
		out.State, out.PausedReason = status.OutputPaused, "the last requests failed, trying again"
	}
	for _, p := range s.Problems {
		out.LastErrors = append(out.LastErrors, status.OutputError{Reason: p.Message, Count: p.Count, Last: p.Last, Example: p.Example, Answer: p.Answer})
	}
	for _, a := range s.Answers {
		out.Answers = append(out.Answers, status.Answer(a))
	}
	out.DeadLetters = o.deadLetters()
	return out
}

// deadLetters is what `deadletter list` would show; nil if nothing.
func (o *elasticsearchOutput) deadLetters() *status.DeadLetters {
	s, err := o.dead.Summary()
	d := &status.DeadLetters{
		Dir: s.Dir, Count: s.Count, Bytes: s.Bytes, Oldest: s.Oldest, Newest: s.Newest, Index: s.Index,
		Reason: strings.TrimPrefix(s.Type+": "+s.Reason, ": "), Command: "mesoscope deadletter list",
	}
	switch {
	case err != nil:
		d.Reason = err.Error()
	case s.Count == 0:
		return nil
	}
	return d
}

// embeddedOutput is a shipper.Embedded that can say how it is.
type embeddedOutput struct{ *shipper.Embedded }

// Status is the output part of /api/v1/status.
func (o embeddedOutput) Status() status.Output {
	out := status.Output{Kind: "embedded", State: status.OutputOK, LastErrors: []status.OutputError{}}
	if since, why := o.Failing(); why != nil {
		out.State, out.Since, out.PausedReason = status.OutputPaused, since, why.Error()
	}
	return out
}

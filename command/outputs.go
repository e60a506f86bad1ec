package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"mesoscope/agent/status"
	"mesoscope/config"
	"mesoscope/record"
	"mesoscope/shipper"
)

// elasticsearchOutput is a shipper.Elasticsearch with what a process has to do
// around it: the templates and the dead-letter file.
type elasticsearchOutput struct {
	*shipper.Elasticsearch
	dead *shipper.DeadLetters
}

// deadLetterBytes bounds the dead-letter file. When it is full, what would go
// there is kept unsettled and said; nothing is deleted.
const deadLetterBytes = 1 << 30

func newElasticsearchOutput(ctx context.Context, p *process, cfg config.Elasticsearch) (output, error) {
	dead, err := shipper.OpenDeadLetters(filepath.Join(p.stateDir(), "deadletter"), deadLetterBytes)
	if err != nil {
		return nil, err
	}
	sink, err := shipper.NewElasticsearch(cfg, shipper.WithLogger(p.log), shipper.WithRegisterer(p.registry),
		shipper.WithMemoryLimit(int64(p.cfg.MemoryLimit)), shipper.WithDeadLetters(dead))
	if err != nil {
		return nil, err
	}
	go setUp(ctx, cfg, p.log)
	return &elasticsearchOutput{sink, dead}, nil
}

// setUp puts the templates in place, if that is allowed. Without a template
// Elasticsearch refuses the first line of a data stream, which then waits, so
// nothing is lost meanwhile.
func setUp(ctx context.Context, cfg config.Elasticsearch, log *slog.Logger) {
	const every = 10 * time.Second
	client, err := shipper.NewClient(cfg)
	if err != nil {
		return // the sink says it
	}
	for said := false; ; {
		report, err := shipper.Setup(ctx, client, cfg)
		switch {
		case err == nil:
			if report.Changed() {
				log.Info("index templates are in place", "cluster", report.Cluster, "version", report.Version, "left_out", len(report.LeftOut()))
			}
			return
		case errors.Is(err, shipper.ErrForbidden):
			log.Info("index templates are left to `mesoscope setup`: these credentials may not put them", "error", err)
			return
		case ctx.Err() != nil:
			return
		case !said:
			log.Warn("index templates cannot be put in place yet; trying again", "error", err)
			said = true
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(every):
		}
	}
}

// Run sends, and closes the dead-letter file at the end.
func (o *elasticsearchOutput) Run(ctx context.Context, in <-chan *record.Batch) error {
	err := o.Elasticsearch.Run(ctx, in)
	return errors.Join(err, o.dead.Close())
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
		out.LastErrors = append(out.LastErrors, status.OutputError{Reason: p.Message, Count: p.Count, Last: p.Last, Example: p.Example})
	}
	return out
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

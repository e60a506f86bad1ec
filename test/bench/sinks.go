package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"mesoscope/test/bench/sink"
)

// serveSink is the sink process.
func serveSink(ctx context.Context, args []string, out io.Writer) error {
	fs := flag.NewFlagSet("sink", flag.ContinueOnError)
	listen := fs.String("listen", "127.0.0.1:0", "address; printed when it is open")
	delay := fs.Duration("delay", 0, "wait before each answer to a bulk")
	ids := fs.Bool("ids", false, "answer 409 to an id that was there")
	if err := fs.Parse(args); err != nil {
		return err
	}
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, l.Addr())
	return serve(ctx, l, sink.New(sink.Options{Delay: *delay, IDs: *ids}))
}

// serve serves until ctx is done.
func serve(ctx context.Context, l net.Listener, h http.Handler) error {
	srv := &http.Server{Handler: h}
	defer context.AfterFunc(ctx, func() { srv.Close() })()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// A remote is the sink process as the driver sees it.
type remote struct {
	*process
	addr string
}

// startSink starts the sink, beside what is measured as a rule.
func (b *bench) startSink(ctx context.Context, on seat) (*remote, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	p, err := start(on, b.self, "sink", "-listen", addr)
	if err != nil {
		return nil, err
	}
	r := &remote{p, addr}
	err = p.waitFor(ctx, 5*time.Millisecond, func() (bool, int64, error) {
		_, err := r.stats()
		return err == nil, 0, nil // not listening yet
	})
	if err != nil {
		p.kill()
		return nil, fmt.Errorf("start the sink: %w", err)
	}
	return r, nil
}

func (r *remote) stats() (sink.Stats, error) { return r.ask(http.MethodGet, "stats") }

func (r *remote) reset() error {
	_, err := r.ask(http.MethodPost, "reset")
	return err
}

func (r *remote) ask(method, what string) (s sink.Stats, err error) {
	req, err := http.NewRequest(method, "http://"+r.addr+"/_sink/"+what, nil)
	if err != nil {
		return s, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	return s, json.NewDecoder(resp.Body).Decode(&s)
}

// A counter is a sink that says how many different lines it has.
type counter interface{ distinct() (int64, error) }

func (r *remote) distinct() (int64, error) {
	s, err := r.stats()
	return s.Distinct, err
}

func (l *local) distinct() (int64, error) { return l.Stats().Distinct, nil }

// A local is a sink in this process, for measurements that need each arrival.
type local struct {
	*sink.Sink
	addr string
	stop func() error
}

func startLocal(o sink.Options) (*local, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &local{Sink: sink.New(o), addr: l.Addr().String()}
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, l, s) }()
	s.stop = func() error {
		cancel()
		return <-ended
	}
	return s, nil
}

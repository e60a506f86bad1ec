package main

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"

	"mesoscope/test/fakees"
)

// linesIndex and receiptIndex are the data streams that the agent writes to.
func (o options) linesIndex() string   { return "logs-mesos.container-" + o.namespace() }
func (o options) receiptIndex() string { return "logs-mesoscope.receipt-" + o.namespace() }

// namespace is another one for each run against a real server, which keeps what
// an earlier run has written.
func (o options) namespace() string {
	if o.elasticsearch == "" {
		return "default"
	}
	return fmt.Sprintf("soak%x", o.began.UnixNano())
}

// A sink is what stands in the place of Elasticsearch, or between it and the
// agent.
type sink interface {
	URL() string
	Rollover() error
	// Block refuses everything because the disk is full, until it is called
	// with false.
	Block(yes bool)
	Docs(index string) ([]fakees.Doc, error)
	Arrived() int // how many documents have been stored so far; -1: unknown
	Bulks() int64
	Close() error
}

// A weather is how the way to the store is at present. It begins with what it
// does to whole requests; nil members do nothing.
type weather struct {
	name string
	// rolls is one in how many requests begins a new backing index first.
	rolls int
	bulk  func(r *rand.Rand, b *fakees.Bulk) fakees.Fault
	item  func(r *rand.Rand, id string, doc []byte) fakees.ItemFault
}

// A sky decides about requests: one weather at a time, each with its end.
type sky struct {
	mu    sync.Mutex
	r     *rand.Rand
	now   *weather
	until time.Time
}

func (s *sky) set(w *weather, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now, s.until = w, time.Now().Add(d)
}

func (s *sky) clear() { s.set(nil, 0) }

// rolls says whether a new backing index is to begin before the request at hand.
func (s *sky) rolls() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.current()
	return w != nil && w.rolls > 0 && s.r.IntN(w.rolls) == 0
}

// current is the weather now, nil if it is fair. s.mu is held.
func (s *sky) current() *weather {
	if s.now != nil && time.Now().After(s.until) {
		s.now = nil
	}
	return s.now
}

func (s *sky) bulk(b *fakees.Bulk) fakees.Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.current(); w != nil && w.bulk != nil {
		return w.bulk(s.r, b)
	}
	if s.r.IntN(4) == 0 {
		return fakees.Fault{Delay: time.Duration(s.r.IntN(20)) * time.Millisecond}
	}
	return fakees.Fault{}
}

func (s *sky) item(_, id string, doc []byte) fakees.ItemFault {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.current(); w != nil && w.item != nil {
		return w.item(s.r, id, doc)
	}
	return fakees.ItemFault{}
}

// A fakeSink is the faithful fake.
type fakeSink struct {
	*fakees.Server
	lines    string // the data stream
	listener net.Listener
	server   *http.Server
}

func newFakeSink(s *sky, lines string) (*fakeSink, error) {
	f := &fakeSink{lines: lines, Server: &fakees.Server{OnItem: s.item}}
	f.OnBulk = func(b *fakees.Bulk) fakees.Fault {
		if s.rolls() {
			f.Server.Rollover(b.Index)
		}
		return s.bulk(b)
	}
	var err error
	if f.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	f.server = &http.Server{Handler: f.Server, ReadHeaderTimeout: time.Minute}
	go f.server.Serve(f.listener) //nolint:errcheck // ends with Close
	return f, nil
}

func (f *fakeSink) URL() string { return "http://" + f.listener.Addr().String() }

func (f *fakeSink) Rollover() error {
	f.Server.Rollover(f.lines)
	return nil
}

func (f *fakeSink) Block(yes bool) {
	if yes {
		f.Server.Block(fakees.FloodStage)
		return
	}
	f.Server.Block(fakees.ItemFault{})
}

func (f *fakeSink) Docs(index string) ([]fakees.Doc, error) { return f.Server.Docs(index), nil }

func (f *fakeSink) Close() error {
	if err := f.server.Close(); err != nil {
		return fmt.Errorf("close the sink: %w", err)
	}
	return nil
}

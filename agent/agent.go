// Package agent is the process on a node: it joins what runs here (discover)
// with the following of log files (tail), and says how it is over HTTP.
//
// The way of the data: discover sends the whole set of Containers -> targets.go
// makes a tail.Target with its record.Streams of each -> tail hands batches to
// the channel that a sink of the package shipper empties. The agent does not
// know which sink that is.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"mesoscope/agent/discover"
	"mesoscope/agent/tail"
	"mesoscope/config"
	"mesoscope/internal/lockfile"
	"mesoscope/internal/version"
	"mesoscope/record"
)

// Options say what an Agent works with.
type Options struct {
	Config config.Config
	// StateDir is the folder of everything that has to survive a restart,
	// e.g. <data_dir>/agent. The caller has locked it.
	StateDir string
	// Dataset and Namespace name the data stream of the lines.
	Dataset, Namespace string
	// Hold keeps log files by hard link in Config.Hold.Dir. Without it they
	// are only kept open.
	Hold bool
	// Out takes the batches. Several Agents may share it.
	Out chan<- *record.Batch
	// Cursors are what the store knows of the streams, or nil.
	Cursors map[string][]byte
	// Sink is asked how the destinations are; may be nil.
	Sink tail.Sink
	// Returning says that an agent has worked with StateDir before.
	Returning bool
	Log       *slog.Logger
	// Registry takes the metrics; nil: none.
	Registry prometheus.Registerer
}

// An Agent follows the containers of one Docker root.
type Agent struct {
	opt      Options
	log      *slog.Logger
	host     discover.Host
	discover *discover.Discoverer
	tail     *tail.Follower
	holdLock *lockfile.Lock
	started  time.Time

	unsaved chan struct{} // a token when there may be something to write down

	mu          sync.Mutex
	holdProblem string
	containers  map[string]*container
	oomKilled   map[string]discover.Container // see Owners
	holds       map[string]hold               // hold folders beside sandboxes, by work_dir
	recalled    bool                          // what an earlier run held has been taken up
	attrsCalls  int                           // how often a reader has brought new attrs
}

// New opens the state of an Agent. Run it, then Close it.
func New(opt Options) (*Agent, error) {
	a := &Agent{opt: opt, log: opt.Log, started: time.Now(), containers: map[string]*container{}, oomKilled: map[string]discover.Container{}, holds: map[string]hold{}, unsaved: make(chan struct{}, 1)}
	id, err := ID(opt.StateDir)
	if err != nil {
		return nil, err
	}
	a.host, err = discover.NewHost(opt.Config.Node.Name, discover.Agent{Version: version.Version, ID: id, EphemeralID: uuid.NewString()})
	if err != nil {
		return nil, fmt.Errorf("find out this host's name: %w", err)
	}
	hold := a.openHold()
	a.tail, err = tail.New(tail.Config{
		StateDir: opt.StateDir, HoldDir: hold, HoldBudget: int64(opt.Config.Hold.Budget), HoldMinFree: a.minFree,
		Out: opt.Out, Cursors: opt.Cursors, Attrs: a.attrs, Sink: opt.Sink, Returning: opt.Returning,
		InFlight: inFlight(opt.Config), OpenLines: openLines(opt.Config), Log: opt.Log, Registry: opt.Registry,
	})
	if err != nil {
		return nil, err
	}
	a.discover, err = discover.New(discover.Options{
		Docker: opt.Config.Docker, Mesos: opt.Config.Mesos, Recall: a.written, OffDir: filepath.Join(opt.StateDir, "off"), CopyDir: filepath.Join(opt.StateDir, "api"), Settled: a.tail.Settled, Log: opt.Log, Registry: opt.Registry,
	})
	return a, err
}

// inFlight is how many bytes may be on their way to the output: as much as keeps
// it busy (what it works on, and as much again being filled), and never more
// than a quarter of memory_limit.
func inFlight(cfg config.Config) int64 {
	most := int64(cfg.MemoryLimit) / 4
	if es := cfg.Output.Elasticsearch; es != nil {
		bulks := int64(es.Workers) + 1
		return min(most, bulks*int64(es.BulkMaxBytes)*9/8) // an eighth: bodies are not full to their end
	}
	return min(most, 16<<20)
}

// openLines is how much memory lines may take that have begun and not ended.
// What is beyond that is read again when it ends.
func openLines(cfg config.Config) int64 { return int64(cfg.MemoryLimit) / 16 }

// openHold takes the hold folder, or says why it cannot be used: no other
// process may decide what is still needed of it.
func (a *Agent) openHold() string {
	dir := a.opt.Config.Hold.Dir
	if !a.opt.Hold || dir == "" {
		return ""
	}
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		a.holdLock, err = lockfile.Take(dir)
	}
	if err == nil {
		return dir
	}
	if _, statErr := os.Stat(a.opt.Config.Docker.Root); errors.Is(statErr, os.ErrNotExist) {
		return "" // no Docker here, so nothing to hold and nothing to complain about
	}
	a.holdProblem = tail.HoldReason(dir, err)
	a.log.Warn(a.holdProblem)
	return ""
}

func (a *Agent) minFree(total int64) int64 {
	return int64(a.opt.Config.Hold.MinFreeOf(config.Bytes(total)))
}

// Run follows until ctx ends. When it returns nothing more is handed over.
func (a *Agent) Run(ctx context.Context) {
	sets := make(chan []discover.Container)
	var group sync.WaitGroup
	group.Go(func() {
		if err := a.discover.Run(ctx, sets); err != nil && ctx.Err() == nil {
			a.log.Error("discovery has ended", "error", err)
		}
	})
	group.Go(func() { a.tail.Run(ctx) })
	group.Go(func() { a.writeDown(ctx) })
	for {
		select {
		case set := <-sets:
			a.apply(set)
		case <-ctx.Done():
			group.Wait()
			return
		}
	}
}

// Close makes durable what the sink has settled by now. Call it after Run and
// after the end of the sink.
func (a *Agent) Close() error {
	err := a.tail.Close()
	if a.holdLock != nil {
		err = errors.Join(err, a.holdLock.Release())
	}
	for _, h := range a.holds {
		if h.lock != nil {
			err = errors.Join(err, h.lock.Release())
		}
	}
	return err
}

// Known says whether an agent has worked with the state in folder dir before.
func Known(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "id"))
	return err == nil
}

// ID is agent.id: made once, then kept with the state in folder dir.
func ID(dir string) (string, error) {
	path := filepath.Join(dir, "id")
	text, err := os.ReadFile(path)
	if err == nil {
		if id, err := uuid.ParseBytes(text); err == nil {
			return id.String(), nil
		}
	}
	id := uuid.NewString()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make the state folder: %w", err)
	}
	if err := os.WriteFile(path, []byte(id), 0o600); err != nil {
		return "", fmt.Errorf("write the agent's id: %w", err)
	}
	return id, nil
}

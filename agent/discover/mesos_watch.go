package discover

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync/atomic"
	"time"

	"mesoscope/config"
	"mesoscope/mesos"
)

const (
	// mesosPoll is how often the agent is asked if nothing happens here.
	mesosPoll = 30 * time.Second
	// mesosHurry is the shortest time between two questions, when containers
	// wait for their facts; an agent with a large state is asked at most for a
	// tenth of the time.
	mesosHurry = 100 * time.Millisecond
	mesosShare = 10
	// mesosGrace is how long lines of a container wait for what Mesos says.
	mesosGrace = 2 * time.Second
	// mesosLate is how long a new container is asked for, and how long the lines
	// of one wait whose task its executor does not have yet.
	mesosLate = time.Minute
	// mesosRetry is for an agent that has answered before, or was configured.
	mesosRetry = 2 * time.Second
	// stateTime is how long one answer may take as a whole.
	stateTime = time.Minute
)

// A mesosWatch asks the local Mesos agent.
type mesosWatch struct {
	agents []*mesos.Agent // candidates; the first that answers stays
	quiet  bool           // none of them was configured: no agent is no news
	secret bool           // credentials were configured
	asked  chan struct{}  // a token: somebody waits for an answer
	log    *slog.Logger
	m      *metrics

	answered atomic.Bool // the agent has, once
}

// credentials reads those that are configured.
func credentials(cfg config.Mesos) (a mesos.Access, err error) {
	if cfg.CredentialsFile != "" {
		if a.User, a.Password, err = config.Credentials(cfg.CredentialsFile); err != nil {
			return a, fmt.Errorf("mesos.credentials_file: %w", err)
		}
	}
	if cfg.TokenFile != "" {
		if a.Token, err = config.Secret(cfg.TokenFile); err != nil {
			return a, fmt.Errorf("mesos.token_file: %w", err)
		}
	}
	return a, nil
}

// Access is what mesos.*_file name.
func Access(cfg config.Mesos) (mesos.Access, error) {
	a, err := credentials(cfg)
	if err != nil {
		return a, err
	}
	a.Renew = func() (mesos.Access, error) { return credentials(cfg) }
	if cfg.CAFile != "" {
		pem, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			return a, fmt.Errorf("mesos.ca_file: %w", err)
		}
		if a.CAs = x509.NewCertPool(); !a.CAs.AppendCertsFromPEM(pem) {
			return a, fmt.Errorf("mesos.ca_file: %s holds no certificate in PEM form", cfg.CAFile)
		}
	}
	return a, nil
}

// newMesosWatch returns nil if Mesos is not to be looked for.
func newMesosWatch(cfg config.Mesos, a mesos.Access, log *slog.Logger, m *metrics) (*mesosWatch, error) {
	if cfg.Agent == "" {
		return nil, nil
	}
	w := &mesosWatch{asked: make(chan struct{}, 1), log: log, m: m, quiet: cfg.Agent == config.MesosAuto,
		secret: cfg.CredentialsFile != "" || cfg.TokenFile != ""}
	urls := []string{cfg.Agent}
	if w.quiet {
		urls = []string{"http://127.0.0.1:5051"}
		if host := os.Getenv("HOST"); host != "" { // Marathon sets it to the agent's address
			urls = append(urls, "http://"+host+":5051")
		}
	}
	for i, u := range urls {
		agent, err := mesos.NewAgent(u, a)
		if err != nil {
			if w.quiet && i > 0 {
				continue // HOST is something else here
			}
			return nil, fmt.Errorf("mesos.agent: %w", err)
		}
		w.agents = append(w.agents, agent)
	}
	return w, nil
}

// ask makes the watch look soon.
func (w *mesosWatch) ask() {
	select {
	case w.asked <- struct{}{}:
	default:
	}
}

// run sends each new state until ctx ends. While the agent is away, restarts
// or refuses, nothing is sent: what was known stays.
func (w *mesosWatch) run(ctx context.Context, out chan<- *mesos.State) {
	fresh, failing := true, ""
	for ctx.Err() == nil {
		began := time.Now()
		s, err := w.look(ctx, fresh)
		if ctx.Err() != nil {
			return
		}
		failing = w.say(err, failing)
		if s != nil {
			select {
			case out <- s:
			case <-ctx.Done():
				return
			}
		}
		sleep(ctx, pause(time.Since(began), err))
		wait := mesosPoll
		if err != nil && (w.answered.Load() || !w.quiet) {
			wait = mesosRetry
		}
		poll := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-w.asked:
			fresh = true
		case <-poll.C:
			fresh = false
		}
		poll.Stop()
	}
}

// pause is the least time between an answer that took so long and the next
// question.
func pause(took time.Duration, err error) time.Duration {
	most := mesosPoll
	if err != nil {
		most = mesosRetry // one that hangs does nothing for us
	}
	return max(mesosHurry, min(mesosShare*took, most))
}

// look asks the agents in turn until one answers, and from then on that one. An
// agent that restarts says which containers there are before it says what they
// are of.
func (w *mesosWatch) look(ctx context.Context, fresh bool) (*mesos.State, error) {
	ctx, cancel := context.WithTimeout(ctx, stateTime)
	defer cancel()
	var all, absent error
	for i, a := range w.agents {
		s, err := a.State(ctx, fresh)
		if err == nil {
			w.agents = w.agents[i : i+1]
			w.answered.Store(true)
			return s, nil
		}
		if nobody(err) {
			absent = errors.Join(absent, err)
			continue
		}
		all = errors.Join(all, err)
		var status *mesos.StatusError
		if errors.As(err, &status) && status.Code == 503 {
			if list, err := a.Containers(ctx); err == nil && len(list) > 0 {
				return &mesos.State{Executors: list, Recovering: true}, all
			}
		}
	}
	return nil, cmp.Or(all, absent) // what somebody answers is more than that nobody else is there
}

// nobody says whether there was nobody to answer.
func nobody(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// say says once what is wrong, and once that it is right again; it returns what
// it has said. Where nobody configured an agent and there is none, there is
// nothing to say.
func (w *mesosWatch) say(err error, before string) string {
	switch {
	case err == nil && before != "":
		w.log.Info("mesos agent answers again", "url", w.agents[0].URL())
		return ""
	case err == nil:
		return ""
	case w.quiet && !w.answered.Load() && nobody(err):
		return before
	}
	w.m.errors.WithLabelValues("mesos").Inc()
	kind := "away"
	if mesos.Denied(err) {
		kind = "denied"
	}
	if kind == before {
		return before
	}
	switch {
	case kind == "denied" && w.secret:
		w.log.Warn("mesos agent refuses the credentials of mesos.credentials_file or mesos.token_file (wrong, expired, or without the right to see its state); trying again, what was known stays", "err", err)
	case kind == "denied":
		w.log.Warn("mesos agent wants credentials, so containers go without what it knows of them; set mesos.credentials_file or mesos.token_file", "err", err)
	default:
		w.log.Warn("mesos agent cannot be asked; trying again, what was known stays", "err", err)
	}
	return kind
}

package alert

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"mesoscope/internal/backoff"
)

const (
	// lasts is how long an alert fires without being sent again. It is several
	// times every, so that a restart or a slow Alertmanager ends nothing; and
	// less than resolve_timeout (5 min), so that it is we who decide.
	lasts = 4 * time.Minute
	// batch is how many alerts one request has at most.
	batch = 500
	// skew is how far clocks may differ before it matters: the end of an alert
	// that lies in the past of an Alertmanager hides it.
	skew    = 10 * time.Second
	timeout = 10 * time.Second
	// again is when an alert that was refused is tried once more.
	again = 10 * time.Minute
)

var retries = backoff.Exponential{First: time.Second, Max: every}

// A sender keeps one Alertmanager up to date. One that is away or slow holds up
// no other.
type sender struct {
	url, name string // name is the URL without its path
	username  string
	password  string
	client    *http.Client
	log       *slog.Logger
	metrics   *metrics
	changed   chan struct{}

	sent   map[string]sent // by key of the alert
	offset time.Duration   // its clock minus ours, 0 while they agree
	since  time.Time       // nothing gets through; zero: it does
}

// sent is what the Alertmanager knows of an alert.
type sent struct {
	version int
	at      time.Time
	refused bool
}

func newSender(address string, o Options, m *metrics) (*sender, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("collector.alertmanager: wanted URLs such as http://alertmanager:9093") // it may hold a password
	}
	u = u.JoinPath("/api/v2/alerts")
	name := u.Scheme + "://" + u.Host
	m.begin(name)
	return &sender{
		url: u.String(), name: name, username: o.Username, password: o.Password, client: &http.Client{Transport: o.Transport, Timeout: timeout}, log: o.Log, metrics: m,
		changed: make(chan struct{}, 1), sent: map[string]sent{},
	}, nil
}

// wake makes it look for what is new.
func (s *sender) wake() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// run sends what is new and, each 30 s, everything, until ctx ends.
func (s *sender) run(ctx context.Context, alerts func() []*alert) {
	failures := 0
	for {
		wait := every
		err := s.round(ctx, alerts())
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			failures++
			wait = retries.After(failures)
			s.metrics.failed.WithLabelValues(s.name).Inc()
			if s.since.IsZero() {
				s.since = time.Now()
				s.log.Error("alerts do not get through; trying again", "alertmanager", s.name, "error", err)
			}
		} else {
			failures = 0
			if !s.since.IsZero() {
				s.log.Info("alerts get through again", "alertmanager", s.name, "after", time.Since(s.since).Round(time.Second))
				s.since = time.Time{}
			}
			s.metrics.last.WithLabelValues(s.name).SetToCurrentTime()
		}
		timer := time.NewTimer(wait)
		changed := s.changed
		if err != nil {
			changed = nil // something new is no reason to hurry
		}
		select {
		case <-ctx.Done():
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// round sends what is due, and forgets what is no more.
func (s *sender) round(ctx context.Context, alerts []*alert) error {
	now := time.Now()
	var due []*alert
	there := make(map[string]bool, len(alerts))
	for _, a := range alerts {
		there[a.key] = true
		was, known := s.sent[a.key]
		switch {
		case !known || was.version != a.version: // news
		case was.refused && now.Sub(was.at) < again:
			continue
		case now.Sub(was.at) < every-every/10: // else a round that is a little early would wait a whole turn
			continue
		}
		due = append(due, a)
	}
	for key := range s.sent {
		if !there[key] {
			delete(s.sent, key)
		}
	}
	for len(due) > 0 {
		n := min(len(due), batch)
		if err := s.post(ctx, due[:n]); err != nil {
			return err
		}
		due = due[n:]
	}
	return nil
}

// A postable is an alert as Alertmanager reads it.
type postable struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations,omitempty"`
	StartsAt    time.Time         `json:"startsAt"`
	EndsAt      time.Time         `json:"endsAt"`
	Link        string            `json:"generatorURL,omitempty"`
}

// errClock says that the clocks turned out to differ: what was just sent may
// have had no effect.
var errClock = errors.New("the clocks differ")

// post sends a batch. What is refused is halved until the bad alert is alone;
// that one is counted and left out for a while.
func (s *sender) post(ctx context.Context, alerts []*alert) error {
	for range 2 {
		status, reason, err := s.request(ctx, alerts)
		if errors.Is(err, errClock) {
			continue
		}
		if err != nil {
			return err
		}
		refused := status == http.StatusBadRequest || status == http.StatusUnprocessableEntity || status == http.StatusRequestEntityTooLarge
		switch {
		case refused && len(alerts) > 1:
			half := len(alerts) / 2
			if err := s.post(ctx, alerts[:half]); err != nil {
				return err
			}
			return s.post(ctx, alerts[half:])
		case refused:
			s.metrics.refused.WithLabelValues(s.name).Inc()
			s.log.Error("an alert is refused", "alertmanager", s.name, "labels", alerts[0].named(), "status", status, "reason", reason)
		case status/100 != 2:
			return fmt.Errorf("%s answers %d: %s", s.name, status, reason)
		default:
			s.metrics.sent.WithLabelValues(s.name).Add(float64(len(alerts)))
		}
		for _, a := range alerts {
			s.sent[a.key] = sent{version: a.version, at: time.Now(), refused: refused}
		}
		return nil
	}
	return fmt.Errorf("the clock of %s jumps", s.name)
}

// request is one POST.
func (s *sender) request(ctx context.Context, alerts []*alert) (status int, reason string, err error) {
	now := time.Now().Add(s.offset)
	body := make([]postable, len(alerts))
	for i, a := range alerts {
		p := postable{Labels: a.named(), Annotations: a.notes(), StartsAt: a.startsAt.Add(s.offset).UTC(), EndsAt: now.Add(lasts).UTC(), Link: a.link}
		if !a.endsAt.IsZero() {
			p.EndsAt = a.endsAt.Add(s.offset).UTC()
		}
		if p.StartsAt.After(p.EndsAt) {
			p.StartsAt = p.EndsAt
		}
		body[i] = p
	}
	text, err := json.Marshal(body)
	if err != nil {
		return 0, "", fmt.Errorf("encode alerts: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(text))
	if err != nil {
		return 0, "", fmt.Errorf("POST to %s: %w", s.name, err)
	}
	req.Header.Set("Content-Type", "application/json")
	if s.username != "" {
		req.SetBasicAuth(s.username, s.password)
	}
	res, err := s.client.Do(req)
	if err != nil {
		return 0, "", err // names the URL, without password
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 4<<10))
	if err != nil {
		return 0, "", fmt.Errorf("read the answer of %s: %w", s.name, err)
	}
	if s.clock(res.Header.Get("Date")) && res.StatusCode/100 == 2 {
		return 0, "", errClock
	}
	return res.StatusCode, strings.TrimSpace(string(answer)), nil
}

// clock compares the clocks by an answer's Date. It reports whether the
// difference that we reckon with has changed.
func (s *sender) clock(date string) (changed bool) {
	theirs, err := http.ParseTime(date)
	if err != nil {
		return false // no such header: nothing is known
	}
	// Date has whole seconds, and is cut.
	offset := time.Until(theirs.Add(500 * time.Millisecond))
	if (offset - s.offset).Abs() <= skew {
		return false // startsAt shall not waver
	}
	if offset.Abs() <= skew {
		offset = 0
	}
	s.offset = offset
	s.metrics.skew.WithLabelValues(s.name).Set(offset.Seconds())
	if offset == 0 {
		s.log.Info("the clocks agree again", "alertmanager", s.name)
	} else {
		s.log.Warn("the clocks differ; alerts get the time of the Alertmanager", "alertmanager", s.name, "ahead_of_us", offset.Round(time.Second))
	}
	return true
}

package shipper

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Problem is something that went wrong, once or many times.
type Problem struct {
	Message string    `json:"message"`
	Example string    `json:"example,omitempty"` // the latest case of it
	Count   int64     `json:"count"`
	First   time.Time `json:"first"`
	Last    time.Time `json:"last"`
	Answer  bool      `json:"answer,omitempty"` // an answer to lines, which Status.Answers counts
}

// problems counts what goes wrong by message and keeps the latest for `status`.
// It says a message at once, and as long as it goes on once a minute, then less
// and less often, with the number of times.
// Safe for use by several goroutines.
type problems struct {
	log *slog.Logger

	mu    sync.Mutex
	known map[string]*spoken
}

type spoken struct {
	Problem
	said   time.Time
	gap    time.Duration // to the next time
	unsaid int64
}

const (
	sayEvery      = time.Minute // doubled each time, up to
	sayAtLeast    = time.Hour
	sayAnew       = 10 * time.Minute // what was over for so long begins anew
	mostProblems  = 100              // different messages kept
	exampleLength = 500
)

// note counts n cases of message. example says what the latest one was; args
// are more attributes for the log.
func (p *problems) note(level slog.Level, n int, message, example string, args ...any) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.known[message]
	if s == nil {
		if len(p.known) >= mostProblems {
			p.forgetOldest()
		}
		s = &spoken{Problem: Problem{Message: message, First: now}}
		p.known[message] = s
	}
	if now.Sub(s.Last) > sayAnew {
		s.gap = 0
	}
	s.Count += int64(n)
	s.unsaid += int64(n)
	s.Last = now
	s.Example = cutString(example, exampleLength)
	if !s.said.IsZero() && now.Sub(s.said) < s.gap {
		return
	}
	s.gap = min(max(s.gap*2, sayEvery), sayAtLeast)
	if s.Example != "" {
		args = append(args, "example", s.Example)
	}
	if s.unsaid > 1 {
		args = append(args, "count", s.unsaid)
	}
	p.log.Log(context.Background(), level, message, args...)
	s.said, s.unsaid = now, 0
}

// noteAnswer is note for an answer to n lines.
func (p *problems) noteAnswer(level slog.Level, n int, message, example string, args ...any) {
	p.note(level, n, message, example, args...)
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.known[message]; s != nil {
		s.Answer = true
	}
}

func (p *problems) forgetOldest() {
	oldest := ""
	for m, s := range p.known {
		if oldest == "" || s.Last.Before(p.known[oldest].Last) {
			oldest = m
		}
	}
	delete(p.known, oldest)
}

// list is what is known, the latest first.
func (p *problems) list() []Problem {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]Problem, 0, len(p.known))
	for _, s := range p.known {
		out = append(out, s.Problem)
	}
	slices.SortFunc(out, func(a, b Problem) int {
		if c := b.Last.Compare(a.Last); c != 0 {
			return c
		}
		return strings.Compare(a.Message, b.Message)
	})
	return out
}

// cutString cuts s to at most n bytes at the beginning of a character.
func cutString(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:n]
}

package demo

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// A process is one run of a program.
type process struct {
	*rand.Rand
	now     time.Time // of the present step; in a container's past it runs ahead of the clock
	live    bool      // not in the past
	started time.Time // of the live run
	tty     bool

	next   func(*process) time.Duration // prints and says how long to wait for the next step
	print  func(stream int, text string) error
	exited bool
	code   int
	err    error // the first of print
}

func newProcess(s service, random *rand.Rand, now time.Time) *process {
	return &process{Rand: random, now: now, tty: s.tty, next: s.program()}
}

func (p *process) step() time.Duration { return p.next(p) }

// up is how long the live run has lasted; negative in the past.
func (p *process) up() time.Duration {
	if !p.live {
		return -1
	}
	return p.now.Sub(p.started)
}

const (
	stdout = 0
	stderr = 1
)

// out prints a line on stdout.
func (p *process) out(format string, args ...any) { p.write(stdout, fmt.Sprintf(format, args...)+"\n") }

// errOut prints a line on stderr.
func (p *process) errOut(format string, args ...any) {
	p.write(stderr, fmt.Sprintf(format, args...)+"\n")
}

// write prints text as it is. A terminal has one stream and ends lines its own way.
func (p *process) write(stream int, text string) {
	if p.tty {
		stream, text = stdout, strings.ReplaceAll(text, "\n", "\r\n")
	}
	if p.err == nil {
		p.err = p.print(stream, text)
	}
}

// exit ends the run after this step.
func (p *process) exit(code int) { p.exited, p.code = true, code }

// pick returns one of the choices.
func pick[T any](p *process, choices ...T) T { return choices[p.IntN(len(choices))] }

// chance is true n times of 100.
func (p *process) chance(n int) bool { return p.IntN(100) < n }

// about is a time between a half and one and a half of d.
func (p *process) about(d time.Duration) time.Duration {
	return d/2 + time.Duration(p.Int64N(int64(d)))
}

// noise is how long a chatty neighbour waits between two lines: for the first
// 15 s of each minute it prints hundreds of lines a second.
func (p *process) noise() time.Duration {
	if p.live && p.up()%time.Minute < 15*time.Second {
		return p.about(4 * time.Millisecond)
	}
	return p.about(400 * time.Millisecond)
}

func (p *process) ip() string { return fmt.Sprintf("10.32.%d.%d", p.IntN(8), 1+p.IntN(250)) }

func (p *process) hex(n int) string { return fmt.Sprintf("%0*x", n, p.Uint64())[:n] }

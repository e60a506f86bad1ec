package shipper

import "time"

// A pace decides when a bulk that is not full may go, and how many bulks may
// be under way. It belongs to the assembler.
//
// A line goes at once if nothing is under way and the last answer is at least
// factor of its round trips ago: a quick cluster sees a line within
// milliseconds, and of a busy one only a fixed share of the time is taken, so
// ten thousand agents do not drown it in small bulks. While a bulk is under
// way a line waits for company, but never longer than flush.
//
// The limit of bulks under way grows by one per round and is halved when the
// cluster says "too much" (AIMD, as TCP does it).
type pace struct {
	flush   time.Duration
	workers int

	factor    float64       // at least baseFactor
	limit     float64       // 1 to workers
	rtt       time.Duration // of the last answer
	lastReply time.Time
	lastCut   time.Time // when limit was halved last
	notBefore time.Time // nothing is sent before: back-off after a failure
	failures  int       // whole requests failed in a row
}

const (
	baseFactor = 4
	mostFactor = 256
)

func newPace(flush time.Duration, workers int) pace {
	return pace{flush: flush, workers: workers, factor: baseFactor, limit: float64(workers)}
}

// room says whether one more bulk may be under way besides n.
func (p *pace) room(n int) bool { return n < int(p.limit) }

// due is when a bulk whose first line came at since may go, with n under way.
// It may lie in the past.
func (p *pace) due(since time.Time, n int) time.Time {
	t := since.Add(p.flush)
	if n == 0 {
		if soon := p.lastReply.Add(time.Duration(p.factor * float64(p.rtt))); soon.Before(t) {
			t = soon
		}
	}
	return t
}

// answered notes an answer, whatever it says, and its round trip.
func (p *pace) answered(now time.Time, rtt time.Duration) {
	p.lastReply, p.rtt = now, rtt
}

// good notes that the cluster took a bulk without complaint.
func (p *pace) good() {
	p.failures = 0
	p.notBefore = time.Time{}
	p.limit = min(p.limit+1/p.limit, float64(p.workers))
	p.factor = max(p.factor*0.9, baseFactor)
}

// busy notes that the cluster had too much (429, 503) with a bulk sent at
// sent. Answers to bulks that were under way together count once.
func (p *pace) busy(now, sent time.Time) {
	if !sent.After(p.lastCut) && !p.lastCut.IsZero() {
		return
	}
	p.lastCut = now
	p.limit = max(p.limit/2, 1)
	p.factor = min(p.factor*2, mostFactor)
}

// down notes that a whole request failed: one at a time until something
// succeeds, and not before wait has passed.
func (p *pace) down(now time.Time, wait time.Duration) {
	p.limit = 1
	if t := now.Add(wait); t.After(p.notBefore) {
		p.notBefore = t
	}
}

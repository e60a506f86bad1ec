package tail

import "sync"

// A turn is where a source stands in the queue.
type turn uint8

const (
	resting turn = iota
	waiting
	working
	workingAgain // was pushed while a worker had it
)

// A queue hands sources to workers: in the order in which they were pushed,
// each to one worker at a time. A source that has more to read goes to the
// end, so that a noisy container cannot starve a quiet one.
type queue struct {
	mu     sync.Mutex
	some   sync.Cond
	ring   []*source
	first  int
	size   int
	closed bool
}

func (q *queue) init() {
	q.some.L = &q.mu
	q.ring = make([]*source, 64)
}

// push makes s be looked at. It may be called at any time, from anywhere.
func (q *queue) push(s *source) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch s.turn {
	case resting:
		q.append(s)
	case working:
		s.turn = workingAgain
	}
}

func (q *queue) append(s *source) {
	s.turn = waiting
	if q.size == len(q.ring) {
		ring := make([]*source, 2*len(q.ring))
		n := copy(ring, q.ring[q.first:])
		copy(ring[n:], q.ring[:q.first])
		q.ring, q.first = ring, 0
	}
	q.ring[(q.first+q.size)%len(q.ring)] = s
	q.size++
	q.some.Signal()
}

// pop waits for a source and gives it to the caller until done. nil: closed.
func (q *queue) pop() *source {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.size == 0 && !q.closed {
		q.some.Wait()
	}
	if q.closed {
		return nil
	}
	s := q.ring[q.first]
	q.ring[q.first] = nil
	q.first = (q.first + 1) % len(q.ring)
	q.size--
	s.turn = working
	return s
}

// done gives s back; more says that it has to be looked at again.
func (q *queue) done(s *source, more bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if more || s.turn == workingAgain {
		q.append(s)
		return
	}
	s.turn = resting
}

// close makes pop return nil.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.some.Broadcast()
}

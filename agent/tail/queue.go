package tail

import "sync"

// A turn is where a source stands in a queue.
type turn uint8

const (
	resting turn = iota
	waiting
	working
	workingAgain // was pushed while somebody worked on it
)

// A ticket is a source's place in one queue.
type ticket struct {
	source *source
	turn   turn // guarded by the queue
}

// A queue hands sources to workers: in the order in which they were pushed,
// each to one worker at a time. A source that has more to read goes to the
// end, so that a noisy container cannot starve a quiet one.
type queue struct {
	mu     sync.Mutex
	some   sync.Cond
	ring   []*ticket
	first  int
	size   int
	closed bool
}

func (q *queue) init() {
	q.some.L = &q.mu
	q.ring = make([]*ticket, 64)
}

// push makes the source be looked at. It may be called at any time, from
// anywhere.
func (q *queue) push(t *ticket) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch t.turn {
	case resting:
		q.append(t)
	case working:
		t.turn = workingAgain
	}
}

func (q *queue) append(t *ticket) {
	t.turn = waiting
	if q.size == len(q.ring) {
		ring := make([]*ticket, 2*len(q.ring))
		n := copy(ring, q.ring[q.first:])
		copy(ring[n:], q.ring[:q.first])
		q.ring, q.first = ring, 0
	}
	q.ring[(q.first+q.size)%len(q.ring)] = t
	q.size++
	q.some.Signal()
}

// pop waits for a source and gives it to the caller until done. nil: closed.
func (q *queue) pop() *ticket {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.size == 0 && !q.closed {
		q.some.Wait()
	}
	if q.closed {
		return nil
	}
	t := q.ring[q.first]
	q.ring[q.first] = nil
	q.first = (q.first + 1) % len(q.ring)
	q.size--
	t.turn = working
	return t
}

// done gives t back; more says that it has to be looked at again.
func (q *queue) done(t *ticket, more bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if more || t.turn == workingAgain {
		q.append(t)
		return
	}
	t.turn = resting
}

// close makes pop return nil.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.some.Broadcast()
}

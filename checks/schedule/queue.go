package schedule

import "time"

// dueHeap is a min-heap of entries by time.
type dueHeap []*entry

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push is for container/heap.
func (h *dueHeap) Push(x any) {
	e := x.(*entry)
	e.index = len(*h)
	*h = append(*h, e)
}

// Pop is for container/heap.
func (h *dueHeap) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	e.index = -1
	return e
}

// A fifo is a queue in a ring that grows.
type fifo struct {
	ring     []*entry
	first, n int
}

func (q *fifo) push(e *entry) {
	if q.n == len(q.ring) {
		bigger := make([]*entry, max(8, 2*q.n))
		copy(bigger, q.all())
		q.ring, q.first = bigger, 0
	}
	q.ring[(q.first+q.n)%len(q.ring)] = e
	q.n++
}

// pop is the first one, nil if there is none.
func (q *fifo) pop() *entry {
	if q.n == 0 {
		return nil
	}
	e := q.ring[q.first]
	q.ring[q.first] = nil
	q.first = (q.first + 1) % len(q.ring)
	q.n--
	return e
}

func (q *fifo) all() []*entry {
	out := make([]*entry, q.n)
	for i := range out {
		out[i] = q.ring[(q.first+i)%len(q.ring)]
	}
	return out
}

// farAway keeps a timer from firing while nothing is due.
const farAway = time.Hour

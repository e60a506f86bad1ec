package tail

import "sync"

// A hangar keeps flights that have landed, and their bodies by size, to be used
// again. A flight begins with a small body and changes to the next size when it
// is full: a silent container's line does not occupy half a megabyte, and under
// load nothing grows in many steps. What is not used for some time is freed.
type hangar struct {
	flights sync.Pool // *flight without a body
	bodies  [len(bodySizes)]sync.Pool
}

// bodySizes are the sizes of bodies. The last one has room for the line that
// makes a batch large enough to be handed over.
var bodySizes = [...]int{16 << 10, 96 << 10, batchBytes + 64<<10}

// take gives a flight with an empty body.
func (h *hangar) take() *flight {
	fl, ok := h.flights.Get().(*flight)
	if !ok {
		fl = new(flight)
	}
	fl.Body = h.body(0)
	return fl
}

// room makes room for n more bytes in the body of fl, unless that takes a body
// larger than all sizes: such a one grows by itself.
func (h *hangar) room(fl *flight, n int) {
	need := len(fl.Body) + n
	if need <= cap(fl.Body) {
		return
	}
	for i, size := range bodySizes {
		if need > size {
			continue
		}
		body := append(h.body(i), fl.Body...)
		h.keep(fl.Body)
		fl.Body = body
		return
	}
}

// give takes back a flight that nobody uses any more.
func (h *hangar) give(fl *flight) {
	h.keep(fl.Body)
	fl.Body, fl.source, fl.slot, fl.carried = nil, nil, nil, nil
	h.flights.Put(fl)
}

func (h *hangar) body(i int) []byte {
	if b, ok := h.bodies[i].Get().(*[]byte); ok {
		return (*b)[:0]
	}
	return make([]byte, 0, bodySizes[i])
}

func (h *hangar) keep(body []byte) {
	for i, size := range bodySizes {
		if cap(body) == size {
			h.bodies[i].Put(&body)
		}
	}
}

package shipper

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"slices"
)

// The codes of RFC 1951, section 3.2.5.
const (
	endOfBlock = 256
	litCodes   = 286 // literals, end of block, lengths
	distCodes  = 30
	mostBits   = 15
)

// A step is a range of values with one code: base + extra bits.
type step struct {
	base  uint16
	extra uint8
}

var lengthSteps = func() (t [29]step) {
	base := uint16(0) // lengths count from 3
	for i := range t {
		extra := uint8(max(0, i/4-1))
		t[i] = step{base, extra}
		base += 1 << extra
	}
	t[28] = step{longest - 3, 0} // the longest has a code of its own
	return t
}()

var lengthCode = func() (t [256]uint8) {
	for i := range t {
		for t[i] < 28 && int(lengthSteps[t[i]+1].base) <= i {
			t[i]++
		}
	}
	return t
}()

var distSteps = func() (t [distCodes]step) {
	base := uint16(0) // distances count from 1
	for i := range t {
		extra := uint8(max(0, i/2-1))
		t[i] = step{base, extra}
		base += 1 << extra
	}
	return t
}()

// distCode is the code of a distance less 1.
func distCode(d int) int {
	if d < 4 {
		return d
	}
	n := bits.Len(uint(d)) - 2 // the two highest bits say it
	return 2*n + d>>n
}

// A bitWriter writes numbers with their lowest bit first.
type bitWriter struct {
	out  []byte
	acc  uint64
	have uint // bits in acc, at most 15 between two calls
}

// bits writes the n lowest bits of v; n is at most 48.
func (w *bitWriter) bits(v uint64, n uint) {
	w.acc |= v << w.have
	w.have += n
	if w.have > 15 {
		whole := w.have / 8
		w.out = binary.LittleEndian.AppendUint64(w.out, w.acc)
		w.out = w.out[:len(w.out)-8+int(whole)]
		w.acc >>= 8 * whole
		w.have -= 8 * whole
	}
}

// align goes on to the next whole byte.
func (w *bitWriter) align() {
	for w.have > 0 {
		w.out = append(w.out, byte(w.acc))
		w.acc >>= 8
		w.have -= min(w.have, 8)
	}
}

// A code is a Huffman code, its bits in the order in which they are written.
type code struct {
	bits uint16
	n    uint8
}

// lengthOrder is in what order a block says how long the codes are that say how
// long the codes are.
const lengthOrder = 19

// block writes the tokens as one block with codes made for it.
func (c *compressor) block() {
	c.lits[endOfBlock] = 1
	c.dists[0]++ // at least two codes, or some readers see an error
	c.dists[1]++
	var lits [litCodes]code
	var dists [distCodes]code
	assign(c.lits[:], lits[:])
	assign(c.dists[:], dists[:])
	c.bits(0b100, 3) // not the last block, codes of its own
	c.bits(litCodes-257, 5)
	c.bits(distCodes-1, 5)
	c.bits(lengthOrder-4, 4)
	// Each length from 0 to 15 gets 4 bits, and none is repeated: the 160 bytes
	// that this takes are nothing beside a block of 30 KiB.
	for i := range lengthOrder {
		if i < 3 { // 16 to 18, the repeats
			c.bits(0, 3)
		} else {
			c.bits(4, 3)
		}
	}
	for _, k := range lits {
		c.bits(uint64(bits.Reverse8(k.n)>>4), 4)
	}
	for _, k := range dists {
		c.bits(uint64(bits.Reverse8(k.n)>>4), 4)
	}
	for _, t := range c.tokens {
		if t&isRepeat == 0 {
			k := lits[t]
			c.bits(uint64(k.bits), uint(k.n))
			continue
		}
		length, dist := int(t>>16&0xff), int(t&(window-1))
		l := lengthCode[length]
		k, s := lits[endOfBlock+1+int(l)], lengthSteps[l]
		v, n := uint64(k.bits)|uint64(length-int(s.base))<<k.n, uint(k.n+s.extra)
		d := distCode(dist)
		k, s = dists[d], distSteps[d]
		v |= (uint64(k.bits) | uint64(dist-int(s.base))<<k.n) << n
		c.bits(v, n+uint(k.n+s.extra))
	}
	end := lits[endOfBlock]
	c.bits(uint64(end.bits), uint(end.n))
	c.begin()
}

// assign makes Huffman codes of at most mostBits for what occurs so often. At
// least two things must occur.
func assign(often []int32, codes []code) {
	type node struct {
		often  int32
		symbol int16
		parent int16
		depth  uint8
	}
	var nodes [2 * litCodes]node
	n := 0
	for i, o := range often {
		if o > 0 {
			nodes[n] = node{often: o, symbol: int16(i)}
			n++
		}
	}
	slices.SortFunc(nodes[:n], func(a, b node) int { return cmp.Compare(a.often, b.often) })
	// Join the two rarest again and again. Joined ones come into being in the
	// order of their frequency, so both kinds are queues.
	leaf, joined := 0, n
	rarest := func(end int) int {
		if leaf < n && (joined == end || nodes[leaf].often <= nodes[joined].often) {
			leaf++
			return leaf - 1
		}
		joined++
		return joined - 1
	}
	root := 2*n - 2
	for end := n; end <= root; end++ {
		a := rarest(end)
		b := rarest(end)
		nodes[end].often = nodes[a].often + nodes[b].often
		nodes[a].parent, nodes[b].parent = int16(end), int16(end)
	}
	// lengths counts the leaves by their depth.
	var lengths [mostBits + 1]int
	for i := root - 1; i >= 0; i-- {
		nodes[i].depth = nodes[nodes[i].parent].depth + 1
		if i < n {
			lengths[min(nodes[i].depth, mostBits)]++
		}
	}
	// What was too deep now takes more than there is: lengthen shorter codes
	// until it fits.
	total := 0
	for l, k := range lengths {
		total += k << (mostBits - l) // lengths[0] is 0
	}
	for ; total > 1<<mostBits; total-- {
		l := mostBits - 1
		for lengths[l] == 0 {
			l--
		}
		lengths[mostBits]--
		lengths[l]--
		lengths[l+1] += 2
	}
	// The rarest get the longest, and codes count up by length, then symbol.
	i := 0
	for l := mostBits; l > 0; l-- {
		for range lengths[l] {
			codes[nodes[i].symbol].n = uint8(l)
			i++
		}
	}
	var next [mostBits + 2]uint16
	for l := 1; l <= mostBits; l++ {
		next[l+1] = (next[l] + uint16(lengths[l])) << 1
	}
	for s := range codes {
		if l := codes[s].n; l > 0 {
			codes[s].bits = bits.Reverse16(next[l]) >> (16 - l)
			next[l]++
		}
	}
}

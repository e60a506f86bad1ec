package usage

import (
	"bytes"
	"math"
)

// number reads a decimal number. "max", the kernel's word for no limit, is 0,
// and so is what no 64 bits can hold; ok is false for all else that is none.
func number(b []byte) (n uint64, ok bool) {
	b = bytes.TrimSpace(b)
	if len(b) == 0 {
		return 0, false
	}
	if string(b) == "max" {
		return 0, true
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		if n > (math.MaxUint64-9)/10 {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return n, true
}

// limit is number for a limit of cgroup v1, where no limit is the largest number
// of pages that a signed number can count, in bytes.
func limit(b []byte) (n uint64, ok bool) {
	if n, ok = number(b); n >= math.MaxInt64-(1<<20) {
		n = 0
	}
	return n, ok
}

// pairs goes through lines of the form "key value".
type pairs struct{ rest []byte }

func (p *pairs) next() (key []byte, value uint64, ok bool) {
	for len(p.rest) > 0 {
		var line []byte
		line, p.rest = cut(p.rest, '\n')
		name, text := cut(line, ' ')
		if v, is := number(text); is {
			return name, v, true
		}
	}
	return nil, 0, false
}

// cut is bytes.Cut for one byte; what follows the separator may be empty.
func cut(b []byte, sep byte) (before, after []byte) {
	if i := bytes.IndexByte(b, sep); i >= 0 {
		return b[:i], b[i+1:]
	}
	return b, nil
}

// A Stall is for how long work waited for a resource, in nanoseconds since the
// start: some of it, or all of it at once.
type Stall struct{ Some, Full uint64 }

// pressure reads a file of the kernel's pressure stall information:
//
//	some avg10=0.00 avg60=0.00 avg300=0.00 total=11915687103
//	full avg10=0.00 avg60=0.00 avg300=0.00 total=0
//
// The total is in microseconds. The line of "full" is missing for the CPU of old
// kernels.
func pressure(b []byte) (s Stall, ok bool) {
	for len(b) > 0 {
		var line []byte
		line, b = cut(b, '\n')
		kind, rest := cut(line, ' ')
		i := bytes.LastIndex(rest, []byte("total="))
		if i < 0 {
			continue
		}
		total, is := number(rest[i+len("total="):])
		if !is {
			continue
		}
		switch string(kind) {
		case "some":
			s.Some, ok = total*1000, true
		case "full":
			s.Full = total * 1000
		}
	}
	return s, ok
}

// blkio sums up a file of cgroup v1 over all devices: bytes or operations, by
// what they did.
//
//	254:0 Read 8413184
//	254:0 Write 8388608
//	Total 16801792
//
// A container that has not touched a disk has the last line alone.
func blkio(b []byte) (read, written uint64, ok bool) {
	for len(b) > 0 {
		var line []byte
		line, b = cut(b, '\n')
		first, rest := cut(line, ' ')
		if string(first) == "Total" {
			ok = true
			continue
		}
		op, text := cut(rest, ' ')
		n, is := number(text)
		if !is {
			continue
		}
		switch string(op) {
		case "Read":
			read, ok = read+n, true
		case "Write":
			written, ok = written+n, true
		}
	}
	return read, written, ok
}

// ioStat sums up io.stat of cgroup v2 over all devices. An empty file is that of
// a container that has not touched a disk.
//
//	8:16 rbytes=1459200 wbytes=314773504 rios=192 wios=353 dbytes=0 dios=0
func ioStat(b []byte, c *Counters) {
	for len(b) > 0 {
		var line []byte
		line, b = cut(b, '\n')
		_, rest := cut(line, ' ')
		for len(rest) > 0 {
			var field []byte
			field, rest = cut(rest, ' ')
			key, text := cut(field, '=')
			n, ok := number(text)
			if !ok {
				continue
			}
			switch string(key) {
			case "rbytes":
				c.ReadBytes += n
			case "wbytes":
				c.WrittenBytes += n
			case "rios":
				c.Reads += n
			case "wios":
				c.Writes += n
			}
		}
	}
}

package discover

import "hash/maphash"

const (
	// pieceSize is where dockerd cuts a line into several messages.
	pieceSize = 16 << 10
	// replayed is how many messages are remembered to recognise them when they
	// come a second time.
	replayed = 1024
)

// replays finds the messages that dockerd sends twice within one response: its
// follower (seen in 20.10) takes some rotations for two, opens the new file
// once more and sends its beginning again.
//
// A message is known by its time, stream and text. dockerd stamps each line by
// itself, in nanoseconds, so two lines of a stream are never equal. The pieces
// of one line may be, since they share a time: a full piece is only taken for
// a second copy when its line has ended since the first.
type replays struct {
	lines map[string]int // by stream: lines that have ended
	seen  map[uint64]int // by hash: lines[stream] at that time
	order []uint64       // keys of seen, a ring once it is full
	next  int
}

func newReplays() *replays { return &replays{lines: make(map[string]int), seen: make(map[uint64]int)} }

// again says whether the encoded entry is a second copy.
func (r *replays) again(seed maphash.Seed, e entry, encoded []byte) bool {
	n := len(e.log)
	// The driver local gives no '\n' behind the last piece of a long line.
	ends := n == 0 || e.log[n-1] == '\n' || n < pieceSize
	key := maphash.Bytes(seed, encoded)
	if at, known := r.seen[key]; known {
		if ends || r.lines[e.stream] > at {
			return true
		}
	} else if len(r.order) < replayed {
		r.order = append(r.order, key)
	} else {
		delete(r.seen, r.order[r.next])
		r.order[r.next] = key
		r.next = (r.next + 1) % replayed
	}
	r.seen[key] = r.lines[e.stream]
	if ends {
		r.lines[e.stream]++
	}
	return false
}

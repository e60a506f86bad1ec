package pipeline

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// TestSpill: whatever is spilled at random and read again from where the line
// began, the same lines come out as without that.
func TestSpill(t *testing.T) {
	type step struct {
		text  string
		whole bool
		nanos int64
	}
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		var steps []step
		nanos := int64(1)
		for range 40 {
			if r.IntN(3) == 0 {
				nanos++ // a line that nothing ends, sometimes
			}
			s := step{text: fmt.Sprint(r.IntN(1e6)), whole: r.IntN(3) == 0, nanos: nanos}
			steps = append(steps, s)
			if s.whole {
				nanos++
			}
		}
		run := func(spills bool) (out []string) {
			j := Joiner{Max: 25}
			lines := int64(0)
			var e Entry
			emit := func(list []Line) {
				for _, l := range list {
					out = append(out, fmt.Sprintf("%d %d %s cut=%v source=%d", l.Offset, l.Sequence, l.Text, l.Cut, l.Source))
				}
			}
			again := false // reading again what was spilled: not to be spilled once more
			for i := 0; i < len(steps); i++ {
				s := steps[i]
				e = Entry{Text: []byte(s.text), Whole: s.whole, Nanos: s.nanos, Size: 10 + len(s.text)}
				list, began := j.Add(&e, Place{Offset: int64(i), Sequence: lines + 1})
				if j.Due(i == len(steps)-1) {
					p, _ := j.Open()
					j.Resume(0)
					i, lines, again = int(p.Offset)-1, p.Sequence-1, true
					continue
				}
				if began {
					lines++
				}
				if len(list) > 0 {
					again = false
				}
				emit(list)
				if spills && !again && i < len(steps)-1 && r.IntN(2) == 0 {
					j.Spill()
				}
			}
			if j.Due(true) {
				t.Fatalf("seed %d: a spilled line is left", seed)
			}
			emit(j.Flush())
			return out
		}
		want, got := run(false), run(true)
		if fmt.Sprint(want) != fmt.Sprint(got) {
			t.Fatalf("seed %d: with spills\n%q\nwithout\n%q", seed, got, want)
		}
	}
}

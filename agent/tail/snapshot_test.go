package tail

import (
	"encoding/json"
	"os"
	"testing"

	"mesoscope/receipt"
	"mesoscope/record"
)

// TestStateIsACopy: what the checkpoint holds neither changes with the source that
// was made of it nor keeps what the source has open.
func TestStateIsACopy(t *testing.T) {
	odd := book{Ranges: []receipt.Range{{First: 1, Last: 1, Why: "doubled"}}}
	st := state{ID: "c", Generations: []generation{{N: 1, Books: [2]book{odd}, Gaps: []gap{{At: 1}}}}}
	before, err := json.Marshal(st)
	if err != nil {
		t.Fatal(err)
	}
	s := newSource(Target{ID: "c"}, st, true)
	g := s.gens[0]
	g.Books[0].add(oddity{generation: 1, sequence: 2, outcome: record.Doubled})
	g.Gaps[0].Noted = true
	after, err := json.Marshal(st)
	if err != nil {
		t.Fatal(err)
	}
	if string(after) != string(before) {
		t.Errorf("it was\n%s and is\n%s", before, after)
	}
	g.file = os.Stdin
	if c := g.clone(); c.file != nil {
		t.Error("the copy has the open file")
	}
}

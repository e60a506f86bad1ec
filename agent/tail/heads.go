package tail

import "slices"

// heads are the times with which the files of a log have begun lately, the
// latest last, and how often again. A huge line fills many files that all begin
// with its time, unless an entry of the other stream comes first in one; and once
// the first of them are settled, they are forgotten and their inodes go to later
// ones. Without this, two files would have one name.
type heads []headRun

type headRun struct {
	Nanos int64 `json:"t"`
	Runs  int   `json:"n,omitempty"` // files with that time, but for the first
}

// mostHeads is more files than begin within another stream's short lines in a
// row while a huge line is written.
const mostHeads = 16

// meet enters that one more file begins at nanos, and gives the number of those
// before it.
func (h *heads) meet(nanos int64) int {
	run := headRun{Nanos: nanos}
	if i := slices.IndexFunc(*h, func(r headRun) bool { return r.Nanos == nanos }); i >= 0 {
		run.Runs = (*h)[i].Runs + 1
		*h = slices.Delete(slices.Clone(*h), i, i+1) // what the checkpoint holds does not change
	}
	*h = append(slices.Clip(*h), run)
	if len(*h) > mostHeads {
		*h = (*h)[1:]
	}
	return run.Runs
}

// runs is how many files besides the first begin at nanos.
func (h heads) runs(nanos int64) int {
	for _, r := range h {
		if r.Nanos == nanos {
			return r.Runs
		}
	}
	return 0
}

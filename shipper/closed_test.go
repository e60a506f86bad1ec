package shipper

import (
	"testing"
	"time"

	"mesoscope/config"
	"mesoscope/test/fakees"
)

// A closed old index may hold what is sent again: its lines wait in case it is
// opened, and not for ever.
func TestClosedIndex(t *testing.T) {
	for _, c := range []struct {
		name   string
		opened time.Duration // after the rollover; 0 = never
		want   []string
		marks  string
		unsure float64
	}{
		{name: "opened in time", opened: time.Minute, want: []string{"0", "a"}, marks: "a:1"},
		{name: "left closed", want: []string{"0", "a", "a"}, unsure: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newScene(map[int]func(*scene) fakees.Fault{2: cutApplied})
				r := newRig(t, s.Server, nil)
				r.warm()
				r.send("a")
				time.Sleep(time.Millisecond)
				s.Rollover(testIndex)
				s.Close(firstBacking, true)
				if c.opened > 0 {
					time.Sleep(c.opened)
					s.Close(firstBacking, false)
				}
				if time.Sleep(closedFor + time.Minute); r.settledNow() != 1 {
					t.Fatalf("settled %d\n%s", r.settledNow(), r.logs)
				}
				if c.opened == 0 {
					r.wantSaid(1, "lines that may be stored in a closed index are sent again")
					// The next ones need not wait.
					begin := time.Now()
					r.since(firstBacking, "b")
					for r.settledNow() < 2 {
						time.Sleep(time.Second)
					}
					if took := time.Since(begin); took > 10*time.Second {
						t.Errorf("the next lines waited %v", took)
					}
					c.want, c.unsure = append(c.want, "b"), c.unsure+1
				} else {
					r.wantMarks(c.marks)
				}
				r.wantSaid(map[bool]int{true: 1, false: 2}[c.opened > 0], "they wait a little in case it is opened")
				r.drain()
				r.wantIDs(testIndex, c.want...)
				r.wantCount("unchecked", r.sink.metrics.unchecked, c.unsure)
			})
		})
	}
}

// What an open index holds is found although an older one is closed.
func TestFoundBesideAClosedIndex(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newScene(nil)
		r := newRig(t, s.Server, nil)
		r.warm()
		s.Rollover(testIndex)
		r.send("a")
		time.Sleep(time.Second)
		s.Rollover(testIndex)
		s.Close(firstBacking, true)
		begin := time.Now()
		r.since(firstBacking, "a")
		r.drain()
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("took %v", took)
		}
		r.wantIDs(testIndex, "0", "a")
		r.wantMarks("a:1")
	})
}

// Without ids of ours the closed index is left out of the search.
func TestClosedIndexWithoutIDs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newScene(map[int]func(*scene) fakees.Fault{2: cutApplied})
		r := newRig(t, s.Server, func(c *config.Elasticsearch) { c.IDs = "auto" })
		r.in <- bareBatch(r.settle, "a")
		time.Sleep(time.Second)
		s.Rollover(testIndex)
		s.Close(firstBacking, true)
		r.in <- bareBatch(r.settle, "b", "c")
		r.drain()
		r.wantMarks("b:1 c:1")
		r.wantSaid(0, "credentials may not")
	})
}

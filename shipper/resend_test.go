package shipper

import (
	"strings"
	"sync"
	"testing"
	"time"

	"mesoscope/record"
	"mesoscope/test/fakees"
)

const (
	firstBacking  = ".ds-" + testIndex + "-2026.11.23-000001"
	secondBacking = ".ds-" + testIndex + "-2026.11.23-000002"
)

// A server that counts what it is asked, and does something with the nth bulk.
type scene struct {
	*fakees.Server
	mu    sync.Mutex
	calls map[string]int
}

func newScene(bulks map[int]func(s *scene) fakees.Fault) *scene {
	s := &scene{Server: &fakees.Server{}, calls: map[string]int{}}
	s.OnBulk = func(b *fakees.Bulk) fakees.Fault {
		if f := bulks[b.N]; f != nil {
			return f(s)
		}
		return fakees.Fault{}
	}
	s.OnCall = func(c *fakees.Call) fakees.Fault {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.calls[c.Name]++
		return fakees.Fault{}
	}
	return s
}

func (s *scene) asked(call string) int { s.mu.Lock(); defer s.mu.Unlock(); return s.calls[call] }

func cutApplied(s *scene) fakees.Fault { return fakees.Fault{Cut: true, Apply: true} }

func rolled(*scene) fakees.Fault { return fakees.Fault{} }

// The first bulk "0" makes the write index known; the second one is the one that
// something happens to.
func (r *rig) warm() {
	r.send("0")
	time.Sleep(time.Second)
	r.mu.Lock()
	r.settled = 0
	r.mu.Unlock()
}

func TestCutBulkWithoutRolloverIsNotLookedUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newScene(map[int]func(*scene) fakees.Fault{2: cutApplied})
		r := newRig(t, s.Server, nil)
		r.warm()
		r.send("a", "b")
		r.drain()
		r.wantIDs(testIndex, "0", "a", "b")
		r.wantMarks("a:1 b:1")
		if s.asked(fakees.CallMget) != 0 || s.asked(fakees.CallTasks) != 1 {
			t.Errorf("asked %v: `create` finds duplicates within one index", s.calls)
		}
	})
}

func TestCutBulkAndRollover(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newScene(map[int]func(*scene) fakees.Fault{2: cutApplied})
		r := newRig(t, s.Server, nil)
		r.warm()
		r.send("a", "b")
		time.Sleep(time.Millisecond)
		s.Rollover(testIndex)
		r.drain()
		r.wantIDs(testIndex, "0", "a", "b")
		r.wantMarks("a:1 b:1")
		r.wantCount("duplicate", r.sink.metrics.duplicate, 2)
		if s.asked(fakees.CallMget) != 1 || s.Bulks() != 2 {
			t.Errorf("asked %v, %d bulks: nothing was left to send", s.calls, s.Bulks())
		}
	})
}

// A bulk that is applied long after it was cut, when others have gone into the
// next index: nothing of it is sent before it is dead.
func TestBulkThatIsAppliedLate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newScene(map[int]func(*scene) fakees.Fault{2: func(*scene) fakees.Fault { return fakees.Fault{Late: 2 * time.Minute} }})
		r := newRig(t, s.Server, nil)
		r.warm()
		r.send("a", "b")
		time.Sleep(time.Minute)
		s.Rollover(testIndex)
		r.send("c") // does not wait for the others
		time.Sleep(10 * time.Second)
		r.wantIDs(testIndex, "0", "c")
		time.Sleep(20 * time.Second)
		s.Rollover(testIndex)
		r.drain()
		r.wantIDs(testIndex, "0", "c", "a", "b")
		r.wantMarks("a:1 b:1")
		if s.Bulks() != 3 {
			t.Errorf("%d bulks, want 3", s.Bulks())
		}
		if !strings.Contains(r.logs.String(), "still works on a request that was cut") {
			t.Errorf("nothing was said:\n%s", r.logs)
		}
	})
}

// The data stream rolls over after the question and before the write.
func TestRolloverBetweenLookupAndWrite(t *testing.T) {
	for _, mayDelete := range []bool{true, false} {
		bubble(t, func(t *testing.T) {
			s := newScene(map[int]func(*scene) fakees.Fault{2: cutApplied, 3: func(s *scene) fakees.Fault { s.Rollover(testIndex); return fakees.Fault{} }})
			s.Deny(fakees.CallDelete, !mayDelete)
			r := newRig(t, s.Server, nil)
			r.warm()
			r.send("a", "b")
			r.drain()
			if mayDelete {
				r.wantIDs(testIndex, "0", "a", "b")
				r.wantMarks("a:1 b:1")
				r.wantCount("mended", r.sink.metrics.mended, 2)
				r.wantSaid(0, "stored twice")
			} else {
				r.wantIDs(testIndex, "0", "a", "b", "a", "b")
				r.wantMarks("a:5 b:5")
				r.wantCount("doubled", r.sink.metrics.doubled, 2)
				r.wantSaid(1, "may not delete the newer one of two copies")
				r.wantSaid(1, "lines are stored twice")
			}
			if r.settledNow() != 1 {
				t.Errorf("settled %d", r.settledNow())
			}
		})
	}
}

// A rollover between look-up and write that doubles nothing.
func TestRolloverBetweenLookupAndFirstWrite(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newScene(map[int]func(*scene) fakees.Fault{
			2: func(*scene) fakees.Fault { return fakees.Fault{Cut: true} },
			3: func(s *scene) fakees.Fault { s.Rollover(testIndex); return fakees.Fault{} },
		})
		r := newRig(t, s.Server, nil)
		r.warm()
		r.send("a", "b")
		r.drain()
		r.wantIDs(testIndex, "0", "a", "b")
		r.wantMarks("")
		r.wantCount("delivered", r.sink.metrics.delivered, 3)
	})
}

func TestWithoutTheRightToLookUp(t *testing.T) {
	for _, call := range []string{fakees.CallMget, fakees.CallResolve} {
		bubble(t, func(t *testing.T) {
			s := newScene(map[int]func(*scene) fakees.Fault{3: cutApplied, 5: cutApplied})
			s.Deny(call, true)
			r := newRig(t, s.Server, nil)
			r.warm()
			s.Rollover(testIndex)
			r.send("1")
			time.Sleep(time.Second)
			for _, id := range []string{"a", "b"} {
				r.send(id)
				time.Sleep(time.Millisecond)
				s.Rollover(testIndex)
				time.Sleep(2 * time.Minute)
			}
			r.drain()
			r.wantIDs(testIndex, "0", "1", "a", "a", "b", "b")
			r.wantSaid(1, "can be stored twice")
			if r.settledNow() != 3 {
				t.Errorf("settled %d", r.settledNow())
			}
		})
	}
}

func TestWithoutTheRightToSeeTasks(t *testing.T) {
	bubble(t, func(t *testing.T) {
		late := func(*scene) fakees.Fault { return fakees.Fault{Late: 30 * time.Second} }
		s := newScene(map[int]func(*scene) fakees.Fault{2: late, 3: late})
		s.Deny(fakees.CallTasks, true)
		r := newRig(t, s.Server, nil)
		r.warm()
		for _, id := range []string{"a", "b"} {
			r.send(id)
			time.Sleep(10 * time.Second)
			s.Rollover(testIndex)
			time.Sleep(2 * time.Minute)
		}
		r.drain()
		r.wantIDs(testIndex, "0", "a", "b")
		r.wantMarks("b:1")
		r.wantSaid(1, "cluster privilege monitor")
		if s.asked(fakees.CallTasks) != 1 {
			t.Errorf("asked %v", s.calls)
		}
	})
}

func TestShardThatIsAwayIsNotMissing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newScene(map[int]func(*scene) fakees.Fault{2: cutApplied})
		r := newRig(t, s.Server, nil)
		r.warm()
		r.send("a")
		time.Sleep(time.Millisecond)
		s.Rollover(testIndex)
		s.Away(firstBacking, true)
		time.Sleep(5 * time.Minute)
		if r.settledNow() != 0 || s.asked(fakees.CallMget) > 30 {
			t.Errorf("settled %d, asked %v", r.settledNow(), s.calls)
		}
		s.Away(firstBacking, false)
		r.drain()
		r.wantIDs(testIndex, "0", "a")
		r.wantMarks("a:1")
	})
}

// After a restart: what may have been sent is looked up from Since on, and not
// before the requests of the earlier process are dead.
func TestSince(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newScene(map[int]func(*scene) fakees.Fault{
			2: cutApplied, 3: rolled,
			4: func(*scene) fakees.Fault { return fakees.Fault{Late: time.Minute, Hang: true} },
		})
		r := newRig(t, s.Server, nil, WithName("agent7"))
		r.warm()
		r.send("a", "b")
		r.drain()
		s.Rollover(testIndex)
		s.Rollover(testIndex)
		r = newRig(t, s.Server, nil, WithName("agent7"))
		r.send("c", "d")
		time.Sleep(time.Second)
		r.stop() // in the middle of c and d
		<-r.done
		s.Rollover(testIndex)

		r = newRig(t, s.Server, nil, WithName("agent7"))
		start := time.Now()
		r.since(firstBacking, "a", "new", "b")
		time.Sleep(time.Second)
		r.since(".ds-"+testIndex+"-2026.11.23-000003", "c", "d")
		r.drain()
		r.wantIDs(testIndex, "0", "a", "b", "c", "d", "new")
		if took := time.Since(start); took < 55*time.Second || took > 100*time.Second {
			t.Errorf("took %v, want until the old request is dead", took)
		}
		r.wantCount("duplicate", r.sink.metrics.duplicate, 4)
		r.wantCount("delivered", r.sink.metrics.delivered, 1)

		// Unknown is all of them; a Since that is the write index needs no look-up.
		r = newRig(t, s.Server, nil, WithName("agent7"))
		r.since(record.Unknown, "0", "b")
		time.Sleep(10 * time.Second)
		r.wantMarks("0:1 b:1")
		before := s.asked(fakees.CallMget)
		r.since(".ds-"+testIndex+"-2026.11.23-000004", "new", "newer")
		r.drain()
		r.wantMarks("new:1")
		if s.asked(fakees.CallMget) != before {
			t.Error("looked up although the write index is the only one since")
		}
	})
}

// A question without an answer holds up its own lane's doubtful lines only.
func TestQuestionsDoNotHoldUpOthers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newScene(nil)
		s.OnCall = func(c *fakees.Call) fakees.Fault {
			return fakees.Fault{Hang: strings.HasSuffix(c.Path, testIndex)}
		}
		r := newRig(t, s.Server, nil)
		r.since(record.Unknown, "a")
		time.Sleep(5 * time.Second)
		r.send("b")
		r.in <- batchOf(testStream("logs-mesos.other-default"), r.settle, "", "c")
		time.Sleep(time.Second)
		r.wantIDs(testIndex, "b")
		r.wantIDs("logs-mesos.other-default", "c")
		r.stop()
		<-r.done
	})
}

// What the server reroutes is looked up where it went.
func TestRerouted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newScene(map[int]func(*scene) fakees.Fault{2: cutApplied})
		s.OnItem = func(string, string, []byte) fakees.ItemFault { return fakees.ItemFault{Reroute: "logs-else-default"} }
		r := newRig(t, s.Server, nil)
		r.warm()
		r.send("a", "b")
		time.Sleep(time.Millisecond)
		s.Rollover("logs-else-default")
		r.drain()
		r.wantIDs("logs-else-default", "0", "a", "b")
		r.wantMarks("a:1 b:1")
		if w := r.sink.WriteIndex(testIndex); w != ".ds-logs-else-default-2026.11.23-000001" {
			t.Errorf("write index %q", w)
		}
	})
}

func TestWriteIndex(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newScene(nil)
		s.Rollover(testIndex)
		r := newRig(t, s.Server, nil)
		if w := r.sink.WriteIndex(testIndex); w != "" {
			t.Errorf("write index %q before anything was asked", w)
		}
		time.Sleep(time.Second)
		if w := r.sink.WriteIndex(testIndex); w != secondBacking {
			t.Errorf("write index %q before the first line", w)
		}
		s.Rollover(testIndex)
		r.send("a")
		time.Sleep(time.Second)
		if w := r.sink.WriteIndex(testIndex); w != ".ds-"+testIndex+"-2026.11.23-000003" {
			t.Errorf("write index %q after a line", w)
		}
		r.drain()
	})
}

// Marks of the ends that need no second attempt.
func TestMarks(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newScene(nil)
		s.OnItem = func(_, id string, _ []byte) fakees.ItemFault {
			return map[string]fakees.ItemFault{"noop": {Noop: true}, "failed": {FailureStore: true}, "bad": {Status: 400, Type: "document_parsing_exception"}}[id]
		}
		r := newRig(t, s.Server, nil)
		r.send("a", "noop", "failed", "b", "bad", "c")
		r.drain()
		r.wantMarks("noop:4 failed:2 bad:3")
		r.wantIDs(testIndex, "a", "b", "c")
	})
}

func TestConflictWithALineThatWasNeverSent(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newScene(nil)
		r := newRig(t, s.Server, nil)
		r.send("a", "b", "c") // sequences 0, 1, 2
		r.drain()
		r = newRig(t, s.Server, nil)
		r.send("a", "c", "b", "d") // sequences 0, 1, 2, 3: c and b are other lines
		r.drain()
		r.wantIDs(testIndex, "a", "b", "c", "d")
		r.wantMarks("a:1 c:3 b:3")
		r.wantCount("collided", r.sink.metrics.collided, 2)
		if l := r.letters(); len(l) != 2 || l[0].Type != "id_collision" || l[0].ID != "c" {
			t.Errorf("letters %+v", l)
		}
		r.wantSaid(1, "two different lines have the same _id")
		r.wantSaid(1, "never sent by this agent")

		s.Deny(fakees.CallMget, true)
		r = newRig(t, s.Server, nil)
		r.send("b", "a")
		r.drain()
		r.wantMarks("b:1 a:1")
		r.wantSaid(1, "may not look up")
	})
}

func TestNames(t *testing.T) {
	for _, c := range [][3]string{
		{"", "x", "x"}, {"x", "", "x"}, {record.Unknown, firstBacking, record.Unknown}, {firstBacking, secondBacking, firstBacking},
		{secondBacking, firstBacking, firstBacking}, {firstBacking, ".ds-other-2026.11.23-000001", record.Unknown},
		{".ds-a-2026.11.23-1000000", ".ds-a-2026.11.23-999999", ".ds-a-2026.11.23-999999"},
	} {
		if got := older(c[0], c[1]); got != c[2] {
			t.Errorf("older(%q, %q) = %q, want %q", c[0], c[1], got, c[2])
		}
	}
	all := []string{"partial-.ds-a-2026.11.20-000002", ".ds-a-2026.11.23-000010", ".ds-a-2026.11.22-000009"}
	byGeneration(all)
	for since, want := range map[string]int{record.Unknown: 3, ".ds-b-2026.11.23-000001": 3, ".ds-a-2026.11.22-000009": 2, ".ds-a-2026.11.24-000011": 3, ".ds-a-2026.11.19-000001": 3} {
		if got := fromSince("a", all, since); len(got) != want {
			t.Errorf("since %s: %v, want %d", since, got, want)
		}
	}
}

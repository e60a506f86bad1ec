package state

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// open is a Book in a folder, closed with the test.
func open(t *testing.T, dir string) *Book {
	t.Helper()
	b, damaged, err := Open(dir, time.Now())
	if err != nil || damaged != 0 {
		t.Fatalf("%d damaged lines, %v", damaged, err)
	}
	return b
}

// statuses runs results, one letter each, through a rule and returns the
// status after each: o w c u, and p for pending; a capital while flapping.
func statuses(r Rule, results string) string {
	c := newCheck(time.Time{})
	var out strings.Builder
	for i, letter := range results {
		c.observe(letters[letter], r.bounded(), time.Time{}.Add(time.Duration(i)*time.Second))
		s := strings.ToLower(c.Status.String()[:1])
		if c.Flapping {
			s = strings.ToUpper(s)
		}
		out.WriteString(s)
	}
	return out.String()
}

var letters = map[rune]Status{'o': OK, 'w': Warning, 'c': Critical, 'u': Unknown}

func TestVerdicts(t *testing.T) {
	usual := Rule{Fail: 3, Of: 3, Pass: 2}
	f := func(name string, r Rule, results, want string) {
		t.Helper()
		if got := statuses(r, results); got != want {
			t.Errorf("%s: %s became\n     %s, want\n     %s", name, results, got, want)
		}
	}
	f("the first good result is a verdict", usual, "o", "o")
	f("one bad result is not", usual, "occo", "oooo")
	f("three are, and two good ones end it", usual, "occcoo", "ooocco")
	f("a new check that is bad", usual, "cccc", "ppcc")
	f("bad in different ways: the least of them", usual, "owcw", "ooow")
	f("it gets worse", usual, "owwwccc", "ooowwwc")
	f("it gets better, but not good", usual, "occcwww", "oooccww")
	f("unknown is worse than good and better than a warning", usual, "ouuuwww", "ooouuuw")
	f("two of five", Rule{Fail: 2, Of: 5, Pass: 2}, "ocoocooooo", "ooooccoooo")
	f("not bad again by a good result", Rule{Fail: 2, Of: 5, Pass: 1}, "occooc", "oocooc")
	f("grace", Rule{Fail: 3, Of: 3, Pass: 2, Grace: 5 * time.Second}, "cccccc", "pppppc")
	f("a good result ends grace", Rule{Fail: 3, Of: 3, Pass: 2, Grace: time.Hour}, "ccoccc", "ppoooc")
	f("what makes no sense is bounded", Rule{Fail: 9, Of: 0, Pass: 0}, "oco", "oco")
}

func TestFlapping(t *testing.T) {
	// one of one: each result is a verdict, until it flaps
	r := Rule{Fail: 1, Of: 1, Pass: 1}
	got := statuses(r, strings.Repeat("oc", 15)+strings.Repeat("o", 30))
	if !strings.Contains(got, "C") || strings.Contains(strings.TrimLeft(got[22:44], "C"), "o") {
		t.Errorf("it gets better while it flaps: %s", got)
	}
	if !strings.HasSuffix(got, "ooooo") {
		t.Errorf("flapping does not end: %s", got)
	}
	if got := statuses(r, strings.Repeat("o", 30)+"ccc"+strings.Repeat("o", 30)); strings.ContainsAny(got, "OC") {
		t.Errorf("one failure is called flapping: %s", got)
	}
}

func TestStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		b := open(t, dir)
		rules := map[string]Rule{"a": {Fail: 1, Of: 1, Pass: 1, Expire: 30 * time.Second}}
		b.Set(rules, time.Now())
		b.Observe("a", Critical, time.Now())
		bad := time.Now()
		time.Sleep(31 * time.Second)
		if c := b.Expire(time.Now()); len(c) != 1 || c[0].Status != Unknown || !c[0].Stale || c[0].Previous != Critical {
			t.Fatalf("%+v", c)
		}
		if c := b.Expire(time.Now()); len(c) != 0 {
			t.Errorf("stale a second time: %+v", c)
		}
		c, changed, _ := b.Observe("a", Critical, time.Now())
		if !changed || c.Status != Critical || c.Stale || !c.FirstBad.Equal(bad) {
			t.Errorf("after a result again: %+v", c)
		}
		// a process that was away for an hour asks before it says stale
		b.Close()
		time.Sleep(time.Hour)
		b = open(t, dir)
		defer b.Close()
		b.Set(rules, time.Now())
		time.Sleep(29 * time.Second)
		if c := b.Expire(time.Now()); len(c) != 0 {
			t.Errorf("stale for the time that we were away: %+v", c)
		}
	})
}

// naive is a check as one would write it down, from the whole history.
type naive struct {
	results  []Status
	times    []time.Time
	born     time.Time
	status   Status
	since    time.Time
	stale    bool
	before   Status
	flapping bool
}

func (n *naive) observe(s Status, r Rule, now time.Time) {
	n.results, n.times = append(n.results, s), append(n.times, now)
	if n.stale {
		n.stale = false
		n.set(n.before, now)
	}
	worse := []Status{OK, Unknown, Warning, Critical}
	least := func(list []Status, atLeast Status) (k int) {
		for _, s := range list {
			if slices.Index(worse, s) >= slices.Index(worse, atLeast) {
				k++
			}
		}
		return k
	}
	tail := func(k int) []Status { return n.results[max(0, len(n.results)-k):] }
	if recent := tail(Most); len(recent) == Most {
		sum, all := 0, 0
		for i := 1; i < Most; i++ { // the oldest first: 0.8 to 1.2, times 190
			weight := 152 + 4*(i-1)
			all += weight
			if recent[i] != recent[i-1] {
				sum += weight
			}
		}
		if 100*sum >= flapHigh*all {
			n.flapping = true
		} else if 100*sum < flapLow*all {
			n.flapping = false
		}
	}
	if n.status == Pending && s == OK {
		n.set(OK, now)
		return
	}
	if n.status == Pending && now.Sub(n.born) < r.Grace {
		return
	}
	level := max(0, slices.Index(worse, n.status)) // Pending counts as good
	for l := slices.Index(worse, s); l > level; l-- {
		if least(tail(r.Of), worse[l]) >= r.Fail {
			n.set(worse[l], now)
			return
		}
	}
	if n.status == Pending || n.flapping || len(n.results) < r.Pass {
		return
	}
	for l := range level {
		if last := tail(r.Pass); l == 3 || least(last, worse[l+1]) == 0 {
			n.set(worse[l], now)
			return
		}
	}
}

func (n *naive) set(s Status, now time.Time) {
	if n.status != s {
		n.status, n.since = s, now
	}
}

// TestModel compares random results, silence and restarts (orderly and by
// kill) with the naive form.
func TestModel(t *testing.T) {
	for seed := range uint64(30) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 7))
			dir := t.TempDir()
			b := open(t, dir)
			rule := Rule{Fail: 1 + rng.IntN(4), Of: 1 + rng.IntN(8), Pass: 1 + rng.IntN(4),
				Grace: time.Duration(rng.IntN(60)) * time.Second, Expire: 45 * time.Second}.bounded()
			rules := map[string]Rule{"a": rule, "b": rule}
			models := map[string]*naive{}
			for id := range rules {
				models[id] = &naive{status: Pending, since: time.Now(), born: time.Now()}
			}
			b.Set(rules, time.Now())
			asked, good := time.Now(), 0.2+0.6*rng.Float64()
			for step := range 600 {
				time.Sleep(time.Duration(1+rng.IntN(8)) * time.Second)
				id := []string{"a", "b"}[rng.IntN(2)]
				m := models[id]
				switch n := rng.IntN(100); {
				case n < 90:
					s := OK
					if rng.Float64() > good {
						s = []Status{Warning, Critical, Unknown}[rng.IntN(3)]
					}
					if rng.IntN(40) == 0 {
						good = rng.Float64()
					}
					m.observe(s, rule, time.Now())
					b.Observe(id, s, time.Now())
				case n < 93:
					time.Sleep(time.Duration(rng.IntN(90)) * time.Second)
				case n < 96:
					b.Set(rules, time.Now())
				default:
					if err := b.Close(); err != nil {
						t.Fatal(err)
					}
					b = open(t, dir)
					asked = time.Now()
					b.Set(rules, time.Now())
				}
				for _, m := range models {
					last := asked
					if n := len(m.times); n > 0 && m.times[n-1].After(last) {
						last = m.times[n-1]
					}
					if !m.stale && time.Since(last) >= rule.Expire {
						m.stale, m.before = true, m.status
						m.set(Unknown, time.Now())
					}
				}
				b.Expire(time.Now())
				for id, m := range models {
					c, ok := b.Get(id)
					if !ok || c.Status != m.status || c.Stale != m.stale || c.Flapping != m.flapping || c.Status != Unknown && !c.Since.Equal(m.since) {
						t.Fatalf("seed %d step %d, rule %+v: %s is %+v, want %+v after %v", seed, step, rule, id, c, m, m.results)
					}
				}
			}
			b.Close()
		})
	}
}

func TestKillKeepsChanges(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	b.Set(map[string]Rule{"a": {Fail: 1, Of: 1, Pass: 1}}, time.Now())
	b.Observe("a", Critical, time.Now())
	b.Slots(map[string]string{"i1": "app host"}, time.Now())
	// no Close; and the last line is torn as by a power cut
	f, err := os.OpenFile(filepath.Join(dir, "state.jsonl"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString(`{"check":"b","state":{"sta`)
	f.Close()
	again, damaged, err := Open(dir, time.Now())
	if err != nil || damaged != 1 {
		t.Fatalf("damaged %d, %v", damaged, err)
	}
	again.Set(map[string]Rule{"a": {Fail: 1, Of: 1, Pass: 1}}, time.Now())
	if c, ok := again.Get("a"); !ok || c.Status != Critical {
		t.Errorf("%+v %v", c, ok)
	}
	if got := again.Slots(map[string]string{"i0": "app host", "i1": "app host"}, time.Now()); got["i1"] != 0 || got["i0"] != 1 {
		t.Errorf("slots %v", got)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "state.jsonl"), []byte(`{"format":2}`+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Open(dir, time.Now()); err == nil || !strings.Contains(err.Error(), "newer version") {
		t.Errorf("a file of the future: %v", err)
	}
}

func TestSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, t.TempDir())
		defer b.Close()
		at := func(ids ...string) string {
			groups := map[string]string{}
			for _, id := range ids {
				groups[id] = "app host"
			}
			return fmt.Sprint(b.Slots(groups, time.Now()))
		}
		if got := at("a", "b"); got != "map[a:0 b:1]" {
			t.Error(got)
		}
		if got := at("b", "c"); got != "map[b:1 c:2]" {
			t.Errorf("the slot of one that has just gone was given away: %s", got)
		}
		time.Sleep(Remember + time.Second)
		if got := at("b", "d"); got != "map[b:1 d:0]" {
			t.Error(got)
		}
	})
}

// TestGone: who is away for a moment goes on where it was.
func TestGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, t.TempDir())
		defer b.Close()
		rules := map[string]Rule{"a": {Fail: 1, Of: 1, Pass: 1}}
		b.Set(rules, time.Now())
		b.Observe("a", Critical, time.Now())
		b.Set(nil, time.Now())
		if _, _, known := b.Observe("a", OK, time.Now()); known {
			t.Error("a check that is gone takes results")
		}
		b.Set(rules, time.Now())
		if c, _ := b.Get("a"); c.Status != Critical {
			t.Errorf("came back as %+v", c)
		}
		b.Set(nil, time.Now())
		time.Sleep(Remember + time.Second)
		b.Set(nil, time.Now())
		b.Set(rules, time.Now())
		if c, _ := b.Get("a"); c.Status != Pending {
			t.Errorf("after long it came back as %+v", c)
		}
	})
}

package schedule

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// run starts a Scheduler that ends with the test.
func run(t *testing.T, o Options, jobs ...Job) *Scheduler {
	t.Helper()
	s := New(o)
	s.Set(jobs)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { s.Run(ctx); close(done) }()
	t.Cleanup(func() { stop(); <-done })
	return s
}

// pause is a Run that takes d, or until the end.
func pause(d time.Duration) func(context.Context) {
	return func(ctx context.Context) {
		select {
		case <-ctx.Done():
		case <-time.After(d):
		}
	}
}

func TestPhaseIsStableAndSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const every = 10 * time.Second
		var starts []time.Time
		job := Job{ID: "web/health", Every: every, Run: func(context.Context) { starts = append(starts, time.Now()) }}
		for range 2 { // a restart between
			s := New(Options{})
			s.Set([]Job{job})
			ctx, stop := context.WithTimeout(t.Context(), 35*time.Second)
			s.Run(ctx)
			stop()
			time.Sleep(1234 * time.Millisecond)
		}
		if len(starts) < 6 {
			t.Fatalf("%d starts, want 6 or 7", len(starts))
		}
		for _, at := range starts {
			if d := at.Sub(starts[0]) % every; d > 2*resolution && d < every-2*resolution {
				t.Errorf("started at %v of its interval", d)
			}
		}
		buckets := make([]int, 10)
		for i := range 10000 {
			wait := untilTurn(fmt.Sprint("check-", i), every, time.Now())
			buckets[min(9, wait/time.Second)]++
		}
		for i, n := range buckets {
			if n < 850 || n > 1150 {
				t.Errorf("second %d has %d of 10000 checks", i, n)
			}
		}
	})
}

func TestNeverTwoAtOnceAndMissedTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most, starts atomic.Int32
		s := run(t, Options{}, Job{ID: "slow", Every: time.Second, Run: func(ctx context.Context) {
			starts.Add(1)
			most.Store(max(most.Load(), now.Add(1)))
			pause(2500 * time.Millisecond)(ctx)
			now.Add(-1)
		}})
		time.Sleep(31 * time.Second)
		if most.Load() != 1 || starts.Load() < 10 {
			t.Errorf("%d at once, %d starts", most.Load(), starts.Load())
		}
		if st := s.Stats(); st.Missed < 18 || st.Missed > 20 {
			t.Errorf("missed %d turns, want two of three", st.Missed)
		}
	})
}

func TestBoundsOfClassAndHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		at, most := map[string]int{}, map[string]int{}
		ran := map[string]int{}
		work := func(id string, keys ...string) func(context.Context) {
			return func(ctx context.Context) {
				mu.Lock()
				ran[id]++
				for _, k := range keys {
					at[k]++
					most[k] = max(most[k], at[k])
				}
				mu.Unlock()
				pause(900 * time.Millisecond)(ctx)
				mu.Lock()
				for _, k := range keys {
					at[k]--
				}
				mu.Unlock()
			}
		}
		var jobs []Job
		for i := range 40 {
			id, host := fmt.Sprint("net", i), fmt.Sprint("h", i%4)
			jobs = append(jobs, Job{ID: id, Every: 10 * time.Second, Host: host, Run: work(id, "network", host)})
			id = fmt.Sprint("exec", i)
			jobs = append(jobs, Job{ID: id, Every: 20 * time.Second, Class: Exec, Run: work(id, "exec")})
		}
		var worst atomic.Int64
		s := run(t, Options{Limits: [classes]int{10, 2, 1}, PerHost: 3, Late: func(_ Class, d time.Duration) {
			worst.Store(max(worst.Load(), int64(d)))
		}}, jobs...)
		time.Sleep(2 * time.Minute)
		mu.Lock()
		defer mu.Unlock()
		if most["network"] > 10 || most["exec"] > 2 {
			t.Errorf("at once: %v", most)
		}
		for i := range 4 {
			if h := fmt.Sprint("h", i); most[h] > 3 {
				t.Errorf("%d at once at %s", most[h], h)
			}
		}
		for _, j := range jobs {
			if n := ran[j.ID]; n < int(2*time.Minute/j.Every)-2 {
				t.Errorf("%s ran %d times", j.ID, n)
			}
		}
		if worst.Load() < int64(time.Second) {
			t.Errorf("the worst lateness is %v: waiting for a slot was not measured", time.Duration(worst.Load()))
		}
		if st := s.Stats(); st.Jobs != 80 || st.Started[Network] == 0 {
			t.Errorf("%+v", st)
		}
	})
}

func TestHungJobIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var hangs, told, others atomic.Int32
		s := run(t, Options{Limits: [classes]int{1, 1, 1}, PerHost: 1},
			Job{ID: "hangs", Every: 10 * time.Second, Limit: 2 * time.Second, Class: Disk, Host: "n1",
				Run:     func(context.Context) { hangs.Add(1); <-release },
				GivenUp: func() { told.Add(1) }},
			Job{ID: "other", Every: 10 * time.Second, Limit: 2 * time.Second, Class: Disk, Host: "n1",
				Run: func(context.Context) { others.Add(1) }})
		time.Sleep(61 * time.Second)
		if hangs.Load() != 1 || told.Load() != 1 || others.Load() < 5 {
			t.Errorf("hung ran %d times, told %d times, the other ran %d times", hangs.Load(), told.Load(), others.Load())
		}
		if st := s.Stats(); st.Hung != 1 || st.GivenUp != 1 || st.Running[Disk] != 0 {
			t.Errorf("%+v", st)
		}
		close(release)
		time.Sleep(21 * time.Second)
		if hangs.Load() < 2 || s.Stats().Hung != 0 {
			t.Errorf("it came back and ran %d times; %+v", hangs.Load(), s.Stats())
		}
	})
}

// TestModel changes the set at random and compares with what must hold at all
// times: never two of one job, no more than the bounds, nothing of a job that
// was removed and has ended, and everything that stays runs in each interval.
func TestModel(t *testing.T) {
	for seed := range uint64(8) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			const every, bound = time.Second, 5
			var mu sync.Mutex
			running, last := map[string]int{}, map[string]time.Time{}
			total := 0
			wanted := map[string]time.Time{} // since when
			job := func(id string, takes time.Duration) Job {
				return Job{ID: id, Every: every, Limit: 3 * every, Host: "h" + id[:1], Run: func(ctx context.Context) {
					mu.Lock()
					running[id]++
					total++
					last[id] = time.Now()
					if running[id] > 1 || total > bound {
						t.Errorf("seed %d: %d of %s, %d in all", seed, running[id], id, total)
					}
					mu.Unlock()
					pause(takes)(ctx)
					mu.Lock()
					running[id]--
					total--
					mu.Unlock()
				}}
			}
			s := run(t, Options{Limits: [classes]int{bound, 1, 1}, PerHost: 2})
			for range 200 {
				var jobs []Job
				next := map[string]time.Time{}
				for i := range 8 {
					id := fmt.Sprint(i)
					_, had := wanted[id]
					if keep := rng.IntN(10) > 1; keep == had || rng.IntN(3) > 0 {
						if !keep {
							continue
						}
					}
					jobs = append(jobs, job(id, time.Duration(rng.IntN(200))*time.Millisecond))
					next[id] = time.Now()
					if had {
						next[id] = wanted[id]
					}
				}
				s.Set(jobs)
				mu.Lock()
				wanted = next
				mu.Unlock()
				time.Sleep(time.Duration(rng.IntN(3000)) * time.Millisecond)
				mu.Lock()
				for id, since := range wanted {
					from := since
					if at := last[id]; at.After(from) {
						from = at
					}
					if d := time.Since(from); d > 2*every+500*time.Millisecond {
						t.Errorf("seed %d: %s has not run for %v", seed, id, d)
					}
				}
				mu.Unlock()
			}
			s.Set(nil)
			time.Sleep(3 * every)
			s.mu.Lock()
			defer s.mu.Unlock()
			if len(s.entries) != 0 || len(s.hosts) != 0 || len(s.due) != 0 {
				t.Errorf("seed %d: %d entries, %d hosts, %d in the heap are left", seed, len(s.entries), len(s.hosts), len(s.due))
			}
		})
	}
}

func BenchmarkTurn(b *testing.B) {
	for b.Loop() {
		var n atomic.Int64
		ctx, stop := context.WithCancel(context.Background())
		var jobs []Job
		for i := range 20000 {
			jobs = append(jobs, Job{ID: fmt.Sprint(i), Every: 200 * time.Millisecond, Limit: time.Second, Host: fmt.Sprint(i % 100), Run: func(context.Context) {
				if n.Add(1) == 100000 {
					stop()
				}
			}})
		}
		s := New(Options{})
		s.Set(jobs)
		s.Run(ctx)
		stop()
	}
}

// TestLimitOfTheOnlyJob: nobody else wakes the dispatcher.
func TestLimitOfTheOnlyJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		var told atomic.Int32
		s := New(Options{})
		s.Set([]Job{{ID: "a", Every: 10 * time.Second, Limit: 2 * time.Second, Run: func(context.Context) { <-hang }, GivenUp: func() { told.Add(1) }}})
		ctx, stop := context.WithCancel(t.Context())
		go s.Run(ctx)
		time.Sleep(13 * time.Second) // a turn and the limit
		if told.Load() != 1 {
			t.Error("not given up")
		}
		close(hang)
		stop()
		synctest.Wait()
	})
}

package backoff

import (
	"testing"
	"time"
)

func TestAfterGrowsToMaxAndIsJittered(t *testing.T) {
	e := Exponential{First: 100 * time.Millisecond, Max: time.Second}
	for _, c := range []struct {
		failures int
		most     time.Duration
	}{{-3, 100 * time.Millisecond}, {1, 100 * time.Millisecond}, {2, 200 * time.Millisecond}, {4, 800 * time.Millisecond}, {5, time.Second}, {1 << 40, time.Second}} {
		seen := map[time.Duration]bool{}
		for range 200 {
			d := e.After(c.failures)
			if d < c.most/2 || d > c.most {
				t.Fatalf("After(%d) = %v, want %v to %v", c.failures, d, c.most/2, c.most)
			}
			seen[d] = true
		}
		if len(seen) < 50 {
			t.Errorf("After(%d) gave only %d values in 200: not jittered", c.failures, len(seen))
		}
	}
	if d := (Exponential{}).After(7); d != 0 {
		t.Errorf("zero value waits %v", d)
	}
}

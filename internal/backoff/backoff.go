// Package backoff says how long to wait before the next attempt at something
// that failed: longer each time up to a limit, and never the same for two
// processes, so that ten thousand agents do not come back in one moment.
//
// The way of the data: number of failures in a row -> duration.
package backoff

import (
	"math/rand/v2"
	"time"
)

// Exponential doubles from First to Max. The zero value waits 0.
type Exponential struct {
	First time.Duration // after the first failure
	Max   time.Duration // never longer than this
}

// After returns how long to wait after the given number of failures in a row
// (1 is the first): at random between half and all of First·2^(failures-1),
// or of Max if that is less. failures below 1 count as 1.
func (e Exponential) After(failures int) time.Duration {
	d := e.First
	for i := 1; i < failures && d < e.Max; i++ {
		d *= 2
	}
	d = min(d, e.Max)
	if d <= 1 {
		return d
	}
	return d/2 + rand.N(d/2+1)
}

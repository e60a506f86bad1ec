package main

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// cycles kills the agent again and again, each time some 100 ms to 1 s after it
// was started, while containers write and rotate, answers are lost and now and then
// a new backing index begins.
func (h *harness) cycles() error {
	said := time.Now()
	all := weathers()
	lossy := all[slices.IndexFunc(all, func(w *weather) bool { return w.name == "cut-after" })]
	for i := range h.opt.cycles {
		if h.ctx.Err() != nil {
			return h.ctx.Err()
		}
		if h.r.IntN(3) == 0 {
			h.sky.set(lossy, 200*time.Millisecond)
		}
		// After a kill the agent sends nothing that may be stored already before
		// the earlier requests are dead, which takes a second: one in five lives
		// long enough to get ahead.
		life := 50 + h.r.IntN([]int{200, 300, 600, 600}[h.r.IntN(4)])
		if h.r.IntN(5) == 0 {
			life = 1200 + h.r.IntN(900)
		}
		h.wait(time.Duration(life) * time.Millisecond)
		if err := h.kill(); err != nil {
			return err
		}
		if h.r.IntN(15) == 0 {
			if err := h.sink.Rollover(); err != nil && !errors.Is(err, errNotNow) {
				return err
			}
		}
		if h.r.IntN(2) == 0 {
			h.wait(time.Duration(h.r.IntN(150)) * time.Millisecond)
		}
		if err := h.agent.start(); err != nil {
			return err
		}
		if time.Since(said) > 10*time.Second {
			said = time.Now()
			fmt.Fprintf(h.out, "%5.0f s: %d cycles, %d bulks\n", time.Since(h.began).Seconds(), i+1, h.sink.Bulks())
		}
	}
	return nil
}

package agent

import (
	"cmp"
	"fmt"

	"mesoscope/agent/status"
	"mesoscope/agent/tail"
)

// holdStatus is how the hold folder is.
func (a *Agent) holdStatus() status.Hold {
	if !a.opt.Hold {
		return status.Hold{State: "off"}
	}
	a.mu.Lock()
	problem := a.holdProblem
	a.mu.Unlock()
	h := status.Hold{
		Dir: a.opt.Config.Hold.Dir, State: "ok", Problem: cmp.Or(problem, a.tail.HoldProblem()),
		Bytes: a.tail.HeldBytes(), GivenUpBytes: a.tail.Released(),
	}
	risk := a.tail.Risk()
	h.RestartLosesFiles, h.RestartLosesBytes = risk.Files, risk.Bytes
	if f, grows := a.tail.HoldForecast(); grows {
		h.FullSeconds, h.FullLimit = full(f)
	}
	budget := int64(a.opt.Config.Hold.Budget)
	switch {
	case h.Problem != "":
		h.State = "off"
	case budget > 0 && h.Bytes > budget, h.FullSeconds != nil && *h.FullSeconds == 0:
		h.State = "over budget"
	}
	return h
}

func full(f tail.Forecast) (seconds *float64, limit string) {
	s := f.In.Seconds()
	if f.Free {
		return &s, minFreeKey
	}
	return &s, budgetKey
}

const (
	budgetKey  = "hold.budget"
	minFreeKey = "hold.min_free"
)

// fullSoon is how near the end of the hold budget has to be to be a problem. A
// farther one is told as a number alone: a short outage makes held files grow,
// and mends itself.
const fullSoon = 24 * 3600

// holdProblems are sentences about what is wrong with h, or soon will be.
func holdProblems(h status.Hold) []string {
	list := []string{}
	if h.Problem != "" {
		list = append(list, h.Problem)
	}
	if n := h.RestartLosesFiles; n > 0 {
		list = append(list, fmt.Sprintf("a restart of the agent now would lose %s of log in %d file(s) that exist only because it keeps them open", about(h.RestartLosesBytes), n))
	}
	if h.FullSeconds == nil || *h.FullSeconds > fullSoon {
		return list
	}
	limit, event := "the hold budget", "the hold budget is full"
	if h.FullLimit == minFreeKey {
		limit, event = minFreeKey, "the free space falls below "+minFreeKey
	}
	const advice = "lines are not stored as fast as they come, so see the output, or raise the limit"
	if *h.FullSeconds == 0 {
		return append(list, fmt.Sprintf("%s is reached and held lines are given up, %s so far: %s", limit, about(h.GivenUpBytes), advice))
	}
	return append(list, fmt.Sprintf("at the present rate %s in %s, and then lines are lost: %s", event, span(*h.FullSeconds), advice))
}

// about is a number of bytes for people.
func about(n int64) string {
	for _, u := range []struct {
		name string
		size int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= u.size {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(u.size), u.name)
		}
	}
	return fmt.Sprintf("%d B", n)
}

// span is a time that is only estimated: with one unit.
func span(seconds float64) string {
	for _, u := range []struct {
		name   string
		length float64
	}{{"days", 86400}, {"h", 3600}, {"min", 60}} {
		if seconds >= 2*u.length {
			return fmt.Sprintf("%.0f %s", seconds/u.length, u.name)
		}
	}
	return fmt.Sprintf("%.0f s", seconds)
}

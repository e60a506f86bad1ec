package agent

import (
	"strings"
	"testing"

	"mesoscope/agent/status"
)

func TestHoldProblems(t *testing.T) {
	in := func(seconds float64, limit string) status.Hold {
		return status.Hold{FullSeconds: &seconds, FullLimit: limit, GivenUpBytes: 3 << 20}
	}
	for _, c := range []struct {
		name string
		hold status.Hold
		want string // the beginning of each sentence
	}{
		{"fine", status.Hold{Bytes: 1 << 30, State: "ok"}, ""},
		{"in 40 min", in(2400, budgetKey), "at the present rate the hold budget is full in 40 min, and then lines are lost: "},
		{"in 90 s", in(90, budgetKey), "at the present rate the hold budget is full in 90 s, and"},
		{"in 5 h, by others", in(5*3600, minFreeKey), "at the present rate the free space falls below hold.min_free in 5 h, and"},
		{"a day", in(24*3600, budgetKey), "at the present rate the hold budget is full in 24 h, and"},
		{"later", in(24*3600+1, budgetKey), ""},
		{"now", in(0, budgetKey), "the hold budget is reached and held lines are given up, 3.0 MiB so far: "},
		{"now, by others", in(0, minFreeKey), "hold.min_free is reached and"},
		{"not held", status.Hold{Problem: "cannot be held", RestartLosesFiles: 2, RestartLosesBytes: 5000},
			"cannot be held|a restart of the agent now would lose 4.9 KiB of log in 2 file(s) that exist only because it keeps them open"},
		{"few bytes", status.Hold{RestartLosesFiles: 1, RestartLosesBytes: 7}, "a restart of the agent now would lose 7 B of log in 1 file(s)"},
	} {
		got := holdProblems(c.hold)
		want := strings.Split(c.want, "|")
		if c.want == "" {
			want = nil
		}
		if got == nil || len(got) != len(want) {
			t.Errorf("%s: %q", c.name, got)
			continue
		}
		for i := range want {
			if !strings.HasPrefix(got[i], want[i]) {
				t.Errorf("%s: %q, want %q", c.name, got[i], want[i])
			}
		}
	}
}

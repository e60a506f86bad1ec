package alert

import (
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"mesoscope/collector/check"
	"mesoscope/collector/state"
)

// BenchmarkLook is one look at 100,000 checks, of which none or all are bad.
func BenchmarkLook(b *testing.B) {
	for name, s := range map[string]state.Check{"good": good(), "bad": bad(state.Critical, time.Minute)} {
		b.Run(name, func(b *testing.B) {
			events := make([]check.Event, 100_000)
			for i := range events {
				events[i] = event(fmt.Sprint(i), s)
				events[i].Host = fmt.Sprint("n", i)
			}
			a, err := New(Options{Cluster: "c1", Events: slices.Values(events), Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				b.Fatal(err)
			}
			a.begun = time.Now().Add(-time.Hour)
			b.ReportAllocs()
			for b.Loop() {
				a.look(time.Now())
			}
		})
	}
}

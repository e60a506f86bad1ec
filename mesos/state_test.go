package mesos

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"
)

// bigState makes a state of n running tasks from a recorded one: 20 KB a task,
// most of it what the agent remembers of ended tasks.
func bigState(tb testing.TB, n int) []byte {
	tb.Helper()
	text, err := os.ReadFile("testdata/state/1.11-running.json")
	if err != nil {
		tb.Fatal(err)
	}
	var doc map[string]any
	if err := json.Unmarshal(text, &doc); err != nil {
		tb.Fatal(err)
	}
	f := doc["frameworks"].([]any)[0].(map[string]any)
	executors := f["executors"].([]any)
	one := executors[len(executors)-1].(map[string]any)
	task := one["tasks"].([]any)[0]
	var many []any
	for i := range n {
		e := map[string]any{}
		for k, v := range one {
			e[k] = v
		}
		e["id"], e["container"] = fmt.Sprint(one["id"], i), fmt.Sprint(one["container"], i)
		var ended []any
		for range 16 {
			ended = append(ended, task)
		}
		e["completed_tasks"] = ended
		many = append(many, e)
	}
	f["executors"] = many
	if text, err = json.Marshal(doc); err != nil {
		tb.Fatal(err)
	}
	return text
}

// cpuTime is what this process has used of CPUs: on a busy machine, the clock
// tells what others do.
func cpuTime(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkReadState(b *testing.B) {
	for _, n := range []int{500, 5000} {
		text := bigState(b, n)
		b.Run(fmt.Sprintf("tasks=%d", n), func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			before := cpuTime(b)
			for b.Loop() {
				if s, err := ReadState(bytes.NewReader(text)); err != nil || len(s.Executors) < n {
					b.Fatal(err)
				}
			}
			b.ReportMetric((cpuTime(b)-before).Seconds()*1000/float64(b.N), "cpu-ms/op")
		})
	}
}

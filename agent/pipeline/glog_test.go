package pipeline

import "testing"

func TestExecutor(t *testing.T) {
	for text, want := range map[string]bool{
		"I1123 05:53:24.385162  9892 checker_process.cpp:1349] TCP health check for task 'x'": true,
		"W1123 05:53:24.385162 19892 executor.cpp:12] x":                                      true,
		"I1123 05:53:24.385162 139892345678912 default_executor.cpp:204] Received SUBSCRIBED": true,
		"E1123 05:53:24.385162     7 process.cpp:2] ":                                         true,
		"I1123 05:53:24.385162  9892 main.go:1349] a task that prints in glog's form":         false,
		"I1123 05:53:24.385162  9892 server.cc:1] x":                                          false,
		"X1123 05:53:24.385162  9892 exec.cpp:1] x":                                           false,
		"I1123 05:53:24.385162  9892 exec.cpp":                                                false,
		"I1123 05:53:24.3851":                                                                 false,
		"I1123 05:53:24.385162 ":                                                              false,
		"I1123 05:53:24.385162 exec.cpp:1] x":                                                 false,
		"plain text that is long enough to be the head of a line":                             false,
		"": false,
	} {
		if got := Executor([]byte(text)); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
	line := []byte("I1123 05:53:24.385162  9892 exec.cpp:1] x")
	if n := testing.AllocsPerRun(100, func() { Executor(line) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

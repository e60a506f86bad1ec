package pipeline

import "bytes"

// What the executors of Mesos print themselves stands on the stderr of the task
// that they run. It is told from the task's own lines by its head, as glog makes
// it, which names one of Mesos' source files:
//
//	I1123 05:53:24.385162  9892 checker_process.cpp:1349] TCP health check …

// executorFiles are the source files whose messages an executor prints: its own,
// and those of the library below it.
var executorFiles = map[string]bool{
	"checker.cpp": true, "checker_process.cpp": true, "command_utils.cpp": true, "default_executor.cpp": true, "docker.cpp": true, "exec.cpp": true,
	"executor.cpp": true, "fetcher.cpp": true, "health_checker.cpp": true, "http.cpp": true, "launch.cpp": true, "latch.cpp": true, "libevent.cpp": true,
	"logging.cpp": true, "openssl.cpp": true, "os.cpp": true, "process.cpp": true, "reap.cpp": true, "socket_manager.cpp": true, "subprocess.cpp": true,
}

// glogHead is a head up to its thread; # is a digit.
const glogHead = "?#### ##:##:##.###### "

// Executor says whether a line that begins with b is one that an executor of Mesos
// has printed.
func Executor(b []byte) bool {
	if len(b) < len(glogHead) {
		return false
	}
	switch b[0] {
	case 'I', 'W', 'E', 'F':
	default:
		return false
	}
	for i := 1; i < len(glogHead); i++ {
		if c := glogHead[i]; c != b[i] && (c != '#' || b[i] < '0' || b[i] > '9') {
			return false
		}
	}
	rest := bytes.TrimLeft(b[len(glogHead):min(len(b), len(glogHead)+80)], " ")
	n := 0
	for n < len(rest) && rest[n] >= '0' && rest[n] <= '9' {
		n++
	}
	if n == 0 || n == len(rest) || rest[n] != ' ' {
		return false
	}
	file, _, ok := bytes.Cut(rest[n+1:], []byte(":"))
	return ok && executorFiles[string(file)]
}

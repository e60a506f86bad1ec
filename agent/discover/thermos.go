package discover

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"mesoscope/mesos"
)

// Aurora's executor keeps the output of the processes of its task itself, below the
// folder .logs of the task's own folder in its sandbox: <process>/<run>/stdout and
// stderr. A process that is started again gets another run. (Apache Aurora,
// thermos: TaskPath and DirectorySandbox.)

// thermosPrefix begins the ids of Aurora's executors; the task's id follows.
const thermosPrefix = "thermos-"

// thermosRuns adds the runs of the processes of Aurora's executor e, whose own
// sandbox is own.
func thermosRuns(e *mesos.Executor, own sandbox, all map[string]sandbox) {
	if !strings.HasPrefix(e.ID, thermosPrefix) {
		return
	}
	logs := filepath.Join(e.Directory, "sandbox", ".logs")
	processes, _ := os.ReadDir(logs) // it comes with the first process
	for _, p := range processes {
		if !p.IsDir() {
			continue // a link would lead to the same once more
		}
		runs, _ := os.ReadDir(filepath.Join(logs, p.Name()))
		last := -1
		for _, r := range runs {
			if n, err := strconv.Atoi(r.Name()); err == nil && r.IsDir() {
				last = max(last, n)
			}
		}
		for _, r := range runs {
			n, err := strconv.Atoi(r.Name())
			if err != nil || n < 0 || !r.IsDir() {
				continue
			}
			all[e.ContainerID+"."+thermosPrefix+fileName(p.Name())+"-"+r.Name()] = sandbox{
				dir: filepath.Join(logs, p.Name(), r.Name()), container: e.ContainerID, process: p.Name(), running: own.running && n == last, decided: own.decided,
			}
		}
	}
}

// fileName makes of a process' name what can stand in an id, which is the name of
// a folder, too. Two names stay two.
func fileName(name string) string {
	var b strings.Builder
	for _, c := range []byte(name) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-':
			b.WriteByte(c)
		default: // also _ and ., which have a meaning in ids
			b.WriteString("%" + strconv.FormatUint(uint64(c), 16))
		}
	}
	return b.String()
}

// lookAtThermos takes over what Aurora's executors have begun since the last look:
// Mesos knows nothing of processes, so its state stays the same.
func (d *Discoverer) lookAtThermos() {
	if d.tasks == nil {
		return
	}
	for _, e := range d.tasks.byContainer {
		if !strings.HasPrefix(e.ID, thermosPrefix) {
			continue
		}
		for id, box := range d.boxes.sandboxesOf(e) {
			if old, known := d.boxes.known[id]; known {
				box.decided = box.decided || old.decided
			}
			if box.process != "" {
				d.setSandbox(id, &box)
			}
		}
	}
}

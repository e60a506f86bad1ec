package mesos

import (
	"regexp"
	"strings"
)

// A Scheduler is a framework whose task ids say what the task is of.
type Scheduler string

// The schedulers whose grammars are known.
const (
	Marathon    Scheduler = "marathon"
	Metronome   Scheduler = "metronome"
	Chronos     Scheduler = "chronos"
	Aurora      Scheduler = "aurora"
	Singularity Scheduler = "singularity"
)

// A TaskName is what a task id says.
type TaskName struct {
	Scheduler Scheduler
	// App is "/group/app" of Marathon, a job of Chronos, Metronome or Aurora
	// ("role/env/job"), a request of Singularity.
	App string
	// Sure says that no other scheduler makes such an id. Without it, the
	// framework's name has to agree.
	Sure bool
}

var (
	// Marathon: group_app.<uuid>[.<attempt>] up to 1.8, then
	// group_app.instance-<uuid>._app[.<n>]; of pods
	// group_pod.instance-<uuid>.<container>[.<n>].
	marathonOld = regexp.MustCompile(`^([0-9A-Za-z_.-]+)\.` + uuid + `(?:\.\d+)?$`)
	marathonNew = regexp.MustCompile(`^([0-9A-Za-z_.-]+)\.(?:instance|marathon)-` + uuid + `\.[^.]+(?:\.\d+)?$`)
	// marathonPod is the executor of a pod.
	marathonPod = regexp.MustCompile(`^instance-([0-9A-Za-z_.-]+)\.` + uuid + `$`)
	// metronomeRun is the last part of an app of Metronome, which is built on
	// Marathon: the time of the run and five characters.
	metronomeRun = regexp.MustCompile(`^(.+)_(\d{14}[0-9A-Za-z]{5})$`)
	// ct:<due, ms>:<attempt>:<job>:<arguments>
	chronos = regexp.MustCompile(`^ct:\d+:\d+:([^:]+):`)
	// [<ms>-]<role>-<environment>-<job>-<instance>-<uuid>: only the environment
	// is one of a few words, so it tells where the role ends.
	aurora = regexp.MustCompile(`^(?:thermos-)?(?:\d{13}-)?(.+?)-(prod|devel|test|staging\d*)-(.+)-\d+-` + uuid + `$`)
	// <request>-<deploy>-<started, ms>-<instance>-<host>-<rack>
	singularity = regexp.MustCompile(`^(.+)-[^-]+-\d{13}-\d+-[^-]+-[^-]+$`)
)

// ParseTaskID says what a task's id, or that of its executor, tells by its
// form.
func ParseTaskID(id string) (TaskName, bool) {
	if m := chronos.FindStringSubmatch(id); m != nil {
		return TaskName{Chronos, m[1], true}, true
	}
	for _, re := range []*regexp.Regexp{marathonNew, marathonPod, marathonOld} {
		m := re.FindStringSubmatch(id)
		if m == nil {
			continue
		}
		if run := metronomeRun.FindStringSubmatch(m[1]); run != nil {
			return TaskName{Metronome, strings.ReplaceAll(run[1], "_", "."), true}, true
		}
		// A part of an app's path has no underscore, so this is the way back.
		return TaskName{Marathon, "/" + strings.ReplaceAll(m[1], "_", "/"), re != marathonOld}, true
	}
	if m := aurora.FindStringSubmatch(id); m != nil {
		return TaskName{Aurora, m[1] + "/" + m[2] + "/" + m[3], true}, true
	}
	if m := singularity.FindStringSubmatch(id); m != nil {
		return TaskName{Singularity, m[1], false}, true
	}
	return TaskName{}, false
}

package main

import (
	"crypto/rand"
	"fmt"
	"os"
)

// The variables that tell an executor how it runs.
const (
	sandboxVariable = "TESTKIT_SANDBOX"
	nestedVariable  = "TESTKIT_NESTED"
)

// launchNested runs the command in a container within the executor's, as Mesos'
// default executor does with the tasks of a pod.
func (x *executor) launchNested(task any, command string) error {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	id := object{"value": fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]), "parent": object{"value": x.container}}
	var variables []object
	for _, name := range []string{"MESOS_TASK_ID", "MARATHON_APP_ID", "MESOS_FRAMEWORK_ID", "MESOS_EXECUTOR_ID", "MESOS_SLAVE_ID", "PATH"} {
		if v := os.Getenv(name); v != "" {
			variables = append(variables, object{"name": name, "value": v})
		}
	}
	res, err := post(x.api, "", object{"type": "LAUNCH_NESTED_CONTAINER", "launch_nested_container": object{"container_id": id,
		"command": object{"value": command, "shell": true, "environment": object{"variables": variables}}}})
	if err != nil {
		return err
	}
	res.Body.Close()
	x.status = object{"container_id": id}
	x.update(task, "TASK_RUNNING", false)
	go func() {
		if res, err := post(x.api, "", object{"type": "WAIT_NESTED_CONTAINER", "wait_nested_container": object{"container_id": id}}); err == nil {
			res.Body.Close()
		}
		x.finish(task, "TASK_FINISHED")
	}()
	return nil
}

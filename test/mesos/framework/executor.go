package main

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"time"
)

// An executor runs the one task that it is given.
type executor struct {
	url             string
	api             string // of the agent
	framework, self object
	container       string                 // Mesos' id of the executor's
	status          object                 // of the task's container, if it has one of its own
	ended           chan struct{}          // closed when the command has; nil: it was never started
	final           atomic.Pointer[string] // uuid of the last update, in base64
}

// execute runs until the agent has taken the end of the task, or is away for
// good: the command itself outlives an agent that goes.
func execute() error {
	id, endpoint, _ := strings.Cut(os.Getenv("MESOS_SLAVE_PID"), "@") // slave(1)@127.0.0.1:6060
	if os.Getenv(sandboxVariable) != "" {
		// As Mesos' own executors do, which print with glog.
		fmt.Fprintln(os.Stderr, "I1125 05:53:24.385162  9892 exec.cpp:164] Version: of the tests")
	}
	x := &executor{api: "http://" + endpoint + "/" + id + "/api/v1", url: "http://" + endpoint + "/" + id + "/api/v1/executor",
		framework: object{"value": os.Getenv("MESOS_FRAMEWORK_ID")}, self: object{"value": os.Getenv("MESOS_EXECUTOR_ID")}}
	res, err := x.call("SUBSCRIBE", "subscribe", object{"unacknowledged_updates": []object{}, "unacknowledged_tasks": []object{}})
	if err != nil {
		return err
	}
	defer res.Body.Close()
	err = events(res.Body, x.event)
	if x.ended != nil {
		<-x.ended
		os.Exit(0)
	}
	return fmt.Errorf("subscription ended: %w", err)
}

func (x *executor) call(kind, field string, body object) (*http.Response, error) {
	return post(x.url, "", object{"type": kind, "framework_id": x.framework, "executor_id": x.self, field: body})
}

// update tells a state. An agent that is away does not hear it.
func (x *executor) update(task any, state string, final bool) {
	uuid := make([]byte, 16)
	_, _ = rand.Read(uuid)                                  // never fails
	uuid[6], uuid[8] = uuid[6]&0x0f|0x40, uuid[8]&0x3f|0x80 // Mesos refuses one that is not RFC 4122 version 4
	if final {
		text := base64.StdEncoding.EncodeToString(uuid)
		x.final.Store(&text)
	}
	status := object{"task_id": task, "state": state, "source": "SOURCE_EXECUTOR", "uuid": uuid, "executor_id": x.self}
	if x.status != nil {
		status["container_status"] = x.status
	}
	if res, err := x.call("UPDATE", "update", object{"status": status}); err == nil {
		res.Body.Close()
	}
}

func (x *executor) event(e object) error {
	switch e["type"] {
	case "SUBSCRIBED":
		if c, ok := e["subscribed"].(object)["container_id"].(object); ok {
			x.container, _ = c["value"].(string)
		}
	case "LAUNCH":
		t := e["launch"].(object)["task"].(object)
		command, err := base64.StdEncoding.DecodeString(t["data"].(string))
		if err != nil {
			return err
		}
		x.ended = make(chan struct{})
		if os.Getenv(nestedVariable) != "" {
			return x.launchNested(t["task_id"], string(command))
		}
		x.update(t["task_id"], "TASK_RUNNING", false)
		go x.run(t["task_id"], string(command))
	case "ACKNOWLEDGED":
		if final := x.final.Load(); final != nil && *final == e["acknowledged"].(object)["uuid"] {
			os.Exit(0)
		}
	case "KILL":
		x.update(e["kill"].(object)["task_id"], "TASK_KILLED", true)
		os.Exit(0)
	case "SHUTDOWN":
		os.Exit(0)
	}
	return nil
}

func (x *executor) run(task any, command string) {
	args := []string{"/bin/sh", "-c", command}
	if strings.HasPrefix(command, "[") {
		if err := json.Unmarshal([]byte(command), &args); err != nil {
			args = []string{""} // cannot be started, and so fails
		}
	}
	c := exec.Command(args[0], args[1:]...)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	state := "TASK_FINISHED"
	if c.Run() != nil {
		state = "TASK_FAILED"
	}
	x.finish(task, state)
}

// finish tells the last state, and ends when the agent has taken it.
func (x *executor) finish(task any, state string) {
	close(x.ended)
	x.update(task, state, true)
	time.Sleep(5 * time.Second) // for an acknowledgement that never comes
	os.Exit(0)
}

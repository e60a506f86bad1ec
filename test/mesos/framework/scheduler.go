package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
)

// A scheduler launches n equal tasks as offers come.
type scheduler struct {
	url, framework, image, name, network, command string
	n                                             int
	labels, env, parameters                       pairs
	volumes                                       []object
	publish                                       []int // ports of the container
	again                                         int
	mem                                           float64
	sandbox, nested                               bool // without Docker
	self                                          string
	bare                                          bool // command is a list of arguments, and the image has no shell

	stream   string // Mesos-Stream-Id
	id       any    // of the framework
	launched int
}

func (s *scheduler) run() error {
	res, err := post(s.url, "", object{"type": "SUBSCRIBE", "subscribe": object{
		"framework_info": object{"user": "root", "name": s.framework, "failover_timeout": 0}}})
	if err != nil {
		return err
	}
	defer res.Body.Close()
	s.stream = res.Header.Get("Mesos-Stream-Id")
	return fmt.Errorf("subscription ended: %w", events(res.Body, s.event))
}

func (s *scheduler) event(e object) error {
	switch e["type"] {
	case "SUBSCRIBED":
		s.id = e["subscribed"].(object)["framework_id"]
		fmt.Println("framework", s.id.(object)["value"])
		go s.orders()
	case "OFFERS":
		for _, o := range e["offers"].(object)["offers"].([]any) {
			if err := s.accept(o.(object)); err != nil {
				return err
			}
		}
	case "UPDATE":
		u := e["update"].(object)["status"].(object)
		fmt.Println(u["task_id"].(object)["value"], u["state"], u["message"])
		if u["state"] == "TASK_FAILED" && s.again > 0 {
			s.again--
			s.n++
			if err := s.call("REVIVE", "revive", object{}); err != nil {
				return err
			}
		}
		if uuid, ok := u["uuid"]; ok {
			return s.call("ACKNOWLEDGE", "acknowledge", object{"agent_id": u["agent_id"], "task_id": u["task_id"], "uuid": uuid})
		}
	}
	return nil
}

// orders reads what is to be done.
func (s *scheduler) orders() {
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if id, ok := strings.CutPrefix(lines.Text(), "kill "); ok {
			if err := s.call("KILL", "kill", object{"task_id": object{"value": id}}); err != nil {
				fmt.Println("kill", err)
			}
		}
	}
}

// accept takes an offer whole, with all tasks that are still to be launched.
func (s *scheduler) accept(offer object) error {
	if s.launched >= s.n {
		return s.call("DECLINE", "decline", object{"offer_ids": []any{offer["id"]}, "filters": object{"refuse_seconds": 3600}})
	}
	var tasks []object
	ports := firstPort(offer)
	for s.launched < s.n {
		tasks = append(tasks, s.task(offer["agent_id"], ports))
		ports += len(s.publish)
	}
	return s.call("ACCEPT", "accept", object{"offer_ids": []any{offer["id"]}, "filters": object{"refuse_seconds": 3600},
		"operations": []object{{"type": "LAUNCH", "launch": object{"task_infos": tasks}}}})
}

// firstPort is the first of the offered ports. Several frameworks may use the
// same machine, so Mesos gives each its own.
func firstPort(offer object) int {
	resources, _ := offer["resources"].([]any)
	for _, r := range resources {
		if r := r.(object); r["name"] == "ports" {
			return int(r["ranges"].(object)["range"].([]any)[0].(object)["begin"].(float64))
		}
	}
	return 0
}

func (s *scheduler) task(agent any, port int) object {
	id := fmt.Sprintf("%s.%d", s.name, s.launched)
	s.launched++
	share := []object{scalar("cpus", 0.01), scalar("mem", s.mem)}
	variables := append(pairs{{"name": "MESOS_TASK_ID", "value": id}}, s.env...)
	start := object{"value": "exec /framework", "shell": true, "environment": object{"variables": variables}}
	if s.bare {
		// the image's entrypoint is replaced by a parameter
		start = object{"shell": false, "environment": object{"variables": variables}}
	}
	docker := object{"image": s.image, "network": s.network, "parameters": s.parameters}
	resources := share
	if n := len(s.publish); n > 0 {
		var mappings []object
		for i, p := range s.publish {
			mappings = append(mappings, object{"host_port": port + i, "container_port": p, "protocol": "tcp"})
		}
		docker["port_mappings"] = mappings
		resources = append([]object{{"name": "ports", "type": "RANGES", "ranges": object{"range": []object{{"begin": port, "end": port + n - 1}}}}}, share...)
	}
	executor := object{"executor_id": object{"value": id}, "framework_id": s.id, "name": "kit", "type": "CUSTOM", "resources": share, "command": start}
	if s.sandbox {
		if s.nested {
			variables = append(variables, object{"name": nestedVariable, "value": "1"})
		}
		variables = append(variables, object{"name": sandboxVariable, "value": "1"})
		executor["command"] = object{"value": "exec " + s.self, "shell": true, "environment": object{"variables": variables}}
	} else {
		executor["container"] = object{"type": "DOCKER", "volumes": s.volumes, "docker": docker}
	}
	task := object{"name": s.name, "task_id": object{"value": id}, "agent_id": agent, "resources": resources,
		"labels": object{"labels": s.labels}, "data": []byte(s.command), "executor": executor}
	if len(s.publish) > 0 { // as Marathon has it, for who asks the master
		task["container"] = object{"type": "DOCKER", "docker": docker}
	}
	return task
}

func scalar(name string, value float64) object {
	return object{"name": name, "type": "SCALAR", "scalar": object{"value": value}}
}

func (s *scheduler) call(kind, field string, body object) error {
	res, err := post(s.url, s.stream, object{"type": kind, "framework_id": s.id, field: body})
	if err == nil {
		err = res.Body.Close()
	}
	return err
}

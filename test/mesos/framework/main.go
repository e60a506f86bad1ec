// Framework runs shell commands as real Mesos tasks in Docker containers, for
// tests.
//
// One binary is both halves: started by hand it is a scheduler (v1 scheduler
// API), started by a Mesos agent inside a container it is the executor (v1
// executor API). The image must hold it at /framework, and /bin/sh.
//
//	framework -master http://127.0.0.1:6060/master -image test/framework -n 2 -name web.kit \
//	    -label team=search -env MARATHON_APP_ID=/kit/web 'echo hello; sleep 60'
//
// A program of an image of its own, which need not have a shell, is given as
// arguments behind --program; the executor is mounted into its container:
//
//	framework -image mesoscope -self /path/of/framework -volume /var/lib/docker:/var/lib/docker:RW \
//	    -parameter cap-drop=ALL -program -name mesoscope_agent /mesoscope agent
//
// With -sandbox there is no Docker: the executor runs in a container of the Mesos
// containerizer, and what the command prints goes to its sandbox; with -nested, the
// command has a container of its own within it, as in a pod. -self is needed for both.
//
// The scheduler prints one line for each update of a task, kills a task for each
// line "kill ID" that it reads, and runs until it is killed; then its tasks are
// killed too. The executor says nothing, so that what
// the container prints is the command's alone.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
)

type object = map[string]any

// pairs are KEY=VALUE flags, in the shape of labels and variables.
type pairs []object

func (p *pairs) String() string { return "" }

// Set adds one.
func (p *pairs) Set(s string) error {
	k, v, ok := strings.Cut(s, "=")
	if !ok {
		return errors.New("want key=value, got " + s)
	}
	*p = append(*p, object{"key": k, "name": k, "value": v})
	return nil
}

func main() {
	err := run()
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func run() error {
	if os.Getenv("MESOS_EXECUTOR_ID") != "" {
		return execute()
	}
	var s scheduler
	master := flag.String("master", "http://127.0.0.1:6060/master", "master `URL`")
	flag.StringVar(&s.framework, "framework", "kit", "name of the framework")
	flag.StringVar(&s.image, "image", "test/framework", "Docker image that holds /framework")
	flag.IntVar(&s.n, "n", 1, "tasks")
	flag.StringVar(&s.name, "name", "web.kit", "task name; ids are NAME.0, NAME.1, ...")
	flag.StringVar(&s.network, "network", "HOST", "HOST or BRIDGE; the executor must reach the agent, so HOST if that is on loopback")
	flag.Func("publish", "`port` of the container, with -network BRIDGE, repeatable; the agent's ports are taken from the offer", func(text string) error {
		port, err := strconv.Atoi(text)
		s.publish = append(s.publish, port)
		return err
	})
	flag.IntVar(&s.again, "again", 0, "tasks that are started again, under the next id, when they fail")
	flag.Var(&s.labels, "label", "task label `key=value`, repeatable")
	flag.Var(&s.env, "env", "environment `key=value`, repeatable")
	flag.Var(&s.parameters, "parameter", "option of docker run `key=value`, repeatable")
	flag.Func("volume", "`host:container:mode`, repeatable; mode is RO or RW", func(text string) error {
		f := strings.Split(text, ":")
		if len(f) != 3 {
			return errors.New("want host:container:mode")
		}
		s.volumes = append(s.volumes, object{"host_path": f[0], "container_path": f[1], "mode": f[2]})
		return nil
	})
	flag.Float64Var(&s.mem, "mem", 16, "MB, of the task and of its executor")
	self := flag.String("self", "", "this program on the agent's machine, for an image that lacks it")
	flag.BoolVar(&s.sandbox, "sandbox", false, "without Docker")
	flag.BoolVar(&s.nested, "nested", false, "each task in a container within its executor's")
	program := flag.Bool("program", false, "run the arguments, without a shell")
	flag.Parse()
	s.url, s.command = *master+"/api/v1/scheduler", flag.Arg(0)
	s.self = *self
	if *self != "" && !s.sandbox {
		s.volumes = append(s.volumes, object{"host_path": *self, "container_path": "/framework", "mode": "RO"})
		s.parameters = append(s.parameters, object{"key": "entrypoint", "value": "/framework"})
	}
	if *program {
		text, err := json.Marshal(flag.Args())
		if err != nil {
			return err
		}
		s.command, s.bare = string(text), true
	}
	return s.run()
}

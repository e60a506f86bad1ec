//go:build linux

// Containerizer is the part of mesos-containerizer that the package of libmesos lacks
// and tests need: `mesos-containerizer launch`, which becomes the command of a
// container once the agent says that it may. It isolates nothing.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
)

// A launchInfo is what the agent wants to be started.
type launchInfo struct {
	Command struct {
		Shell     *bool    `json:"shell"`
		Value     string   `json:"value"`
		Arguments []string `json:"arguments"`
	} `json:"command"`
	Environment struct {
		Variables []struct{ Name, Value string } `json:"variables"`
	} `json:"environment"`
	WorkingDirectory string `json:"working_directory"`
}

func main() {
	err := launch(os.Args[1:])
	fmt.Fprintln(os.Stderr, "mesos-containerizer of the tests:", err)
	os.Exit(1)
}

func launch(args []string) error {
	if len(args) == 0 || args[0] != "launch" {
		return fmt.Errorf("only launch is there, not %q", args)
	}
	// Flags come as variables.
	const flag = "MESOS_CONTAINERIZER_"
	if fd, err := strconv.Atoi(os.Getenv(flag + "PIPE_WRITE")); err == nil {
		_ = syscall.Close(fd) // the agent's end
	}
	if fd, err := strconv.Atoi(os.Getenv(flag + "PIPE_READ")); err == nil {
		var b [1]byte
		if n, err := os.NewFile(uintptr(fd), "agent").Read(b[:]); n != 1 {
			return fmt.Errorf("the agent does not let it go: %w", err)
		}
	}
	var info launchInfo
	if err := json.Unmarshal([]byte(os.Getenv(flag+"LAUNCH_INFO")), &info); err != nil {
		return fmt.Errorf("launch_info: %w", err)
	}
	env := []string{"PATH=" + os.Getenv("PATH")}
	for _, v := range info.Environment.Variables {
		env = append(env, v.Name+"="+v.Value)
	}
	if info.WorkingDirectory != "" {
		if err := os.Chdir(info.WorkingDirectory); err != nil {
			return err
		}
		// An agent in one process with its master leaves output where its own goes;
		// any other one opens these files in the sandbox, as here.
		for fd, name := range map[int]string{1: "stdout", 2: "stderr"} {
			f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
			if err != nil {
				return err
			}
			if err := syscall.Dup3(int(f.Fd()), fd, 0); err != nil {
				return err
			}
		}
	}
	path, argv := "/bin/sh", []string{"sh", "-c", info.Command.Value}
	if s := info.Command.Shell; s != nil && !*s {
		var err error
		if path, err = exec.LookPath(info.Command.Value); err != nil {
			return err
		}
		argv = info.Command.Arguments
	}
	return errors.Join(errors.New("exec "+path), syscall.Exec(path, argv, env))
}

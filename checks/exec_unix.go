//go:build unix

package checks

import (
	"os/exec"
	"syscall"
)

// groupOfItsOwn lets a plugin be killed with its children.
func groupOfItsOwn(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// killGroup kills all that is still in the plugin's group.
func killGroup(cmd *exec.Cmd) error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }

//go:build !unix

package checks

import "os/exec"

// groupOfItsOwn does nothing: there are no process groups.
func groupOfItsOwn(*exec.Cmd) {}

// killGroup kills the plugin alone.
func killGroup(cmd *exec.Cmd) error { return cmd.Process.Kill() }

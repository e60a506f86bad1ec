//go:build !unix

package checks

import (
	"errors"
	"os/exec"
)

// runAs is not there.
func runAs(_ *exec.Cmd, name string) error {
	if name == "" {
		return nil
	}
	return errors.New("running as another user is not possible on this system")
}

// groupOfItsOwn does nothing: there are no process groups.
func groupOfItsOwn(*exec.Cmd) {}

// killGroup kills the plugin alone.
func killGroup(cmd *exec.Cmd) error { return cmd.Process.Kill() }

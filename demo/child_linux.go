package demo

import "syscall"

// childAttr makes a service a process group of its own, so that Ctrl-C in a
// terminal reaches the parent alone, which then ends the services in order.
// Pdeathsig stands beside the closed stdin for a service that does not read it.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}

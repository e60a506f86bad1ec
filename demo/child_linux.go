package demo

import "syscall"

// childAttr makes a service a process group of its own, so that Ctrl-C in a
// terminal reaches the parent alone, which then ends the services in order.
// Pdeathsig stands beside the closed stdin for a service that does not read it.
// It follows the thread that starts the child; the Go runtime ends a thread only
// with a goroutine that is locked to it, so nobody may call Start from such a one.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}

//go:build !linux

package demo

import "syscall"

// childAttr has nothing to add where there is no Pdeathsig: a service ends when
// its stdin is closed.
func childAttr() *syscall.SysProcAttr { return nil }

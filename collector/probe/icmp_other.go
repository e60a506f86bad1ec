//go:build !linux

package probe

import (
	"errors"
	"syscall"
)

func dontFragment(_, _ string, _ syscall.RawConn) error {
	return errors.New("dont_fragment works on Linux only")
}

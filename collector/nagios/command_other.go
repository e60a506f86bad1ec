//go:build !unix

package nagios

import (
	"context"
	"errors"
)

// A commandFile is the named pipe that Nagios reads commands from, where there
// are such pipes.
type commandFile struct{ path string }

func (c *commandFile) take(context.Context, []Service) (int, error) {
	return 0, errors.New("this platform has no named pipes for Nagios; use NRDP")
}

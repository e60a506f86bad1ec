//go:build unix

package nagios

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// A commandFile is the named pipe that Nagios reads commands from.
type commandFile struct{ path string }

// pipeLine is how long a line may be, with its newline: what is shorter than
// PIPE_BUF is written as a whole or not at all, so that lines of several writers
// never mix.
const pipeLine = 4095

// take writes one line for each service. The pipe is opened each time, since
// Nagios makes a new one when it starts; and without blocking, since one that
// nobody reads would hold us up for ever. Nothing is retried here.
func (c *commandFile) take(_ context.Context, list []Service) (taken int, err error) {
	fd, err := syscall.Open(c.path, syscall.O_WRONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if errors.Is(err, syscall.ENXIO) {
		return 0, fmt.Errorf("nobody reads %s: Nagios does not run", c.path)
	}
	if err != nil {
		return 0, &os.PathError{Op: "open", Path: c.path, Err: err}
	}
	defer syscall.Close(fd)
	var st syscall.Stat_t
	if err := syscall.Fstat(fd, &st); err != nil {
		return 0, &os.PathError{Op: "stat", Path: c.path, Err: err}
	}
	if st.Mode&syscall.S_IFMT != syscall.S_IFIFO {
		return 0, fmt.Errorf("%s is no named pipe", c.path)
	}
	for _, s := range list {
		text := line(s, time.Now())
		n, err := syscall.Write(fd, text)
		switch {
		case errors.Is(err, syscall.EAGAIN):
			return taken, fmt.Errorf("%s is full: Nagios does not read it", c.path)
		case err != nil:
			return taken, &os.PathError{Op: "write", Path: c.path, Err: err}
		case n != len(text):
			return taken, fmt.Errorf("%s took %d of %d bytes", c.path, n, len(text))
		}
		taken++
	}
	return taken, nil
}

// line is the command for one service. What does not fit is cut from the long
// text, and in the end from the numbers.
func line(s Service, now time.Time) []byte {
	b := fmt.Appendf(nil, "[%d] PROCESS_SERVICE_CHECK_RESULT;%s;%s;%d;", now.Unix(), s.Host, s.Name, s.Status)
	b = append(b, escape(s.Output())...)
	if len(b) >= pipeLine {
		b = bytes.ToValidUTF8(b[:pipeLine-1], nil)
		if whole := bytes.TrimRight(b, `\`); (len(b)-len(whole))%2 == 1 {
			b = b[:len(b)-1] // half of an escape
		}
	}
	return append(b, '\n')
}

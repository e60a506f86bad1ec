package usage

import "golang.org/x/sys/unix"

// readInto reads the file at path into buf, a larger one if need be, and returns
// what it has and whether it can be read. This is not os.ReadFile, whose files
// are registered with the runtime's poller: that costs as much again, and a look
// at 100 containers opens 1,700 files.
func readInto(path string, buf []byte) ([]byte, bool) {
	fd, err := open(path)
	if err != nil {
		return buf, false
	}
	defer unix.Close(fd)
	n := 0
	for {
		if n == len(buf) {
			if n >= maxFile {
				return buf, false
			}
			buf = append(buf, make([]byte, n)...)
		}
		m, err := unix.Read(fd, buf[n:])
		if err == unix.EINTR {
			continue
		}
		if m <= 0 || err != nil {
			return buf[:n], true // its end, or the container's
		}
		n += m
	}
}

func open(path string) (fd int, err error) {
	for {
		if fd, err = unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0); err != unix.EINTR {
			return fd, err
		}
	}
}

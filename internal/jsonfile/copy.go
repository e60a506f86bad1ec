package jsonfile

import (
	"bytes"
	"errors"
	"io"
	"time"
)

// readSize is the most that dockerd takes from a container's pipe at once.
const readSize = 2 * 1024

// Copy writes what r gives to stream until r ends, cut as dockerd's copier
// does. A line's time is the moment when its newline was found; that of a line
// longer than ChunkSize the moment when its first piece was full. What stands
// behind the last newline becomes an entry without one. Unlike dockerd, which
// drops the line and goes on, Copy returns the first error of a write.
func (w *Writer) Copy(stream string, r io.Reader) error {
	var (
		buf     = make([]byte, ChunkSize)
		n       int       // bytes in buf
		started time.Time // of the first piece of a line under way; zero = none
	)
	stamp := func() time.Time {
		if started.IsZero() {
			return time.Now()
		}
		return started
	}
	for {
		read, err := r.Read(buf[n:min(n+readSize, len(buf))])
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		eof := err != nil
		n += read

		from := 0
		for {
			i := bytes.IndexByte(buf[from:n], '\n')
			if i < 0 {
				break
			}
			if err := w.WritePartial(stream, buf[from:from+i], stamp(), true); err != nil {
				return err
			}
			started = time.Time{}
			from += i + 1
		}
		if rest := buf[from:n]; len(rest) > 0 && (eof || len(rest) == len(buf)) {
			started = stamp()
			if err := w.WritePartial(stream, rest, started, false); err != nil {
				return err
			}
			from = n
		}
		if eof {
			return nil
		}
		n = copy(buf, buf[from:n])
	}
}

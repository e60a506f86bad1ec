package tail

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"os"

	"mesoscope/agent/pipeline"
)

// A raw log is what a program wrote to one stream, as in a sandbox of Mesos: no
// entries, no times, lines that go on over a rotation. Three things are other than
// with Docker's files: what tells a file from others, where a line ends, and when
// it was.

// A Format says what stands in the files of a log.
type Format uint8

// The formats.
const (
	JSONFile  Format = iota // entries of both streams, as dockerd writes them
	RawStdout               // the bytes of stdout
	RawStderr               // the bytes of stderr
	// RawExecutor is the bytes of stderr, among them lines that the executor of
	// Mesos has printed. These take the place of stdout.
	RawExecutor
)

func (f Format) raw() bool { return f != JSONFile }

// single says whether only one of the streams can have lines.
func (f Format) single() bool { return f == RawStdout || f == RawStderr }

// main is the stream with which is booked what belongs to none.
func (f Format) main() int {
	if f == RawStderr || f == RawExecutor {
		return 1
	}
	return 0
}

// streamOf is the stream of a line of a raw log that begins with b.
func (f Format) streamOf(b []byte) int {
	if f == RawStdout || f == RawExecutor && pipeline.Executor(b) {
		return 0
	}
	return 1
}

// streamName is what stream k of s is called.
func (s *source) streamName(k int) string {
	if k == 0 && s.target.Format == RawExecutor {
		return ExecutorStream
	}
	return streamName(k)
}

// ExecutorStream is the name of the stream of what an executor has printed itself.
const ExecutorStream = "mesos.executor"

// unwanted says whether lines of stream k are dropped.
func (s *source) unwanted(k int) bool { return k == 0 && s.target.DropExecutor }

// Head of a raw file is when it was born, which with the inode is its name. Run
// tells apart what one file held before and after it was truncated in place. Its
// first bytes tell whether it was, and whether another file is a copy.

// rawHead is how many bytes at the beginning of a raw file are remembered.
const rawHead = 64

// openRaw reads what tells the open file of g, a raw one, from others. Its size
// is 0: errNoEntry.
func (g *generation) openRaw(f *os.File, gz bool) (err error) {
	if b := birth(f); !b.IsZero() {
		g.Head = b.UnixNano()
	}
	var r io.ReaderAt = f
	if gz {
		z, err := newInflater(f)
		if err != nil {
			return err
		}
		if g.inflate, err = newInflater(f); err != nil {
			return err
		}
		r = z
	}
	g.Gz = gz
	return g.readRawHead(r)
}

// readRawHead reads the first bytes of the file of g, as many as an earlier look
// has seen. fs.ErrNotExist: they are others.
func (g *generation) readRawHead(r io.ReaderAt) error {
	if g.HeadLen == 0 {
		g.HeadLen = rawHead
	}
	b := make([]byte, g.HeadLen)
	n, err := r.ReadAt(b, 0)
	if err != nil && err != io.EOF {
		return err
	}
	if n == 0 && g.HeadSum == 0 {
		return errNoEntry
	}
	b = b[:n]
	sum := crc32.Checksum(b, castagnoli)
	if g.HeadSum != 0 && g.HeadSum != sum {
		return os.ErrNotExist
	}
	g.headTail, g.headEnd, g.HeadLen, g.HeadSum = b, int64(n), n, sum
	return nil
}

// takeRaw makes f the open file of g if it is.
func (g *generation) takeRaw(f *os.File) error {
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	var z *inflater
	var r io.ReaderAt = f
	switch {
	case g.Gz, inode(fi) != g.Ino && compressed(f):
		if z, err = newInflater(f); err != nil {
			return err
		}
		r = z
		if sum, _, ok := gzipTrailer(f); g.Sum != nil && (!ok || sum != *g.Sum) {
			return os.ErrNotExist
		}
	case inode(fi) != g.Ino:
		return os.ErrNotExist
	default:
		if b := birth(f); !b.IsZero() && b.UnixNano() != g.Head {
			return os.ErrNotExist
		}
	}
	if err := g.readRawHead(r); errors.Is(err, errNoEntry) {
		return os.ErrNotExist
	} else if err != nil {
		return err
	}
	if z != nil { // begin again
		if z, err = newInflater(f); err != nil {
			return err
		}
	}
	g.file, g.inflate = f, z
	return nil
}

// sameRaw says whether fresh, which was found as file, is g.
func (s *source) sameRaw(fresh, g *generation, file logFile, h *hold) bool {
	switch {
	case g.Lost && !file.gz:
		return false
	case fresh.Ino == g.Ino && g.HoldIno == 0 || fresh.Ino == g.HoldIno:
		return (fresh.Head == 0 || fresh.Head == g.Head || fresh.Ino == g.HoldIno) && beginsAs(fresh, g)
	case file.gz:
		return beginsAs(fresh, g) && compresses(fresh, g, h.folder(s.id), true)
	}
	return false
}

// copiesRaw says whether a rotation is a copy that was made of the live file
// before that was truncated in place: it was born behind it. All that it has was
// in the live file, whose generation g has ended with that.
func (s *source) copiesRaw(fresh, g *generation, file logFile) bool {
	if file.age == 0 || file.gz || !g.Lost {
		return false
	}
	live, err := os.Open(s.target.Path)
	if err != nil {
		return false
	}
	defer live.Close()
	fi, err := live.Stat()
	return err == nil && inode(fi) == g.Ino && fresh.Head > birth(live).UnixNano() && beginsAs(fresh, g)
}

// beginsAs says whether fresh has the first bytes of g, as far as they are known.
func beginsAs(fresh, g *generation) bool {
	n := g.HeadLen
	return n == 0 || n <= len(fresh.headTail) && crc32.Checksum(fresh.headTail[:n], castagnoli) == g.HeadSum
}

// key is what the ids of a raw file's lines are made of: the time of its birth, to
// a millisecond so that ids are in the order of time, and what else tells it from
// files that were born then.
func (g *generation) key() int64 {
	const below = 1<<20 - 1 // ns, about a millisecond
	b := binary.BigEndian.AppendUint64(nil, g.Ino)
	b = binary.BigEndian.AppendUint64(b, uint64(g.Head))
	b = binary.BigEndian.AppendUint64(b, uint64(g.Run))
	return max(1, g.Head&^below|int64(crc32.ChecksumIEEE(b))&below)
}

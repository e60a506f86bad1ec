package tail

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"

	"mesoscope/agent/pipeline"
)

// A generation is one file that dockerd wrote. It is recognised by its inode
// and the time of its first entry together: the time alone is not unique (a
// huge line fills several files whose entries all have its time), the inode
// alone is used again for new files.
type generation struct {
	N    int64  `json:"n"`              // ordinal among those of its container, growing
	Ino  uint64 `json:"ino"`            // of the file that was seen first, or of its compressed copy
	Head int64  `json:"head"`           // time of the first entry, ns
	From int64  `json:"from,omitempty"` // where the first entry begins: behind NULs, if the file was truncated in place
	Path string `json:"path,omitempty"` // of the live file when it was born; in the checkpoint only if it is another one by now
	Hold string `json:"hold,omitempty"` // name of the link in the hold folder of the container
	// HoldIno is the inode of what is held, if that is not Ino: the compressed
	// copy of a file that lost its last name before it could be held.
	HoldIno uint64 `json:"holdino,omitempty"`
	Done    bool   `json:"done,omitempty"` // all of it is settled; remembered while a file of it exists
	Lost    bool   `json:"lost,omitempty"` // what was not read of it cannot be read any more
	Size    int64  `json:"size,omitempty"` // uncompressed, once it has been read to its end
	// Modified is when the file was written last, ns, once it has been read to
	// its end. It tells the file from one that got its inode after it, should
	// both begin within the same huge line.
	Modified int64 `json:"mtime,omitempty"`
	// Run counts the files before it that begin with the same time, because one
	// huge line fills them all; an inode may come back among them. See heads.
	Run     int    `json:"run,omitempty"`
	HeadSum uint32 `json:"headsum,omitempty"` // of the end of the first entry
	// Sum is the checksum of the whole file, once it was needed.
	Sum *uint32 `json:"sum,omitempty"`

	// The books, see book.go; all by stream.
	First    [2]int64    `json:"first,omitzero"`     // time of the first line that began here, ns
	End      [2]Position `json:"end,omitzero"`       // where reading ended; Generation 0: not yet
	Closed   bool        `json:"closed,omitempty"`   // End is the end although no file follows
	Books    [2]book     `json:"books,omitzero"`     // what was not simply delivered
	Gaps     []gap       `json:"gaps,omitempty"`     // what was lost
	LostFrom int64       `json:"lostfrom,omitempty"` // of a Lost one: where the loss begins
	LostSize int64       `json:"lostsize,omitempty"` // and how many bytes it is known to have had
	Doubt    string      `json:"unproven,omitempty"` // why lines may be missing before this file
	// Revision is that of the latest receipt that may have been sent, Final says
	// that the last one is stored.
	Revision [2]int  `json:"rev,omitzero"`
	Final    [2]bool `json:"final,omitzero"`

	HeadLen int  `json:"headlen,omitempty"` // of a raw file: how many bytes HeadSum is of
	Gz      bool `json:"gz,omitempty"`      // of a raw file: it was compressed when it was seen first

	raw      bool // it is of a raw log
	released bool // it was held, and its link has been taken away

	due     [2]int  // revision of the receipt that is to be sent, 0: none
	fresh   bool    // found by the last look at the folder
	flying  [2]bool // a receipt is under way
	granted [2]int  // revision that the checkpoint knows: it may be sent

	whole    bool   // the first entry ends a line
	headEnd  int64  // behind the first entry
	headTail []byte // its last bytes
	at       string // path of the file as last seen in the container's folder, "" if gone
	ended    bool   // no more bytes can come
	damaged  bool   // compressed, and its end cannot be read; said once
	file     *os.File
	inflate  *inflater // over file, if that is compressed
	size     int64     // as last seen, uncompressed
	sound    int64     // when it was last known to be the same file
	origins  [2]*pipeline.Origin
}

// name is what log.file.generation says.
func (g *generation) name() string {
	name := strconv.FormatInt(g.Head, 36) + "-" + strconv.FormatUint(g.Ino, 36)
	if g.Run > 0 {
		name += "-" + strconv.Itoa(g.Run)
	}
	return name
}

// pinned says whether something keeps the inode Ino from being used again.
func (g *generation) pinned() bool {
	return g.Hold != "" && g.HoldIno == 0 || g.file != nil && g.inflate == nil
}

// holdName is the name of the link, which says all that is needed to recognise
// the generation should the checkpoint be lost.
func (g *generation) holdName() string {
	name := fmt.Sprintf("%d_%d_%d_%d", g.N, g.Ino, g.Head, g.From)
	if g.Gz {
		name += gzMark
	}
	return name
}

// gzMark ends the name of a link to a raw file that was compressed when it was
// seen first. Its bytes do not tell: a raw file may have any.
const gzMark = "_gz"

func parseHoldName(name string) (g generation, ok bool) {
	n, err := fmt.Sscanf(name, "%d_%d_%d_%d", &g.N, &g.Ino, &g.Head, &g.From)
	g.Hold, g.Gz = name, strings.HasSuffix(name, gzMark)
	return g, err == nil && n == 4 && g.holdName() == name
}

// A head is what is read at the beginning of a file to recognise it.
type head struct {
	nanos     int64 // time of the first entry
	from, end int64 // where that entry lies
	whole     bool  // it ends a line
}

var errNoEntry = errors.New("no whole entry yet")

// headLimit bounds the look for the first entry: behind so much garbage the
// file is not a json-file log.
const headLimit = 4 << 20

// readHead finds the first entry. errNoEntry: the file is empty, holds NULs
// only, or an entry that is still being written.
func readHead(r io.ReaderAt, skipHole func(int64) int64) (head, error) {
	buf := make([]byte, 4096)
	var p pipeline.Parser
	var e pipeline.Entry
	off := int64(0)
	for off < headLimit {
		if off == 0 && skipHole != nil {
			off = skipHole(0)
		}
		n, err := r.ReadAt(buf, off)
		if n == 0 && err != nil && err != io.EOF {
			return head{}, err
		}
		b := buf[:n]
		if zeros := leadingZeros(b); zeros > 0 {
			off += int64(zeros)
			if zeros == n {
				if n == 0 || err != nil {
					return head{}, errNoEntry
				}
				continue
			}
			b = b[zeros:]
		}
		nl := bytes.IndexByte(b, '\n')
		if nl < 0 {
			if err != nil {
				return head{}, errNoEntry
			}
			if len(buf) >= headLimit {
				break
			}
			buf = make([]byte, 4*len(buf))
			continue
		}
		line := b[:nl]
		for at := 0; at < len(line); at = pipeline.Resync(line, at+1) {
			if p.Parse(line[at:], &e) == nil {
				return head{nanos: e.Nanos, from: off + int64(at), end: off + int64(nl) + 1, whole: e.Whole}, nil
			}
		}
		off += int64(nl) + 1
	}
	return head{}, fmt.Errorf("no entry of a json-file log in the first %d MiB", headLimit>>20)
}

func leadingZeros(b []byte) int {
	n := 0
	for n < len(b) && b[n] == 0 {
		n++
	}
	return n
}

// An inflater gives a compressed file the one read that is needed here: pieces
// from offsets that never go back behind an earlier call's offset.
type inflater struct {
	file *os.File
	gz   *gzip.Reader
	at   int64  // offset of rest[0] in the uncompressed bytes
	rest []byte // read and not yet passed by
	err  error  // why there is no more
}

func newInflater(f *os.File) (*inflater, error) {
	z, err := gzip.NewReader(io.NewSectionReader(f, 0, 1<<62))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return &inflater{file: f, gz: z}, nil
}

// ReadAt fills p from off, which must not lie before the off of an earlier
// call. Less than that comes with the reason: io.EOF, or what is wrong with the
// compressed bytes.
func (z *inflater) ReadAt(p []byte, off int64) (int, error) {
	if off < z.at {
		return 0, fmt.Errorf("%s: cannot go back from %d to %d in a compressed file", z.file.Name(), z.at, off)
	}
	for z.err == nil && z.at+int64(len(z.rest)) < off+int64(len(p)) {
		if drop := min(off-z.at, int64(len(z.rest))); drop > 0 {
			z.rest = z.rest[:copy(z.rest, z.rest[drop:])]
			z.at += drop
		}
		var chunk [64 << 10]byte
		n, err := z.gz.Read(chunk[:])
		z.rest = append(z.rest, chunk[:n]...)
		z.err = err
	}
	n := copy(p, z.rest[min(off-z.at, int64(len(z.rest))):])
	if n < len(p) {
		return n, z.err
	}
	return n, nil
}

// reader is the open file of g, uncompressed.
func (g *generation) reader() io.ReaderAt {
	if g.inflate != nil {
		return g.inflate
	}
	return g.file
}

func (g *generation) close() {
	if g.file != nil {
		g.file.Close()
		g.file, g.inflate = nil, nil
	}
}

// errEmptied says that the file of a generation is there and holds something
// else: it was truncated in place while no agent ran.
var errEmptied = errors.New("the file was truncated in place")

// open opens the file of g, from the hold folder or from where it was last
// seen, and checks that it is the file it should be. fs.ErrNotExist: there is
// no file of it any more.
func (g *generation) open(holdDir string) error {
	if g.file != nil {
		return nil
	}
	var tried []string
	if g.Hold != "" {
		tried = append(tried, filepath.Join(holdDir, g.Hold))
	}
	if g.at != "" {
		tried = append(tried, g.at)
	}
	var first error = os.ErrNotExist
	for _, path := range tried {
		f, err := os.Open(path)
		if err == nil {
			if err = g.take(f); err == nil {
				return nil
			}
			f.Close()
			if errors.Is(err, os.ErrNotExist) && g.Hold != "" && path == tried[0] {
				// A link leads to one file for ever, so that one was emptied.
				return errEmptied
			}
		}
		if !errors.Is(err, os.ErrNotExist) {
			first = err
		}
	}
	return first
}

// take makes f the open file of g if it begins as g does.
func (g *generation) take(f *os.File) error {
	if g.raw {
		return g.takeRaw(f)
	}
	var z *inflater
	var r io.ReaderAt = f
	if compressed(f) {
		var err error
		if z, err = newInflater(f); err != nil {
			return err
		}
		r = z
	}
	h, err := readHead(r, holeSkipper(f, z))
	if errors.Is(err, errNoEntry) {
		return os.ErrNotExist
	}
	if err != nil {
		return err
	}
	if h.nanos != g.Head || z == nil && h.from != g.From {
		return os.ErrNotExist
	}
	if sum, _, ok := gzipTrailer(f); z != nil && g.Sum != nil && (!ok || sum != *g.Sum) {
		return os.ErrNotExist // that of another file of the same huge line
	}
	if z != nil { // begin again: readHead may have passed what is to be read
		if z, err = newInflater(f); err != nil {
			return err
		}
	} else if err := g.rememberHead(f, h); err != nil {
		return err
	}
	g.file, g.inflate = f, z
	return nil
}

// holeSkipper jumps over the hole that a truncation in place leaves, which may
// be as large as the file once was. nil where that cannot be done.
func holeSkipper(f *os.File, z *inflater) func(int64) int64 {
	if z != nil {
		return nil
	}
	return func(off int64) int64 { return skipHole(f, off) }
}

func compressed(f *os.File) bool {
	var magic [2]byte
	n, _ := f.ReadAt(magic[:], 0)
	return n == 2 && magic == [2]byte{0x1f, 0x8b}
}

// intact says whether the open file of g still begins as it did. A truncation
// in place does not show in the size: dockerd goes on at its old offset and
// leaves NULs before it. The end of the first entry holds its time, which tells
// it from every other file's but for those of the same huge line, and some text,
// which tells it from those.
func (g *generation) intact(size int64) (bool, error) {
	if g.inflate != nil || len(g.headTail) == 0 {
		return true, nil
	}
	var buf [headTailLen]byte
	b := buf[:len(g.headTail)]
	if _, err := g.file.ReadAt(b, g.headEnd-int64(len(b))); err != nil && err != io.EOF {
		return false, err // a disk in trouble is no truncation
	}
	return size >= g.headEnd && bytes.Equal(b, g.headTail), nil
}

// headTailLen covers `"stream":"stderr","time":"2006-01-02T15:04:05.999999999Z"}`,
// a newline, and more text than repeats by chance.
const headTailLen = 256

// rememberHead keeps the end of the first entry for intact. fs.ErrNotExist: it
// is another one than an earlier run has seen.
func (g *generation) rememberHead(r io.ReaderAt, h head) error {
	b := make([]byte, min(headTailLen, h.end-h.from))
	if _, err := r.ReadAt(b, h.end-int64(len(b))); err != nil && err != io.EOF {
		return err
	}
	sum := crc32.Checksum(b, castagnoli)
	if g.HeadSum != 0 && g.HeadSum != sum {
		return os.ErrNotExist
	}
	g.headEnd, g.headTail, g.HeadSum = h.end, b, sum
	return nil
}

// isLogFile says whether name is the live file base, or a rotation of it, and
// which: 0 is the live one, 1 the youngest rotation.
func isLogFile(name, base string) (age int, gz, ok bool) {
	rest, found := strings.CutPrefix(name, base)
	if !found {
		return 0, false, false
	}
	if rest == "" {
		return 0, false, true
	}
	rest, gz = strings.CutSuffix(rest, ".gz")
	rest, found = strings.CutPrefix(rest, ".")
	if !found {
		return 0, false, false
	}
	age, err := strconv.Atoi(rest)
	return age, gz, err == nil && age > 0
}

package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"mesoscope/internal/jsonfile"
)

// streams are Docker's names of them.
var streams = [2]string{"stdout", "stderr"}

// A writerSpec says what a writer process writes.
type writerSpec struct {
	Seed    uint64
	Root    string // Docker's
	Sandbox string // the folder with the log of a task without Docker; "": it runs in Docker
	Stream  int    // the only one of a sandbox that is written to
	Journal string
	ID      string
	Name    string
	Log     jsonfile.Options
	Rate    float64 // lines a second
	// Guarded writers let no file vanish that no agent has taken hold of: a
	// container whose files live longer than the agent is down.
	Guarded bool
	// Patience is how long they wait for one.
	Patience time.Duration
	// Endless writers have a line on stdout that does not end until they do.
	Endless bool
	// Long is how many of 10,000 lines are longer than 1 MiB, Longest the size
	// of the longest of them.
	Long    int
	Longest int
}

// A writer is dockerd and the container in one: it makes up lines, cuts them
// into pieces as dockerd does and gives them to a jsonfile.Writer, a piece of
// stdout and a piece of stderr by turns. Commands come on stdin, one JSON
// object a line; each is carried out between two pieces and answered on stdout.
type writer struct {
	spec    writerSpec
	r       *rand.Rand
	journal *journal
	log     logWriter

	open   [2]*current
	n      [2]int64
	next   time.Time     // when the next line may begin
	clock  time.Duration // what the clock is wrong by
	last   int64         // time of the newest line
	count  int64         // of lines
	burst  int           // lines to write without a pause
	paused bool
	ending bool // begin no further line
	hasty  bool // leave the lines that are open without their ends

	files   int        // generations so far
	file    *logFile   // the present one; nil until its first entry
	size    int64      // as jsonfile.Writer counts it
	begins  int64      // where the present generation begins in its file
	headEnd int64      // behind its first entry
	blocked time.Time  // since when the live file may not vanish; zero: it may
	unseen  int        // rotations since an agent was seen to hold the live file
	shaky   bool       // the live file was truncated
	rotated []lostPart // files that still have a name, oldest first
	other   string     // the file that is written to, if it is not the live one

	inodes map[uint64]bool // that files of the log have had
	spare  *scratch        // keeps one for the next file

	commands chan command
}

// A current is a line that is being written.
type current struct {
	line line
	text []byte
	rest []byte
}

// writerMain is the writer process.
func writerMain(args []string, in io.Reader, out io.Writer) error {
	if len(args) != 1 {
		return errors.New("a writer takes one argument, its specification in JSON")
	}
	w := &writer{commands: make(chan command)}
	if err := json.Unmarshal([]byte(args[0]), &w.spec); err != nil {
		return fmt.Errorf("specification: %w", err)
	}
	w.r = rand.New(rand.NewPCG(w.spec.Seed, 7))
	var err error
	if w.journal, err = createJournal(w.spec.Journal); err != nil {
		return err
	}
	if w.log, err = w.openLog(); err != nil {
		return err
	}
	go readCommands(in, w.commands)
	err = w.run(json.NewEncoder(out))
	if err != nil {
		err = fmt.Errorf("writer %s: %w", w.spec.Name, err)
	}
	return err
}

func readCommands(in io.Reader, to chan<- command) {
	defer close(to)
	dec := json.NewDecoder(bufio.NewReader(in))
	for {
		var c command
		if dec.Decode(&c) != nil {
			return // the harness has ended
		}
		to <- c
	}
}

func (w *writer) path() string { return w.spec.path() }

var errHarnessGone = errors.New("the harness has gone")

func (w *writer) run(out *json.Encoder) error {
	for {
		wait := time.Until(w.next)
		if w.burst > 0 || w.ending {
			wait = 0
		}
		if w.paused {
			wait = time.Hour
		}
		if err := w.obey(wait, out); err != nil || w.log == nil {
			return err
		}
		if w.paused || w.burst == 0 && !w.ending && time.Now().Before(w.next) {
			continue
		}
		k := w.choose()
		if k < 0 {
			if err := w.finish(out); err != nil {
				return err
			}
			continue
		}
		if !w.mayRotate() {
			if w.blocked.IsZero() {
				w.blocked = time.Now()
			}
			// Commands may come meanwhile, and change what is waited for.
			if err := w.obey(5*time.Millisecond, out); err != nil || w.log == nil {
				return err
			}
			continue
		}
		w.blocked = time.Time{}
		if err := w.piece(k); err != nil {
			return err
		}
	}
}

// obey carries out the commands that come within d.
func (w *writer) obey(d time.Duration, out *json.Encoder) error {
	timer := time.NewTimer(max(d, 0))
	defer timer.Stop()
	for {
		select {
		case c, ok := <-w.commands:
			if !ok {
				return errHarnessGone
			}
			err := w.do(c)
			if c.Do == "end" {
				return nil // answered when it has ended
			}
			if err := w.answer(out, err); err != nil {
				return err
			}
			if w.log == nil || c.Do == "resume" || c.Do == "burst" || c.Do == "long" {
				return nil
			}
		case <-timer.C:
			return nil
		}
	}
}

func (w *writer) answer(out *json.Encoder, err error) error {
	r := reply{Lines: w.n, Stuck: !w.blocked.IsZero() && time.Since(w.blocked) > w.spec.Patience}
	if err != nil {
		r.Err = err.Error()
	}
	if fi, err := os.Stat(w.target()); err == nil {
		r.Live = w.held(fi)
	}
	return out.Encode(r)
}

// choose is the stream whose turn it is, -1 if nothing is left to do.
func (w *writer) choose() int {
	if w.ending {
		for k, c := range w.open {
			if c != nil && !w.hasty {
				return k
			}
		}
		return -1
	}
	if w.boxed() {
		return w.spec.Stream
	}
	if w.spec.Endless {
		if w.r.IntN(40) == 0 {
			return 0
		}
		return 1
	}
	if w.open[0] != nil && len(w.open[0].rest) > 1<<20 && w.r.IntN(8) > 0 {
		return 0 // a huge line gets ahead
	}
	return w.r.IntN(2)
}

// newLine makes up the next line of stream k.
func (w *writer) newLine(k int) *current {
	w.n[k]++
	w.count++
	// No two lines of a container have one time, even when the clock is put
	// back: the last digits count.
	now := (time.Now().Add(w.clock).UnixMicro())*1000 + w.count%1000
	if now == w.last {
		now += 1000
	}
	w.last = now
	l := line{Stream: k, N: w.n[k], Time: now, Kind: kind(w.r.IntN(int(kinds))), Size: w.r.IntN(160)}
	if l.Kind == empty && (w.r.IntN(4) > 0 || w.boxed()) || l.Kind == exact {
		l.Kind = plain
	}
	switch d := w.r.IntN(10_000); {
	case w.spec.Endless && k == 0:
		l.Kind, l.Size = plain, 64<<20
	case d < w.spec.Long:
		l.Kind, l.Size = plain, 1<<20+w.r.IntN(w.spec.Longest)
	case d < 60:
		l.Kind = exact
		l.Size = []int{16383, 16384, 16385, 2 * 16384, 3*16384 - 1, 1<<20 - 1, 1 << 20, 1<<20 + 1}[w.r.IntN(8)]
	case d < 120:
		l.Size = 10_000 + w.r.IntN(60_000)
	case d < 130:
		l.Size = 100_000 + w.r.IntN(1_500_000)
	}
	key := lineKey{w.spec.Seed, w.spec.Name, k, l.N}
	c := &current{line: l, text: lineText(key, l.Kind, l.Size)}
	c.rest = c.text
	w.next = time.Now().Add(time.Duration(w.r.ExpFloat64() / w.spec.Rate * float64(time.Second)))
	w.burst = max(0, w.burst-1)
	return c
}

// piece writes the next piece of the line of stream k.
func (w *writer) piece(k int) error {
	c := w.open[k]
	if c == nil {
		c = w.newLine(k)
		w.open[k] = c
	} else if w.spec.Endless && k == 0 {
		w.next = time.Now().Add(time.Duration(float64(time.Second) / w.spec.Rate))
	}
	chunk := w.chunk()
	n := min(len(c.rest), chunk)
	last := n < chunk
	at := time.Unix(0, c.line.Time)
	if w.full() {
		if err := w.turn(); err != nil {
			return err
		}
	}
	piece := c.rest[:n]
	if err := w.log.WritePartial(streams[k], piece, at, last); err != nil {
		return err
	}
	if last {
		piece = append(slices.Clone(piece), '\n')
	}
	length := int64(len(piece))
	if !w.boxed() {
		length = int64(len(jsonfile.AppendEntry(nil, piece, streams[k], nil, at)))
	}
	w.size += length
	fi, err := os.Stat(w.target())
	if err != nil {
		return err
	}
	if w.file == nil {
		w.files++
		w.file = &logFile{N: w.files, Ino: inode(fi), Head: c.line.Time}
		if w.boxed() {
			w.file.Head = birth(w.target())
		}
		w.begins, w.headEnd = fi.Size()-length, fi.Size()
		if err := w.taken(w.file.Ino); err != nil {
			return err
		}
		if err := w.journal.note(entry{File: w.file}); err != nil {
			return err
		}
	}
	c.add(part{File: w.file.N, From: fi.Size() - length, To: fi.Size()})
	c.rest = c.rest[n:]
	if !last {
		return nil
	}
	return w.close(k, false)
}

func (c *current) add(p part) {
	if i := len(c.line.Parts) - 1; i >= 0 && c.line.Parts[i].File == p.File {
		c.line.Parts[i].To = p.To
		return
	}
	c.line.Parts = append(c.line.Parts, p)
}

// close notes that nothing more of the line of stream k will be written.
func (w *writer) close(k int, open bool) error {
	c := w.open[k]
	if c == nil {
		return nil
	}
	w.open[k] = nil
	l := c.line
	l.Bytes, l.Open = len(c.text)-len(c.rest), open
	text := w.spec.logged(c.text[:l.Bytes], !open)
	l.Len, l.Sum = len(text), sumOf(text)
	return w.journal.note(entry{Line: &l})
}

// target is the path of the file that is written to.
func (w *writer) target() string { return cmp.Or(w.other, w.path()) }

// turn is a rotation, which the next write brings.
func (w *writer) turn() error {
	if w.spec.Log.InPlace && w.spec.Log.MaxFile < 2 {
		if err := w.lose(0, "truncated in place by a rotation", false); err != nil {
			return err
		}
	}
	if w.shaky {
		// The link that an agent has leads to this file, but may stand for what
		// was in it before.
		if err := w.lose(w.begins, "rotated away soon after a truncation", false); err != nil {
			return err
		}
	}
	w.shaky = false
	if err := w.drop(); err != nil {
		return err
	}
	w.file, w.size, w.other = nil, 0, ""
	if w.boxed() {
		return w.log.(*boxLog).Rotate()
	}
	return w.offer()
}

// drop notes what the rotation that comes takes away for ever: a file that no
// agent holds. Guarded writers never do that.
func (w *writer) drop() error {
	if w.spec.Guarded || w.spec.Log.InPlace || w.file == nil {
		return nil
	}
	fi, err := os.Stat(w.path())
	if err != nil {
		return err
	}
	w.rotated = append(w.rotated, lostPart{File: w.file.N, To: fi.Size(), Why: "unlinked by a rotation"})
	n := max(1, w.spec.Log.MaxFile) - 1
	if len(w.rotated) <= n {
		return nil
	}
	oldest := w.rotated[0]
	w.rotated = w.rotated[1:]
	path := w.path()
	if n > 0 {
		path = fmt.Sprintf("%s.%d", path, n)
	}
	// Of a compressed file nobody can tell whether an agent holds what it was made of.
	if fi, err := os.Stat(path); err == nil && w.held(fi) {
		return nil
	}
	return w.journal.note(entry{Lost: &oldest})
}

// lose notes that what lies in the present file from an offset on is about to
// be destroyed.
func (w *writer) lose(from int64, why string, all bool) error {
	fi, err := os.Stat(w.target())
	if err != nil || w.file == nil || fi.Size() <= from {
		return err
	}
	return w.journal.note(entry{Lost: &lostPart{File: w.file.N, From: from, To: fi.Size(), Why: why, All: all}})
}

// mayRotate says whether the write that comes leaves what the agent needs: a
// file that no agent has ever seen must not vanish, since while no agent runs
// nobody can hold it.
func (w *writer) mayRotate() bool {
	if !w.spec.Guarded || !w.full() || w.spec.Log.InPlace {
		return true
	}
	if fi, err := os.Stat(w.path()); err != nil || fi.Size() == 0 || w.held(fi) {
		w.unseen = 0
		return true
	}
	if w.unseen+1 >= max(1, w.spec.Log.MaxFile) {
		return false
	}
	w.unseen++
	return true
}

// held says whether an agent has taken hold of a file of the log. A second name
// alone does not say it: the agent tries on some log, for a moment, whether it
// can make links at all.
func (w *writer) held(fi os.FileInfo) bool {
	links, err := os.ReadDir(w.spec.hold())
	return err == nil && slices.ContainsFunc(links, func(e os.DirEntry) bool {
		link, err := e.Info()
		return err == nil && inode(link) == inode(fi)
	})
}

// finish is the end of the container: it stops.
func (w *writer) finish(out *json.Encoder) error {
	for k := range w.open {
		if err := w.close(k, true); err != nil {
			return err
		}
	}
	w.paused = true
	return w.answer(out, nil)
}

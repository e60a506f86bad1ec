package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
)

// A command is what the harness asks of a writer.
type command struct {
	Do    string
	Bytes int64
	Step  time.Duration
	Flag  bool
}

// A reply is what a writer answers. Lines is how many lines it has begun.
type reply struct {
	Err   string
	Lines [2]int64
	Live  bool // an agent holds the live file
	Stuck bool // no agent has taken hold of it for too long
}

// powerLoss is the reason of a lostPart.
const powerLoss = "power cut"

// errNotNow says that a fault does not fit a container at present.
var errNotNow = errors.New("not now")

// do carries out a command. What destroys lines at source is noted first.
func (w *writer) do(c command) error {
	if w.boxed() && !slices.Contains(boxCommands, c.Do) {
		return errNotNow
	}
	switch c.Do {
	case "ask":
		return nil
	case "pause":
		w.paused = true
	case "resume":
		w.paused = false
	case "burst":
		w.burst += int(c.Bytes)
	case "long":
		return w.begin(int(c.Bytes), w.spec.Stream)
	case "clock":
		w.clock += c.Step
	case "truncate":
		return w.truncate("truncate -s0")
	case "power":
		return w.powerCut(c.Bytes, c.Flag)
	case "restart":
		return w.restart()
	case "hole":
		return w.hole(c.Bytes)
	case "reuse-inode":
		return w.reuse()
	case "rename":
		return w.rename()
	case "copytruncate":
		return w.copyTruncate()
	case "end":
		w.ending, w.hasty, w.paused = true, c.Flag, false
	case "quit":
		err := w.log.Close()
		w.log = nil
		return err
	default:
		return fmt.Errorf("no command %q", c.Do)
	}
	return nil
}

// begin begins a line of a given size on stream k.
func (w *writer) begin(size, k int) error {
	if w.open[k] != nil || w.ending {
		return errNotNow
	}
	c := w.newLine(k)
	c.line.Kind, c.line.Size = plain, size
	c.text = lineText(lineKey{w.spec.Seed, w.spec.Name, k, c.line.N}, plain, size)
	c.rest = c.text
	w.open[k] = c
	return nil
}

// truncate empties the live file behind dockerd's back, which goes on where it
// was: behind a hole, unless it has the file open for appending.
func (w *writer) truncate(why string) error {
	if w.file == nil || w.other != "" {
		return errNotNow
	}
	if fi, err := os.Stat(w.path()); err != nil || w.spec.Guarded && w.unseen > 0 && !w.held(fi) {
		// An empty file is rotated away without waiting for an agent, and takes the
		// place of those before it that no agent has seen either.
		return cmp.Or(err, errNotNow)
	}
	if err := w.lose(0, why, true); err != nil {
		return err
	}
	w.file, w.shaky = nil, true
	return os.Truncate(w.path(), 0)
}

// reopen is a start of the container: what was open stays without its end.
func (w *writer) reopen(between func() error) error {
	for k := range w.open {
		if err := w.close(k, true); err != nil {
			return err
		}
	}
	if err := w.log.Close(); err != nil {
		return err
	}
	if err := between(); err != nil {
		return err
	}
	if w.other != "" {
		w.other, w.file = "", nil
	}
	fi, err := os.Stat(w.path())
	if err != nil {
		return err
	}
	w.size = fi.Size()
	w.log, err = w.openLog()
	return err
}

func (w *writer) restart() error {
	if w.spec.Endless || w.size == 0 {
		return errNotNow
	}
	return w.reopen(func() error { return nil })
}

// powerCut takes the last bytes off the live file, or makes NULs of them, as a
// file system does with what was not synced, and goes on as after a boot. No
// agent runs meanwhile.
func (w *writer) powerCut(bytes int64, zeros bool) error {
	if w.file == nil || w.other != "" {
		return errNotNow
	}
	fi, err := os.Stat(w.path())
	if err != nil {
		return err
	}
	from := max(0, fi.Size()-bytes)
	if from < w.headEnd {
		from = w.begins // all of the generation
	}
	if err := w.lose(from, powerLoss, from == w.begins); err != nil {
		return err
	}
	if from == w.begins {
		w.file, w.shaky = nil, true
	}
	return w.reopen(func() error {
		if !zeros {
			return os.Truncate(w.path(), from)
		}
		f, err := os.OpenFile(w.path(), os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = f.WriteAt(make([]byte, fi.Size()-from), from)
		return errors.Join(err, f.Close())
	})
}

// makeRoom gives the old files of a log that dockerd does not rotate the next
// numbers, as logrotate does. held says that an agent needs none of them.
func (w *writer) makeRoom() error {
	fi, err := os.Stat(w.path())
	if err != nil {
		return err
	}
	if w.spec.Log.MaxSize > 0 || w.other != "" || w.file == nil || !w.held(fi) {
		return errNotNow
	}
	for i := 3; i > 0; i-- {
		err := os.Rename(fmt.Sprintf("%s.%d", w.path(), i), fmt.Sprintf("%s.%d", w.path(), i+1))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// rename is an operator's logrotate with "create": dockerd writes on into the
// file that has another name now, until the container is started again.
func (w *writer) rename() error {
	if err := w.makeRoom(); err != nil {
		return err
	}
	if err := os.Rename(w.path(), w.path()+".1"); err != nil {
		return err
	}
	w.other = w.path() + ".1"
	return os.WriteFile(w.path(), nil, 0o640)
}

// copyTruncate is an operator's logrotate with "copytruncate".
func (w *writer) copyTruncate() error {
	if err := w.makeRoom(); err != nil {
		return err
	}
	from, err := os.Open(w.path())
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.Create(w.path() + ".1")
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	if err = errors.Join(err, to.Close()); err != nil {
		return err
	}
	return w.truncate("copytruncate")
}

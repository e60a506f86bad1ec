package state

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// format is the number of the file's form. An older one is read, a newer one
// refused.
const format = 1

// A line is one entry of the file: the first has the format, each other one a
// check or a slot. The last line about something counts.
type line struct {
	Format   int    `json:"format,omitempty"`
	Check    string `json:"check,omitempty"`
	State    *Check `json:"state,omitempty"`
	Instance string `json:"instance,omitempty"`
	Place    *slot  `json:"place,omitempty"`
}

// journal appends what changes. It is guarded by the Book's lock.
type journal struct {
	path  string
	file  *os.File
	lines int   // behind the last whole writing
	err   error // the first one since then
}

// Open reads the states in a folder; none is no error. damaged tells of lines
// that cannot be read, as a power cut leaves them; what they said is lost.
func Open(dir string, now time.Time) (b *Book, damaged int, err error) {
	b = &Book{checks: map[string]*page{}, slots: map[string]*slot{}, journal: &journal{path: filepath.Join(dir, "state.jsonl")}}
	text, err := os.ReadFile(b.journal.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, 0, fmt.Errorf("read states of checks: %w", err)
	}
	first := true
	in := bufio.NewScanner(bytes.NewReader(text))
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var l line
		if json.Unmarshal(in.Bytes(), &l) != nil {
			damaged++
			continue
		}
		if first && l.Format > format {
			return nil, 0, fmt.Errorf("%s was written by a newer version (format %d, this one knows %d); use that version, or move the file away and begin anew",
				b.journal.path, l.Format, format)
		}
		first = false
		switch {
		case l.State != nil:
			// Gone until Set says otherwise: who was removed while we were
			// away is forgotten in time.
			b.checks[l.Check] = &page{Check: *l.State, gone: now}
		case l.Place != nil:
			b.slots[l.Instance] = l.Place
		}
	}
	if in.Err() != nil {
		damaged++
	}
	return b, damaged, b.Save()
}

// Save writes everything anew and makes it durable.
func (b *Book) Save() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	j := b.journal
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	write := func(l line) {
		if err := e.Encode(l); err != nil {
			panic("BUG: state: " + err.Error()) // these shapes always encode
		}
	}
	write(line{Format: format})
	for _, id := range slices.Sorted(maps.Keys(b.checks)) {
		write(line{Check: id, State: &b.checks[id].Check})
	}
	for _, id := range slices.Sorted(maps.Keys(b.slots)) {
		write(line{Instance: id, Place: b.slots[id]})
	}
	file, err := replace(j.path, out.Bytes())
	if err != nil {
		return fmt.Errorf("write states of checks: %w", err)
	}
	if j.file != nil {
		j.file.Close() // replaced
	}
	j.file, j.lines, j.err = file, 0, nil
	return nil
}

// replace puts text in place of a file, durably, and leaves it open for
// appending.
func replace(path string, text []byte) (*os.File, error) {
	next := path + ".new"
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err = f.Write(text); err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(next, path)
	}
	if err == nil {
		var dir *os.File
		if dir, err = os.Open(filepath.Dir(path)); err == nil {
			err = errors.Join(dir.Sync(), dir.Close())
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Flush makes durable what has changed since, and writes all anew when the
// file has grown long. Somebody calls it every now and then.
func (b *Book) Flush() error {
	b.mu.Lock()
	j := b.journal
	long := j.lines > 2*(len(b.checks)+len(b.slots))+1000
	file, err := j.file, j.err
	b.mu.Unlock()
	if long || err != nil {
		return errors.Join(err, b.Save())
	}
	return file.Sync()
}

// Close saves, and gives the file back.
func (b *Book) Close() error {
	err := b.Save()
	return errors.Join(err, b.journal.file.Close())
}

func (j *journal) check(id string, c *Check) { j.append(line{Check: id, State: c}) }

func (j *journal) slot(id string, s *slot) { j.append(line{Instance: id, Place: s}) }

// append writes a line. It is durable after a crash of the process at once,
// and after one of the machine when Flush has been called.
func (j *journal) append(l line) {
	text, err := json.Marshal(l)
	if err != nil {
		panic("BUG: state: " + err.Error())
	}
	if _, err := j.file.Write(append(text, '\n')); err != nil && j.err == nil {
		j.err = fmt.Errorf("append states of checks: %w", err)
	}
	j.lines++
}

func sorted(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

package shipper

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// A DeadLetter is a document that could not be stored, with the reason.
type DeadLetter struct {
	Time     time.Time       `json:"time"`   // when it was given up
	Index    string          `json:"index"`  // the data stream that it was meant for
	ID       string          `json:"id"`     // its _id
	Status   int             `json:"status"` // of Elasticsearch's last answer
	Type     string          `json:"type"`   // e.g. document_parsing_exception
	Reason   string          `json:"reason"`
	Document json.RawMessage `json:"document"` // as it was first sent; a JSON string if it is not JSON

	place letterPlace // set by ReadDeadLetters
}

// DeadLetters is the folder of what could not be stored: files of one JSON
// object a line, 000001.ndjson and on, only ever appended to. Nothing here is
// deleted by the agent.
type DeadLetters struct {
	dir  string
	most int64 // bytes of all files together

	mu   sync.Mutex
	file *os.File // the last one, nil until the first Append
	n    int      // its number
	size int64    // its size
	all  int64    // size of all files

	summing sync.Mutex // of Summary
	seen    map[string]letterFile
}

// segmentSize is where a new file begins, so that replayed files can be
// removed one by one.
const segmentSize = 16 << 20

// ErrDeadLettersFull says that the folder has reached its limit.
var ErrDeadLettersFull = errors.New("dead-letter folder is full")

// OpenDeadLetters opens the folder, making it (mode 0700: lines may hold
// secrets) if need be. most limits the bytes of all files together.
func OpenDeadLetters(dir string, most int64) (*DeadLetters, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("dead letters: %w", err)
	}
	d := &DeadLetters{dir: dir, most: most}
	files, err := deadLetterFiles(dir)
	if err != nil {
		return nil, fmt.Errorf("dead letters: %w", err)
	}
	if err := d.measure(); err != nil {
		return nil, fmt.Errorf("dead letters: %w", err)
	}
	for _, f := range files {
		// Always a new file after a start: the last one may end in the middle
		// of a record that never counted.
		if _, err := fmt.Sscanf(filepath.Base(f), "%06d.ndjson", &d.n); err != nil {
			return nil, fmt.Errorf("dead letters: %w", err)
		}
	}
	return d, nil
}

func deadLetterFiles(dir string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "[0-9][0-9][0-9][0-9][0-9][0-9].ndjson"))
	slices.Sort(files)
	return files, err
}

// Append writes the letters and returns when they are on the disk: only then
// may their lines be settled. After an error none of them counts.
func (d *DeadLetters) Append(letters []DeadLetter) error {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	for i := range letters {
		if err := enc.Encode(&letters[i]); err != nil {
			return fmt.Errorf("dead letter %s: %w", letters[i].ID, err)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.all+int64(buf.Len()) > d.most {
		// `mesoscope deadletter replay` may have made room.
		if err := d.measure(); err != nil {
			return fmt.Errorf("dead letters: %w", err)
		}
	}
	if d.all+int64(buf.Len()) > d.most {
		return fmt.Errorf("%w: %s holds %d of %d bytes", ErrDeadLettersFull, d.dir, d.all, d.most)
	}
	if d.file == nil || d.size >= segmentSize {
		if err := d.next(); err != nil {
			return fmt.Errorf("dead letters: %w", err)
		}
	}
	_, err := d.file.Write(buf.Bytes())
	if err == nil {
		err = d.file.Sync()
	}
	if err != nil {
		// What stands behind d.size may be half a record: cut it off, and go on
		// in a new file in any case, since a failed sync is never made good.
		err = errors.Join(err, d.file.Truncate(d.size), d.file.Close())
		d.file = nil
		return fmt.Errorf("dead letters: %w", err)
	}
	d.size += int64(buf.Len())
	d.all += int64(buf.Len())
	return nil
}

// measure sums up the files that are there.
func (d *DeadLetters) measure() error {
	files, err := deadLetterFiles(d.dir)
	if err != nil {
		return err
	}
	d.all = 0
	for _, f := range files {
		st, err := os.Stat(f)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err == nil {
			d.all += st.Size()
		}
	}
	return nil
}

func (d *DeadLetters) next() error {
	if d.file != nil {
		if err := d.file.Close(); err != nil {
			return err
		}
		d.file = nil
	}
	name := filepath.Join(d.dir, fmt.Sprintf("%06d.ndjson", d.n+1))
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	// A file whose name is not on the disk is lost with the power.
	if err := syncDir(d.dir); err != nil {
		return errors.Join(err, f.Close(), os.Remove(name))
	}
	d.file, d.size, d.n = f, 0, d.n+1
	return nil
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Bytes is the size of all files.
func (d *DeadLetters) Bytes() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.all
}

// Close closes the open file. Everything appended is on the disk already.
func (d *DeadLetters) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.file == nil {
		return nil
	}
	err := d.file.Close()
	d.file = nil
	return err
}

// ReadDeadLetters gives the letters of a folder that were not replayed, oldest
// first. The end of a
// file without a line feed is a record that never counted and is left out; any
// other line that cannot be read is given as an error, and the next one
// follows. A folder that does not exist has no letters. It may be read while an
// agent writes.
func ReadDeadLetters(dir string) iter.Seq2[DeadLetter, error] {
	return func(yield func(DeadLetter, error) bool) {
		files, err := deadLetterFiles(dir)
		if err != nil {
			yield(DeadLetter{}, fmt.Errorf("dead letters: %w", err))
			return
		}
		for _, name := range files {
			if !readDeadLetters(name, yield) {
				return
			}
		}
	}
}

func readDeadLetters(name string, yield func(DeadLetter, error) bool) (more bool) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return true // replayed and removed meanwhile
	}
	if err != nil {
		return yield(DeadLetter{}, fmt.Errorf("dead letters: %w", err))
	}
	defer f.Close()
	replayed, err := replayedOffsets(name)
	if err != nil {
		return yield(DeadLetter{}, fmt.Errorf("dead letters: %w", err))
	}
	r := bufio.NewReaderSize(f, 64<<10)
	end := int64(0)
	for n := 1; ; n++ {
		line, err := r.ReadBytes('\n')
		begin := end
		end += int64(len(line))
		if err == io.EOF {
			return true
		}
		if err != nil {
			return yield(DeadLetter{}, fmt.Errorf("dead letters: %w", err))
		}
		if replayed[begin] {
			continue
		}
		l := DeadLetter{place: letterPlace{name, begin}}
		if err := json.Unmarshal(line, &l); err != nil {
			if !yield(DeadLetter{}, fmt.Errorf("dead letters: %s, line %d: %w", name, n, err)) {
				return false
			}
			continue
		}
		if !yield(l, nil) {
			return false
		}
	}
}

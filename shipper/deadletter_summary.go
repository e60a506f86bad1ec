package shipper

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// A DeadLetterSummary says what lies in a dead-letter folder and was not
// replayed.
type DeadLetterSummary struct {
	Dir    string
	Count  int
	Bytes  int64     // of all files, replayed letters included
	Oldest time.Time // when it was given up
	Newest time.Time
	// Index, Status, Type and Reason are those of the newest letter.
	Index  string
	Status int
	Type   string
	Reason string
}

// A letterFile is what was found in a file of a folder the last time.
type letterFile struct {
	size, replayed int64 // of the file, and of its list of replayed letters
	count          int
	first, last    DeadLetter // without their documents
}

// Summary counts the letters. It may be called at any time by any goroutine;
// files that have not changed since the last time are not read again.
func (d *DeadLetters) Summary() (DeadLetterSummary, error) {
	d.summing.Lock()
	defer d.summing.Unlock()
	s := DeadLetterSummary{Dir: d.dir}
	names, err := deadLetterFiles(d.dir)
	if err != nil {
		return s, fmt.Errorf("dead letters: %w", err)
	}
	seen := map[string]letterFile{}
	for _, name := range names {
		f, err := lookAtLetters(name, d.seen[name])
		if errors.Is(err, fs.ErrNotExist) {
			continue // replayed and removed meanwhile
		}
		if err != nil {
			return s, fmt.Errorf("dead letters: %w", err)
		}
		seen[name] = f
		s.Bytes += f.size
		if f.count == 0 {
			continue
		}
		if s.Count == 0 {
			s.Oldest = f.first.Time
		}
		s.Count += f.count
		l := f.last
		s.Newest, s.Index, s.Status, s.Type, s.Reason = l.Time, l.Index, l.Status, l.Type, l.Reason
	}
	d.seen = seen
	return s, nil
}

func lookAtLetters(name string, old letterFile) (f letterFile, err error) {
	st, err := os.Stat(name)
	if err != nil {
		return f, err
	}
	f.size = st.Size()
	if st, err := os.Stat(replayedName(name)); err == nil {
		f.replayed = st.Size()
	}
	if f.size == old.size && f.replayed == old.replayed {
		return old, nil
	}
	replayed, err := replayedOffsets(name)
	if err != nil {
		return f, err
	}
	file, err := os.Open(name)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	r := bufio.NewReaderSize(io.LimitReader(file, f.size), 64<<10)
	var first, last []byte
	for at := int64(0); ; {
		head, n, err := letterHead(r)
		if err == io.EOF {
			break // half a record never counted
		}
		if err != nil {
			return f, err
		}
		begin := at
		at += n
		if replayed[begin] {
			continue
		}
		if f.count++; f.count == 1 {
			first = bytes.Clone(head)
		}
		last = append(last[:0], head...)
	}
	f.first, f.last = readHead(first), readHead(last)
	return f, nil
}

// letterHead reads a line and gives its beginning, valid until the next call,
// and its length.
func letterHead(r *bufio.Reader) (head []byte, n int64, err error) {
	head, err = r.ReadSlice('\n')
	n = int64(len(head))
	if !errors.Is(err, bufio.ErrBufferFull) {
		return head, n, err
	}
	head = bytes.Clone(head)
	for errors.Is(err, bufio.ErrBufferFull) {
		var more []byte
		more, err = r.ReadSlice('\n')
		n += int64(len(more))
	}
	return head, n, err
}

// readHead reads a letter without its document, which stands last. What cannot
// be read is left empty: `mesoscope deadletter list` names it.
func readHead(line []byte) (l DeadLetter) {
	if head, _, cut := bytes.Cut(line, []byte(`,"document":`)); cut { // in a string the quotes would have escapes
		line = append(bytes.Clone(head), '}')
	}
	_ = json.Unmarshal(line, &l)
	return l
}

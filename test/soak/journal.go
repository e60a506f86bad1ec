package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// What a writer did, one JSON object a line in <dir>/journal/<container>.jsonl.
// A writer notes a line when it has been written to its end (or will never be),
// and a loss at source before it makes it.
type entry struct {
	Line *line     `json:"line,omitempty"`
	File *logFile  `json:"file,omitempty"`
	Lost *lostPart `json:"lost,omitempty"`
}

// A line is one line that was written.
type line struct {
	Stream int    `json:"s"`
	N      int64  `json:"n"` // from 1, without a gap
	Time   int64  `json:"t"` // ns; no two lines of a container have the same
	Kind   kind   `json:"k"`
	Size   int    `json:"z"`           // as given to lineText
	Bytes  int    `json:"b"`           // of the text that were written
	Sum    uint32 `json:"c"`           // of what can be found in the log
	Len    int    `json:"l"`           // of what can be found in the log
	Open   bool   `json:"o,omitempty"` // its newline was never written
	Parts  []part `json:"p"`
}

// A part is where pieces of a line lie in one file.
type part struct {
	File int   `json:"f"`
	From int64 `json:"a"` // of its first piece there
	To   int64 `json:"e"` // behind its last piece there
}

// A logFile is one generation: what Docker wrote from one beginning on.
type logFile struct {
	N    int    `json:"n"` // from 1
	Ino  uint64 `json:"ino"`
	Head int64  `json:"head"` // time of its first entry, ns
}

// A lostPart are bytes of a file that were destroyed at source.
type lostPart struct {
	File int    `json:"f"`
	From int64  `json:"a"`
	To   int64  `json:"e"`
	Why  string `json:"why"`
	// All says that nothing of the file is left under its name.
	All bool `json:"all,omitempty"`
}

// A journal is written by one writer.
type journal struct {
	file *os.File
	enc  *json.Encoder
}

func createJournal(path string) (*journal, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	return &journal{file: f, enc: json.NewEncoder(f)}, nil
}

func (j *journal) note(e entry) error { return j.enc.Encode(e) }

// readJournal reads what one writer did.
func readJournal(path string, each func(entry)) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	dec := json.NewDecoder(bufio.NewReaderSize(f, 1<<20))
	for {
		var e entry
		switch err := dec.Decode(&e); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read journal %s: %w", path, err)
		}
		each(e)
	}
}

package shipper

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// Letters that were replayed are not cut out of their file, to which the agent
// may be appending: a file beside it, 000001.replayed, lists the offsets at
// which they begin, and readers leave them out. A record there counts once it is
// whole. When all letters of a file are replayed and the agent has gone on to
// the next one, both files go: the list first, so that at worst letters are sent
// twice, and never hidden. The last file stays, so that no number is used again.

// A letterPlace is where a letter begins.
type letterPlace struct {
	file   string
	offset int64
}

// replayedRecord is the length of one offset in the list, with its line feed.
const replayedRecord = 13

func replayedName(file string) string { return strings.TrimSuffix(file, ".ndjson") + ".replayed" }

// replayedOffsets reads the list of a file.
func replayedOffsets(file string) (map[int64]bool, error) {
	text, err := os.ReadFile(replayedName(file))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	offsets := map[int64]bool{}
	for ; len(text) >= replayedRecord; text = text[replayedRecord:] {
		n, err := strconv.ParseInt(string(text[:replayedRecord-1]), 10, 64)
		if err != nil || text[replayedRecord-1] != '\n' {
			return nil, fmt.Errorf("%s is damaged: remove it, then all letters of %s count as not replayed", replayedName(file), file)
		}
		offsets[n] = true
	}
	return offsets, nil
}

// MarkReplayed notes that letters, which ReadDeadLetters gave, are stored. When
// it returns nil that is on the disk. One process at a time may do this.
func MarkReplayed(letters []DeadLetter) error {
	byFile := map[string][]byte{}
	for _, l := range letters {
		byFile[l.place.file] = fmt.Appendf(byFile[l.place.file], "%0*d\n", replayedRecord-1, l.place.offset)
	}
	for file, records := range byFile {
		if err := appendReplayed(file, records); err != nil {
			return fmt.Errorf("note what was replayed: %w", err)
		}
	}
	return nil
}

func appendReplayed(file string, records []byte) (err error) {
	f, err := os.OpenFile(replayedName(file), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	// A crash may have left half a record: it never counted.
	if _, err := f.WriteAt(records, st.Size()/replayedRecord*replayedRecord); err != nil {
		return err
	}
	return f.Sync()
}

// RemoveReplayed removes the files of dir of which every letter was replayed,
// but for the last one, and says how many.
func RemoveReplayed(dir string) (removed int, err error) {
	files, err := deadLetterFiles(dir)
	if err != nil {
		return 0, fmt.Errorf("dead letters: %w", err)
	}
	for i, file := range files {
		if i == len(files)-1 {
			break
		}
		left := false
		readDeadLetters(file, func(DeadLetter, error) bool {
			left = true
			return false
		})
		if left {
			continue
		}
		if err := os.Remove(replayedName(file)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return removed, fmt.Errorf("remove what was replayed: %w", err)
		}
		if err := errors.Join(syncDir(dir), os.Remove(file)); err != nil {
			return removed, fmt.Errorf("remove what was replayed: %w", err)
		}
		removed++
	}
	return removed, nil
}

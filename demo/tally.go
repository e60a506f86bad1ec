package demo

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// A tally is the truth about one container: how many lines it has printed on
// each stream. It lies in <root>/written/<id>, outside of what Docker has, and
// stays when the container is removed. Each count is written before its line,
// in one small write, so it survives the death of the process.
type tally struct {
	f     *os.File
	lines [2]int64 // stdout, stderr
	open  [2]bool  // the last text of the stream did not end its line
}

const tallyFormat = "stdout %019d stderr %019d\n"

var streams = [2]string{"stdout", "stderr"}

func tallyDir(root string) string { return filepath.Join(root, "written") }

func newTally(root, id string) (*tally, error) {
	f, err := os.OpenFile(filepath.Join(tallyDir(root), id), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, err
	}
	t := &tally{f: f}
	return t, t.save()
}

// add counts the lines that text begins.
func (t *tally) add(stream int, text string) error {
	if text == "" {
		return nil
	}
	n := int64(strings.Count(text, "\n"))
	if t.open[stream] {
		n-- // its first piece belongs to a line that is counted already
	}
	t.open[stream] = !strings.HasSuffix(text, "\n")
	if t.open[stream] {
		n++
	}
	if n == 0 {
		return nil
	}
	t.lines[stream] += n
	return t.save()
}

// endRun says that the process has ended: whatever it prints next time begins
// a new line.
func (t *tally) endRun() { t.open = [2]bool{} }

func (t *tally) save() error {
	_, err := t.f.WriteAt(fmt.Appendf(nil, tallyFormat, t.lines[0], t.lines[1]), 0)
	return err
}

func (t *tally) close() error { return errors.Join(t.f.Sync(), t.f.Close()) }

// readTallies adds up all tallies below root.
func readTallies(root string) (total int64, perContainer map[string]int64, err error) {
	entries, err := os.ReadDir(tallyDir(root))
	if err != nil {
		return 0, nil, fmt.Errorf("count the demo's lines: %w", err)
	}
	perContainer = map[string]int64{}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(tallyDir(root), e.Name()))
		if err != nil {
			return 0, nil, fmt.Errorf("count the demo's lines: %w", err)
		}
		if len(data) == 0 {
			continue // created this moment, nothing printed yet
		}
		var out, errs int64
		if _, err := fmt.Sscanf(string(data), "stdout %d stderr %d\n", &out, &errs); err != nil {
			return 0, nil, fmt.Errorf("count the demo's lines: %s: %w", e.Name(), err)
		}
		perContainer[e.Name()] = out + errs
		total += out + errs
	}
	return total, perContainer, nil
}

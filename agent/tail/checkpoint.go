package tail

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	fastjson "github.com/go-json-experiment/json/v1" // as encoding/json, in half the time
)

// A state is what the checkpoint knows of one source.
type state struct {
	ID   string `json:"id"`
	Gone bool   `json:"gone,omitempty"` // the source is finished: forget it
	// Left is the path of a log that is not followed any more, although it is
	// still there. Should it be followed again, reading goes on here.
	Left        string       `json:"left,omitempty"`
	Generations []generation `json:"gens,omitempty"` // oldest first
	Settled     [2]Position  `json:"settled"`        // stdout, stderr
	// Horizon is the place above which nothing has been handed to a sink.
	Horizon Position `json:"horizon"`
	// Sent is the place before which an earlier run may have sent everything,
	// should that be behind Horizon.
	Sent    Position    `json:"sent,omitzero"`
	Trails  [2]trail    `json:"trails,omitzero"` // into which indices what was handed over can have gone
	Heads   heads       `json:"heads,omitempty"`
	Mark    mark        `json:"mark,omitzero"`    // to notice a file that is not what it was
	Flushed [2]boundary `json:"flushed,omitzero"` // where a line was ended that its bytes did not end
	// HoldDir is the folder of the folder for links, if not that of the Config.
	HoldDir string `json:"hold,omitempty"`
	// Of a raw log: when what is not settled was read, and how far.
	Readings []reading `json:"readings,omitempty"`
	ReadTo   Position  `json:"readto,omitzero"`
}

// A checkpoint is the file that says how far each source is settled. It is a
// log: the last record of a source counts, and a new file replaces it when it
// has grown to several times what it says.
//
//	mesoscope-checkpoint 2\n
//	<crc32c of the JSON, 8 hex digits> <JSON of a state>\n
//	…
//
// A record whose sum is wrong is passed over: the source then begins at an
// older record, or at the beginning of all that is at hand, and what is stored
// already is looked up. Until that is written down for each source, the first
// line ends in " doubt", so that the next start knows it too.
type checkpoint struct {
	path   string
	file   *os.File
	size   int64            // of the file
	last   map[string]state // by source, as in the file
	live   int64            // bytes that the last records alone would take
	lens   map[string]int64
	broken bool // a write or a sync has failed: what the file holds behind size is not known
	fresh  bool // there was no file
	doubt  bool // something of it is lost, and it is not yet written down what that means
}

const (
	checkpointName    = "mesoscope-checkpoint"
	doubtMark         = " doubt"
	checkpointVersion = 2 // 1 had no books, trails and boundaries, and is read as if those were empty
	// compactAt and compactSlack say when a new file is written: cheap at 5,000
	// sources (2 MB), and a small file may grow for a while.
	compactAt    = 4
	compactSlack = 1 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// openCheckpoint reads the file in folder dir, or begins one. returning says that
// there should be one. damaged counts the records that were passed over. A file
// of a newer version is an error.
func openCheckpoint(dir string, returning bool) (c *checkpoint, damaged int, err error) {
	c = &checkpoint{path: filepath.Join(dir, "checkpoint"), last: map[string]state{}, lens: map[string]int64{}}
	text, err := os.ReadFile(c.path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, 0, fmt.Errorf("read checkpoint: %w", err)
	}
	c.fresh = err != nil
	if damaged, err = c.load(text); err != nil {
		return nil, 0, err
	}
	c.doubt = c.doubt || damaged > 0 || c.fresh && returning
	// Always begin with a new file: it has no torn end to write behind. A disk
	// that is full is no reason not to begin: files can be held meanwhile.
	if err := c.compact(); err != nil && !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) {
		return nil, 0, err
	}
	return c, damaged, nil
}

func (c *checkpoint) load(text []byte) (damaged int, err error) {
	head, rest, found := bytes.Cut(text, []byte("\n"))
	if !found {
		if len(text) > 0 {
			damaged++
		}
		return damaged, nil
	}
	var version int
	if n, _ := fmt.Sscanf(string(head), checkpointName+" %d", &version); n != 1 {
		return 1, nil // not a checkpoint: everything at hand is read again
	}
	if version > checkpointVersion {
		return 0, fmt.Errorf("checkpoint %s has version %d, this mesoscope knows up to %d: run the newer one again, or move the file away to read everything at hand again",
			c.path, version, checkpointVersion)
	}
	c.doubt = bytes.HasSuffix(head, []byte(doubtMark))
	for len(rest) > 0 {
		var line []byte
		line, rest, found = bytes.Cut(rest, []byte("\n"))
		var s state
		if !found || !decodeRecord(line, &s) {
			damaged++
			continue
		}
		c.remember(s, int64(len(line))+1)
	}
	return damaged, nil
}

func decodeRecord(line []byte, s *state) bool {
	if len(line) < 10 || line[8] != ' ' {
		return false
	}
	sum, err := strconv.ParseUint(string(line[:8]), 16, 32)
	return err == nil && crc32.Checksum(line[9:], castagnoli) == uint32(sum) && fastjson.Unmarshal(line[9:], s) == nil && s.ID != ""
}

func appendRecord(dst []byte, s state) ([]byte, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return dst, err
	}
	dst = fmt.Appendf(dst, "%08x ", crc32.Checksum(text, castagnoli))
	dst = append(dst, text...)
	return append(dst, '\n'), nil
}

func (c *checkpoint) remember(s state, n int64) {
	c.live -= c.lens[s.ID]
	if s.Gone {
		delete(c.last, s.ID)
		delete(c.lens, s.ID)
		return
	}
	c.last[s.ID], c.lens[s.ID] = s, n
	c.live += n
}

// save makes the given states durable. When it returns an error, none of them
// may be relied on, and the file is as good as before.
func (c *checkpoint) save(states []state) error {
	if len(states) == 0 {
		return nil
	}
	var text []byte
	var err error
	ends := make([]int64, len(states))
	for i, s := range states {
		if text, err = appendRecord(text, s); err != nil {
			return fmt.Errorf("write checkpoint: %w", err)
		}
		ends[i] = int64(len(text))
	}
	if !c.broken {
		if _, err := c.file.WriteAt(text, c.size); err != nil {
			c.broken = true
			return fmt.Errorf("write checkpoint: %w", err)
		}
		if err := syncData(c.file); err != nil {
			c.broken = true
			return fmt.Errorf("sync checkpoint: %w", err)
		}
		c.size += int64(len(text))
	}
	from := int64(0)
	for i, s := range states {
		c.remember(s, ends[i]-from)
		from = ends[i]
	}
	if c.broken || c.size > compactAt*c.live+compactSlack {
		return c.compact()
	}
	return nil
}

// compact writes the last records into a new file that replaces the old one.
func (c *checkpoint) compact() (err error) {
	// Whatever fails here may have left an older file under the name, or a
	// newer one: nothing may be appended before a whole new one is in place.
	// The kernel may also call pages clean that it could not write, so a
	// second fsync of the same file would prove nothing.
	c.broken = true
	text := fmt.Appendf(nil, "%s %d", checkpointName, checkpointVersion)
	if c.doubt {
		text = append(text, doubtMark...)
	}
	text = append(text, '\n')
	lens := make(map[string]int64, len(c.last))
	for id, s := range c.last {
		before := len(text)
		if text, err = appendRecord(text, s); err != nil {
			return fmt.Errorf("write checkpoint: %w", err)
		}
		lens[id] = int64(len(text) - before)
	}
	f, err := os.OpenFile(c.path+".new", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("write checkpoint: %w", err)
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	if _, err = f.Write(text); err == nil {
		if err = f.Sync(); err == nil {
			err = os.Rename(f.Name(), c.path)
		}
	}
	if err != nil {
		os.Remove(f.Name()) // on a full disk it would only take room
		return fmt.Errorf("write checkpoint: %w", err)
	}
	if err = syncDir(filepath.Dir(c.path)); err != nil {
		return fmt.Errorf("write checkpoint: %w", err)
	}
	if c.file != nil {
		c.file.Close()
	}
	c.file, c.size, c.lens = f, int64(len(text)), lens
	c.live = c.size
	c.broken = false
	return nil
}

// trust ends the doubt.
func (c *checkpoint) trust() error {
	c.doubt = false
	return c.compact()
}

func (c *checkpoint) close() error {
	if c.file == nil {
		return nil // it could never be written
	}
	return c.file.Close()
}

// syncDir makes a rename or a new name in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

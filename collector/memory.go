package collector

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"mesoscope/collector/target"
)

// keepOld adds to what sources have found what was there before, as long as
// one of them has never answered: the targets of that one, and those of sources
// that are no longer asked, which it may have.
func keepOld(set *target.Set, old target.Set, sources []target.Status) {
	asked, silent := map[string]bool{}, map[string]bool{}
	for _, s := range sources {
		asked[s.Source] = true
		silent[s.Source] = s.Good.IsZero()
	}
	stays := func(origin string) bool { return silent[origin] || !asked[origin] }
	set.Hosts = slices.Compact(slices.Sorted(slices.Values(append(set.Hosts, old.Hosts...))))
	there := map[string]bool{}
	for _, i := range set.Instances {
		there[i.ID] = true
	}
	for _, i := range old.Instances {
		if stays(i.Origin) && !there[i.ID] {
			set.Instances = append(set.Instances, i)
		}
	}
	known := map[string]bool{}
	for _, a := range set.Apps {
		known[a.Framework+"\x00"+a.ID] = true
	}
	for _, a := range old.Apps {
		if stays(a.Origin) && !known[a.Framework+"\x00"+a.ID] {
			set.Apps = append(set.Apps, a)
		}
	}
}

// memory is the file with the targets, one a line, so that a collector that
// starts while Marathon is away goes on with what it knew.
type memory struct {
	path string
	at   time.Time // when it was written
}

// memoryFormat is the number of the file's form. Another one is not read.
const memoryFormat = 1

// A memoryLine has one of these.
type memoryLine struct {
	Format   int              `json:"format,omitempty"`
	Instance *target.Instance `json:"instance,omitempty"`
	App      *target.App      `json:"app,omitempty"`
	Hosts    []string         `json:"hosts,omitempty"`
}

func (m *memory) load() (set target.Set, err error) {
	f, err := os.Open(m.path)
	if errors.Is(err, fs.ErrNotExist) {
		return target.Set{}, nil
	} else if err != nil {
		return target.Set{}, err
	}
	defer f.Close()
	in := json.NewDecoder(bufio.NewReader(f))
	for first := true; ; first = false {
		var l memoryLine
		err := in.Decode(&l)
		switch {
		case errors.Is(err, io.EOF) && !first:
			return set, nil
		case err != nil:
			return target.Set{}, fmt.Errorf("%s: %w", m.path, err)
		case first && l.Format != memoryFormat:
			return target.Set{}, fmt.Errorf("%s has format %d, this version knows %d", m.path, l.Format, memoryFormat)
		case l.Instance != nil:
			set.Instances = append(set.Instances, *l.Instance)
		case l.App != nil:
			set.Apps = append(set.Apps, *l.App)
		case l.Hosts != nil:
			set.Hosts = l.Hosts
		}
	}
}

// rememberEvery is how often the targets are written at most.
const rememberEvery = time.Minute

// remember writes the targets if they may have changed, now and then; without
// waiting if now is zero.
func (c *Collector) remember(now time.Time) error {
	c.mu.Lock()
	set, due := c.targets, c.ready && c.found && (now.IsZero() || now.Sub(c.memory.at) >= rememberEvery)
	if due {
		c.found = false
	}
	c.mu.Unlock()
	if !due {
		return nil
	}
	c.memory.at = now
	err := replaceFile(c.memory.path, func(w io.Writer) error {
		out := json.NewEncoder(w)
		err := errors.Join(out.Encode(memoryLine{Format: memoryFormat}), out.Encode(memoryLine{Hosts: set.Hosts}))
		for i := range set.Instances {
			err = errors.Join(err, out.Encode(memoryLine{Instance: &set.Instances[i]}))
		}
		for i := range set.Apps {
			err = errors.Join(err, out.Encode(memoryLine{App: &set.Apps[i]}))
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("write targets: %w", err)
	}
	return nil
}

// replaceFile puts what write writes in place of a file, durably.
func replaceFile(path string, write func(io.Writer) error) error {
	next := path + ".new"
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(f)
	err = errors.Join(write(out), out.Flush(), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(next, path)
	}
	if err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

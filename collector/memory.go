package collector

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
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

// memory is the file with the targets, so that a collector that starts while
// Marathon is away goes on with what it knew.
type memory struct {
	path  string
	saved target.Set
	at    time.Time
}

// memoryFormat is the number of the file's form. Another one is not read.
const memoryFormat = 1

type memoryFile struct {
	Format int        `json:"format"`
	Set    target.Set `json:"set"`
}

func (m *memory) load() (target.Set, error) {
	text, err := os.ReadFile(m.path)
	if errors.Is(err, fs.ErrNotExist) {
		return target.Set{}, nil
	}
	var f memoryFile
	if err == nil {
		err = json.Unmarshal(text, &f)
	}
	if err == nil && f.Format != memoryFormat {
		err = fmt.Errorf("%s has format %d, this version knows %d", m.path, f.Format, memoryFormat)
	}
	if err != nil {
		return target.Set{}, err
	}
	m.saved = f.Set
	return f.Set, nil
}

// rememberEvery is how often the targets are written at most.
const rememberEvery = time.Minute

// remember writes the targets if they have changed, now and then; always if now
// is zero.
func (c *Collector) remember(now time.Time) error {
	c.mu.Lock()
	set, ready := c.targets, c.ready
	c.mu.Unlock()
	m := &c.memory
	if !ready || !now.IsZero() && now.Sub(m.at) < rememberEvery || reflect.DeepEqual(set, m.saved) {
		return nil
	}
	text, err := json.Marshal(memoryFile{memoryFormat, set})
	if err != nil {
		return err
	}
	if err := replaceFile(m.path, text); err != nil {
		return fmt.Errorf("write targets: %w", err)
	}
	m.saved, m.at = target.Set{Instances: slices.Clone(set.Instances), Apps: slices.Clone(set.Apps)}, now
	return nil
}

// replaceFile puts text in place of a file, durably.
func replaceFile(path string, text []byte) error {
	next := path + ".new"
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync(), f.Close())
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

package collector

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"mesoscope/collector/declare"
)

// overrides are what the overlay's API was told, by app. They outlive the
// process.
type overrides struct {
	path string

	mu   sync.Mutex
	byID map[string]override
}

// An override is one entry. Body is as it was put, without expires.
type override struct {
	Body    json.RawMessage `json:"entry"`
	Expires time.Time       `json:"expires,omitzero"`
	Set     time.Time       `json:"set"`

	entry declare.Entry
}

// overridesFormat is the number of the file's form.
const overridesFormat = 1

type overridesFile struct {
	Format int                 `json:"format"`
	Apps   map[string]override `json:"apps"`
}

func openOverrides(path string) (*overrides, error) {
	o := &overrides{path: path, byID: map[string]override{}}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return o, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read what the overlay's API was told: %w", err)
	}
	var f overridesFile
	if err := json.Unmarshal(text, &f); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w; move it away to begin without", path, err)
	}
	if f.Format > overridesFormat {
		return nil, fmt.Errorf("%s was written by a newer version (format %d, this one knows %d); use that version, or move the file away", path, f.Format, overridesFormat)
	}
	for id, v := range f.Apps {
		if v.entry, err = v.parse(id); err != nil {
			return nil, fmt.Errorf("%s: %s: %w; move it away to begin without", path, id, err)
		}
		o.byID[id] = v
	}
	return o, nil
}

func (v override) parse(id string) (declare.Entry, error) {
	from := "overlay API, " + v.Set.UTC().Format(time.RFC3339)
	if !v.Expires.IsZero() {
		from += ", until " + v.Expires.UTC().Format(time.RFC3339)
	}
	return declare.ParseEntry(id, v.Body, from)
}

// put keeps what an app's entry shall be. body is JSON: an entry of checks.yml
// and, optionally, expires: a time in RFC 3339 or a duration.
func (o *overrides) put(id string, body []byte, now time.Time) error {
	var m map[string]json.RawMessage
	if err := json.Unmarshal(body, &m); err != nil {
		return fmt.Errorf("not a JSON object: %w", err)
	}
	v := override{Set: now.UTC().Truncate(time.Second)}
	if raw, ok := m["expires"]; ok {
		var text string
		if err := json.Unmarshal(raw, &text); err != nil {
			return errors.New(`expires: write "2026-12-24T18:00:00Z" or "2h"`)
		}
		if d, err := time.ParseDuration(text); err == nil {
			v.Expires = now.Add(d).UTC().Truncate(time.Second)
		} else if v.Expires, err = time.Parse(time.RFC3339, text); err != nil {
			return fmt.Errorf(`expires: %q is neither a time as "2026-12-24T18:00:00Z" nor a duration as "2h"`, text)
		}
		if !v.Expires.After(now) {
			return fmt.Errorf("expires: %s is past", v.Expires.Format(time.RFC3339))
		}
		delete(m, "expires")
	}
	var err error
	if v.Body, err = json.Marshal(m); err != nil {
		return err
	}
	if v.entry, err = v.parse(id); err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	before, had := o.byID[id]
	o.byID[id] = v
	if err := o.save(); err != nil {
		if delete(o.byID, id); had {
			o.byID[id] = before
		}
		return fmt.Errorf("%w: %w", errNotKept, err)
	}
	return nil
}

// errNotKept says that it is the disk's fault.
var errNotKept = errors.New("cannot be kept")

func (o *overrides) get(id string) (override, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	v, ok := o.byID[id]
	return v, ok
}

// remove says whether there was one.
func (o *overrides) remove(id string) (bool, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	before, ok := o.byID[id]
	if !ok {
		return false, nil
	}
	delete(o.byID, id)
	if err := o.save(); err != nil {
		o.byID[id] = before
		return false, fmt.Errorf("%w: %w", errNotKept, err)
	}
	return true, nil
}

// expire forgets what was for a time only.
func (o *overrides) expire(now time.Time) (some bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for id, v := range o.byID {
		if !v.Expires.IsZero() && !v.Expires.After(now) {
			delete(o.byID, id)
			some = true
		}
	}
	if some {
		_ = o.save() // what stays in the file has expired, also when it is read again
	}
	return some
}

// entries are for declare, sorted by app.
func (o *overrides) entries() (list []declare.Entry) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(o.byID)) {
		list = append(list, o.byID[id].entry)
	}
	return list
}

// save is called with mu held.
func (o *overrides) save() error {
	text, err := json.MarshalIndent(overridesFile{overridesFormat, o.byID}, "", "  ")
	if err != nil {
		return err
	}
	return replaceFile(o.path, func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
}

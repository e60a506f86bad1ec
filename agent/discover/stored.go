package discover

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	fastjson "github.com/go-json-experiment/json/v1" // as encoding/json, in half the time
)

// storedName is the file in which a Container is written down beside its held
// log files, because config.v2.json goes with the container.
const storedName = "container.json"

// WriteContainer writes c as dir/container.json, mode 0600, in one step: a
// reader sees the old file or the new one, never half of one. dir must exist.
func WriteContainer(dir string, c Container) error {
	data, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encode container %s: %w", c.ID, err)
	}
	data = append(data, '\n')
	if before, err := os.ReadFile(filepath.Join(dir, storedName)); err == nil && bytes.Equal(before, data) {
		return nil // as after each restart of the agent
	}
	tmp, err := os.CreateTemp(dir, storedName+".*") // created with mode 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", filepath.Join(dir, storedName), err)
	}
	_, err = tmp.Write(data)
	if err == nil {
		err = tmp.Sync() // or a power cut leaves an empty file under the final name
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), filepath.Join(dir, storedName))
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
		return fmt.Errorf("write %s: %w", filepath.Join(dir, storedName), err)
	}
	return nil
}

// ReadContainer reads what WriteContainer wrote into dir. The error of a
// missing file satisfies errors.Is(err, fs.ErrNotExist). A file without an id
// is an error.
func ReadContainer(dir string) (Container, error) {
	path := filepath.Join(dir, storedName)
	data, err := os.ReadFile(path)
	if err != nil {
		return Container{}, fmt.Errorf("read stored container: %w", err)
	}
	var c Container
	if err := fastjson.Unmarshal(data, &c); err != nil {
		return Container{}, fmt.Errorf("read stored container %s: %w", path, err)
	}
	if c.ID == "" {
		return Container{}, fmt.Errorf("read stored container %s: it has no id", path)
	}
	c.identify() // an earlier version did not
	return c, nil
}

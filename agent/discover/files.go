package discover

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	fastjson "github.com/go-json-experiment/json/v1" // as encoding/json, in half the time

	"mesoscope/mesos"
)

// files is what Docker's own folder says: one directory a container,
// <docker.root>/containers/<id>, with config.v2.json and hostconfig.json.
// It is used by one goroutine.
type files struct {
	dir   string                // <docker.root>/containers
	known map[string]*directory // by container id
}

// A directory is what was read from one container's directory.
type directory struct {
	c            Container // both files merged
	config, host factsFile //
	torn         bool      // the last look found something that it could not read
	first        time.Time // when it was first seen
}

// A factsFile is one file of a directory and what it said.
type factsFile struct {
	info os.FileInfo // of the file as it was read; nil: not read yet
	c    Container
}

// read reads the file again if it is not the one read last time. What an
// earlier look found stays true while the file is torn or gone.
func (f *factsFile) read(path string, info os.FileInfo, parse func(path string) (Container, error)) error {
	if info == nil || same(f.info, info) {
		return nil
	}
	c, err := parse(path)
	if err != nil {
		return err
	}
	f.info, f.c = info, c
	return nil
}

// isID says whether name is a container id: 64 hex digits in lower case.
func isID(name string) bool {
	return len(name) == 64 && strings.Trim(name, "0123456789abcdef") == ""
}

// lookAll reads the whole folder and returns the ids for which something
// changed. After an error everything known stays.
func (f *files) lookAll() (changed []string, err error) {
	dir, err := os.Open(f.dir)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	present := make(map[string]bool, len(names))
	for _, id := range names {
		if !isID(id) {
			continue
		}
		present[id] = true
		if f.look(id) {
			changed = append(changed, id)
		}
	}
	for id := range f.known {
		if !present[id] {
			delete(f.known, id)
			changed = append(changed, id)
		}
	}
	return changed, nil
}

// look reads one container's directory, if its files are not those read last
// time, and says whether anything changed. A directory that is there without
// readable files gives a Container of which only the id is known: Docker makes
// the directory first, and a container may live for 50 ms.
func (f *files) look(id string) (changed bool) {
	dir := filepath.Join(f.dir, id)
	d := f.known[id]
	config, missing := os.Stat(filepath.Join(dir, "config.v2.json"))
	if missing != nil {
		if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
			delete(f.known, id)
			return d != nil
		}
		// While Docker removes a container the files go first: what is known
		// of it stays true.
		if d != nil {
			return false
		}
	}
	host, _ := os.Stat(filepath.Join(dir, "hostconfig.json"))
	if d != nil && same(d.config.info, config) && same(d.host.info, host) {
		return false
	}
	if d == nil {
		d = &directory{first: time.Now()}
		f.known[id] = d
	}
	err := errors.Join(
		d.config.read(filepath.Join(dir, "config.v2.json"), config, readConfig),
		d.host.read(filepath.Join(dir, "hostconfig.json"), host, readHostConfig))
	// What may not be read is not half-written; the slow look tries it again. A
	// file that is not there yet may come before the directory is watched.
	d.torn = err != nil && !errors.Is(err, fs.ErrPermission) || config == nil && errors.Is(missing, fs.ErrNotExist)
	d.c = merge(merge(bare(id), d.config.c), d.host.c)
	return true
}

// torn lists the containers whose files must be read again soon.
func (f *files) torn() (ids []string) {
	for id, d := range f.known {
		if d.torn {
			ids = append(ids, id)
		}
	}
	return ids
}

// same says whether b is the file that a was, not written to since.
func same(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// bare is a container of which only the directory is known. It counts as
// running, because "not running" promises that its log grows no more.
func bare(id string) Container {
	c := Container{ID: id, Running: true}
	c.note(fromDirectory, "id")
	return c
}

// readConfig reads a config.v2.json (the members of moby's container.Container
// that dockerd writes there).
func readConfig(path string) (Container, error) {
	var v struct {
		Created string
		State   struct {
			Running, Restarting *bool
			OOMKilled           bool
			FinishedAt          string
		}
		Config struct {
			Hostname string
			Tty      bool
			Env      []string
			Image    string
			Labels   map[string]string
		}
		Image       string
		Name        string
		MountPoints map[string]struct{ Source string } // by their place in the container
	}
	if err := readJSON(path, &v); err != nil {
		return Container{}, err
	}
	c := Container{
		Name:   strings.TrimPrefix(v.Name, "/"),
		Image:  parseImage(v.Config.Image, v.Image),
		Labels: v.Config.Labels,
		Env:    selectEnv(v.Config.Env),
		TTY:    v.Config.Tty,
		Host:   v.Config.Hostname,
	}
	c.note(fromConfig, "labels", "env", "tty")
	if c.Name != "" {
		c.note(fromConfig, "name")
	}
	if c.Image != (Image{}) {
		c.note(fromConfig, "image")
	}
	if c.Host != "" {
		c.note(fromConfig, "host")
	}
	if c.Sandbox = v.MountPoints[mesos.SandboxTarget].Source; c.Sandbox != "" {
		c.note(fromConfig, "sandbox")
	}
	if t, err := time.Parse(time.RFC3339Nano, v.Created); err == nil {
		c.Created = t
		c.note(fromConfig, "created")
	}
	c.Running = true // unless it says otherwise, see bare
	if v.State.Running != nil {
		c.Running = *v.State.Running || v.State.Restarting != nil && *v.State.Restarting
		c.OOMKilled = oomKilled(v.State.OOMKilled, v.State.FinishedAt)
		c.note(fromConfig, "running")
	}
	return c, nil
}

// readHostConfig reads a hostconfig.json: log driver and network mode. dockerd
// has put its own default driver there when the container was made.
func readHostConfig(path string) (Container, error) {
	var v struct {
		LogConfig struct {
			Type   string
			Config map[string]string
		}
		NetworkMode string
	}
	if err := readJSON(path, &v); err != nil {
		return Container{}, err
	}
	c := Container{
		Network:    network(v.NetworkMode),
		Driver:     v.LogConfig.Type,
		DriverOpts: v.LogConfig.Config,
	}
	if c.Driver != "" {
		c.note(fromHostConfig, "driver")
	}
	if c.Network != "" {
		c.note(fromHostConfig, "network")
	}
	return c, nil
}

// readJSON decodes a file. A member of an unexpected type is left out and no
// error: a later Docker must not make a container invisible.
func readJSON(path string, v any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var wrong *fastjson.UnmarshalTypeError
	if err := fastjson.Unmarshal(data, v); err != nil && !errors.As(err, &wrong) {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

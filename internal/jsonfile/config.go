package jsonfile

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Container is what WriteConfig says about a container. The zero value of a
// member is what `docker run IMAGE` without options gives.
type Container struct {
	ID       string            // 64 hex digits
	Name     string            // without the leading slash
	Image    string            // as given to docker run, e.g. "nginx:1.27"
	ImageID  string            // "sha256:…"; made up from Image when empty
	Labels   map[string]string //
	Env      []string          // "K=V"
	Cmd      []string          //
	TTY      bool              //
	Created  time.Time         //
	Started  time.Time         // of the present or last run; zero = Created
	Finished time.Time         // of the last run; zero while the first run lasts
	Running  bool              //
	ExitCode int               //
	Restarts int               // how often the restart policy has started it again
	Driver   string            // log driver; "" = json-file
	Log      Options           //
	LogOpts  map[string]string // log options besides those that follow from Log
}

// Dir is where a container's files lie below a Docker root.
func Dir(root, id string) string { return filepath.Join(root, "containers", id) }

// LogPath is a container's json-file log below a Docker root.
func LogPath(root, id string) string { return filepath.Join(Dir(root, id), id+"-json.log") }

// WriteConfig writes config.v2.json and hostconfig.json of a container below a
// Docker root, with the members of Docker 20.10 that tell what a container is
// and does. Each file is replaced as a whole, as dockerd does it. The folder is
// created if it is missing.
func WriteConfig(root string, c Container) error {
	dir := Dir(root, c.ID)
	if err := os.MkdirAll(dir, 0o710); err != nil {
		return err
	}
	if c.Driver == "" {
		c.Driver = "json-file"
	}
	if c.ImageID == "" {
		c.ImageID = imageID(c.Image)
	}
	if c.Started.IsZero() {
		c.Started = c.Created
	}
	// hostconfig.json first: who sees config.v2.json finds the log driver too.
	if err := replaceJSON(filepath.Join(dir, "hostconfig.json"), hostConfig(c), 0o644); err != nil {
		return err
	}
	return replaceJSON(filepath.Join(dir, "config.v2.json"), config(root, c), 0o600)
}

func config(root string, c Container) any {
	type object = map[string]any
	path, args := "", []string{}
	if len(c.Cmd) > 0 {
		path, args = c.Cmd[0], c.Cmd[1:]
	}
	pid := 0
	if c.Running {
		pid = os.Getpid()
	}
	logPath := ""
	if c.Driver == "json-file" {
		logPath = LogPath(root, c.ID)
	}
	return object{
		"StreamConfig": object{},
		"State": object{
			"Running": c.Running, "Paused": false, "Restarting": false, "OOMKilled": false,
			"RemovalInProgress": false, "Dead": false, "Pid": pid, "ExitCode": c.ExitCode, "Error": "",
			"StartedAt": c.Started.UTC(), "FinishedAt": c.Finished.UTC(), "Health": nil,
		},
		"ID": c.ID, "Created": c.Created.UTC(), "Managed": false, "Path": path, "Args": args,
		"Config": object{
			"Hostname": c.ID[:min(12, len(c.ID))], "Domainname": "", "User": "",
			"AttachStdin": false, "AttachStdout": false, "AttachStderr": false,
			"Tty": c.TTY, "OpenStdin": false, "StdinOnce": false,
			"Env": orEmpty(c.Env), "Cmd": orEmpty(c.Cmd), "Image": c.Image,
			"Volumes": nil, "WorkingDir": "", "Entrypoint": nil, "OnBuild": nil,
			"Labels": orEmptyMap(c.Labels),
		},
		"Image": c.ImageID,
		"NetworkSettings": object{
			"Bridge": "", "SandboxID": "", "HairpinMode": false,
			"Networks": object{"bridge": object{"NetworkID": "", "IPAddress": "", "Gateway": ""}},
			"Ports":    nil,
		},
		"LogPath": logPath, "Name": "/" + c.Name, "Driver": "overlay2", "OS": "linux",
		"RestartCount": c.Restarts, "HasBeenStartedBefore": true, "HasBeenManuallyStopped": false,
		"MountPoints": object{}, "LocalLogCacheMeta": object{"HaveNotifyEnabled": false},
	}
}

func hostConfig(c Container) any {
	type object = map[string]any
	opts := map[string]string{}
	if c.Log.MaxSize > 0 {
		opts["max-size"] = strconv.FormatInt(c.Log.MaxSize, 10)
	}
	if c.Log.MaxFile > 0 {
		opts["max-file"] = strconv.Itoa(c.Log.MaxFile)
	}
	if c.Log.Compress {
		opts["compress"] = "true"
	}
	if len(c.Log.Attrs) > 0 {
		opts["env"] = strings.Join(slices.Sorted(maps.Keys(c.Log.Attrs)), ",")
	}
	maps.Copy(opts, c.LogOpts)
	return object{
		"Binds": nil, "ContainerIDFile": "",
		"LogConfig":   object{"Type": c.Driver, "Config": opts},
		"NetworkMode": "default", "PortBindings": object{},
		"RestartPolicy": object{"Name": "no", "MaximumRetryCount": 0},
		"AutoRemove":    false, "Privileged": false, "IpcMode": "private", "PidMode": "",
		"Runtime": "runc", "ShmSize": 64 << 20, "Memory": 0, "NanoCpus": 0, "CgroupParent": "",
	}
}

// imageID makes up an image id that is the same for the same name.
func imageID(name string) string {
	return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(name)))
}

func orEmpty(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

func orEmptyMap(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

// replaceJSON writes v beside path and renames it: a reader sees the old file
// or the new one, never a part.
func replaceJSON(path string, v any, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-"+filepath.Base(path))
	if err != nil {
		return err
	}
	// The encoder ends with a newline, as dockerd's files do.
	err = errors.Join(json.NewEncoder(f).Encode(v), f.Chmod(mode), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		err = errors.Join(err, os.Remove(f.Name()))
	}
	return err
}

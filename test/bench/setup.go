package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/goccy/go-yaml"
)

// A setup is a configuration file.
type setup struct {
	dir    string // new and empty; data and hold lie in it
	root   string // Docker root
	listen string
	output string // the value of output:
}

// newSetup makes an empty folder below b.dir. It is on the same file system as
// the corpora, or the agent could not hold files by hard link.
func (b *bench) newSetup(root, output string) (setup, error) {
	dir, err := os.MkdirTemp(b.dir, "run-")
	if err != nil {
		return setup{}, err
	}
	listen, err := freeAddr()
	return setup{dir: dir, root: root, listen: listen, output: output}, err
}

func (s setup) remove() { os.RemoveAll(s.dir) }

func (s setup) path() string { return filepath.Join(s.dir, "mesoscope.yml") }

// write writes the file and returns its path. The containers look like those of
// Mesos, and no Mesos agent answers here: their lines would wait for it.
func (s setup) write() (string, error) {
	path := s.path()
	return path, os.WriteFile(path, fmt.Appendf(nil, `data_dir: %q
http: {listen: %q}
node: {name: bench}
docker: {root: %q, socket: ""}
mesos: {agent: ""}
hold: {dir: %q}
output: %s
log: {level: warn}
`, filepath.Join(s.dir, "data"), s.listen, s.root, filepath.Join(s.dir, "hold"), s.output), 0o644)
}

func toSink(addr string, compression int) string {
	return fmt.Sprintf(`{elasticsearch: {hosts: ["http://%s"], compression_level: %d}}`, addr, compression)
}

// A writtenSetup is what readSetup understands of such a file.
type writtenSetup struct {
	HTTP struct {
		Listen string `yaml:"listen"`
	} `yaml:"http"`
	Docker struct {
		Root string `yaml:"root"`
	} `yaml:"docker"`
	Output struct {
		Elasticsearch struct {
			Hosts            []string `yaml:"hosts"`
			CompressionLevel int      `yaml:"compression_level"`
		} `yaml:"elasticsearch"`
	} `yaml:"output"`
}

// readSetup reads what write wrote: the reference gets its orders in the same
// way as the agent.
func readSetup(path string) (c writtenSetup, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return c, err
	}
	if err := yaml.Unmarshal(data, &c); err != nil {
		return c, err
	}
	if c.Docker.Root == "" {
		return c, fmt.Errorf("%s: no docker.root", path)
	}
	return c, nil
}

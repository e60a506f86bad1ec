package config

import (
	"os"
	"path/filepath"
)

// A Kind is the process that a configuration is for. The kinds differ in a few
// defaults and rules; the keys are the same.
type Kind string

// The kinds of processes.
const (
	Agent         Kind = "agent"
	Standalone    Kind = "standalone"
	KindCollector Kind = "collector"
)

const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30

	day = Duration(24 * 3600e9)
)

// Default is the configuration without a file and an environment. It has no
// output: Load adds the embedded store to a standalone that names none. The
// paths that depend on others (hold.dir, output.embedded.path) and node.name
// are empty here and filled in by Load and Parse.
func Default(kind Kind) Config {
	c := Config{
		DataDir:     defaultDataDir(os.Geteuid(), os.Getenv),
		MemoryLimit: 256 * mib,
		HTTP:        HTTP{Listen: "127.0.0.1:9911"},
		Docker:      Docker{Root: "/var/lib/docker", Socket: "unix:///var/run/docker.sock"},
		Mesos:       Mesos{Agent: MesosAuto, Sandboxes: true, ExecutorLines: ExecutorSeparate},
		Hold:        Hold{Budget: 10 * gib, MinFree: "5%"},
		Collector:   Collector{Cluster: "default", Exec: Exec{Allow: "/usr/lib/nagios/plugins"}},
		Log:         Log{Level: "info", Format: "text"},
	}
	if kind != Agent {
		c.HTTP.Listen = "127.0.0.1:9912" // so that both can run on one machine
	}
	return c
}

// DefaultElasticsearch is what `output: {elasticsearch: {}}` means.
func DefaultElasticsearch() Elasticsearch {
	return Elasticsearch{
		Hosts:            []string{"http://127.0.0.1:9200"},
		Dataset:          "mesos.container",
		Namespace:        "default",
		CompressionLevel: 1,
		BulkMaxBytes:     8 * mib,
		FlushInterval:    Duration(1e9),
		Workers:          2,
		IDs:              "content",
		LogsDB:           "auto",
		Retention:        30 * day,
	}
}

// DefaultEmbedded is what `output: {embedded: {}}` means.
func DefaultEmbedded() Embedded {
	return Embedded{MaxSize: 10 * gib, MaxAge: 7 * day}
}

// defaultDataDir is /var/lib/mesoscope for root, else mesoscope in the XDG
// state folder ($XDG_STATE_HOME, else ~/.local/state), else in the temporary
// folder, where a process without a home still can run.
func defaultDataDir(uid int, getenv func(string) string) string {
	if uid == 0 {
		return "/var/lib/mesoscope"
	}
	// the XDG specification: a relative path is to be ignored
	if dir := getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "mesoscope")
	}
	if home := getenv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "state", "mesoscope")
	}
	return filepath.Join(os.TempDir(), "mesoscope")
}

// complete fills in what depends on other keys. It runs behind all sources.
func (c *Config) complete(kind Kind) {
	if c.Node.Name == "" {
		// a host without a name is no reason to stop; the documents say so
		c.Node.Name, _ = os.Hostname()
	}
	if c.Hold.Dir == "" {
		c.Hold.Dir = filepath.Join(c.Docker.Root, "mesoscope-hold")
	}
	if kind == Standalone && c.Output.Embedded == nil && c.Output.Elasticsearch == nil {
		e := DefaultEmbedded()
		c.Output.Embedded = &e
	}
	if e := c.Output.Embedded; e != nil && e.Path == "" {
		e.Path = filepath.Join(c.DataDir, "standalone", "store.db")
	}
}

// maxMinFree is the most that a percentage in hold.min_free asks for: 5 % of a
// 20 TB disk would give up held lines while a whole terabyte is free.
const maxMinFree = 10 * gib

// MinFreeOf is how many bytes must stay free on a file system with total bytes.
// A percentage never asks for more than 10 GiB; a size is taken as it stands.
func (h Hold) MinFreeOf(total Bytes) Bytes {
	free, percent, err := parseMinFree(h.MinFree)
	if err != nil {
		return 0 // Load has refused it
	}
	if percent > 0 {
		return min(Bytes(float64(total)*percent/100), maxMinFree)
	}
	return free
}

package command

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"mesoscope/config"
	"mesoscope/search"
	"mesoscope/web/api"
)

// Stores opens what --store and the configuration name. A nil member is a
// store that this build cannot open, and is said to the user as such.
type Stores struct {
	// Config reads a configuration file; "" means defaults and environment.
	Config func(path string) (config.Config, error)
	// Embedded opens a store's file for reading while another process may
	// write to it.
	Embedded func(path string) (search.Store, error)
	// Elasticsearch asks a cluster; members that are not set mean the defaults.
	Elasticsearch func(config.Elasticsearch) (search.Store, error)
	// Standalone is where a standalone is looked for when nothing names a
	// store; "" means http://127.0.0.1:9912.
	Standalone string
}

const probeTimeout = 5 * time.Second

func (s Stores) open(ctx context.Context, store, file string) (search.Store, error) {
	var c config.Config
	if s.Config != nil {
		var err error
		if c, err = s.Config(file); err != nil {
			return nil, Exit{Bad, err}
		}
	}
	switch {
	case strings.HasPrefix(store, "http://") || strings.HasPrefix(store, "https://"):
		return s.url(ctx, store, c)
	case strings.Contains(store, "://"):
		return nil, Exit{Usage, fmt.Errorf("--store %s: want an address that begins with http:// or https://, or a file", store)}
	case store != "":
		return s.file(store)
	case file != "" && c.Output.Elasticsearch != nil:
		return s.elasticsearch(*c.Output.Elasticsearch)
	}
	return s.find(ctx, c, file != "")
}

// url asks what answers there: a standalone says so itself, all else is taken
// for an Elasticsearch, which may want a password before it says anything.
func (s Stores) url(ctx context.Context, address string, c config.Config) (search.Store, error) {
	client, err := s.client(address, c)
	if err != nil {
		return nil, Exit{Usage, err}
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	ours, err := client.Probe(ctx)
	if err != nil {
		return nil, Exit{Unknown, fmt.Errorf("store %s: %w", redacted(address), err)}
	}
	if ours {
		return client, nil
	}
	var es config.Elasticsearch
	if c.Output.Elasticsearch != nil {
		es = *c.Output.Elasticsearch
	}
	es.Hosts = []string{address}
	return s.elasticsearch(es)
}

func redacted(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "(unreadable address)"
	}
	return u.Redacted()
}

func (s Stores) client(address string, c config.Config) (*api.Client, error) {
	token := ""
	if c.HTTP.TokenFile != "" {
		b, err := os.ReadFile(c.HTTP.TokenFile)
		if err != nil {
			return nil, fmt.Errorf("http.token_file: %w", err)
		}
		token = strings.TrimSpace(string(b))
	}
	return api.NewClient(address, token)
}

func (s Stores) elasticsearch(c config.Elasticsearch) (search.Store, error) {
	if s.Elasticsearch == nil {
		return nil, Exit{Usage, errors.New("this build of mesoscope cannot search in Elasticsearch")}
	}
	store, err := s.Elasticsearch(c)
	if err != nil {
		return nil, Exit{Unknown, fmt.Errorf("open Elasticsearch: %w", err)}
	}
	return store, nil
}

func (s Stores) file(path string) (search.Store, error) {
	if s.Embedded == nil {
		return nil, Exit{Usage, errors.New("this build of mesoscope cannot open a store's file; give the address of a running standalone")}
	}
	if _, err := os.Stat(path); err != nil {
		return nil, Exit{Unknown, fmt.Errorf("store: %w", err)}
	}
	store, err := s.Embedded(path)
	if err != nil {
		return nil, Exit{Unknown, fmt.Errorf("open store %s: %w", path, err)}
	}
	return store, nil
}

// find takes the standalone that runs, else the file that one has left. With
// a configuration file both are the ones that it names.
func (s Stores) find(ctx context.Context, c config.Config, configured bool) (search.Store, error) {
	address := s.Standalone
	if address == "" {
		address = "http://127.0.0.1:9912"
	}
	if configured && c.HTTP.Listen != "" {
		address = listening(c.HTTP)
	}
	client, err := s.client(address, c)
	if err != nil {
		return nil, Exit{Bad, err}
	}
	probe, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	if ours, err := client.Probe(probe); err == nil && ours {
		return client, nil
	}
	path := filepath.Join(c.DataDir, "standalone", "store.db")
	if c.Output.Embedded != nil && c.Output.Embedded.Path != "" {
		path = c.Output.Embedded.Path
	}
	if _, err := os.Stat(path); err == nil {
		return s.file(path)
	}
	return nil, Exit{Unknown, fmt.Errorf("no store found: no standalone answers at %s, and there is no %s. Start `mesoscope standalone`, or name a store with --store, --config or MESOSCOPE_STORE", address, path)}
}

// listening is the address at which a server that listens so can be asked.
func listening(h config.HTTP) string {
	scheme := "http"
	if h.TLS.CertFile != "" {
		scheme = "https"
	}
	host, port, err := net.SplitHostPort(h.Listen)
	if err != nil {
		return scheme + "://" + h.Listen
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}

package command

import (
	"strings"

	"mesoscope/config"
	"mesoscope/embedded"
	"mesoscope/search"
	"mesoscope/shipper"
)

// stores opens everything that --store can name.
func stores() Stores {
	return Stores{
		Config: func(path string) (config.Config, error) { return config.Load(path, config.Standalone) },
		Embedded: func(path string) (search.Store, error) {
			file, err := embedded.OpenReader(path)
			if err != nil {
				return nil, err
			}
			return closing{search.NewEmbedded(file), file}, nil
		},
		Elasticsearch: openElasticsearch,
	}
}

func openElasticsearch(cfg config.Elasticsearch) (search.Store, error) {
	def := config.DefaultElasticsearch()
	if len(cfg.Hosts) == 0 {
		cfg.Hosts = def.Hosts
	}
	client, err := shipper.NewClient(cfg)
	if err != nil {
		return nil, err
	}
	return search.NewElasticsearch(client, "logs-mesos.*-*,logs-mesoscope.*-*"), nil
}

// closing is a search.Store that owns its file.
type closing struct {
	search.AuditStore
	file *embedded.Store
}

func (c closing) Close() error { return c.file.Close() }

// socketPath is the file of a unix socket's URL.
func socketPath(url string) (string, bool) { return strings.CutPrefix(url, "unix://") }

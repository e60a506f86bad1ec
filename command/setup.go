package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"text/tabwriter"

	"mesoscope/config"
	"mesoscope/shipper"
)

// Setup is `mesoscope setup`.
type Setup struct {
	Config string   `short:"c" env:"MESOSCOPE_CONFIG" placeholder:"FILE" help:"The configuration whose output.elasticsearch is set up."`
	Host   []string `placeholder:"URL" help:"Elasticsearch's URL; replaces the hosts of the configuration, or does without one."`
	Output string   `enum:"text,json" default:"text" help:"text, or json: one object a line."`
}

// Help says what the command writes.
func (*Setup) Help() string {
	return "Puts lifecycle policy, mappings and index templates for logs-mesos.*-* and logs-mesoscope.*-* into Elasticsearch, " +
		"as far as the server can, and says what it did without. May be run again at any time: what is there is not written twice. " +
		"Own settings and mappings belong into the component template logs-mesos@custom, which is never touched. " +
		"Exit code 1: the server refused; 3: it could not be reached."
}

// Run sets the server up.
func (c *Setup) Run(io *IO) error {
	es, err := c.elasticsearch()
	if err != nil {
		return err
	}
	client, err := shipper.NewClient(es)
	if err != nil {
		return Exit{Code: Bad, Err: err}
	}
	report, err := shipper.Setup(io.Context, client, es)
	if werr := c.print(io, report); werr != nil {
		return werr
	}
	switch {
	case errors.Is(err, shipper.ErrUnreachable):
		return Exit{Code: Unknown, Err: err}
	case err != nil:
		return Exit{Code: Bad, Err: err}
	}
	return nil
}

// elasticsearch is the output to set up, from the configuration or from --host.
func (c *Setup) elasticsearch() (config.Elasticsearch, error) {
	es := config.DefaultElasticsearch()
	switch {
	case c.Config != "":
		// An output of a standalone is set up in the same way, and this kind
		// accepts both.
		cfg, err := config.Load(c.Config, config.Standalone)
		if err != nil {
			return es, Exit{Code: Bad, Err: err}
		}
		if cfg.Output.Elasticsearch == nil && len(c.Host) == 0 {
			return es, Exit{Code: Usage, Err: fmt.Errorf("%s has no output.elasticsearch: nothing to set up", c.Config)}
		}
		if cfg.Output.Elasticsearch != nil {
			es = *cfg.Output.Elasticsearch
		}
	case len(c.Host) == 0:
		return es, Exit{Code: Usage, Err: errors.New("which Elasticsearch? Give --config FILE or --host URL")}
	}
	if len(c.Host) > 0 {
		es.Hosts = c.Host
	}
	return es, nil
}

func (c *Setup) print(io *IO, r shipper.Report) error {
	if c.Output == "json" {
		out := json.NewEncoder(io.Out)
		out.SetEscapeHTML(false)
		for _, s := range r.Steps {
			if err := out.Encode(struct {
				Cluster string `json:"cluster"`
				Version string `json:"version"`
				shipper.Step
			}{r.Cluster, r.Version, s}); err != nil {
				return err
			}
		}
		return nil
	}
	if r.Version == "" {
		return nil // nothing was found out; the error says why
	}
	fmt.Fprintf(io.Out, "Elasticsearch %s, cluster %s\n", r.Version, r.Cluster)
	w := tabwriter.NewWriter(io.Out, 0, 0, 2, ' ', 0)
	for _, s := range r.Steps {
		line := fmt.Sprintf("  %s\t%s\t%s", s.Action, s.Kind, s.Name)
		if s.Detail != "" {
			line += "\t" + s.Detail
		}
		fmt.Fprintln(w, line)
	}
	return w.Flush()
}

package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"text/tabwriter"
	"time"

	"mesoscope/config"
	"mesoscope/deploy/kibana"
	"mesoscope/shipper"
)

// Setup is `mesoscope setup`.
type Setup struct {
	Config string   `short:"c" env:"MESOSCOPE_CONFIG" placeholder:"FILE" help:"The configuration whose output.elasticsearch is set up."`
	Host   []string `placeholder:"URL" help:"Elasticsearch's URL; replaces the hosts of the configuration, or does without one."`
	Kibana string   `placeholder:"URL" help:"Kibana's URL, with /s/SPACE behind it for another space than the default one: imports data views and saved searches."`

	Username     string `placeholder:"NAME" help:"Who logs in to both; instead of what the configuration says, as the next ones."`
	PasswordFile string `placeholder:"FILE" help:"The user's password."`
	APIKeyFile   string `name:"api-key-file" placeholder:"FILE" help:"An API key instead of a user."`
	CAFile       string `name:"ca-file" placeholder:"FILE" help:"Certificates (PEM) that sign the servers' certificates."`

	DryRun      bool   `help:"Write nothing, and say what would be written."`
	PrintKibana bool   `help:"Print the file of data views and saved searches, for the import in Kibana's own pages, and do nothing else."`
	Output      string `enum:"text,json" default:"text" help:"text, or json: one object a line."`
}

// Help says what the command writes.
func (*Setup) Help() string {
	return "Puts lifecycle policy, mappings and index templates for logs-mesos.*-* and logs-mesoscope.*-* into Elasticsearch, " +
		"as far as the server can, and says what it did without; with --kibana alone, data views and saved searches into Kibana, with both, both. " +
		"May be run again at any time: templates that are there are not written twice. " +
		"Own settings and mappings belong into the component template logs-mesos@custom, which is never touched; own changes of a saved " +
		"search into a copy of it, since the next import replaces what has the same id. " +
		"Exit code 1: the server refused; 3: it could not be reached."
}

// Run sets the servers up.
func (c *Setup) Run(io *IO) error {
	if c.PrintKibana {
		_, err := io.Out.Write(kibana.File())
		return err
	}
	es, named, err := c.elasticsearch()
	if err != nil {
		return err
	}
	if named {
		if err := c.setUpElasticsearch(io, es); err != nil {
			return err
		}
	}
	if c.Kibana != "" {
		return c.setUpKibana(io, es)
	}
	return nil
}

func (c *Setup) setUpElasticsearch(io *IO, es config.Elasticsearch) error {
	client, err := shipper.NewClient(es)
	if err != nil {
		return Exit{Code: Bad, Err: err}
	}
	setup := shipper.Setup
	if c.DryRun {
		setup = shipper.Plan
	}
	r, err := setup(io.Context, client, es)
	done := done{Kind: "Elasticsearch", Version: r.Version, Place: "cluster", Name: r.Cluster}
	for _, s := range r.Steps {
		done.Steps = append(done.Steps, step(s))
	}
	return c.end(io, done, err, shipper.ErrUnreachable)
}

func (c *Setup) setUpKibana(io *IO, es config.Elasticsearch) error {
	login, err := shipper.Authorization(es)
	if err != nil {
		return Exit{Code: Bad, Err: err}
	}
	tls, err := shipper.TLS(es)
	if err != nil {
		return Exit{Code: Bad, Err: err}
	}
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: tls}}
	defer client.CloseIdleConnections()
	r, err := kibana.Install(io.Context, kibana.Server{URL: c.Kibana, Authorization: login, Client: client}, c.DryRun)
	done := done{Kind: "Kibana", Version: r.Version, Place: "space", Name: r.Space}
	if r.Space == "" {
		done.Name = "default"
	}
	for _, s := range r.Steps {
		done.Steps = append(done.Steps, step{s.Kind(), s.Title, s.Action, s.Detail})
	}
	return c.end(io, done, err, kibana.ErrUnreachable)
}

// end prints what was done, and turns the error into an exit code.
func (c *Setup) end(io *IO, d done, err, unreachable error) error {
	if werr := c.print(io, d); werr != nil {
		return werr
	}
	switch {
	case errors.Is(err, unreachable):
		return Exit{Code: Unknown, Err: err}
	case err != nil:
		return Exit{Code: Bad, Err: err}
	}
	return nil
}

// elasticsearch is the output to set up, from the configuration or from --host,
// and whether either names one. Without, it still has what logs in to Kibana.
func (c *Setup) elasticsearch() (es config.Elasticsearch, named bool, err error) {
	es = config.DefaultElasticsearch()
	switch {
	case c.Config != "":
		// An output of a standalone is set up in the same way, and this kind
		// accepts both.
		cfg, err := config.Load(c.Config, config.Standalone)
		if err != nil {
			return es, false, Exit{Code: Bad, Err: err}
		}
		if cfg.Output.Elasticsearch == nil && len(c.Host) == 0 && c.Kibana == "" {
			return es, false, Exit{Code: Usage, Err: fmt.Errorf("%s has no output.elasticsearch: nothing to set up", c.Config)}
		}
		if cfg.Output.Elasticsearch != nil {
			es, named = *cfg.Output.Elasticsearch, true
		}
	case len(c.Host) == 0 && c.Kibana == "":
		return es, false, Exit{Code: Usage, Err: errors.New("set up what? Give --config FILE or --host URL for Elasticsearch, --kibana URL for Kibana")}
	}
	if len(c.Host) > 0 {
		es.Hosts, named = c.Host, true
	}
	if c.PasswordFile != "" && c.Username == "" {
		return es, false, Exit{Code: Usage, Err: errors.New("whose password? --password-file belongs to --username")}
	}
	if c.Username != "" || c.APIKeyFile != "" {
		es.Username, es.PasswordFile, es.APIKeyFile = c.Username, c.PasswordFile, c.APIKeyFile
	}
	if c.CAFile != "" {
		es.CAFile = c.CAFile
	}
	return es, named, nil
}

// done is what was done to one server.
type done struct {
	Kind, Version string // of the server
	Place, Name   string // cluster, space
	Steps         []step
}

type step struct {
	Kind   string `json:"kind"`
	Name   string `json:"name"`
	Action string `json:"action"`
	Detail string `json:"detail,omitempty"`
}

func (c *Setup) print(io *IO, d done) error {
	if c.Output == "json" {
		out := json.NewEncoder(io.Out)
		out.SetEscapeHTML(false)
		for _, s := range d.Steps {
			line := struct {
				Cluster string `json:"cluster,omitempty"`
				Space   string `json:"space,omitempty"`
				Version string `json:"version"`
				step
			}{Version: d.Version, step: s}
			if d.Place == "cluster" {
				line.Cluster = d.Name
			} else {
				line.Space = d.Name
			}
			if err := out.Encode(line); err != nil {
				return err
			}
		}
		return nil
	}
	if d.Version == "" && len(d.Steps) == 0 {
		return nil // nothing was found out; the error says why
	}
	fmt.Fprintf(io.Out, "%s %s, %s %s\n", d.Kind, d.Version, d.Place, d.Name)
	w := tabwriter.NewWriter(io.Out, 0, 0, 2, ' ', 0)
	for _, s := range d.Steps {
		line := fmt.Sprintf("  %s\t%s\t%s", s.Action, s.Kind, s.Name)
		if s.Detail != "" {
			line += "\t" + s.Detail
		}
		fmt.Fprintln(w, line)
	}
	return w.Flush()
}

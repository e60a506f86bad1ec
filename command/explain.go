package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"text/tabwriter"

	"mesoscope/agent/status"
)

// Explain is `mesoscope explain`.
type Explain struct {
	Container ExplainContainer `cmd:"" help:"Each field of a container's lines, its value, and where that is from."`
	Check     ExplainCheck     `cmd:"" help:"Each check of an app, its settings, and where each of them was declared."`
}

// ExplainContainer is `mesoscope explain container`.
type ExplainContainer struct {
	Container string `arg:"" help:"A container's name, the beginning of its id, its Mesos task, or Mesos' id of it."`
	URL       string `placeholder:"URL" help:"Address of an agent or standalone. Without it 127.0.0.1:9911 and 127.0.0.1:9912 are asked."`
	TokenFile string `type:"path" placeholder:"FILE" help:"A file with the token, if the process wants one."`
	CAFile    string `type:"path" placeholder:"FILE" help:"Certificates to trust for https, in PEM form."`
	Output    string `enum:"text,json" default:"text" help:"text, or json: one object a line for each container."`
}

// Help says what the exit code means.
func (*ExplainContainer) Help() string {
	return "Exit code 0: explained, 1: no such container, 3: no agent or standalone could be asked."
}

// Run asks and prints.
func (c *ExplainContainer) Run(w *IO) error {
	client, err := (&Status{TokenFile: c.TokenFile, CAFile: c.CAFile}).client()
	if err != nil {
		return Exit{Usage, err}
	}
	urls := local
	if c.URL != "" {
		urls = []string{strings.TrimRight(c.URL, "/")}
	}
	var all []status.Explained
	var failed []string
	for _, u := range urls {
		var list []status.Explained
		if err := get(w.Context, client, u+status.ExplainPath+"?container="+url.QueryEscape(c.Container), &list); err != nil {
			failed = append(failed, fmt.Sprintf("  %s: %v", u, err))
		}
		all = append(all, list...)
	}
	switch {
	case len(failed) == len(urls):
		return Exit{Unknown, fmt.Errorf("nobody could be asked:\n%s\nIs mesoscope running here? Another address: --url http://HOST:9911", strings.Join(failed, "\n"))}
	case len(all) == 0:
		return Exit{Bad, fmt.Errorf("no container here is called %q; mesoscope status --all lists them", c.Container)}
	case c.Output == "json":
		e := json.NewEncoder(w.Out)
		for _, x := range all {
			if err := e.Encode(x); err != nil {
				return err
			}
		}
		return nil
	}
	for i, x := range all {
		if i > 0 {
			fmt.Fprintln(w.Out)
		}
		if err := explain(w.Out, x); err != nil {
			return err
		}
	}
	return nil
}

// explain prints one container. What stands there was written by others, so
// that control characters are shown and not sent.
func explain(out io.Writer, x status.Explained) error {
	name := x.Name
	if name == "" {
		name = x.ID
	}
	_, err := fmt.Fprintf(out, "%s (%.12s), %s\n", escapeControls(name, false), x.ID, x.State)
	for _, n := range x.Notes {
		_, e := fmt.Fprintln(out, escapeControls(n, false))
		err = errors.Join(err, e)
	}
	t := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	for _, f := range x.Fields {
		fmt.Fprintf(t, "%s\t%s\t%s\n", f.Field, escapeControls(f.Value, false), escapeControls(f.From, false)) // Flush tells the error
	}
	return errors.Join(err, t.Flush())
}

package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"text/tabwriter"

	"mesoscope/collector/status"
)

// ExplainCheck is `mesoscope explain check`.
type ExplainCheck struct {
	App       string `arg:"" help:"An app's id, a host, or the name of a static check; * stands for any text."`
	URL       string `placeholder:"URL" default:"http://127.0.0.1:9912" help:"Address of a collector."`
	TokenFile string `type:"path" placeholder:"FILE" help:"A file with the token, if the collector wants one."`
	CAFile    string `type:"path" placeholder:"FILE" help:"Certificates to trust for https, in PEM form."`
	Output    string `enum:"text,json" default:"text" help:"text, or json: one object a line for each check."`
}

// Help says what the exit code means.
func (*ExplainCheck) Help() string {
	return "Later declarations count: the image's name, Marathon's healthChecks, labels of Datadog and Consul, labels mesoscope.check.*, checks.yml, what was put by HTTP. " +
		"Exit code 0: explained, 1: no such check, or one is refused, 3: the collector could not be asked."
}

// Run asks and prints.
func (c *ExplainCheck) Run(w *IO) error {
	client, err := (&Status{TokenFile: c.TokenFile, CAFile: c.CAFile}).client()
	if err != nil {
		return Exit{Usage, err}
	}
	var list []status.Explained
	if err := get(w.Context, client, strings.TrimRight(c.URL, "/")+status.ExplainPath+"?app="+url.QueryEscape(c.App), &list); err != nil {
		return Exit{Unknown, fmt.Errorf("%s: %w\nIs a collector running there? Another address: --url http://HOST:9912", redacted(c.URL), err)}
	}
	if len(list) == 0 {
		return Exit{Bad, fmt.Errorf("nothing is checked of %q, or discovery does not know it; mesoscope status --all lists the checks", c.App)}
	}
	refused := false
	out := json.NewEncoder(w.Out)
	for i, x := range list {
		refused = refused || x.Problem != ""
		if c.Output == "json" {
			err = errors.Join(err, out.Encode(x))
			continue
		}
		if i > 0 {
			fmt.Fprintln(w.Out)
		}
		err = errors.Join(err, explainCheck(w.Out, x))
	}
	if err == nil && refused {
		return Exit{Code: Bad}
	}
	return err
}

// explainCheck prints one check. Labels were written by others, so that control
// characters are shown and not sent.
func explainCheck(out io.Writer, x status.Explained) error {
	whose := x.App
	if whose == "" {
		whose = x.Host
	}
	_, err := fmt.Fprintf(out, "%s %s: %s, %s\n", clean(whose), clean(x.Check), clean(x.Status), many(x.Instances, "instance"))
	if x.Problem != "" {
		_, e := fmt.Fprintf(out, "  ! %s\n", clean(x.Problem))
		err = errors.Join(err, e)
	}
	t := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	for _, v := range x.Values {
		fmt.Fprintf(t, "%s\t%s\t%s\n", clean(v.Key), clean(v.Value), clean(v.From)) // Flush tells the error
	}
	return errors.Join(err, t.Flush())
}

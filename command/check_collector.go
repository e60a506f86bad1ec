package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"mesoscope/collector/nagios"
	"mesoscope/collector/state"
)

// CheckCollector is `mesoscope check-collector`, and what the program is when it
// is called check_mesoscope: a plugin by which Nagios asks a collector.
type CheckCollector struct {
	Args []string `arg:"" optional:"" passthrough:"" name:"options"`
}

// pluginName is the name under which the program is that plugin, by a link.
const pluginName = "check_mesoscope"

// Called are the arguments of the program, whose name may choose the command.
func Called(args []string) []string {
	if len(args) > 0 && filepath.Base(args[0]) == pluginName {
		return append([]string{"check-collector"}, args[1:]...)
	}
	return args[min(1, len(args)):]
}

const pluginHelp = `How a check of an app is, all instances in one: a Nagios plugin that asks a collector.

Usage: check_mesoscope -H HOST:9912 -s '/prod/web health' [options]
       mesoscope check-collector -H HOST:9912 -s '/prod/web health' [options]

Options:
  -H HOST[:PORT]     the collector, or its URL; the port is 9912 if there is none
  -s SERVICE         app and check, or the name that Nagios has for it
  --token-file FILE  a file with the token, if the collector wants one (http.token_file)
  --ca-file FILE     certificates to trust for https, in PEM form
  -t TIME            how long it may take, 10s or 10; default 10s

Exit codes: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN: the collector is away, has no such check or no news of it.
`

// Run asks once. It keeps to the rules for Nagios plugins: all is said on
// standard output, mistakes included.
func (c *CheckCollector) Run(w *IO) error {
	if len(c.Args) == 0 || isHelp(c.Args[0]) {
		fmt.Fprint(w.Out, pluginHelp)
		if len(c.Args) == 0 {
			return Exit{Code: Unknown}
		}
		return nil
	}
	s, err := c.ask(w.Context)
	if err != nil {
		fmt.Fprintf(w.Out, "UNKNOWN: %s\n", strings.ReplaceAll(strings.Join(strings.Fields(err.Error()), " "), "|", "¦"))
		return Exit{Code: int(state.Unknown)}
	}
	fmt.Fprintln(w.Out, s.Output())
	return Exit{Code: int(s.Status)}
}

func (c *CheckCollector) ask(ctx context.Context) (s nagios.Service, err error) {
	var host, service, limit string
	var access Status // for its client
	set := flag.NewFlagSet(pluginName, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.StringVar(&host, "H", "", "")
	set.StringVar(&service, "s", "", "")
	set.StringVar(&limit, "t", "10s", "")
	set.StringVar(&access.TokenFile, "token-file", "", "")
	set.StringVar(&access.CAFile, "ca-file", "", "")
	if err := set.Parse(c.Args); err != nil {
		return s, fmt.Errorf("%w; see: mesoscope check-collector --help", err)
	}
	timeout, err := time.ParseDuration(limit)
	if err != nil {
		timeout, err = time.ParseDuration(limit + "s") // as other plugins have it
	}
	switch {
	case set.NArg() > 0:
		return s, fmt.Errorf("%q is no option; a name with a space needs quotes", set.Arg(0))
	case host == "" || service == "":
		return s, errors.New("-H and -s are needed; see: mesoscope check-collector --help")
	case err != nil || timeout <= 0:
		return s, fmt.Errorf("-t: %q is no time; write 10s", limit)
	}
	client, err := access.client()
	if err != nil {
		return s, err
	}
	client.Timeout = timeout
	if !strings.Contains(host, "://") {
		if !strings.Contains(host, ":") {
			host += ":9912"
		}
		host = "http://" + host
	}
	return oneService(ctx, client, strings.TrimRight(host, "/"), service)
}

func oneService(ctx context.Context, client *http.Client, base, name string) (s nagios.Service, err error) {
	var list []nagios.Service
	if err := get(ctx, client, base+nagios.ServicesPath+"?service="+url.QueryEscape(name), &list); err != nil {
		return s, fmt.Errorf("collector %s: %w", redacted(base), err)
	}
	if len(list) == 0 {
		return s, fmt.Errorf("the collector has no check %q", name)
	}
	return list[0], nil
}

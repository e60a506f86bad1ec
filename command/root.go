package command

import (
	"errors"
	"fmt"
	"strings"

	"github.com/alecthomas/kong"

	"mesoscope/internal/version"
)

// Root is the command line. A command is one line here: a struct with its
// flags and a method Run(*IO) error.
type Root struct {
	Standalone  Standalone  `cmd:"" group:"run" help:"All that one Docker host needs in one process: follow, store, search, page." example:"mesoscope standalone"`
	Agent       Agent       `cmd:"" group:"run" help:"Follow every container of this node and send its lines to Elasticsearch." example:"mesoscope agent --config mesoscope.yml"`
	Collector   Collector   `cmd:"" group:"run" help:"Find every application of the cluster, check it in its own protocol, and tell Prometheus, Alertmanager, Nagios and Elasticsearch." example:"mesoscope collector --config mesoscope.yml"`
	DemoService DemoService `cmd:"" hidden:""`

	Logs           Logs           `cmd:"" group:"look" help:"Search stored lines and follow new ones." example:"mesoscope logs -f --app /prod/web 'message: timeout and not log.level: debug'"`
	Status         Status         `cmd:"" group:"look" help:"What is followed, how far behind, what was refused and why." example:"mesoscope status --all"`
	Top            Top            `cmd:"" group:"look" help:"Who uses these machines: CPU, throttling, memory, disks, lines and bytes by task, the worst first." example:"mesoscope top --sort lines\nmesoscope top --url http://node-1:9911,http://node-2:9911 --every 10s"`
	Where          Where          `cmd:"" group:"look" help:"Where an app runs: each instance with its host, task, container, ports, state and last error." example:"mesoscope where /shop/web\nmesoscope where web --store http://127.0.0.1:9200\nmesoscope where web --master http://m1:5050,http://m2:5050\nmesoscope where '/shop/*' --url http://node-1:9911,http://node-2:9911"`
	Explain        Explain        `cmd:"" group:"look" help:"Each field of a container's lines, its value, and where that is from." example:"mesoscope explain container mesos-651a3b45-1603-4b34-b5cd-0626c5f793fe"`
	Verify         Verify         `cmd:"" group:"look" help:"Prove from receipts that no line is missing or doubled, or name those that are." example:"mesoscope verify --app /prod/web --since 2h\nmesoscope verify --container web-1 --since '2026-11-23 14:00' --until '2026-11-23 15:00'\nmesoscope verify --host node-7 --since 1d --store http://127.0.0.1:9200 --output json"`
	Check          Check          `cmd:"" passthrough:"" group:"look" help:"Check one application once, in its own protocol; a Nagios plugin." example:"mesoscope check http http://127.0.0.1:9912/healthz"`
	CheckCollector CheckCollector `cmd:"" passthrough:"" group:"look" help:"Ask a collector how a check of an app is; a Nagios plugin, also as check_mesoscope." example:"mesoscope check-collector -H 127.0.0.1:9912 -s '/prod/web health'"`
	DeadLetter     DeadLetter     `cmd:"" name:"deadletter" group:"look" help:"What could not be stored, and why; send it again." example:"mesoscope deadletter list"`
	Validate       Validate       `cmd:"" group:"setup" help:"Check a configuration; each mistake with its line and what to do." example:"mesoscope validate --config mesoscope.yml"`
	Setup          Setup          `cmd:"" group:"setup" help:"Put index templates and lifecycle into Elasticsearch, searches into Kibana; says what the server lacks." example:"mesoscope setup --config mesoscope.yml\nmesoscope setup --kibana https://kibana.example.net/s/ops --username elastic --password-file pw"`

	Version kong.VersionFlag `short:"v" help:"Print version, commit, Go and platform."`
}

// groups are the headings of --help, in its order.
var groups = []kong.Group{
	{Key: "run", Title: "Run"},
	{Key: "look", Title: "Look"},
	{Key: "setup", Title: "Set up"},
}

const (
	summary = "Mesoscope follows the output of containers, says of each line whose it is, and stores it."
	ending  = `More: mesoscope COMMAND --help. Keys of the configuration: docs/configuration.md.
Exit codes: 0 done, 1 the answer is bad, 2 wrong usage, 3 could not be found out.`
)

// Main runs the command that args (without the program's name) ask for and
// returns the exit code of the process.
func Main(args []string, io IO) int {
	var root Root
	asked := -1 // the exit code that --help or --version asked for
	parser, err := kong.New(&root,
		kong.Name("mesoscope"), kong.Description(summary),
		kong.Writers(io.Out, io.Err), kong.Vars{"version": "mesoscope " + version.String()},
		kong.ExplicitGroups(groups), kong.Help(help), kong.ConfigureHelp(kong.HelpOptions{WrapUpperBound: 100}),
		kong.Bind(io, &io, stores()), // a command may take IO or *IO, and Stores
		kong.Exit(func(code int) { asked = code }),
	)
	if err != nil {
		panic("BUG: command: " + err.Error()) // a tag in Root is wrong
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	call, err := parser.Parse(args)
	if asked >= 0 {
		return asked
	}
	if err != nil {
		fmt.Fprintf(io.Err, "mesoscope: %v\n%s\n", err, hint(err))
		return Usage
	}
	return finish(call.Run(), io)
}

// hint says where the right usage stands.
func hint(err error) string {
	var pe *kong.ParseError
	if errors.As(err, &pe) && pe.Context != nil && pe.Context.Selected() != nil {
		return fmt.Sprintf("Try: mesoscope %s --help", pe.Context.Selected().Path())
	}
	return "Try: mesoscope --help"
}

// finish turns a command's error into an exit code, and says it once.
func finish(err error, io IO) int {
	if err == nil {
		return Done
	}
	if text := err.Error(); text != "" {
		fmt.Fprintf(io.Err, "mesoscope: %s\n", text)
	}
	var exit Exit
	if errors.As(err, &exit) {
		return exit.Code
	}
	return Bad
}

// help prints --help. For the program as a whole it shows all commands in
// groups with an example each; for a single command it leaves that to kong and
// adds the example.
func help(options kong.HelpOptions, ctx *kong.Context) error {
	if node := ctx.Selected(); node != nil {
		if err := kong.DefaultHelpPrinter(options, ctx); err != nil {
			return err
		}
		if example := node.Tag.Get("example"); example != "" {
			fmt.Fprintf(ctx.Stdout, "\nExample:\n  %s\n", strings.ReplaceAll(example, "\n", "\n  "))
		}
		return nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\nUsage: mesoscope COMMAND [flags]\n", summary)
	for _, g := range groups {
		title := "\n" + g.Title + "\n"
		for _, node := range ctx.Model.Children {
			if node.Hidden || node.Group == nil || node.Group.Key != g.Key {
				continue
			}
			fmt.Fprintf(&b, "%s  %-12s %s\n", title, node.Name, node.Help)
			if example, _, _ := strings.Cut(node.Tag.Get("example"), "\n"); example != "" {
				fmt.Fprintf(&b, "  %-12s $ %s\n", "", example)
			}
			title = ""
		}
	}
	fmt.Fprintf(&b, "\n  -h, --help     This text, or that of a command.\n  -v, --version  Version, commit, Go and platform.\n\n%s\n", ending)
	_, err := ctx.Stdout.Write([]byte(b.String()))
	return err
}

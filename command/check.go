package command

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"mesoscope/checks"
)

// Check is `mesoscope check`. Its options depend on the kind and come from
// package checks, so this command reads its arguments itself.
type Check struct {
	Args []string `arg:"" optional:"" passthrough:"" name:"kind target options"`
}

// Run checks once. It keeps to the rules for Nagios plugins: the verdict on
// standard output, mistakes included, and its number as the exit code.
func (c *Check) Run(io *IO) error {
	if len(c.Args) == 0 || isHelp(c.Args[0]) {
		checkHelp(io.Out)
		return nil
	}
	kind, args := c.Args[0], c.Args[1:]
	k, known := checks.Kinds[kind]
	if known && slices.ContainsFunc(beforeDashes(args), isHelp) {
		kindHelp(io.Out, kind, k)
		return nil
	}
	target, output, err := readTarget(kind, k, args)
	var result checks.Result
	if err != nil {
		result = checks.Mistaken(fmt.Errorf("%w; see: mesoscope check %s--help", err, map[bool]string{true: kind + " "}[known]))
	} else {
		result = checks.Run(io.Context, target)
	}
	if output == "json" {
		err = json.NewEncoder(io.Out).Encode(struct {
			Kind   string `json:"kind"`
			Target string `json:"target"`
			Code   int    `json:"code"`
			checks.Result
		}{kind, target.Address, int(result.State), result})
	} else {
		if !known {
			kind = "check"
		}
		_, err = fmt.Fprint(io.Out, result.Line(kind))
	}
	if err != nil {
		return Exit{Code: Unknown, Err: err}
	}
	return Exit{Code: int(result.State)}
}

func isHelp(s string) bool { return s == "--help" || s == "-h" || s == "-help" }

// beforeDashes are the arguments before "--": what is behind belongs to a plugin.
func beforeDashes(args []string) []string {
	if i := slices.Index(args, "--"); i >= 0 {
		return args[:i]
	}
	return args
}

// readTarget reads options and target in any order. The output form is valid
// also if there is a mistake behind it.
func readTarget(kind string, k checks.Kind, args []string) (target checks.Target, output string, err error) {
	set := flag.NewFlagSet(kind, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	given := map[string][]string{}
	for _, o := range k.AllOptions() {
		add := func(s string) error { given[o.Name] = append(given[o.Name], s); return nil }
		if o.Placeholder == "" {
			set.BoolFunc(o.Name, "", add)
		} else {
			set.Func(o.Name, "", add)
		}
	}
	set.StringVar(&output, "output", "text", "")
	own := beforeDashes(args)
	behind := args[len(own):]
	var words []string
	for rest := own; ; rest = set.Args()[1:] {
		if err := set.Parse(rest); err != nil && k.Target != "" {
			return target, output, errors.New(strings.ReplaceAll(err.Error(), ": -", ": --"))
		}
		if set.NArg() == 0 {
			break
		}
		words = append(words, set.Arg(0))
	}
	if output != "text" && output != "json" {
		return target, "text", fmt.Errorf("--output: %q is neither text nor json", output)
	}
	if len(behind) > 0 {
		behind = behind[1:]
	}
	address := ""
	switch {
	case k.Target == "": // an unknown kind; New says so
	case k.Arguments:
		if len(words) > 0 {
			return target, output, fmt.Errorf("TARGET: %q stands before --; a command belongs behind it", words[0])
		}
		if len(behind) > 0 {
			address, behind = behind[0], behind[1:]
		}
	case len(words)+len(behind) != 1:
		return target, output, fmt.Errorf("TARGET: wanted one, %s, got %d", k.Target, len(words)+len(behind))
	default:
		address = append(words, behind...)[0]
		behind = nil
	}
	target, err = checks.New(kind, address, behind, given)
	return target, output, err
}

// checkHelp lists the kinds.
func checkHelp(out io.Writer) {
	fmt.Fprint(out, "Check one application once, in its own protocol: a Nagios plugin.\n\nUsage: mesoscope check KIND TARGET [options]\n\nKinds:\n")
	for _, name := range checks.Names() {
		k := checks.Kinds[name]
		fmt.Fprintf(out, "  %-14s %-16s %s\n", name, k.Target, k.Summary)
	}
	fmt.Fprint(out, "\nMore: mesoscope check KIND --help\nExit codes: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN; a mistake in the options is UNKNOWN.\n\nExample:\n  mesoscope check http http://127.0.0.1:9912/healthz --timeout 2s\n")
}

// kindHelp teaches one kind.
func kindHelp(out io.Writer, name string, k checks.Kind) {
	fmt.Fprintf(out, "%s.\n\nUsage: mesoscope check %s", k.Summary, name)
	if k.Arguments {
		fmt.Fprintf(out, " [options] -- %s\n\nOptions:\n", k.Target)
	} else {
		fmt.Fprintf(out, " %s [options]\n\nOptions:\n", k.Target)
	}
	for _, o := range append(k.AllOptions(), checks.Option{Name: "output", Placeholder: "FORM", Default: "text", Help: "text, or json: one object."}) {
		left := "--" + o.Name
		if o.Placeholder != "" {
			left += " " + o.Placeholder
		}
		help := o.Help
		if o.Default != "" {
			help += " Default " + o.Default + "."
		}
		if o.Many {
			help += " Repeatable."
		}
		fmt.Fprintf(out, "  %-30s %s\n", left, help)
	}
	if len(k.Facts) > 0 {
		fmt.Fprintf(out, "\nConditions can ask for [%s].\n", strings.Join(k.Facts, "] ["))
	}
	fmt.Fprint(out, "\nMetrics and their limits:\n")
	if k.Metrics == nil {
		fmt.Fprint(out, "  what the target reports\n")
	}
	for _, m := range k.Metrics {
		limits := ""
		if m.Warning != "" || m.Critical != "" {
			limits = fmt.Sprintf(" (warning %s, critical %s)", orNone(m.Warning), orNone(m.Critical))
		}
		fmt.Fprintf(out, "  %-22s %s%s\n", m.Name, m.Help, limits)
	}
	fmt.Fprint(out, "\nWhat it finds besides:\n")
	for _, s := range k.Signals {
		fmt.Fprintf(out, "  %-22s %-9s %s\n", s.Name, s.State, s.When)
	}
	fmt.Fprintf(out, "\nExample:\n  mesoscope %s\n", k.Example)
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

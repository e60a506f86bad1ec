package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"mesoscope/collector/declare"
	"mesoscope/config"
)

// Validate is `mesoscope validate`.
type Validate struct {
	Config string      `short:"c" env:"MESOSCOPE_CONFIG" placeholder:"FILE" help:"The file to check; without one, the environment alone is checked."`
	For    config.Kind `enum:"agent,standalone,collector" default:"agent" help:"Which process the file is for: agent, standalone or collector."`
	Output string      `enum:"text,json" default:"text" help:"text, or json: one object a line."`
}

// Help says what the output means.
func (*Validate) Help() string {
	return "Prints the settings that differ from the defaults and where each comes from, or every mistake with its place. " +
		"Variables MESOSCOPE_* count as they would for the process. Exit code 1 if there is a mistake."
}

// Run checks the file.
func (v *Validate) Run(io *IO) error {
	c, err := config.Load(v.Config, v.For)
	var mistakes config.Errors
	switch {
	case errors.As(err, &mistakes):
		if v.Output == "json" {
			out := json.NewEncoder(io.Out)
			for _, m := range mistakes {
				if err := out.Encode(m); err != nil {
					return err
				}
			}
		} else {
			printMistakes(io, mistakes, v.Config)
		}
		return Exit{Code: Bad}
	case err != nil:
		return Exit{Code: Bad, Err: err}
	}
	if f := c.Collector.ChecksFile; f != "" && v.For == config.KindCollector {
		if _, err := declare.ReadOverlay(f); err != nil {
			return Exit{Code: Bad, Err: fmt.Errorf("collector.checks_file: %w", err)}
		}
	}
	if v.For == config.KindCollector {
		if _, err := prober(c, true); err != nil {
			return Exit{Code: Bad, Err: err}
		}
	}
	return v.printGood(io, c)
}

// printGood shows the settings that somebody made.
func (v *Validate) printGood(io *IO, c config.Config) error {
	made := []config.Setting{}
	width := 0
	for _, s := range c.Redacted() {
		if !s.Default {
			made = append(made, s)
			width = max(width, len(s.Key))
		}
	}
	if v.Output == "json" {
		return json.NewEncoder(io.Out).Encode(struct {
			File     string           `json:"file"`
			OK       bool             `json:"ok"`
			Settings []config.Setting `json:"settings"`
		}{v.Config, true, made})
	}
	name := v.Config
	if name == "" {
		name = "environment"
	}
	fmt.Fprintf(io.Out, "%s: ok for %s\n", name, v.For)
	for _, s := range made {
		value := s.Value
		if value == "" {
			value = `""`
		}
		fmt.Fprintf(io.Out, "  %-*s  %s  (%s)\n", width, s.Key, value, s.From)
	}
	if v.For != config.Agent && len(c.Collector.Alertmanager) > 0 {
		fmt.Fprintln(io.Out, "Alerts go to Alertmanager from here: mesoscope-checks.rules.yml must not be loaded into Prometheus as well. mesoscope-self.rules.yml always is.")
	}
	return nil
}

// printMistakes shows each mistake with its line and a caret below the place.
func printMistakes(io *IO, mistakes config.Errors, path string) {
	var lines []string
	if text, err := os.ReadFile(path); err == nil {
		// YAML ends lines at a lone \r, too
		lines = strings.Split(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(text)), "\n")
	}
	for _, m := range mistakes {
		fmt.Fprintln(io.Out, m)
		if m.Line < 1 || m.Line > len(lines) {
			continue
		}
		// a tab would move the caret away from its place
		line := maskSecrets(strings.ReplaceAll(lines[m.Line-1], "\t", " "))
		fmt.Fprintf(io.Out, "%5d | %s\n      | %s^\n", m.Line, line, strings.Repeat(" ", max(0, m.Column-1)))
	}
	noun := "mistakes"
	if len(mistakes) == 1 {
		noun = "mistake"
	}
	fmt.Fprintf(io.Out, "%d %s\n", len(mistakes), noun)
}

var (
	userInfo  = regexp.MustCompile(`://[^/\s"']*@`)
	secretKey = regexp.MustCompile(`(?i)\b((?:password|passwd|secret|token|api_key|apikey)["']?\s*:\s*)\S.*`)
)

// maskSecrets hides what people write into a file although it does not belong
// there: this output ends in chats and in logs of CI.
func maskSecrets(line string) string {
	return secretKey.ReplaceAllString(userInfo.ReplaceAllString(line, "://…@"), "${1}…")
}

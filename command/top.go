package command

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"mesoscope/agent/status"
)

// Top is `mesoscope top`.
type Top struct {
	Agents
	Sort   string        `enum:"worst,cpu,memory,throttled,io,lines,bytes" default:"worst" help:"What comes first: worst, cpu, memory, throttled, io, lines or bytes."`
	App    string        `placeholder:"APP" help:"Only this app; * stands for anything."`
	All    bool          `short:"a" help:"Show every container, not only the first 20."`
	Every  time.Duration `placeholder:"10s" help:"Print again after so long, until the command is ended."`
	Output string        `enum:"text,json" default:"text" help:"text, or json: one object a line, {\"machine\":…} for each node, then {\"container\":…}, the first of the order first."`
}

// Help says what the columns mean.
func (*Top) Help() string {
	return "Agents look at the machine and its containers every ten seconds; rates are those of the last ten seconds. " +
		"STRAIN is the worst of: cpu (part of the machine), throttled (part of the periods of its CPU limit in which a container had to stop), " +
		"memory (without what the kernel would give back first, part of the limit or of the machine), oom (a process was killed for want of memory). " +
		"LINES and LOG are what a container prints, by the second; READ and WRITTEN are of disks. " +
		"Exit code 0: shown, 3: an agent could not be asked."
}

// A seat is a container and its node.
type seat struct {
	Node string `json:"node"`
	status.ContainerUsage
}

// Run asks and prints.
func (c *Top) Run(w *IO) error {
	if c.Every != 0 && c.Every < time.Second {
		return Exit{Usage, fmt.Errorf("--every %s: agents look every ten seconds; want 1s or more", c.Every)}
	}
	for {
		err := c.once(w)
		if c.Every == 0 || err != nil {
			return err
		}
		select {
		case <-w.Context.Done():
			return nil
		case <-time.After(c.Every):
		}
	}
}

func (c *Top) once(w *IO) error {
	nodes, failed, err := askAgents[status.Usage](w.Context, c.Agents, status.UsagePath)
	switch {
	case err != nil:
		return err
	case len(nodes) == 0:
		return nobody(failed)
	}
	var list []seat
	for _, n := range nodes {
		for _, u := range n.Containers {
			if c.App == "" || wildcard(c.App, u.App) {
				list = append(list, seat{n.Node, u})
			}
		}
	}
	slices.SortStableFunc(list, func(x, y seat) int { return cmp.Compare(c.key(y), c.key(x)) }) // each node's are the worst first
	if c.Output == "json" {
		err = topJSON(w, nodes, list)
	} else {
		color := w.Terminal && os.Getenv("NO_COLOR") == ""
		_, err = fmt.Fprint(w.Out, c.text(nodes, list, color))
	}
	if err == nil && len(failed) > 0 {
		return Exit{Unknown, fmt.Errorf("could not be asked:\n%s", strings.Join(failed, "\n"))}
	}
	return err
}

// key is what the containers are ordered by.
func (c *Top) key(s seat) float64 {
	switch c.Sort {
	case "cpu":
		return s.CPUCores
	case "memory":
		return float64(s.WorkingSet)
	case "throttled":
		return s.Throttled
	case "io":
		return s.Read + s.Written
	case "lines":
		return s.Lines
	case "bytes":
		return s.LogBytes
	}
	return s.Strain
}

func topJSON(w *IO, nodes []status.Usage, list []seat) error {
	type node struct {
		Node    string    `json:"node"`
		Time    time.Time `json:"time"`
		Seconds float64   `json:"seconds"`
		Problem string    `json:"problem,omitempty"`
		status.Machine
	}
	e := json.NewEncoder(w.Out)
	for _, n := range nodes {
		if err := e.Encode(map[string]node{"machine": {n.Node, n.Time, n.Seconds, n.Problem, n.Machine}}); err != nil {
			return err
		}
	}
	for _, s := range list {
		if err := e.Encode(map[string]seat{"container": s}); err != nil {
			return err
		}
	}
	return nil
}

// wildcard says whether s is pattern, in which * stands for any text.
func wildcard(pattern, s string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == s
	}
	s, ok := strings.CutPrefix(s, parts[0])
	if !ok {
		return false
	}
	last := len(parts) - 1
	for _, p := range parts[1:last] {
		_, s, ok = strings.Cut(s, p)
		if !ok {
			return false
		}
	}
	return strings.HasSuffix(s, parts[last])
}

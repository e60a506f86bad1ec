package command

import (
	"cmp"
	"fmt"
	"strings"

	"mesoscope/agent/status"
)

const (
	red    = "\x1b[31m"
	yellow = "\x1b[33m"
	home   = "\x1b[H\x1b[2J" // an empty screen
)

// text is a screen: a line or two for each machine, then the containers.
func (c *Top) text(nodes []status.Usage, list []seat, color bool) string {
	var b strings.Builder
	if c.Every > 0 && color {
		b.WriteString(home)
	} else if c.Every > 0 {
		b.WriteByte('\n')
	}
	for _, n := range nodes {
		machineText(&b, n)
	}
	b.WriteByte('\n')
	shown := list
	if !c.All && len(shown) > maxRows {
		shown = shown[:maxRows]
	}
	g := grid{right: []bool{false, false, false, true, false, true, true, true, true, true, true, true, true, true, true}}
	head := []string{"NODE", "APP", "TASK", "STRAIN", "OF", "CPU", "LIMIT", "THROTTLED", "MEMORY", "LIMIT", "READ/s", "WRITTEN/s", "PIDS", "LINES/s", "LOG/s"}
	cells := make([]gridCell, len(head))
	for i, h := range head {
		cells[i] = gridCell{text: h}
		if color {
			cells[i].color = dim
		}
	}
	g.add(cells...)
	for _, s := range shown {
		g.add(s.cells(color)...)
	}
	if len(shown) > 0 {
		g.write(&b)
	}
	switch n := len(list) - len(shown); {
	case len(list) == 0:
		b.WriteString("no containers\n")
	case n > 0:
		fmt.Fprintf(&b, "… and %s more; --all shows them\n", count(int64(n)))
	}
	return b.String()
}

func machineText(b *strings.Builder, n status.Usage) {
	m := n.Machine
	fmt.Fprintf(b, "%s  %s", clean(n.Node), many(m.CPUs, "CPU"))
	if n.Seconds > 0 {
		fmt.Fprintf(b, ", %.2f busy, %.2f waiting for disks, %.2f stolen", m.BusyCores, m.IOWaitCores, m.StealCores)
	}
	fmt.Fprintf(b, "; load %.2f %.2f %.2f; memory %s of %s", m.Load[0], m.Load[1], m.Load[2], size(int64(m.MemoryTotal-min(m.MemoryAvailable, m.MemoryTotal))), size(int64(m.MemoryTotal)))
	if m.SwapTotal > 0 {
		fmt.Fprintf(b, ", swap %s of %s", size(int64(m.SwapTotal-min(m.SwapFree, m.SwapTotal))), size(int64(m.SwapTotal)))
	}
	if p := m.Pressure; p != nil && n.Seconds > 0 {
		fmt.Fprintf(b, "; waited for cpu %s, memory %s, disks %s of the time", percent(p.CPU.Some), percent(p.Memory.Some), percent(p.IO.Some))
	}
	b.WriteByte('\n')
	if n.Seconds == 0 {
		fmt.Fprintf(b, "  this agent has just started: rates are known after its second look, in ten seconds\n")
	}
	if n.Problem != "" {
		fmt.Fprintf(b, "  %s\n", clean(n.Problem))
	}
}

func (s seat) cells(color bool) []gridCell {
	strain, hue := "-", ""
	if s.Measured {
		strain = percent(s.Strain)
	}
	switch {
	case !color:
	case s.Strain >= 0.9:
		hue = red
	case s.Strain >= 0.7:
		hue = yellow
	}
	text := func(t string) gridCell { return gridCell{text: t} }
	// measured is the text of what only a cgroup tells.
	measured := func(t string) gridCell {
		if !s.Measured {
			t = "-"
		}
		return text(t)
	}
	limit, memory, throttled := "-", "-", "-"
	if s.CPULimit > 0 {
		limit, throttled = fmt.Sprintf("%.2f", s.CPULimit), percent(s.Throttled)
	}
	if s.MemoryLimit > 0 {
		memory = size(int64(s.MemoryLimit))
	}
	return []gridCell{
		text(cell(s.Node)), text(cell(s.App)), text(bothEnds(clean(cmp.Or(s.Task, s.Name, s.ID)), 40)), {strain, hue}, text(cell(s.StrainOf)),
		measured(fmt.Sprintf("%.2f", s.CPUCores)), measured(limit), measured(throttled), measured(size(int64(s.WorkingSet))), measured(memory),
		measured(size(int64(s.Read))), measured(size(int64(s.Written))), measured(count(int64(s.Pids))),
		text(rate(s.Lines)), text(size(int64(s.LogBytes))),
	}
}

// percent is a part of 1 in hundredths.
func percent(part float64) string { return fmt.Sprintf("%.0f %%", part*100) }

// rate is a number by the second.
func rate(n float64) string {
	if n > 0 && n < 10 {
		return fmt.Sprintf("%.1f", n)
	}
	return count(int64(n + 0.5))
}

// bothEnds cuts s to at most n characters in its middle: what tells the tasks of
// an app apart is at the end.
func bothEnds(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return string(r[:n/2]) + "…" + string(r[len(r)-(n-n/2-1):])
}
